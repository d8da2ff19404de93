"""Thirty people whose targets can only be learnt by heart, and 150 others, for the command line."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import TensorDataset

from unregress import Splits, TensorTask


def build_model() -> nn.Module:
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 1))


def linear() -> nn.Module:
    return nn.Linear(20, 1)


def task() -> TensorTask:
    return TensorTask(build_model, loss="mse")


def data() -> Splits:
    """Two training samples of each of thirty people, and as many test samples of each of 150 others."""
    rng = torch.Generator().manual_seed(1)
    x, y = torch.randn(360, 20, generator=rng), torch.randn(360, generator=rng)
    train, test = (TensorDataset(x[rows], y[rows]) for rows in (slice(0, 60), slice(60, 360)))
    others = [100 + row // 2 for row in range(300)]
    return Splits(train=train, test=test, subjects=[row // 2 for row in range(60)], test_subjects=others)


def two_inputs() -> nn.Module:
    return nn.Linear(2, 1)
