"""Handwritten predictions and panels, so that metrics can be checked without a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn
from torch.utils.data import TensorDataset

import unregress
from unregress.evidence import Measurement, Role
from unregress.metrics import Metric
from unregress.metrics.base import Panel, Subject
from unregress.metrics.predictions import Predictions


def role(name: str) -> Role:
    """The role of a model by its name: `original`, `gold`, `gold 2`, …, `constant`; others are unlearned."""
    if name in ("original", "constant"):
        return "original" if name == "original" else "reference"
    return "gold" if name.split()[0] == "gold" else "unlearned"


def seen(prediction: ArrayLike, target: ArrayLike | None = None, loss: ArrayLike | None = None) -> Predictions:
    """Build predictions for samples 0, 1, 2, …; targets default to 1, losses to absolute errors."""
    predicted = np.asarray(prediction, dtype=np.float64)
    true = np.ones_like(predicted) if target is None else np.asarray(target, dtype=np.float64)
    error = np.abs(predicted - true).reshape(len(predicted), -1).mean(axis=1)
    losses = error if loss is None else np.asarray(loss, dtype=np.float64)
    return Predictions(index=np.arange(len(predicted)), prediction=predicted, target=true, loss=losses)


def panel(parts: Mapping[str, Mapping[str, Predictions]], seed: int = 0) -> Panel:
    """Build a panel from predictions by model and part; its models are placeholders."""
    request = unregress.ForgetRequest(size=2, forget=(0,), reason="by hand")
    task = unregress.TensorTask(build_model=nn.Identity)
    case = unregress.Case(
        task=task, splits=unregress.Splits(train=TensorDataset(torch.zeros(2), torch.zeros(2))), request=request
    )
    subjects = tuple(
        Subject(name=name, role=role(name), model=None if name == "constant" else nn.Identity(), parts=seen_by_part)
        for name, seen_by_part in parts.items()
    )
    runtime = unregress.Runtime(accelerator="cpu", seed=seed)
    return Panel(case=case, runtime=runtime, subjects=subjects, validation_forget_like=np.zeros(0, dtype=np.int64))


Key = tuple[str, str, str]


def measures(metric: Metric, asked: Panel) -> dict[Key, Measurement]:
    """A metric's measurements by (metric, part, model)."""
    return {(m.metric, m.split, m.model): m for m in metric.measure(asked) if isinstance(m, Measurement)}


def values(metric: Metric, asked: Panel) -> dict[Key, float | None]:
    """A metric's values by (metric, part, model)."""
    return {key: measure.value for key, measure in measures(metric, asked).items()}


def features(rng: np.random.Generator, count: int, shift: float = 0.0, **wide: Any) -> Predictions:
    """Predictions with random loss, 3 activations and 2 gradients, all shifted by `shift`."""
    drawn = rng.normal(size=(count, 6)) + shift
    return Predictions(
        index=np.arange(count),
        featured=np.arange(count),
        prediction=np.zeros(count),
        target=np.zeros(count),
        **{"loss": drawn[:, 0], "activation": drawn[:, 1:4], "gradient": drawn[:, 4:], **wide},
    )
