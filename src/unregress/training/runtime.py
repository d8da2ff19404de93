"""Where and how a job runs: device, processes, precision, seeds.  The one file that imports lightning_fabric."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import is_wrapped
from torch import Generator, Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from unregress.data.loading import Batch, Source, own_part, own_rows
from unregress.distributed import replicas
from unregress.distributed.process_group import Team, meet, own_device, require_team
from unregress.distributed.sync_batchnorm import synchronise_batch_norm
from unregress.errors import SettingError, require_fields
from unregress.tasks.base import Task
from unregress.training import progress
from unregress.training.random_state import seeded_rng

T = TypeVar("T")
if not torch.cuda.is_available():
    # Fabric has PyTorch look for GPUs in their driver's library, which optimisers do at each step: a third of a small
    # network's training.  Where there is none, PyTorch's own way finds none either, and is quick.
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)


def bare(model: nn.Module) -> nn.Module:
    """The user's own module inside what a `Runtime` returned; any other module is itself."""
    while is_wrapped(model) or isinstance(model, DistributedDataParallel):
        model = model.module  # type: ignore[assignment]
    return model


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode while the block runs; every submodule's own mode is back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


Precision = Literal["32-true", "64-true", "16-mixed", "bf16-mixed", "bf16-true"]


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Device, processes, precision and seed of a job.

    Every random draw comes from a generator made from `seed` and a stream's name, so that two
    steps never share draws and the same seed gives the same bytes on a CPU.  The global random
    state of Python, NumPy and PyTorch is the same after a job as before it.

    On several devices each has a process of its own, and all of them together give the answer of one, up to rounding;
    see docs/scaling.md.

    Raises:
        SettingError: a value is out of range; or, when first used, the accelerator is not there or the job has not as
            many processes as devices are asked for.
    """

    accelerator: str = "auto"
    """`cpu`, `cuda`, `mps`, or `auto` for the best there is."""
    devices: int | list[int] = 1
    """How many, one process each; `[k]` for device number k.  Under `torchrun`, 1 stands for all of its processes."""
    strategy: replicas.Strategy = "ddp"
    """What several processes hold of a model in training: all of it (`ddp`), or each a shard (`fsdp2`)."""
    sync_batch_norm: bool = False
    """Whether batch normalisation takes its statistics over the rows of all processes, or of each one's own."""
    precision: Precision = "32-true"
    """Floating-point precision, as in Lightning Fabric."""
    seed: int = 0
    """Seed of everything random."""
    workers: int = 0
    """Worker processes of a streaming `DataLoader`; resident data needs none."""
    evaluation_batch_size: int = 1024
    """Samples per forward pass where nothing is trained."""
    progress: bool = False
    """Show progress bars on the terminal."""

    def __post_init__(self) -> None:
        if isinstance(self.devices, list):
            enough = bool(self.devices) and len(set(self.devices)) == len(self.devices) and min(self.devices) >= 0
        else:
            enough = self.devices >= 1
        scaled = self.strategy == "fsdp2" and self.precision == "16-mixed"
        rules = [
            ("workers", self.workers >= 0, "0 or more"),
            ("evaluation_batch_size", self.evaluation_batch_size >= 1, "1 or more"),
            ("devices", enough, "1 or more, or a list of devices' numbers"),
            ("seed", self.seed >= 0, "0 or more"),
            ("strategy", self.strategy in ("ddp", "fsdp2"), "ddp or fsdp2"),
            ("precision", not scaled, "bf16-mixed with fsdp2, whose shards a loss scale does not fit"),
        ]
        require_fields("Runtime", self, rules)

    @cached_property
    def _fabric(self) -> Fabric:
        """One device: what processes do together is the business of `processes` and `replicas`."""
        place = own_device(self.devices, on_cpu=self.accelerator == "cpu" or not torch.cuda.is_available())
        try:
            return Fabric(accelerator=self.accelerator, devices=place, precision=self.precision)
        except (ValueError, RuntimeError) as error:
            raise SettingError(
                f"Accelerator {self.accelerator!r} with precision {self.precision!r} cannot be used: {error}",
                expected="`cpu`, `cuda`, `mps` or `auto`, present on this machine",
            ) from error

    @cached_property
    def team(self) -> Team:
        """The processes that do this job; all of them wait here for each other the first time."""
        team = require_team(self.devices)
        if team.size > 1:
            meet(self.device)
        return team

    @property
    def device(self) -> torch.device:
        """The device that models and batches are on while the job runs."""
        return self._fabric.device

    def _stream_seed(self, stream: str) -> int:
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{stream}".encode()).digest()[:8], "big") >> 1

    def generator(self, stream: str) -> Generator:
        """A fresh CPU generator for one named stream of draws; the same name starts the same draws."""
        return Generator().manual_seed(self._stream_seed(stream))

    def isolated_rng(self, stream: str) -> AbstractContextManager[None]:
        """Seed the global random state for one named stream, and restore it on leaving.

        Models initialise themselves and drop out from the global state, so it must be seeded; the
        user's own draws must not notice.  Inside, gradients are on, and with precision `64-true` new
        tensors are float64, without which Fabric would round predictions to float32.
        """
        return seeded_rng(self._stream_seed(stream), self.device, double=self.precision == "64-true")

    def private_copy(self, model: nn.Module) -> nn.Module:
        """A copy that shares nothing with `model`, without gradients and without PyTorch's wrappers around it.

        Raises:
            ModelError: the model cannot be copied.
        """
        return replicas.private_copy(model)

    def set_up(self, model: nn.Module) -> Any:
        """Move a model to the device and precision, to be asked and not trained.

        The model itself is moved, not copied; what is returned wraps it and is what to call.
        """
        made = self._fabric.setup_module(model)
        _forget_fabric(model)
        return made

    @contextmanager
    def training(self, model: nn.Module, optimizer: Callable[[nn.Module], Optimizer]) -> Iterator[tuple[Any, Any]]:
        """What to call and what to step while `model` trains; it has the weights when the block ends without an error.

        With one process that wraps the model itself.  With several it is a twin, which holds no more than its shard of
        the weights if the strategy says so, and is given up afterwards: nothing of that is left in the model.

        Args:
            model: moved to the device; with several processes it stays where it is until the block ends.
            optimizer: makes one for a model.
        """
        if self.team.size == 1:
            made = self._fabric.setup(model, optimizer(model))
            _forget_fabric(model)
            yield made
            return
        twin = self.private_copy(self._fabric.strategy.precision.convert_module(model)).to(self.device)
        if self.sync_batch_norm:
            synchronise_batch_norm(twin)
        tied = replicas.replicate(twin, self.device, self.strategy)
        wrapped = self._fabric.setup_module(tied, move_to_device=False)
        yield wrapped, self._fabric.setup_optimizers(optimizer(twin))
        replicas.gather_weights(model.to(self.device), twin, self.team)

    def per_process_rng(self, stream: str) -> AbstractContextManager[None]:
        """With several processes, let each draw from a stream of its own: they drop out in different rows."""
        return nullcontext() if self.team.size == 1 else self.isolated_rng(f"{stream}/process {self.team.rank}")

    def backward(self, loss: Tensor) -> None:
        """Back-propagate, with the precision's scaling."""
        self._fabric.backward(loss)

    def clip(self, model: nn.Module, optimizer: Optimizer, norm: float) -> None:
        """Clip the gradients' global norm."""
        # Divergence is reported by `fit`, which says what to do; a non-finite norm need not raise here.
        self._fabric.clip_gradients(model, optimizer, max_norm=norm, error_if_nonfinite=False)

    def load(
        self,
        source: Source,
        chunks: list[Tensor],
        *,
        augmentation: Generator | None = None,
        share: Task[Any] | None = None,
    ) -> Iterator[Batch]:
        """The batches of the given rows on the device, augmented if the source says so.

        Args:
            source: what to read.
            chunks: rows, one tensor per batch.
            augmentation: generator for the source's batched augmentation; without it none is done.
            share: the task, for only this process's share of each batch.  A batch that does not go round is one row
                that counts for nothing, for processes must stay in step.
        """
        # Drawn on both of the source's paths, so that both leave the generator in the same state.
        seed = 0 if augmentation is None else int(torch.randint(2**62, (), generator=augmentation))
        augments = source.augment is not None and augmentation is not None
        task = share if self.team.size > 1 else None
        # What a batch's augmentation draws depends on the whole batch, which is therefore read by every process.
        read = [own_rows(chunk, self.team) for chunk in chunks] if task and not augments else chunks
        for batch, chunk in zip(source.fetch(read, workers=self.workers, seed=seed), chunks, strict=True):
            data = self._fabric.to_device(batch.data)
            if source.augment is not None and augmentation is not None:
                data = source.augment(data, augmentation)
            whole = replace(batch, data=data)
            yield whole if task is None else own_part(whole, chunk, self.team, task)

    def track(self, steps: Iterable[T], description: str, total: int) -> Iterator[T]:
        """Iterate with a progress bar if `progress` is set."""
        with self.bar(description, total) as advance:
            for step in steps:
                yield step
                advance()

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Callable[[], None]]:
        """A progress bar if `progress` is set, to be advanced by a call; a bar within a bar stands below it."""
        if not self.progress:
            yield lambda: None
            return
        with progress.bar(description, total) as advance:
            yield advance


def _forget_fabric(model: nn.Module) -> None:
    """Fabric leaves itself and its optimisers in a LightningModule, which then cannot be copied any more."""
    if hasattr(model, "_fabric"):
        vars(model).update(_fabric=None, _fabric_optimizers=[])
