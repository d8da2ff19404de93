"""A model's answers, frozen: the only food of metrics."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor, nn

from unregress.data.loading import Batch, Source, chunked
from unregress.data.request import Index, Mask
from unregress.errors import DataError, ModelError, RunFolderError
from unregress.hooks.final_layer import Head, final_linear, watched
from unregress.tasks.base import Task
from unregress.training.runtime import Runtime

Values = NDArray[np.float64]
FEATURES = ("featured", "activation", "gradient")
"""What there is of some samples only."""
SINGLE = torch.finfo(torch.float32).max
SPILLED = 2**25
"""Bytes from which on an array lies in a temporary file, pages of which leave memory when that is needed."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What one model says about some samples of one split; on the CPU, sorted by index.

    Of several outputs some may be unknown (NaN) in the targets, though not all of a sample's.

    Raises:
        DataError: the arrays' lengths differ, the index is not ascending and free of repetition, or a target
            is infinite or wholly unknown.
        ModelError: a prediction or loss is not finite.
    """

    index: Index
    """Positions in the dataset, `(n,)`, ascending."""
    prediction: Values
    """Point predictions in target units, `(n, *out)`."""
    target: Values
    """True targets, `(n, *out)`; NaN where one of several outputs is not known."""
    loss: Values
    """The task's loss per sample, `(n,)`."""
    featured: Index = field(default_factory=lambda: np.zeros(0, np.int64))
    """Positions of the samples whose features were kept, `(k,)`, ascending: all of `index`, some of it, or none."""
    activation: NDArray[np.float32] | None = None
    """Input of the final linear layer, `(k, features)`, if it was collected."""
    gradient: NDArray[np.float32] | None = None
    """Gradient of the sample's loss by the final linear layer's weight and bias, `(k, parameters)`."""

    def __post_init__(self) -> None:
        lengths = {len(values) for values in (self.index, self.prediction, self.target, self.loss)}
        kept = {len(values) for values in (self.activation, self.gradient) if values is not None}
        if len(lengths) != 1 or self.prediction.shape != self.target.shape or kept - {len(self.featured)}:
            raise DataError(
                f"Predictions {self.prediction.shape}, targets {self.target.shape}, losses "
                f"{self.loss.shape}, index {self.index.shape} and the features of {len(self.featured)} samples do not "
                "belong together"
            )
        if len(self.index) > 1 and not np.all(np.diff(self.index) > 0):
            raise DataError("The index of predictions is not ascending, or repeats a sample")
        for name, values, error in (
            ("target", self.target, DataError),
            ("prediction", self.prediction, ModelError),
            ("loss", self.loss, ModelError),
        ):
            finite = np.isfinite(values).all(axis=_outputs(values))
            if name == "target" and not finite.all():
                finite = _partly_known(values)
            if not finite.all():
                raise error(
                    f"The {name} of {np.sum(~finite)} samples is NaN or infinite, "
                    f"the first at position {self.index[~finite][0]}",
                    expected="finite numbers",
                    remedy=self._remedy(name),
                )

    def __len__(self) -> int:
        return len(self.index)

    def _remedy(self, name: str) -> str:
        if name != "loss":
            return "Check the data with `unregress.preflight`, and the model's weights"
        if self.known is not None and np.isnan(self.loss).any():
            return "Leave unknown outputs (NaN in the target) out of the loss, as the named losses do"
        return "Predictions and targets are numbers: bring targets to a size that the task's loss can take"

    @cached_property
    def known(self) -> Mask | None:
        """Which targets are known, `(n, *out)`; None where all are."""
        unknown = np.isnan(self.target)
        return ~unknown if unknown.any() else None

    def over_known(self, values: Values) -> Values:
        """Those of some values `(n, *out)` whose target is known, one behind the other."""
        return values.ravel() if self.known is None else values[self.known]

    @property
    def comparable(self) -> Values:
        """Predictions of what is known, NaN elsewhere: about the rest a model was neither taught nor can be asked."""
        return self.prediction if self.known is None else np.where(self.known, self.prediction, np.nan)

    def at(self, index: NDArray[Any]) -> Predictions:
        """The predictions for some of the samples, joined by index.

        Args:
            index: ascending positions in the dataset.

        Raises:
            DataError: a position was not predicted.
        """
        if not np.all(np.isin(index, self.index)):
            raise DataError(
                "Some of the samples asked for were not predicted",
                remedy="Collect predictions for the same samples from every model",
            )
        found = np.searchsorted(self.index, index)
        kept = np.flatnonzero(np.isin(self.featured, index))
        return replace(
            self,
            index=_taken(self.index, found),
            prediction=_taken(self.prediction, found),
            target=_taken(self.target, found),
            loss=_taken(self.loss, found),
            featured=_taken(self.featured, kept),
            activation=None if self.activation is None else _taken(self.activation, kept),
            gradient=None if self.gradient is None else _taken(self.gradient, kept),
        )

    def in_units(self, units: Values) -> Predictions:
        """The same with predictions and targets divided by units of each output, `(*out)`; losses stay the task's."""
        prediction, target = (
            np.divide(values, units, out=_room(values.shape, np.float64)) for values in (self.prediction, self.target)
        )
        return replace(self, prediction=prediction, target=target)

    def with_features(self) -> Predictions:
        """The predictions for those samples whose features were kept."""
        return self.at(self.featured)


def _outputs(values: NDArray[Any]) -> tuple[int, ...]:
    return tuple(range(1, values.ndim))


def _partly_known(target: Values) -> Mask:
    """Which samples have a target that can be measured: a number for some of several outputs, NaN for the others."""
    known = np.isfinite(target)
    several = prod(target.shape[1:]) > 1
    fine = (known | np.isnan(target)).all(axis=_outputs(target)) & known.any(axis=_outputs(target))
    return np.asarray(fine if several else known.all(axis=_outputs(target)), dtype=np.bool_)


def _room(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array to be filled: in memory, or if it is large in a file that has no name and ends with the array.

    Raises:
        RunFolderError: no space is left in the folder for temporary files, or there is none.
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    if size < max(SPILLED, 1):
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile(prefix="unregress-") as file:
            if hasattr(os, "posix_fallocate"):
                # A mapped file that finds the disk full later on would end the process.
                os.posix_fallocate(file.fileno(), 0, size)
            return np.asarray(np.memmap(file, dtype, "w+", shape=shape))
    except OSError as error:
        raise RunFolderError(
            f"A temporary file of {size:,} bytes cannot be written: {error.strerror or error}",
            expected=f"so much space in the folder for temporary files, {tempfile.tempdir or 'of which there is none'}",
            remedy="Free some space, or name another folder with the environment variable `TMPDIR`",
        ) from error


def _taken(values: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    return np.take(values, rows, axis=0, out=_room((len(rows), *values.shape[1:]), values.dtype), mode="clip")


def require_aligned(first: Predictions, second: Predictions) -> None:
    """Refuse to compare predictions about different samples.

    Raises:
        DataError: the indices differ.
    """
    if not np.array_equal(first.index, second.index):
        raise DataError(
            f"Two models' predictions are about different samples ({len(first)} and {len(second)})",
            expected="the same index on both sides",
            remedy="Join them with `Predictions.at` first",
        )


def collect(
    model: nn.Module,
    task: Task[Any],
    source: Source,
    runtime: Runtime,
    *,
    rows: Index | None = None,
    features: Index | bool = False,
) -> Predictions:
    """Ask a model about samples, in evaluation mode, in full precision and without augmentation.

    The model is copied, so that its weights, mode, gradients and hooks stay as they are.

    Args:
        model: whom to ask.
        task: how to ask.
        source: which split.
        runtime: where.
        rows: ascending positions; None for all.
        features: for which of the rows to keep what membership attacks read too, see `unregress.hooks.final_layer`:
            ascending positions, or all or none of them.  Features are much larger than predictions.

    Raises:
        ModelError: features are asked for and the model does not end in a linear layer.
    """
    # Mixed precision is for training: its weights are full precision, and so is the measurement.
    full = replace(runtime, precision="32-true") if runtime.precision.endswith("mixed") else runtime
    chosen = torch.arange(len(source)) if rows is None else torch.from_numpy(np.asarray(rows, np.int64))
    wanted = torch.zeros(len(source), dtype=torch.bool)
    if features is True:
        wanted[chosen] = True
    elif features is not False:
        wanted[torch.from_numpy(np.asarray(features, np.int64))] = True
    # Filled as answers come: small pieces kept between large batches would pin the memory of these, 5 KB for a sample.
    found: dict[str, Tensor] = {}
    filled: Counter[str] = Counter()
    with full.isolated_rng("collect"):
        twin = full.set_up(full.private_copy(model))
        twin.eval()
        head: Head | None = None
        for batch in full.load(source, chunked(chosen, runtime.evaluation_batch_size), share=task):
            kept = wanted[batch.index.cpu()]
            if head is None and kept.any():
                head = final_linear(twin, task, batch)
            part = {"index": batch.index, **_predict(twin, task, batch, head if kept.any() else None, kept)}
            for name, values in part.items():
                if name not in found:
                    room = int(wanted[chosen].sum()) if name in FEATURES else len(chosen)
                    found[name] = torch.from_numpy(_room((room, *values.shape[1:]), _kept_as(name)))
                if found[name].shape[1:] != values.shape[1:]:
                    raise ModelError(
                        f"The {name}s have {_width(found[name])} values in one batch and {_width(values)} in another",
                        expected="as many for every sample",
                        remedy="Pad sequences to one length, or use the attack with `features=('loss',)`",
                    )
                if not batch.is_padding:
                    found[name][filled[name] : filled[name] + len(values)] = values
                    filled[name] += len(values)
    joined = {name: values[: filled[name]] for name, values in found.items()}
    if full.process_group.world_size > 1:
        parts = full.process_group.all_gather([joined])
        names = dict.fromkeys(name for part in parts for name in part)
        joined = {name: torch.cat([part[name] for part in parts if name in part]) for name in names}
        # Each sample once, in the order of the index, whoever predicted it.
        once = torch.from_numpy(np.unique(joined["index"].numpy(), return_index=True)[1])
        again = torch.from_numpy(np.unique(joined["featured"].numpy(), return_index=True)[1])
        joined = {name: values[again if name in FEATURES else once] for name, values in joined.items()}
    return Predictions(**{name: values.numpy() for name, values in joined.items()})


def _kept_as(name: str) -> DTypeLike:
    if name in ("index", "featured"):
        return np.int64
    return np.float32 if name in FEATURES else np.float64


def _width(values: Tensor) -> int:
    return values.shape[1:].numel()


def _predict(model: nn.Module, task: Task[Any], batch: Batch, head: Head | None, kept: Tensor) -> dict[str, Tensor]:
    with torch.no_grad(), watched(head) if head is not None else nullcontext() as watch:
        prediction = task.predict(model, batch.data)
        target = task.target(batch.data)
        loss = task.checked_loss(prediction, target)
        features = {} if watch is None else watch.features(loss)
        # They are kept in single precision, which ends before double precision does.
        features = {k: v.clamp(-SINGLE, SINGLE) if v.dtype == torch.float64 else v for k, v in features.items()}
        if not kept.all():
            features = {name: values[kept.to(values.device)] for name, values in features.items()}
        features["featured"] = batch.index[kept] if features else batch.index[:0]
    return {"prediction": task.point(prediction).detach(), "target": target, "loss": loss.detach(), **features}
