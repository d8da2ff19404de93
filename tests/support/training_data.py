"""Small data for training functions, of which some rows must not be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from support.small_cases import numbers
from unregress import ForgetRequest, Splits, TrainingData

ROWS = 48
FORGET = tuple(range(0, ROWS, 6))


def column(samples: int = ROWS) -> tuple[Tensor, Tensor]:
    """Inputs `(samples, 3)` and targets `(samples, 1)`."""
    inputs = numbers(samples, 3)
    return inputs, 5 + 3 * inputs.sum(1, keepdim=True)


def training_data(*, validation: bool = False, samples: int = ROWS) -> TrainingData:
    """All rows, without a request."""
    held_out = TensorDataset(*column(12)) if validation else None
    return TrainingData(train=TensorDataset(*column(samples)), validation=held_out, rows=np.arange(samples))


def poisoned_splits() -> Splits:
    """Splits whose rows to forget, and the like held-out ones, are NaN in inputs and targets."""
    inputs, targets = column()
    held_in, held_out = column(12)
    for part in (inputs, targets):
        part[list(FORGET)] = torch.nan
    for part in (held_in, held_out):
        part[[3, 8]] = torch.nan
    return Splits(train=TensorDataset(inputs, targets), validation=TensorDataset(held_in, held_out))


def poisoned_request() -> dict[str, Any]:
    """The fields of a case about `poisoned_splits`."""
    request = ForgetRequest(size=ROWS, forget=FORGET, reason="test")
    return {"splits": poisoned_splits(), "request": request, "validation_forget_like": [3, 8]}
