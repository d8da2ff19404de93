"""Memory kept of the forgotten samples, by retrained models: one number, and an exact test that it is a gold's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from typing import ClassVar, NamedTuple

import numpy as np

from unregress.evidence import Curve, Figure, MetricInfo, Unit
from unregress.evidence.findings import BY_CHANCE
from unregress.evidence.memory_limit import MemoryTest
from unregress.evidence.nan_means import root_mean_square, scale_of
from unregress.metrics.base import NEVER_SEEN, Metric, MetricResult, Panel, Subject, measured
from unregress.metrics.memory_by_chance import memory_by_chance
from unregress.metrics.memory_of_few import memory_of_few
from unregress.metrics.memory_slope import full_memory, memory_kept
from unregress.metrics.predictions import Values

FEW = 30
"""Numbers of forgotten samples below which they are shown one by one."""


class Lean(NamedTuple):
    """How much farther than the golds a model goes towards the targets."""

    amount: float
    """The model's distance along the direction to the targets, less the golds' mean distance."""
    error: float
    """Standard deviation of `amount` for one more gold."""


def lean(prediction: Values, target: Values, golds: Values) -> Lean:
    """Compare a model with the golds along the direction from the mean of them all to the targets.

    The direction is y - M, of length 1, where M is the mean of the golds *and* the model.  It treats all of them alike,
    so that Student's t of the model's distance against the golds' is exact for one more gold if golds vary normally,
    whatever the correlation between samples: deviations from the mean of normal draws do not depend on that mean.
    Along y less the golds' mean, a fresh gold would be suspected too often, since its own chance is not in that mean.

    Args:
        prediction: f, `(m, *out)`.
        target: y, of the same shape; unknown outputs (NaN) are left out.
        golds: their predictions, `(golds, m, *out)`, of two or more.

    >>> found = lean(np.array([5.0]), np.array([8.0]), np.array([[0.0], [2.0], [1.0]]))
    >>> found.amount, round(found.error, 4)  # 5 - 1, and 1 · √(1 + 1/3)
    (4.0, 1.1547)
    """
    everyone = np.concatenate([golds, prediction[None]])
    center = everyone.mean(axis=0)
    direction = np.where(np.isnan(target), 0.0, target - center)
    length = float(np.linalg.norm(direction)) or 1.0
    *of_golds, own = ((everyone - center) * (direction / length)).reshape(len(everyone), -1).sum(axis=1)
    error = float(np.std(of_golds, ddof=1)) * sqrt(1 + 1 / len(of_golds))
    return Lean(float(own - np.mean(of_golds)), error)


@dataclass(frozen=True)
class Memory(Metric):
    """How much of the forgotten samples each model still knows, judged by the golds; one sample is enough.

    A gold is compared with the mean of the other golds, every other model with the mean of them all.
    """

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric="memory",
            title="Memory kept, by retrained models",
            meaning="How far the predictions for the forgotten samples lean from the retrained models' mean "
            "towards the true values: 1 is on the true values, 0 no nearer than the mean.  The interval is of how much "
            "farther than retrained models it leans, measured as if it were one of them; the value of a model that is "
            "far off may lie outside.",
            ideal="A retrained model's own value, which is near 0; the original's is what there was to forget.",
            unit=Unit.SHARE,
            source="This library, after leave-one-out memorisation (Feldman 2020)",
        ),
        MetricInfo(
            metric="memory-of-few",
            title="Memory of the best known samples",
            meaning="How much nearer to the true values the model is than the retrained models' mean, in standard "
            "deviations of one of them: the mean over the twentieth of the forgotten samples that it knows best.",
            ideal="A retrained model's own value, which is above 0 since it too knows some samples best.",
            unit="standard deviations",
            source="this library",
        ),
        MetricInfo(
            metric=BY_CHANCE,
            title="Memory kept, by never-seen samples",
            meaning="How often as many never-seen samples lean as far from the retrained models' mean towards their "
            "true values as the forgotten samples do; measured where few are forgotten.",
            ideal="Any value: at 0.05 or below the model knows the forgotten samples in particular; above it, it "
            "differs from the retrained models in some other way, if it differs.",
            unit=Unit.SHARE,
            source="this library",
        ),
    )

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """The memory kept by every model, with interval and one-sided p-value for those that are not golds."""
        if len(panel.golds) < 2:
            return
        answers = {subject.name: subject.parts["train-forget"].prediction for subject in panel.subjects}
        target = panel.original.parts["train-forget"].target
        # The number has no unit; in a unit of their own, very large predictions can be squared.
        unit = scale_of(target, *answers.values())
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            scale = float(np.square(typical_error(panel) / unit))  # infinite where `float ** 2` would raise
            for subject in panel.subjects:
                golds = np.stack([answers[gold.name] for gold in panel.others(subject)]) / unit
                test = compared_with_golds(answers[subject.name] / unit, target / unit, golds, scale)
                judged = subject.role != "gold"
                yield measured(
                    metric="memory",
                    split="train-forget",
                    model=subject.name,
                    value=test.value,
                    # A gold is compared with others that are compared with it.
                    interval=test.interval if judged else None,
                    p=test.p if judged and isfinite(test.beyond) else None,
                )
                if len(golds) > 1:
                    value = memory_of_few(answers[subject.name] / unit, target / unit, golds)
                    yield measured(metric="memory-of-few", split="train-forget", model=subject.name, value=value)
            if len(target) < FEW:
                yield from memory_by_chance(panel, unit, scale)
                yield _one_by_one(panel)


def _one_by_one(panel: Panel) -> Figure:
    """Where each judged model lies among the golds, sample by sample."""
    errors = {subject.name: _errors(subject) for subject in panel.subjects}
    of_golds = np.stack([errors[gold.name] for gold in panel.golds])
    judged = [subject.name for subject in panel.subjects if subject.role in ("original", "unlearned")]
    places = {name: (of_golds > errors[name]).mean(axis=0) for name in judged}
    number = tuple(float(place) for place in range(1, of_golds.shape[1] + 1))
    return Figure(
        key="memory-by-sample",
        title="Each forgotten sample among retrained models",
        caption="The share of retrained models that err more on the forgotten sample; forgotten samples in order.  A "
        "model without memory is spread evenly between 0 and 1; one that remembers is near 1.",
        x_label="forgotten sample",
        y_label="share of retrained models that err more",
        curves=tuple(Curve(model=name, x=number, y=tuple(place.tolist())) for name, place in places.items()),
        threshold=0.5,
    )


def _errors(subject: Subject) -> Values:
    """Mean absolute error of each forgotten sample over its known outputs, `(m,)`."""
    seen = subject.parts["train-forget"]
    each = np.abs(seen.prediction / 2 - seen.target / 2).reshape(len(seen), -1)  # halves cannot overflow
    return np.asarray(np.nanmean(each, axis=1))


def compared_with_golds(prediction: Values, target: Values, golds: Values, scale: float) -> MemoryTest:
    """The memory that a model kept by the golds' mean, and how far one more gold would lean.

    Args:
        prediction: f, `(m, *out)`.
        target: y, of the same shape; unknown outputs (NaN) are left out.
        golds: their predictions, `(golds, m, *out)`.
        scale: as for `memory_kept`.
    """
    center = golds.mean(axis=0)
    value = memory_kept(prediction, target, center, scale)
    if len(golds) < 2:
        return MemoryTest(value, 0.0, inf, len(golds))
    found = lean(prediction, target, golds)
    # What a distance of 1 along y - m is in units of `memory_kept`.
    share = float(np.sqrt(np.nansum((target - center) ** 2)) / full_memory(target, center, scale))
    return MemoryTest(value, found.amount * share, found.error * share, len(golds))


def typical_error(panel: Panel) -> float:
    """Root mean squared error of the golds' mean on test samples, which no model saw, or else on the forgotten ones."""
    errors = []
    for part in [part for part in NEVER_SEEN if part in panel.parts] or ["train-forget"]:
        predicted = np.mean([gold.parts[part].prediction for gold in panel.golds], axis=0)
        errors.append((panel.original.parts[part].target - predicted).ravel())
    return root_mean_square(np.concatenate(errors))
