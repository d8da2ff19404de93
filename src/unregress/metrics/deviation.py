"""Paired differences: the distance of each prediction to the golds' for the same sample (paper Figures 2-5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from unregress.evidence import Figure, MetricInfo, Part, Unit
from unregress.evidence.nan_means import mean
from unregress.metrics.base import Metric, MetricResult, Panel, Subject, distance_measurements
from unregress.metrics.density import density_curve, pooled
from unregress.metrics.predictions import Predictions, Values, require_aligned


def absolute_deviation(model: Predictions, gold: Predictions) -> Values:
    """|f_model - f_gold| per sample and output that is known, in target units, in one axis.

    Raises:
        DataError: the two are about different samples.
    """
    require_aligned(model, gold)
    with np.errstate(over="ignore"):
        return gold.over_known(np.abs(model.prediction - gold.prediction))


def relative_deviation(model: Predictions, gold: Predictions) -> Values:
    """|f_model - f_gold| / |y| per sample and output that is known, without unit (paper Section 5).

    Samples whose target is zero are left out.

    Raises:
        DataError: the two are about different samples.
    """
    target = np.abs(gold.over_known(gold.target))
    kept = target > 0
    with np.errstate(over="ignore"):
        return absolute_deviation(model, gold)[kept] / target[kept]


def mean_absolute_deviation(model: Predictions, gold: Predictions) -> float:
    """Mean over samples and known outputs of |f_model - f_gold|, in target units."""
    return float(mean(absolute_deviation(model, gold)))


def relative_deviation_quantile(model: Predictions, gold: Predictions, *, level: float) -> float:
    """Quantile over samples and known outputs of |f_model - f_gold| / |y|, without unit."""
    found = relative_deviation(model, gold)
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.quantile(found, level))


PARTS: tuple[Part, ...] = ("train-forget", "test-retain")
"""The parts of the data whose mean paired difference is measured."""


@dataclass(frozen=True)
class Deviation(Metric):
    """Paired differences to the golds on the forget set: mean, quantiles, densities."""

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric="paired",
            title="Paired difference to the retrained models",
            meaning="How far the model's prediction for a sample is from a retrained model's prediction for the "
            "same sample, on average over samples and retrained models.",
            ideal="The noise floor, which is the difference between retrained models, which differ only by their seed.",
            unit=Unit.TARGET,
            source="variant of w_dist that compares sample by sample",
            distance=True,
        ),
        MetricInfo(
            metric="relative-deviation",
            title="Median relative deviation",
            meaning="Half of the samples deviate from a retrained model by less than this share of their true target.",
            ideal="The noise floor.",
            unit=Unit.SHARE,
            source="paper Section 5 and Figures 2-5",
            distance=True,
        ),
        MetricInfo(
            metric="relative-deviation-90",
            title="Relative deviation, 90 % quantile",
            meaning="One sample in ten deviates from a retrained model by more than this share of its true target.",
            ideal="The noise floor.",
            unit=Unit.SHARE,
            source="paper Section 5 and Figures 2-5",
            distance=True,
        ),
    )

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """Mean paired difference (forget and test-retain), relative quantiles, and two density figures."""
        for part in (part for part in PARTS if part in panel.parts):
            seen = {subject.name: subject.parts[part] for subject in panel.subjects}
            yield from distance_measurements(panel, "paired", part, seen, mean_absolute_deviation)
        forgotten = panel.original.parts["train-forget"]
        target = forgotten.over_known(forgotten.target)
        left_out = int(np.sum(target == 0))
        note = f"{left_out} samples with target 0 left out" if left_out else ""
        if left_out < target.size:
            seen = {subject.name: subject.parts["train-forget"] for subject in panel.subjects}
            for metric, level in (("relative-deviation", 0.5), ("relative-deviation-90", 0.9)):
                quantile = partial(relative_deviation_quantile, level=level)
                yield from distance_measurements(panel, metric, "train-forget", seen, quantile, note=note)
        if len(panel.golds):
            yield _figure(panel, relative=True)
            yield _figure(panel, relative=False)


def _figure(panel: Panel, *, relative: bool) -> Figure:
    deviation = relative_deviation if relative else absolute_deviation

    def of(subject: Subject) -> Values:
        others = [gold.parts["train-forget"] for gold in panel.others(subject)]
        found = [deviation(subject.parts["train-forget"], other) for other in others]
        return np.concatenate(found) if found else np.zeros(0)

    values = pooled(panel, of)
    everything = np.concatenate(list(values.values()))
    everything = everything[np.isfinite(everything)]
    top = float(np.quantile(everything, 0.99)) if len(everything) else 0.0
    grid = np.linspace(0, top or 1.0, 200)
    curves = [density_curve(name, sample, grid, at_least_zero=True) for name, sample in values.items()]
    kind = "relative" if relative else "absolute"
    label = "|prediction - retrained model's prediction|"
    return Figure(
        key=f"{kind}-deviation-density",
        title=f"{kind.capitalize()} deviation from the retrained models, forgotten samples",
        caption="Each forgotten sample's distance to the retrained models' predictions.  The closer to zero "
        "the better, but no closer than retrained models are to each other.",
        x_label=f"{label} / |target|" if relative else f"{label} ({panel.unit})",
        y_label="density",
        curves=tuple(curves),
    )
