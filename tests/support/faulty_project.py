"""A user's project that raises an exception at a place given by its options."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from unregress import Case, Method, Runtime, Splits, TensorTask, Unlearned


class OwnError(Exception):
    """A user's exception class whose `__str__` raises."""

    def __str__(self) -> str:
        raise TypeError("no text")


def endless() -> None:
    endless()


def stop() -> None:
    raise StopIteration


def wrong() -> None:
    raise ValueError("mistake \x1b[2J in\nline 7")


def own() -> None:
    raise OwnError


def check() -> None:
    assert sys is os


def too_much() -> None:
    raise MemoryError


RAISING: dict[str, Callable[[], object]] = {
    "ValueError": wrong,
    "OwnError": own,
    "RecursionError": endless,
    "AssertionError": check,
    "MemoryError": too_much,
    "StopIteration": stop,
    "KeyError": lambda: {}["age"],
    "SystemExit": lambda: sys.exit(0),
    "FileNotFoundError": Path("no-such-table.csv").read_text,
}


class Rows(Dataset[tuple[Tensor, Tensor]]):
    """A dataset whose sample 17 may be broken."""

    def __init__(self, size: int, seed: int, broken: str) -> None:
        self.x = torch.randn(size, 3, generator=torch.Generator().manual_seed(seed))
        self.broken = broken

    def __len__(self) -> int:
        if self.broken.startswith("len:"):
            RAISING[self.broken[4:]]()
        return -1 if self.broken == "negative" else len(self.x)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        if row == 17 and self.broken.startswith("item:"):
            RAISING[self.broken[5:]]()
        width = 2 if row == 17 and self.broken == "ragged" else 3
        return self.x[row, :width], self.x[row, 0]


def load_data(broken: str = "", split: str = "train") -> Splits:
    """Splits whose reading may raise.

    Args:
        broken: place and exception, such as `data:ValueError` or `item:KeyError`.
        split: the split that is broken.
    """
    if broken.startswith("data:"):
        RAISING[broken[5:]]()

    def collate(samples: list[Any]) -> Any:
        if broken.startswith("collate:"):
            RAISING[broken[8:]]()
        return default_collate(samples)

    def augment(batch: Any, generator: torch.Generator) -> Any:
        if broken.startswith("augment:"):
            RAISING[broken[8:]]()
        return batch

    parts = {name: Rows(size, seed, broken if name == split else "")
             for seed, (name, size) in enumerate((("train", 40), ("validation", 20), ("test", 20)))}  # fmt: skip
    return Splits(**parts, collate=collate, augment=augment)


class Faulty(TensorTask):
    """A task that raises in one of its methods, or in its model."""

    def __init__(self, broken: str) -> None:
        self.broken = broken

        def build() -> nn.Module:
            if broken.startswith("build:"):
                RAISING[broken[6:]]()
            return Net(broken)

        super().__init__(build)

    def target(self, batch: Any) -> Tensor:
        if self.broken.startswith("target:"):
            RAISING[self.broken[7:]]()
        return super().target(batch)


class Net(nn.Module):
    def __init__(self, broken: str) -> None:
        super().__init__()
        self.head, self.broken = nn.Linear(3, 1), broken

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training and self.broken.startswith("training:"):
            RAISING[self.broken[9:]]()
        return self.head(inputs)


def make_task(broken: str = "") -> TensorTask:
    """A task that may raise.

    Args:
        broken: place and exception, such as `build:ValueError`.
    """
    if broken.startswith("task:"):
        RAISING[broken[5:]]()
    return Faulty(broken)


@dataclass(frozen=True, kw_only=True)
class Broken(Method):
    """A method that raises.

    Args:
        broken: name of the exception.
    """

    broken: str = "ValueError"

    def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        RAISING[self.broken]()
        raise NotImplementedError
