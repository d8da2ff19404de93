"""A small regression table whose forgotten samples have much higher targets, and helpers to compare audits of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

import unregress
from support.small_cases import flat_case
from unregress.evidence import AuditReport, Figure, Measurement

TRAIN, VALIDATION, TEST = slice(0, 300), slice(300, 380), slice(380, 500)
BAND = 62.0
RUNTIME = unregress.Runtime(accelerator="cpu")
RECIPE = unregress.Recipe(epochs=60, lr=0.02, batch_size=64, schedule="one-cycle")
RELEARN = unregress.Anamnesis(recipe=unregress.Recipe(epochs=3, lr=0.01, batch_size=64), shuffles=2)


class Rows(Dataset[tuple[Tensor, ...]]):
    """A dataset that is read row by row through a `DataLoader`, unlike a `TensorDataset`."""

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, row: int) -> tuple[Tensor, ...]:
        return tuple(tensor[row] for tensor in self.tensors)


def table() -> tuple[Tensor, Tensor]:
    """500 samples with 3 inputs; y is 50 ± 4, and about 30 higher on the fifth of them with a large second input."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 3, generator=generator)
    noise = torch.randn(500, generator=generator)
    return x, 50 + 2 * x[:, 0] + noise + 30 * (x[:, 1] > 0.85)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1), Shift())


class Shift(nn.Module):
    """Rescales outputs, so that a fresh model's predictions are near the targets' mean."""

    def forward(self, z: Tensor) -> Tensor:
        return 50 + 10 * z


def small_case(**changes: Any) -> unregress.Case:
    """Build the table's case; `changes` replace fields of `Case` and `Splits`, `kind=Rows` makes it stream."""
    kind = changes.pop("kind", TensorDataset)
    x, y = table()
    fields: dict[str, Any] = {
        "task": unregress.TensorTask(build_model=net, loss="l1"),
        "request": unregress.ForgetRequest.band(y[TRAIN], low=BAND, reason="the bump"),
        "train": kind(x[TRAIN], y[TRAIN]),
        "validation": kind(x[VALIDATION], y[VALIDATION]),
        "test": kind(x[TEST], y[TEST]),
    }
    return flat_case(**(fields | changes))


class Answers(nn.Module):
    """A model that looks predictions up in a table by the input."""

    def __init__(self, x: Tensor, prediction: Tensor) -> None:
        super().__init__()
        self.register_buffer("x", x)
        self.register_buffer("prediction", prediction)

    def forward(self, x: Tensor) -> Tensor:
        known, answers = self.get_buffer("x"), self.get_buffer("prediction")
        return answers[(x[:, None] == known).all(-1).float().argmax(1), None]


def answers_of(model: nn.Module) -> tuple[Tensor, Tensor]:
    """All inputs of the table, and a model's predictions for them."""
    x, _ = table()
    with torch.no_grad():
        return x, model.eval()(x).squeeze(1)


Key = tuple[str, str, str]


def numbers(report: AuditReport) -> dict[Key, tuple[float | None, str, str]]:
    """Value, bound and note of each measurement by (metric, part, model)."""
    return {(m.metric, m.split, m.model): (m.value, m.bound, m.note) for m in report.measures}


def curves(figures: Iterable[Figure]) -> Mapping[str, Any]:
    """The curves of some figures by figure and model, without their order."""
    return {figure.key: {c.model: (c.x, c.y) for c in figure.curves} for figure in figures}


SHARES = dict.fromkeys(("attack", "attack-accuracy"), 0.03)
"""Absolute tolerance of attack metrics, which are shares of samples: rounding may move a sample over the boundary."""


def differing(
    first: AuditReport, second: AuditReport, *, rel: float, scale: Mapping[str, float] | None = None
) -> dict[Key, Any]:
    """Measurements that differ by more than a relative tolerance; `scale` multiplies the first report's metrics."""
    left, right = numbers(first), numbers(second)
    wrong: dict[Key, Any] = {key: None for key in left.keys() ^ right.keys()}
    for key in left.keys() & right.keys():
        (value, bound, _), (other, other_bound, _) = left[key], right[key]
        expected = (value or 0.0) * (scale or {}).get(key[0], 1.0)
        near = np.isclose(other or 0.0, expected, rtol=rel, atol=SHARES.get(key[0], rel))
        if bound != other_bound or (value is None) != (other is None) or not near:
            wrong[key] = value, other
    return wrong


def measured(report: AuditReport, metric: str, part: str, model: str) -> float:
    """The value of a measurement; raises if it has none."""
    found: Measurement = report.measure(metric, part, model)
    if found.value is None:
        raise ValueError(f"{metric} of {model} on {part} has no value: {found.note}")
    return found.value
