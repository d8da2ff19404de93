"""Collect a model's predictions for the samples of a split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor, nn

from unregress.data.loading import Batch, Source, chunked
from unregress.data.request import Index
from unregress.distributed.process_group import ProcessGroup
from unregress.errors import ModelError
from unregress.hooks.final_layer import Head, final_linear, watched
from unregress.metrics.predictions import Predictions
from unregress.metrics.spill import empty, take
from unregress.tasks.base import Task
from unregress.training.runtime import Runtime

FEATURES = ("featured", "activation", "gradient")
"""Columns that exist for some samples only."""
SINGLE = torch.finfo(torch.float32).max


def collect(
    model: nn.Module,
    task: Task[Any],
    source: Source,
    runtime: Runtime,
    *,
    rows: Index | None = None,
    features: Index | bool = False,
) -> Predictions:
    """Predict samples with a model, in evaluation mode, in full precision and without augmentation.

    The model is copied, so that its weights, mode, gradients and hooks stay as they are.

    Args:
        model: the model.
        task: predicts, finds targets and computes losses.
        source: the split.
        runtime: where to compute.
        rows: ascending positions in the split; None for all.
        features: the rows for which to keep the input and the gradient of the final linear layer as well, which
            membership attacks read (see `unregress.hooks.final_layer`): ascending positions, or all or none of them.
            Features are much larger than predictions.

    Raises:
        ModelError: features are asked for and the model does not end in a linear layer.
    """
    # Mixed precision is for training: its weights are full precision, and so is the measurement.
    full = runtime.without_mixed_precision
    chosen = torch.arange(len(source)) if rows is None else torch.from_numpy(np.asarray(rows, np.int64))
    featured = _featured(features, chosen, len(source))
    with_features, without = chosen[featured[chosen]], chosen[~featured[chosen]]
    buffers = _Buffers(samples=len(chosen), featured=len(with_features))
    # Apart, since computing a sample's features takes longer than predicting it.
    kinds = [kind for kind in (with_features, without) if len(kind)] or [chosen]
    batches = [chunk for kind in kinds for chunk in chunked(kind, runtime.evaluation_batch_size)]
    with full.isolated_rng("collect"):
        copy = full.set_up(full.private_copy(model))
        copy.eval()
        head: Head | None = None
        for batch in full.load(source, batches, share=task):
            kept = bool(featured[batch.index].any())
            if head is None and kept:
                head = final_linear(copy, task, batch)
            predicted = _predict(copy, task, batch, head if kept else None)
            buffers.append({"index": batch.index, **predicted}, is_padding=batch.is_padding)
    columns = {name: values.numpy() for name, values in buffers.columns().items()}
    columns = (
        _ascending(columns) if full.process_group.world_size == 1 else _of_all_processes(full.process_group, columns)
    )
    return Predictions(**columns)


def _featured(features: Index | bool, chosen: Tensor, size: int) -> Tensor:
    """Mask of the samples of a split whose features to keep, `(size,)`."""
    featured = torch.zeros(size, dtype=torch.bool)
    if features is True:
        featured[chosen] = True
    elif features is not False:
        featured[torch.from_numpy(np.asarray(features, np.int64))] = True
    return featured


class _Buffers:
    """Columns of predictions that are filled batch by batch.

    Each column is allocated once: small tensors kept between large batches would fragment memory, 5 KB per sample.

    Args:
        samples: number of samples that will be predicted.
        featured: number of those whose features are kept.
    """

    def __init__(self, *, samples: int, featured: int) -> None:
        self._samples, self._featured = samples, featured
        self._columns: dict[str, Tensor] = {}
        self._filled: Counter[str] = Counter()

    def append(self, batch: Mapping[str, Tensor], *, is_padding: bool) -> None:
        """Append the columns of one batch; a batch of padding only sets the shapes.

        Raises:
            ModelError: the width of a column differs from that of the batches before.
        """
        for name, values in batch.items():
            if name not in self._columns:
                size = self._featured if name in FEATURES else self._samples
                self._columns[name] = torch.from_numpy(empty((size, *values.shape[1:]), _dtype(name)))
            column, start = self._columns[name], self._filled[name]
            if column.shape[1:] != values.shape[1:]:
                raise ModelError(
                    f"The {name}s have {_width(column)} values in one batch and {_width(values)} in another",
                    expected="as many for every sample",
                    remedy="Pad sequences to one length, or use the attack with `features=('loss',)`",
                )
            if not is_padding:
                column[start : start + len(values)] = values
                self._filled[name] += len(values)

    def columns(self) -> dict[str, Tensor]:
        """The filled part of each column."""
        return {name: values[: self._filled[name]] for name, values in self._columns.items()}


def _ascending(columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Sort the columns of all samples by index; those of the samples with features are collected in order."""
    order = np.argsort(columns["index"], kind="stable")
    if np.array_equal(order, np.arange(len(order))):
        return columns
    return {name: values if name in FEATURES else take(values, order) for name, values in columns.items()}


def _of_all_processes(group: ProcessGroup, own: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Gather the columns of all processes of a job, each sample once, by ascending index."""
    parts = group.all_gather([own])
    names = dict.fromkeys(name for part in parts for name in part)
    columns = {name: np.concatenate([part[name] for part in parts if name in part]) for name in names}
    first_rows = {name: np.unique(columns[name], return_index=True)[1] for name in ("index", "featured")}
    return {name: values[first_rows["featured" if name in FEATURES else "index"]] for name, values in columns.items()}


def _dtype(name: str) -> DTypeLike:
    if name in ("index", "featured"):
        return np.int64
    return np.float32 if name in FEATURES else np.float64


def _width(values: Tensor) -> int:
    return values.shape[1:].numel()


def _predict(model: nn.Module, task: Task[Any], batch: Batch, head: Head | None) -> dict[str, Tensor]:
    """Predictions, targets and losses of one batch, and with a head the features of its samples."""
    with torch.no_grad(), watched(head) if head is not None else nullcontext() as watch:
        prediction = task.predict(model, batch.data)
        target = task.target(batch.data)
        loss = task.batch_loss(prediction, target, batch.data)
        features = {} if watch is None else watch.features(loss)
        # Features are stored in single precision, whose range is smaller than double precision's.
        features = {k: v.clamp(-SINGLE, SINGLE) if v.dtype == torch.float64 else v for k, v in features.items()}
        features["featured"] = batch.index if features else batch.index[:0]
        point, target = task.to_units(task.point(prediction)), task.to_units(target)
    return {"prediction": point.detach(), "target": target, "loss": loss.detach(), **features}
