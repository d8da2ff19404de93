"""Where and how a job runs: device, precision, seeds, progress.  The one file that imports lightning_fabric."""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import is_wrapped
from rich.progress import Progress
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from unregress.errors import ModelError, SettingError
from unregress.loading import Batch, Source

T = TypeVar("T")


def bare(model: nn.Module) -> nn.Module:
    """The user's own module inside what `Runtime.set_up` returned; any other module is itself."""
    if is_wrapped(model):
        inner: nn.Module = model.module  # type: ignore[assignment]
        return inner
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
    """Device, precision and seed of a job.

    Every random draw comes from a generator made from `seed` and a stream's name, so that two
    steps never share draws and the same seed gives the same bytes on a CPU.  The global random
    state of Python, NumPy and PyTorch is the same after a job as before it.

    Raises:
        SettingError: a number is out of range; or, when first used, the accelerator is not there or more than one
            device is asked for.
    """

    accelerator: str = "auto"
    """`cpu`, `cuda`, `mps`, or `auto` for the best there is."""
    devices: int | list[int] = 1
    """1 for the accelerator's first device, `[k]` for its device number k; one device a job, so far."""
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
        if self.workers < 0 or self.evaluation_batch_size < 1:
            raise SettingError(
                f"Runtime has workers={self.workers} and evaluation_batch_size={self.evaluation_batch_size}",
                expected="workers 0 or more, evaluation_batch_size 1 or more",
            )

    @cached_property
    def _fabric(self) -> Fabric:
        try:
            fabric = Fabric(accelerator=self.accelerator, devices=self.devices, precision=self.precision)
        except (ValueError, RuntimeError) as error:
            raise SettingError(
                f"Accelerator {self.accelerator!r} with precision {self.precision!r} cannot be used: {error}",
                expected="`cpu`, `cuda`, `mps` or `auto`, present on this machine",
            ) from error
        if fabric.world_size != 1:
            raise SettingError(
                f"{fabric.world_size} devices are asked for with devices={self.devices!r}",
                expected="one device: this version runs on one at a time",
                remedy="Use `devices=1`, or `[k]` for device number k",
            )
        return fabric

    @property
    def device(self) -> torch.device:
        """The device that models and batches are on while the job runs."""
        return self._fabric.device

    def _stream_seed(self, stream: str) -> int:
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{stream}".encode()).digest()[:8], "big") >> 1

    def generator(self, stream: str) -> Generator:
        """A fresh CPU generator for one named stream of draws; the same name starts the same draws."""
        return Generator().manual_seed(self._stream_seed(stream))

    @contextmanager
    def isolated(self, stream: str) -> Iterator[None]:
        """Seed the global random state for one named stream, and restore it on leaving.

        Models initialise themselves and drop out from the global state, so it must be seeded; the
        user's own draws must not notice.  Inside, gradients are on, and with precision `64-true` new
        tensors are float64, without which Fabric would round predictions to float32.
        """
        seed = self._stream_seed(stream)
        before = random.getstate(), np.random.get_state(), torch.get_default_dtype()
        devices = [self.device.index or 0] if self.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices=devices), torch.inference_mode(False), torch.enable_grad():
                if self.precision == "64-true":
                    torch.set_default_dtype(torch.float64)
                torch.manual_seed(seed)
                np.random.seed(seed % 2**32)
                random.seed(seed)
                yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
            torch.set_default_dtype(before[2])

    def private_copy(self, model: nn.Module) -> nn.Module:
        """A copy that shares nothing with `model`, without gradients.

        Raises:
            ModelError: the model cannot be copied.
        """
        try:
            twin = copy.deepcopy(model)
        except (RuntimeError, TypeError) as error:
            raise ModelError(
                f"The model cannot be copied: {error}",
                expected="a module that `copy.deepcopy` copies",
                remedy="Keep tensors made by computation out of the module's attributes",
            ) from error
        twin.zero_grad(set_to_none=True)
        return twin

    def set_up(self, model: nn.Module, optimizer: Optimizer | None = None) -> Any:
        """Move a model to the device and precision; with an optimiser, both.

        The model itself is moved, not copied; what is returned wraps it and is what to call.
        """
        made = self._fabric.setup_module(model) if optimizer is None else self._fabric.setup(model, optimizer)
        # Fabric leaves itself and its optimisers in a LightningModule, which then cannot be copied any more.
        if hasattr(model, "_fabric"):
            vars(model).update(_fabric=None, _fabric_optimizers=[])
        return made

    def backward(self, loss: Tensor) -> None:
        """Back-propagate, with the precision's scaling."""
        self._fabric.backward(loss)

    def clip(self, model: nn.Module, optimizer: Optimizer, norm: float) -> None:
        """Clip the gradients' global norm."""
        # Divergence is reported by `fit`, which says what to do; a non-finite norm need not raise here.
        self._fabric.clip_gradients(model, optimizer, max_norm=norm, error_if_nonfinite=False)

    def load(self, source: Source, chunks: list[Tensor], *, augmentation: Generator | None = None) -> Iterator[Batch]:
        """The batches of the given rows on the device, augmented if the source says so.

        Args:
            source: what to read.
            chunks: rows, one tensor per batch.
            augmentation: generator for the source's batched augmentation; without it none is done.
        """
        # Drawn on both of the source's paths, so that both leave the generator in the same state.
        seed = 0 if augmentation is None else int(torch.randint(2**62, (), generator=augmentation))
        for batch in source.fetch(chunks, workers=self.workers, seed=seed):
            data = self._fabric.to_device(batch.data)
            if source.augment is not None and augmentation is not None:
                data = source.augment(data, augmentation)
            yield replace(batch, data=data)

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
        with _shared_display() as display:
            task = display.add_task(description, total=total)
            try:
                yield lambda: display.advance(task)
            finally:
                display.remove_task(task)


_display: ContextVar[Progress | None] = ContextVar("display", default=None)


@contextmanager
def _shared_display() -> Iterator[Progress]:
    """The one live display of the terminal: the outermost bar opens and closes it."""
    if (outer := _display.get()) is not None:
        yield outer
        return
    with Progress(transient=True) as display:
        token = _display.set(display)
        try:
            yield display
        finally:
            _display.reset(token)
