"""Sample by sample: how far each model's prediction is from the golds' (paper Figures 2-5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unregress.evidence import Figure, MetricInfo
from unregress.evidence.nan_means import mean
from unregress.metrics.base import Metric, MetricResult, Panel, Subject, against_golds, measured
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

    Samples whose target is zero have none and are left out.

    Raises:
        DataError: the two are about different samples.
    """
    target = np.abs(gold.over_known(gold.target))
    kept = target > 0
    with np.errstate(over="ignore"):
        return absolute_deviation(model, gold)[kept] / target[kept]


@dataclass(frozen=True)
class Deviation(Metric):
    """Paired differences to the golds on the forget set: mean, quantiles, densities."""

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric="paired",
            title="Paired difference to the retrained models",
            meaning="How far the model's prediction for a sample is from a retrained model's prediction for the "
            "same sample, on average over samples and retrained models.",
            ideal="The noise floor, which is the difference of a retrained model to the others, that "
            "differ only by their seed.",
            unit="target units",
            source="twin of w_dist that sees which prediction belongs to which sample",
            distance=True,
        ),
        MetricInfo(
            metric="relative-deviation",
            title="Median relative deviation",
            meaning="Half of the samples deviate from a retrained model by less than this share of their true target.",
            ideal="The noise floor.",
            unit="share",
            source="paper Section 5 and Figures 2-5",
            distance=True,
        ),
        MetricInfo(
            metric="relative-deviation-90",
            title="Relative deviation, 90 % quantile",
            meaning="One sample in ten deviates from a retrained model by more than this share of its true target.",
            ideal="The noise floor.",
            unit="share",
            source="paper Section 5 and Figures 2-5",
            distance=True,
        ),
    )

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """Mean paired difference (forget and test-retain), relative quantiles, and two density figures."""
        for part in ("train-forget", "test-retain"):
            if part not in panel.parts:
                continue

            def paired(a: Subject, b: Subject, part: str = part) -> float:
                return float(mean(absolute_deviation(a.parts[part], b.parts[part])))

            for model, toward in against_golds(panel, paired).items():
                yield measured(metric="paired", split=part, model=model, **toward._asdict())
        forgotten = panel.original.parts["train-forget"]
        target = forgotten.over_known(forgotten.target)
        left_out = int(np.sum(target == 0))
        note = f"{left_out} samples with target 0 left out" if left_out else ""
        for metric, level in (("relative-deviation", 0.5), ("relative-deviation-90", 0.9)):

            def quantile(a: Subject, b: Subject, level: float = level) -> float:
                found = relative_deviation(a.parts["train-forget"], b.parts["train-forget"])
                with np.errstate(over="ignore", invalid="ignore"):
                    return float(np.quantile(found, level))

            if left_out < target.size:
                for model, toward in against_golds(panel, quantile).items():
                    yield measured(metric=metric, split="train-forget", model=model, note=note, **toward._asdict())
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
