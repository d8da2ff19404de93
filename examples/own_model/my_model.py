"""Everything unregress must know of your project: a task and a function that loads the data."""

from __future__ import annotations

import torch
from sklearn.datasets import make_friedman1
from torch import nn
from torch.utils.data import TensorDataset

from unregress import Splits, TensorTask


def make_model() -> nn.Module:
    """A fresh, untrained model of your architecture."""
    return nn.Sequential(nn.Linear(5, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1))


def make_task(loss: str = "l1") -> TensorTask:
    """How your model and your batches fit together.

    Args:
        loss: what the model is trained on.
    """
    return TensorTask(build_model=make_model, loss=loss)


def load_data(samples: int = 1500, seed: int = 0) -> Splits:
    """Your data; here scikit-learn's "Friedman #1" with noise of standard deviation 1, targets from about 0 to 30.

    Args:
        samples: how many in all.
        seed: of the draw.
    """
    table, targets = make_friedman1(samples, n_features=5, noise=1.0, random_state=seed)
    x = torch.tensor(2 * table - 1, dtype=torch.float32)
    y = torch.tensor(targets, dtype=torch.float32)
    train, validation = samples * 4 // 6, samples * 5 // 6
    return Splits(
        train=TensorDataset(x[:train], y[:train]),
        validation=TensorDataset(x[train:validation], y[train:validation]),
        test=TensorDataset(x[validation:], y[validation:]),
        ids=[f"record-{number:04}" for number in range(train)],
    )
