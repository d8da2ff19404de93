"""Predictions of a batch as a matrix, and their gradients by weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.data.loading import Batch


def flattened(raw: Tensor) -> Tensor:
    """Raw predictions with all outputs, and quantile levels, on one axis; `(n, k)`."""
    return raw.reshape(len(raw), -1)


def raw_predictions(case: Case, model: nn.Module, batch: Batch) -> Tensor:
    """Raw predictions of a batch with all outputs, and quantile levels, on one axis; `(n, k)`."""
    return flattened(case.task.predict(model, batch.data))


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
