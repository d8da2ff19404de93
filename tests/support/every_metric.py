"""Every metric of the library, with settings that make it quick, derived from `metrics.__all__`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unregress import FineTune, Recipe, metrics
from unregress.metrics import Metric

QUICK = Recipe(epochs=1, batch_size=16)
TESTED = {"recipe": QUICK, "methods": {"model": FineTune(recipe=QUICK)}}
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "Anamnesis": {"recipe": QUICK, "shuffles": 1},
    "KLoM": {**TESTED, "models": 4},
    "Published": {"recipe": None},
    "Revival": {"recipe": QUICK},
    "ULiRA": {**TESTED, "models": 6, "share": 0.4},
}
"""What a metric is made with where its defaults will not do."""
NEEDS_NOISE = "GaussianPoisons"
"""The metric that asks for the noise which a case's samples carry."""
NAMES = tuple(name for name in metrics.__all__ if name != "Metric")  # the class of which all are
"""The metrics' names."""


def made(name: str, noise: Tensor | None = None) -> Metric:
    """A metric by its name.

    Args:
        name: of `NAMES`.
        noise: of the forgotten samples of a case.
    """
    given = {"noise": noise, "scale": 0.1} if name == NEEDS_NOISE else SETTINGS.get(name, {})
    metric: Metric = getattr(metrics, name)(**given)
    return metric


def of_predictions() -> dict[str, Metric]:
    """The metrics that read nothing but what a panel holds, and so can be asked about panels written by hand."""
    every = {name: made(name) for name in NAMES if name != NEEDS_NOISE}
    return {name: metric for name, metric in every.items() if not metric.needs_model or metric.needs_features}
