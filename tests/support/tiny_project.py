"""A user's project that trains in a moment: tasks and data, valid and faulty, for the command line."""

from __future__ import annotations

from dataclasses import replace
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
        loss: the loss by name.
    """
    return TensorTask(build_model=make_model, loss=loss)


def load_data(samples: int = 120, seed: int = 0, named: bool = True) -> Splits:
    """Splits drawn at random.

    Args:
        samples: number of samples in all splits.
        seed: seed of the draw.
        named: whether the samples have ids.
    """
    x = torch.randn(samples, 3, generator=torch.Generator().manual_seed(seed))
    y = 50 + 10 * x[:, 0] + x[:, 1]
    parts = [TensorDataset(x[rows], y[rows]) for rows in torch.arange(samples).tensor_split(4)]
    train = TensorDataset(*(torch.cat(both) for both in zip(parts[0].tensors, parts[1].tensors, strict=True)))
    ids = [f"p{number}" for number in range(len(train))] if named else None
    return Splits(train=train, validation=parts[2], test=parts[3], ids=ids)


def weighted_data() -> Splits:
    """Splits whose training samples have weights from 1 to 4."""
    data = load_data()
    return replace(data, weights=[1.0 + row % 4 for row in range(data.size)])


def without_test() -> Splits:
    """Splits without test data."""
    data = load_data()
    return Splits(train=data.train, validation=data.validation, ids=data.ids)


class Scaled(nn.Sequential):
    """A model with a weight behind its last linear layer."""

    def __init__(self) -> None:
        super().__init__(*make_model(), nn.PReLU())


def scaled_task() -> TensorTask:
    """A task whose model does not end in a linear layer."""
    return TensorTask(build_model=Scaled)


def overlapping() -> Splits:
    """Splits whose test data are the training data, and whose validation data are NaN."""
    data = load_data()
    broken = TensorDataset(torch.full((4, 3), torch.nan), torch.zeros(4))
    return Splits(train=data.train, validation=broken, test=data.train)


def missing_file() -> Splits:
    """A loading function that reads a missing file."""
    return load_data(int(Path("no-such-table.csv").read_text()))


def missing_package() -> Splits:
    """A loading function that imports a missing package."""
    import no_such_package  # type: ignore[import-not-found]

    return load_data(no_such_package.SIZE)


def buggy() -> Splits:
    """A loading function that raises."""
    raise ValueError("mistake in line 7")


def nothing() -> Splits:
    """A loading function that returns None."""
    return None  # type: ignore[return-value]


def wide_task() -> TensorTask:
    """A task with another architecture than the trained model's."""
    return TensorTask(build_model=lambda: nn.Sequential(nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 1)))


def interrupted() -> TensorTask:
    """A task whose `build_model` raises KeyboardInterrupt, as on Ctrl-C."""

    def stop() -> nn.Module:
        raise KeyboardInterrupt

    return TensorTask(build_model=stop)


def late_file() -> TensorTask:
    """A task whose `build_model` reads a missing file."""

    def read() -> nn.Module:
        return nn.Linear(3, int(Path("no-such-weights.bin").read_text()))

    return TensorTask(build_model=read)


def unannotated():
    """A task from a function without return annotation."""
    return make_task()


def people_data(shuffled: int | None = None, without: int | None = None, kept: bool = False) -> Splits:
    """Twenty people with three training samples each, some of them with held-out samples too.

    Args:
        shuffled: seed of another order of the training samples.
        without: a person whose samples are gone from all splits.
        kept: whether that person's test samples are still there.
    """
    data = load_data(named=False)
    train, validation, test = list(range(20)) * 3, [100 + n // 2 for n in range(30)], [n // 2 for n in range(30)]
    rows = (
        torch.arange(60) if shuffled is None else torch.randperm(60, generator=torch.Generator().manual_seed(shuffled))
    )
    rows = torch.tensor([row for row in rows.tolist() if train[row] != without])
    held = torch.tensor([row for row in range(30) if kept or test[row] != without])
    return Splits(
        train=TensorDataset(*(tensor[rows] for tensor in data.train.tensors)),
        validation=data.validation,
        test=TensorDataset(*(tensor[held] for tensor in data.test.tensors)),
        subjects=[train[row] for row in rows.tolist()],
        validation_subjects=validation,
        test_subjects=[test[row] for row in held.tolist()],
        columns={
            "city": ["Basel" if train[row] % 2 else "Bern" for row in rows.tolist()],
            "year": [2000 + row // 20 for row in rows.tolist()],
        },
    )
