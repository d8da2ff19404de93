"""A user's project, small enough to train in a blink."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.utils.data import TensorDataset

from unregress import Splits, TensorTask


def make_model() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))


def make_task(loss: str = "l1") -> TensorTask:
    """A task.

    Args:
        loss: by name.
    """
    return TensorTask(build_model=make_model, loss=loss)


def load_data(samples: int = 120, seed: int = 0, named: bool = True) -> Splits:
    """Data drawn at random.

    Args:
        samples: in all.
        seed: of the draw.
        named: whether the samples have ids.
    """
    x = torch.randn(samples, 3, generator=torch.Generator().manual_seed(seed))
    y = 50 + 10 * x[:, 0] + x[:, 1]
    parts = [TensorDataset(x[rows], y[rows]) for rows in torch.arange(samples).tensor_split(4)]
    train = TensorDataset(*(torch.cat(both) for both in zip(parts[0].tensors, parts[1].tensors, strict=True)))
    ids = [f"p{number}" for number in range(len(train))] if named else None
    return Splits(train=train, validation=parts[2], test=parts[3], ids=ids)


def without_test() -> Splits:
    """No test data."""
    data = load_data()
    return Splits(train=data.train, validation=data.validation, ids=data.ids)


class Scaled(nn.Sequential):
    """A weight behind the last linear layer."""

    def __init__(self) -> None:
        super().__init__(*make_model(), nn.PReLU())


def scaled_task() -> TensorTask:
    """A model that does not end in a linear layer."""
    return TensorTask(build_model=Scaled)


def overlapping() -> Splits:
    """Test data that are training data, and one NaN."""
    data = load_data()
    broken = TensorDataset(torch.full((4, 3), torch.nan), torch.zeros(4))
    return Splits(train=data.train, validation=broken, test=data.train)


def missing_file() -> Splits:
    """A file that is not there."""
    return load_data(int(Path("no-such-table.csv").read_text()))


def missing_package() -> Splits:
    """A package that is not there."""
    import no_such_package  # type: ignore[import-not-found]

    return load_data(no_such_package.SIZE)


def buggy() -> Splits:
    """A mistake."""
    raise ValueError("mistake in line 7")


def nothing() -> Splits:
    """A forgotten return."""
    return None  # type: ignore[return-value]


def wide_task() -> TensorTask:
    """Another architecture than the trained one."""
    return TensorTask(build_model=lambda: nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 1)))


def interrupted() -> TensorTask:
    """A user who presses Ctrl-C while a model is made."""

    def stop() -> nn.Module:
        raise KeyboardInterrupt

    return TensorTask(build_model=stop)


def late_file() -> TensorTask:
    """A file that is missed only while running."""

    def read() -> nn.Module:
        return nn.Linear(3, int(Path("no-such-weights.bin").read_text()))

    return TensorTask(build_model=read)


def unannotated():
    """A task, but the signature does not say so."""
    return make_task()
