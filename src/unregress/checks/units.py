"""Check the conversion between the model's units and the user's on some targets."""

from __future__ import annotations

import torch
from torch import Tensor

from unregress.data.case import Case
from unregress.data.loading import read_targets
from unregress.errors import ModelError, UnregressError
from unregress.errors.user_code import described

ROWS = 1000
"""Number of training targets, evenly spaced, that are converted."""
RTOL = 1e-3
"""Largest difference between targets and the same converted there and back, relative to their spread."""


def check_units(case: Case) -> list[UnregressError]:
    """Complain if targets converted to the user's units and back are others, or not finite.

    With a scaler that loses values, such as one that clips, reports would be about other numbers than the model's.

    Args:
        case: the task and the data.
    """
    members = torch.from_numpy(case.rows("train_eval"))
    rows = members[torch.linspace(0, len(members) - 1, min(len(members), ROWS)).round().long().unique()]
    try:
        targets = read_targets(case.source("train_eval"), case.task, rows)
        units = case.task.to_units(targets)
        if units is targets:
            return []
        back = case.task.to_model(units)
    except UnregressError as error:
        return [error]
    except Exception as error:
        return [
            ModelError(
                f"The conversion of targets to the units of reports fails: {described(error)}",
                expected="a scaler that was fitted on targets of this shape",
            )
        ]
    known = ~targets.isnan()
    found = ""
    if units.shape != targets.shape:
        found = f"gives the shape {tuple(units.shape)} for {tuple(targets.shape)}"
    elif not bool(units[known].isfinite().all()):
        found = "gives NaN or infinity"
    else:
        if not _keeps_order(targets, units):
            found = "changes their order"
        gap = (back.double() - targets.double())[known].abs().max()
        spread = (targets[known].double() - targets[known].double().mean()).abs().mean()
        if not found and float(gap) > RTOL * max(float(spread), 1e-12):
            found = f"and back changes targets by up to {float(gap):.3g}"
    if not found:
        return []
    return [
        ModelError(
            f"The conversion of targets to the units of reports {found}",
            expected="finite numbers of the same shape, from which `to_model` gives the targets again",
            remedy="Pass the scaler that the targets were transformed with, or correct `to_units` and `to_model`",
        )
    ]


def _keeps_order(targets: Tensor, units: Tensor) -> bool:
    """Whether a conversion of targets keeps, or reverses, the order of each output's values."""
    for own, converted in zip(targets.reshape(len(targets), -1).T, units.reshape(len(units), -1).T, strict=True):
        known = ~own.isnan()
        steps = converted[known][own[known].argsort()].diff()
        if bool((steps > 0).any()) and bool((steps < 0).any()):
            return False
    return True
