"""Training functions as users write them, right and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from unregress import TrainingData


def by_rmsprop(data: TrainingData, start: nn.Module, seed: int, epochs: int = 2) -> nn.Module:
    """Two epochs of RMSprop on squared errors, in an order that follows the seed."""
    loader = DataLoader(data.train, batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(seed))
    optimizer = torch.optim.RMSprop(start.parameters(), lr=1e-2)
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            (start(x).squeeze(1) - y).square().mean().backward()
            optimizer.step()
    return start


@dataclass(frozen=True)
class WithRates:
    """Training with a setting that may be long, and that it does not use."""

    rates: Sequence[float]

    def __call__(self, data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
        return by_rmsprop(data, start, seed)


@dataclass(frozen=True)
class Scheduled:
    """A class of training functions with a setting."""

    epochs: int = 1

    def __call__(self, data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
        return by_rmsprop(data, start, seed, self.epochs)


def ignoring_the_seed(data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
    return by_rmsprop(data, start, 0)


def ignoring_the_start(data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
    torch.manual_seed(0)
    own = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    return by_rmsprop(data, own, seed)


def ignoring_the_data(data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
    """Trains on a dataset of its own, as many steps as the given samples would take."""
    rng = torch.Generator().manual_seed(3)
    own = TensorDataset(torch.randn(len(data.rows), 3, generator=rng), torch.randn(len(data.rows), generator=rng))
    return by_rmsprop(replace(data, train=own), start, seed)


def at_its_rows(data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
    """Trains on values of its own for the given samples."""
    values = torch.randn(1000, 4, generator=torch.Generator().manual_seed(3))[torch.from_numpy(data.rows)]
    return by_rmsprop(replace(data, train=TensorDataset(values[:, :3], values[:, 3])), start, seed)


def dropping_a_part(data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
    """Leaves out a last batch that is not full, and trains on few of the samples."""
    torch.manual_seed(seed)
    x, y = next(iter(DataLoader(data.train, batch_size=len(data.rows) // 2 + 1, shuffle=True, drop_last=True)))
    return by_rmsprop(replace(data, train=TensorDataset(x[:2], y[:2])), start, seed)


def of_another_architecture(data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 1))


def returning_nothing(data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
    by_rmsprop(data, start, seed)  # in place, and nothing is returned


def comparing_with_every_target(data: TrainingData, start: nn.Module, seed: int, batch_size: int = 16) -> nn.Module:
    """Predictions are (n, 1) and targets (n,), which PyTorch expands to (n, n)."""
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(start.parameters(), lr=1e-4)
    for x, y in DataLoader(data.train, batch_size=batch_size, shuffle=True, generator=order):
        optimizer.zero_grad()
        nn.functional.mse_loss(start(x), y).backward()
        optimizer.step()
    return start


def diverging(data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
    with torch.no_grad():
        next(start.parameters()).fill_(float("nan"))
    return start


def failing(data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
    raise KeyError("learning_rate")


def drawing_from_the_global_state(data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
    """Seeds nothing: the global random state is seeded already."""
    return by_rmsprop(data, start, int(torch.randint(2**31, ())))


def never_the_same(data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
    return by_rmsprop(data, start, torch.Generator().seed())
