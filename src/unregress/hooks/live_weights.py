"""The weights on which the predictions of some samples depend."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.data.loading import chunked
from unregress.hooks.raw_predictions import raw_predictions
from unregress.training.runtime import Runtime, evaluating


def live_weights(model: nn.Module, case: Case, rows: Tensor, chunk: int, runtime: Runtime) -> tuple[set[int], int]:
    """Find the trainable weights with a gradient other than zero for some of the samples.

    Others are those of layers that are never called, or whose units give zero for all of these samples.  Layers that
    only some samples use need all of the samples; the search ends as soon as every weight is found.

    Args:
        model: the model, on the runtime's device.
        case: task and data.
        rows: positions of the training samples.
        chunk: samples of a pass.
        runtime: where to run.

    Returns:
        The weights' `id`s, and the number of samples that were seen.
    """
    missing = {id(w): w for w in model.parameters() if w.requires_grad and w.is_floating_point()}
    live, seen = set[int](), 0
    # Random factors: gradients of several outputs may cancel in a sum, as those of shares that add up to one.
    draws = torch.Generator().manual_seed(0)
    with evaluating(model), torch.enable_grad():
        for batch in runtime.load(case.source("train_eval"), chunked(rows, chunk)):
            if not missing:
                break
            raw = raw_predictions(case, model, batch)
            seen += len(raw)
            if not raw.requires_grad:
                continue
            total = (raw * torch.randn(raw.shape, generator=draws).to(raw)).sum()
            found: tuple[Tensor | None, ...] = torch.autograd.grad(total, list(missing.values()), allow_unused=True)
            reached = [key for key, each in zip(missing, found, strict=True) if each is not None and _is_nonzero(each)]
            live.update(reached)
            missing = {key: weight for key, weight in missing.items() if key not in live}
    return live, seen


def _is_nonzero(gradient: Tensor) -> bool:
    return bool((gradient.to_dense() if gradient.is_sparse else gradient).any())
