"""The samples of a closed-form edit: which are held, which are watched, and what a model predicts for them."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from unregress.data.case import Case
from unregress.hooks.nearest import nearest_rows
from unregress.hooks.raw_predictions import flattened, predict_rows_by
from unregress.training.runtime import Runtime

WATCHED = 200
"""Retained samples, none of them an anchor, whose drift decides which layers are changed, and is reported."""


def anchors_wanted(anchors: int, forgotten: int) -> int:
    """Number of samples to hold: at least three for each forgotten one, or none."""
    return max(anchors, 3 * forgotten) if anchors else 0


def predict_raw(model: nn.Module, case: Case, rows: Tensor, runtime: Runtime) -> Tensor:
    """Raw predictions of training samples, `(n, k)` float64, in evaluation mode."""
    if not len(rows):
        return torch.empty(0, 0, dtype=torch.float64)
    return flattened(predict_rows_by(model, case, "train_eval", rows, runtime)).double()


def draw_anchors(model: nn.Module, case: Case, runtime: Runtime, count: int, draws: Generator) -> tuple[Tensor, Tensor]:
    """Positions of the samples to hold, half nearest and half random, and of others to watch."""
    retain = torch.from_numpy(case.requested.retain)
    near = nearest_rows(model, case, count // 2, draws, runtime) if count > 1 else retain[:0]
    others = retain[~torch.isin(retain, near)]
    others = others[torch.randperm(len(others), generator=draws)]
    drawn = others[: count - len(near)]
    return torch.cat([near, drawn]), others[len(drawn) : len(drawn) + WATCHED]


def spread_of(predicted: Tensor) -> Tensor:
    """The spread of each of several outputs over some samples, `(k,)`; 1 for a single one, and for a constant one."""
    spread = predicted.std(dim=0, correction=0)
    return torch.where(spread > 0, spread, 1.0) if len(spread) > 1 else torch.ones_like(spread)
