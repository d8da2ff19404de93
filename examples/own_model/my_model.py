"""Everything unregress must know of your project: a task and a function that loads the data."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import TensorDataset

from unregress import Splits, TensorTask


def make_model() -> nn.Module:
    """A fresh, untrained model of your architecture."""
    return nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))


def make_task(loss: str = "l1") -> TensorTask:
    """How your model and your batches fit together.

    Args:
        loss: what the model is trained on.
    """
    return TensorTask(build_model=make_model, loss=loss)


def load_data(samples: int = 600, seed: int = 0) -> Splits:
    """Your data; here drawn at random, with a target between roughly 20 and 80.

    Args:
        samples: how many in all.
        seed: of the draw.
    """
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, 5, generator=draws)
    noise = torch.randn(samples, generator=draws)
    y = 50 + 10 * x[:, 0] + 5 * x[:, 1] * x[:, 2] + noise
    train, validation = samples * 4 // 6, samples * 5 // 6
    return Splits(
        train=TensorDataset(x[:train], y[:train]),
        validation=TensorDataset(x[train:validation], y[train:validation]),
        test=TensorDataset(x[validation:], y[validation:]),
        ids=[f"record-{number:04}" for number in range(train)],
    )
