"""Raw predictions, as a matrix, and their gradients by weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.data.loading import Batch, chunked
from unregress.data.request import Index
from unregress.data.splits import Split
from unregress.training.runtime import Runtime, evaluating


def flattened(raw: Tensor) -> Tensor:
    """Raw predictions with all outputs, and quantile levels, on one axis; `(n, k)`."""
    return raw.reshape(len(raw), -1)


def point_predictions(case: Case, raw: Tensor) -> Tensor:
    """Point predictions of raw ones, with all outputs on one axis; `(n, outputs)` float64."""
    return flattened(case.task.point(raw)).double()


def raw_predictions(case: Case, model: nn.Module, batch: Batch) -> Tensor:
    """Raw predictions of a batch with all outputs, and quantile levels, on one axis; `(n, k)`."""
    return flattened(case.task.predict(model, batch.data))


def predict_rows(model: nn.Module, case: Case, split: Split, rows: Tensor | Index, runtime: Runtime) -> Tensor:
    """Raw predictions of some samples by a copy of a model, on the CPU; `(n, *out)`, float32 or float64.

    In evaluation mode and full precision, as audits predict: mixed precision is for training.
    """
    return predict_rows_by(runtime.private_copy(model), case, split, rows, runtime)


def predict_rows_by(own: nn.Module, case: Case, split: Split, rows: Tensor | Index, runtime: Runtime) -> Tensor:
    """As `predict_rows`, by a model of the caller's own, which is moved to the runtime's device."""
    if not len(rows):
        return torch.empty(0)
    full = runtime.without_mixed_precision
    ready, chunks = full.set_up(own), chunked(torch.as_tensor(rows), full.evaluation_batch_size)
    with evaluating(ready), torch.no_grad():
        found = [case.task.predict(ready, batch.data).cpu() for batch in full.load(case.source(split), chunks)]
    return torch.cat([each if each.dtype == torch.float64 else each.float() for each in found])


def gradients_of(value: Tensor, weights: list[nn.Parameter], *, keep_graph: bool = False) -> list[Tensor]:
    """Gradients of a scalar by weights, dense; zero for those on which it does not depend.

    Args:
        value: the scalar; it may depend on no weight at all, as that of a sample which takes another way through the
            model.
        weights: the weights, which may be none.
        keep_graph: whether there will be further gradients of this pass.
    """
    if not value.requires_grad or not weights:
        return [torch.zeros_like(weight) for weight in weights]
    found = torch.autograd.grad(value, weights, retain_graph=keep_graph, allow_unused=True, materialize_grads=True)
    return [each.to_dense() if each.is_sparse else each for each in found]
