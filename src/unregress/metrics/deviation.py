"""Sample by sample: how far each model's prediction is from the retrained model's (paper Figures 2-5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unregress.evidence import About, Figure, Measure
from unregress.metrics.base import Finding, Metric, Panel, Subject
from unregress.metrics.density import density_curve
from unregress.predictions import Predictions, Values, require_aligned


def absolute_deviation(model: Predictions, gold: Predictions) -> Values:
    """|f_model - f_gold| per sample and output, in target units; shape `(n * outputs,)`.

    Raises:
        DataError: the two are about different samples.
    """
    require_aligned(model, gold)
    return np.abs(model.prediction - gold.prediction).ravel()


def relative_deviation(model: Predictions, gold: Predictions) -> Values:
    """|f_model - f_gold| / |y| per sample and output, without unit (paper Section 5).

    Samples whose target is zero have none and are left out.

    Raises:
        DataError: the two are about different samples.
    """
    target = np.abs(gold.target).ravel()
    kept = target > 0
    return absolute_deviation(model, gold)[kept] / target[kept]


@dataclass(frozen=True)
class Deviation(Metric):
    """Paired differences to the retrained model on the forget set: mean, quantiles, densities."""

    about: ClassVar[tuple[About, ...]] = (
        About(
            metric="paired",
            title="Paired difference to the retrained model",
            meaning="How far the model's prediction for a sample is from the retrained model's "
            "prediction for the same sample, on average.",
            ideal="As small as the noise floor, the difference between two retrained models that "
            "differ only by their seed.",
            unit="target units",
            source="twin of w_dist that sees which prediction belongs to which sample",
        ),
        About(
            metric="relative-deviation",
            title="Median relative deviation",
            meaning="Half of the samples deviate from the retrained model by less than this share "
            "of their true target.",
            ideal="As small as the noise floor.",
            unit="share",
            source="paper Section 5 and Figures 2-5",
        ),
        About(
            metric="relative-deviation-90",
            title="Relative deviation, 90 % quantile",
            meaning="One sample in ten deviates from the retrained model by more than this share of its true target.",
            ideal="As small as the noise floor.",
            unit="share",
            source="paper Section 5 and Figures 2-5",
        ),
    )

    def measure(self, panel: Panel) -> Iterator[Finding]:
        """Mean paired difference (forget and test-retain), relative quantiles, and two density figures."""
        for part in ("train-forget", "test-retain"):
            if part not in panel.parts:
                continue
            for subject in panel.subjects:
                paired = float(np.mean(absolute_deviation(subject.parts[part], panel.gold.parts[part])))
                yield Measure(metric="paired", split=part, model=subject.name, value=paired)
        gold = panel.gold.parts["train-forget"]
        left_out = int(np.sum(gold.target == 0))
        note = f"{left_out} samples with target 0 left out" if left_out else ""
        for metric, level in (("relative-deviation", 0.5), ("relative-deviation-90", 0.9)):
            for subject in panel.subjects:
                values = relative_deviation(subject.parts["train-forget"], gold)
                value = float(np.quantile(values, level)) if len(values) else None
                yield Measure(metric=metric, split="train-forget", model=subject.name, value=value, note=note)
        yield _figure(panel, relative=True)
        yield _figure(panel, relative=False)


def _figure(panel: Panel, *, relative: bool) -> Figure:
    gold = panel.gold.parts["train-forget"]
    deviation = relative_deviation if relative else absolute_deviation
    # The gold's own deviation is zero throughout: a line at zero that would only hide the others.
    others = [subject for subject in panel.subjects if subject.role != "gold"]

    def of(subject: Subject) -> Values:
        return deviation(subject.parts["train-forget"], gold)

    values = {subject.name: of(subject) for subject in others}
    everything = np.concatenate(list(values.values())) if values else np.zeros(0)
    top = float(np.quantile(everything, 0.99)) if len(everything) else 0.0
    grid = np.linspace(0, top or 1.0, 200)
    curves = [density_curve(name, sample, grid, at_least_zero=True) for name, sample in values.items()]
    kind = "relative" if relative else "absolute"
    label = "|prediction - retrained model's prediction|"
    return Figure(
        key=f"{kind}-deviation-density",
        title=f"{kind.capitalize()} deviation from the retrained model, forgotten samples",
        caption="Each forgotten sample's distance to the retrained model's prediction.  The closer to zero "
        "the better, but no closer than the further retrained models are.",
        x_label=f"{label} / |target|" if relative else f"{label} (target units)",
        y_label="density",
        curves=tuple(curves),
    )
