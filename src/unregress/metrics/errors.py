"""Errors on the retained and the forgotten part of training and test data (paper Section 5, "Performance")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unregress.evidence import MetricInfo, Unit
from unregress.evidence.nan_means import mean, root_mean_square
from unregress.metrics.base import Metric, MetricResult, Panel, value_measurements
from unregress.metrics.predictions import Predictions, Values

_IDEAL = (
    "A retrained model's own value.  On the forgotten part neither lower nor higher is better: "
    "an error far above a retrained model's reveals the forgotten samples as clearly as one below it."
)


def mean_absolute_error(prediction: Values, target: Values) -> float:
    """Mean of |prediction - target| over samples and outputs that are known (not NaN), in target units.

    >>> mean_absolute_error(np.array([1.0, 5.0]), np.array([2.0, 2.0]))
    2.0
    """
    with np.errstate(over="ignore"):
        return float(mean(np.abs(prediction - target)))


def root_mean_squared_error(prediction: Values, target: Values) -> float:
    """Square root of the mean of (prediction - target)² over samples and outputs that are known (not NaN).

    >>> root_mean_squared_error(np.array([0.0, 0.0]), np.array([1.0, 7.0]))
    5.0
    """
    with np.errstate(over="ignore"):
        return root_mean_square(prediction - target)


@dataclass(frozen=True)
class Errors(Metric):
    """MAE and RMSE on each part, and the task's loss where it is neither the absolute nor the squared error.

    Means are over samples, not over batches, and over outputs whose targets are known.  The paper's err_D_t^r is
    the error on `test-retain`.  Its err_D_t^f is on the training set's forget samples according to Table 1, but on the
    test set's in the published code, so both are measured.
    """

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric="mae",
            title="Mean absolute error",
            meaning="How far predictions are from the true targets on average.",
            ideal=_IDEAL,
            unit=Unit.TARGET,
            source="paper Section 5, err_D_t^r and err_D_t^f (Table 1)",
        ),
        MetricInfo(
            metric="rmse",
            title="Root mean squared error",
            meaning="As the mean absolute error, but large misses weigh more.",
            ideal=_IDEAL,
            unit=Unit.TARGET,
            source="paper Section 5, err_D_t^r and err_D_t^f (Table 2)",
        ),
        MetricInfo(
            metric="loss",
            title="Training loss",
            meaning="The loss that the model was trained on, averaged over samples.",
            ideal=_IDEAL,
            unit=Unit.LOSS,
            source="paper Table 3",
        ),
    )

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """MAE, RMSE and, where it is neither absolute nor squared error, the loss."""
        with_loss = not _loss_repeats_error(panel.original.parts["train-retain"])
        for part in panel.parts:
            seen = {subject.name: subject.parts[part] for subject in panel.subjects}
            values = {
                "mae": {name: mean_absolute_error(own.prediction, own.target) for name, own in seen.items()},
                "rmse": {name: root_mean_squared_error(own.prediction, own.target) for name, own in seen.items()},
            }
            if with_loss:
                values["loss"] = {name: float(mean(own.loss)) for name, own in seen.items()}
            for metric, found in values.items():
                yield from value_measurements(panel, metric, part, found)


def _loss_repeats_error(seen: Predictions) -> bool:
    """Whether the task's loss is the absolute or squared error, which MAE and RMSE already show."""
    with np.errstate(over="ignore"):
        error = np.abs(seen.prediction - seen.target).reshape(len(seen), -1)
        return any(np.allclose(seen.loss, mean(error**power, axis=1), rtol=1e-4) for power in (1, 2))
