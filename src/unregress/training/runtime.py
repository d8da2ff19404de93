"""Device, processes, precision and seeds of a job."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from unregress.data.loading import Batch, Source, own_part, own_rows
from unregress.distributed.process_group import ProcessGroup, init_process_group, require_process_group
from unregress.distributed.replicas import Strategy, gather_weights, replicate
from unregress.distributed.sync_batchnorm import synchronise_batch_norm
from unregress.errors import require_fields
from unregress.tasks.base import Task
from unregress.tasks.unwrap import private_copy
from unregress.training import progress
from unregress.training.devices import ACCELERATORS, choose_device, to_device
from unregress.training.precision import PRECISIONS, Precision, convert_weights, in_precision, loss_scaler
from unregress.training.random_state import seeded_rng

T = TypeVar("T")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode within the block; each submodule's own mode is restored afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Device, processes, precision and seed of a job.

    Every random draw comes from a generator seeded with `seed` and the name of a stream, so that two steps
    never share draws and the same seed gives the same bytes on a CPU.  The global random state of Python,
    NumPy and PyTorch is the same after a job as before it.

    Several devices have one process each; together they give the same results as one process, up to rounding; see
    docs/scaling.md.

    Raises:
        SettingError: a value is out of range; or, at the first use, the accelerator is not present or the number of
            processes is not that of the devices.
    """

    accelerator: str = "auto"
    """`cpu`, `cuda`, `mps`, or `auto` for the fastest that is present."""
    devices: int | list[int] = 1
    """Number of devices, with one process each, or a list of device indices.  Under `torchrun`, 1 means all of its
    processes."""
    strategy: Strategy = "ddp"
    """How several processes train a model: with a whole copy each (`ddp`), or with a shard of the weights each
    (`fsdp2`)."""
    sync_batch_norm: bool = False
    """Whether batch normalisation computes its statistics over the rows of all processes, not of each one alone."""
    precision: Precision = "32-true"
    """Floating-point precision: `true` applies to weights and computation, `mixed` to computation only (autocast)."""
    seed: int = 0
    """Seed of everything random."""
    workers: int = 0
    """Worker processes of the `DataLoader` that streams a dataset; data in memory does not use them."""
    evaluation_batch_size: int = 1024
    """Samples per forward pass in evaluation."""
    progress: bool = False
    """Show progress bars on the terminal."""

    def __post_init__(self) -> None:
        if isinstance(self.devices, list):
            enough = bool(self.devices) and len(set(self.devices)) == len(self.devices) and min(self.devices) >= 0
        else:
            enough = self.devices >= 1
        scaled = self.strategy == "fsdp2" and self.precision == "16-mixed"
        rules = [
            ("accelerator", self.accelerator in ACCELERATORS, f"one of {', '.join(ACCELERATORS)}"),
            ("workers", self.workers >= 0, "0 or more"),
            ("evaluation_batch_size", self.evaluation_batch_size >= 1, "1 or more"),
            ("devices", enough, "1 or more, or a list of device indices"),
            ("seed", self.seed >= 0, "0 or more"),
            ("strategy", self.strategy in ("ddp", "fsdp2"), "ddp or fsdp2"),
            ("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
            ("precision", not scaled, "bf16-mixed with fsdp2, since loss scaling does not support sharded gradients"),
        ]
        require_fields("Runtime", self, rules)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the settings only: the chosen device and process group belong to this process."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @cached_property
    def device(self) -> torch.device:
        """The device for models and batches while the job runs."""
        return choose_device(self.accelerator, self.devices)

    @cached_property
    def process_group(self) -> ProcessGroup:
        """The processes of this job; the first use waits until all are connected."""
        group = require_process_group(self.devices)
        if group.world_size > 1:
            init_process_group(self.device)
        return group

    @property
    def without_mixed_precision(self) -> Runtime:
        """The same runtime in single precision where precision is mixed: that is for training, not for measuring."""
        return replace(self, precision="32-true") if self.precision.endswith("mixed") else self

    @cached_property
    def _scaler(self) -> torch.amp.GradScaler:
        return loss_scaler(self.precision, self.device)

    def _stream_seed(self, stream: str) -> int:
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{stream}".encode()).digest()[:8], "big") >> 1

    def generator(self, stream: str) -> Generator:
        """Make a CPU generator for a named stream of draws; the same name gives the same draws."""
        return Generator().manual_seed(self._stream_seed(stream))

    def isolated_rng(self, stream: str) -> AbstractContextManager[None]:
        """Seed the global random state for a named stream within the block, and restore it afterwards.

        Initialisation and dropout of models draw from the global state, so it must be seeded without
        affecting the user's own draws.  Within the block gradients are enabled, and with precision
        `64-true` new tensors are float64.
        """
        return seeded_rng(self._stream_seed(stream), self.device, double=self.precision == "64-true")

    def private_copy(self, model: nn.Module) -> nn.Module:
        """Copy a model without its gradients and PyTorch's wrappers; the copy shares no memory with it.

        Raises:
            ModelError: the model cannot be copied.
        """
        return private_copy(model)

    def set_up(self, model: nn.Module) -> nn.Module:
        """Move a model to the device and convert it to the precision, in place.

        Returns:
            The module to call: the model itself, or with another precision than `32-true` a wrapper that passes on
            the model's attributes.
        """
        convert_weights(model, self.precision)
        return in_precision(model.to(self.device), self.precision, self.device)

    @contextmanager
    def training(
        self, model: nn.Module, make_optimizer: Callable[[nn.Module], Optimizer]
    ) -> Iterator[tuple[nn.Module, Optimizer]]:
        """Prepare a model for training; it has the trained weights when the block ends without an error.

        With one process the module to call is that of `set_up`.  With several it is a replica, which with `fsdp2`
        holds a shard of the weights only, and which is discarded afterwards.

        Args:
            model: moved to the device; with several processes its weights change when the block ends.
            make_optimizer: makes the optimiser for a model.

        Yields:
            The module to call and the optimiser to step.
        """
        if self.process_group.world_size == 1:
            yield self.set_up(model), make_optimizer(model)
            return
        convert_weights(model, self.precision)
        replica = private_copy(model).to(self.device)
        if self.sync_batch_norm:
            replica = synchronise_batch_norm(replica, self.device.type)
        tied = replicate(replica, self.device, self.strategy)
        yield in_precision(tied, self.precision, self.device), make_optimizer(replica)
        gather_weights(model.to(self.device), replica, self.process_group)

    def per_process_rng(self, stream: str) -> AbstractContextManager[None]:
        """With several processes, seed each with its own stream, so that their dropout differs."""
        return (
            nullcontext()
            if self.process_group.world_size == 1
            else self.isolated_rng(f"{stream}/process {self.process_group.rank}")
        )

    def backward(self, loss: Tensor) -> None:
        """Back-propagate, with the loss scaling that the precision needs."""
        self._scaler.scale(loss).backward()

    def clip(self, optimizer: Optimizer, norm: float) -> None:
        """Clip the global norm of the gradients of an optimiser's parameters."""
        self._scaler.unscale_(optimizer)
        # A norm that is not finite does not raise here: `fit` reports divergence, with a remedy.
        clip_grad_norm_([weight for group in optimizer.param_groups for weight in group["params"]], norm)

    def step(self, optimizer: Optimizer) -> None:
        """Take an optimiser step; with `16-mixed` it is skipped if gradients overflowed."""
        self._scaler.step(optimizer)
        self._scaler.update()

    def load(
        self,
        source: Source,
        chunks: list[Tensor],
        *,
        augmentation: Generator | None = None,
        share: Task[Any] | None = None,
    ) -> Iterator[Batch]:
        """Load the batches of the given rows onto the device, augmented if the source has an augmentation.

        Args:
            source: the split to read.
            chunks: rows, one tensor per batch.
            augmentation: generator for the source's batched augmentation; without it batches are not augmented.
            share: the task, to load only this process's share of each batch.  An empty share is replaced by one
                padding row (`Batch.is_padding`), since processes must stay in step.
        """
        # Drawn for streamed data and data in memory, so that both leave the generator in the same state.
        seed = 0 if augmentation is None else int(torch.randint(2**62, (), generator=augmentation))
        augments = source.augment is not None and augmentation is not None
        task = share if self.process_group.world_size > 1 else None
        # The draws of a batch's augmentation depend on the whole batch, so every process reads all of it.
        read = [own_rows(chunk, self.process_group) for chunk in chunks] if task and not augments else chunks
        for batch, chunk in zip(source.fetch(read, workers=self.workers, seed=seed), chunks, strict=True):
            data = to_device(batch.data, self.device)
            if source.augment is not None and augmentation is not None:
                data = source.augment(data, augmentation)
            whole = replace(batch, data=data)
            yield whole if task is None else own_part(whole, chunk, self.process_group, task)

    def track(self, steps: Iterable[T], description: str, total: int) -> Iterator[T]:
        """Iterate with a progress bar if `progress` is set."""
        with self.bar(description, total) as advance:
            for step in steps:
                yield step
                advance()

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Callable[[], None]]:
        """Show a progress bar if `progress` is set; the function that the block receives advances it by one."""
        if not self.progress:
            yield lambda: None
            return
        with progress.bar(description, total) as advance:
            yield advance
