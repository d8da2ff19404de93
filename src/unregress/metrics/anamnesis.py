"""Anamnesis index: how fast a model learns the forgotten samples again (paper Section 5, Eq. 10)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from statistics import median
from typing import ClassVar, Literal

import numpy as np

from unregress.data.case import Case
from unregress.errors import SettingError
from unregress.evidence import Measurement, MetricInfo, Part, Unit
from unregress.metrics.base import Metric, MetricResult, Panel, rank_among_golds, value_measurements
from unregress.metrics.relearning import (
    LossMonitor,
    Relearning,
    Span,
    above_threshold,
    difference_from_threshold,
    passes_of,
    relearn,
)
from unregress.metrics.relearning_curves import relearning_figure
from unregress.training.recipe import Recipe

Bound = Literal["=", "<=", ">="]
ENOUGH = 5
"""Smallest number of shuffles for an interval."""


def ratio(model: Span, gold: Span) -> Span | None:
    """Limits of rt(model) / rt(gold); None where the gold has nothing to relearn.

    >>> ratio((2.0, 2.0), (4.0, 4.0)), ratio((9.0, inf), (4.0, 4.0)), ratio((2.0, 2.0), (10.0, inf))
    ((0.5, 0.5), (2.25, inf), (0.0, 0.2))
    """
    if gold[1] == 0:
        return None
    highest = 0.0 if model[1] == 0 else model[1] / gold[0] if gold[0] > 0 else inf
    return model[0] / gold[1], highest


def middle(spans: Sequence[Span]) -> Span:
    """Limits of the median of numbers of which some were cut off.

    >>> middle([(3.0, 3.0), (5.0, 5.0), (8.0, inf)]), middle([(5.0, 5.0), (8.0, inf)])
    ((5.0, 5.0), (6.5, inf))
    """
    return median([low for low, _ in spans]), median([high for _, high in spans])


def stated(span: Span) -> tuple[float | None, Bound]:
    """Value and bound to report for a number between two limits; None if nothing is known about it.

    >>> stated((0.5, 0.5)), stated((2.0, inf)), stated((0.0, 0.2)), stated((0.0, inf))
    ((0.5, '='), (2.0, '>='), (0.2, '<='), (None, '='))
    """
    low, high = span
    if low == high:
        return low, "="
    if high < inf:
        return high, "<="
    return (low, ">=") if low > 0 else (None, "=")


def interval(spans: Sequence[Span]) -> tuple[float, float] | None:
    """95 % confidence interval of the median over all possible shuffles, given some of them.

    Between two order statistics, without any assumption about the distribution; of five shuffles the whole range, which
    is a 94 % interval.  Its upper end is infinite where runs were cut off.  None for fewer than five shuffles.

    >>> interval([(step, step) for step in (4.0, 2.0, 3.0, 3.0, 5.0)]), interval([(4.0, 4.0), (2.0, 2.0)])
    ((2.0, 5.0), None)
    """
    from scipy.stats import binom

    count = len(spans)
    rank = max(0, int(binom.ppf(0.025, count, 0.5)) - 1)
    low, high = sorted(low for low, _ in spans)[rank], sorted(high for _, high in spans)[count - 1 - rank]
    return (low, high) if count >= ENOUGH else None


@dataclass(frozen=True, kw_only=True)
class Anamnesis(Metric):
    """AIN: steps to relearn, relative to the golds'.

    A copy of each model is trained on all of D, with the same batches for all, until its loss on
    held-out samples of the forgotten kind comes within α of the original model's: rt.  The loss is
    measured before the first step and after each one.  This is done for several shuffles of D.  Within
    a shuffle a model's rt is compared with the median rt of the golds, a gold's own with that of the other
    golds; the index is the median over shuffles.  Runs that were cut off enter as bounds.

    The published code relearns one gold and the models in place, so that each call compares with an
    already relearned gold, and returns the cap as if the threshold had been reached there.

    Raises:
        SettingError: α is negative, the cap allows no step, or there is no shuffle.
    """

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric="ain",
            title="Anamnesis index",
            meaning="Steps the model needs to learn the forgotten samples again, as a multiple of the "
            "retrained models' steps: the median over several orders of the data, and where that median may lie.",
            ideal="1.  Near 0 the model still knows them; far above 1 it was pushed away from them, "
            "which can reveal them too (the Streisand effect).  A retrained model's value, relative to the others, "
            "shows how far from 1 is normal.",
            unit=Unit.RATIO,
            source="paper Section 5, Eq. 10 (AIN)",
        ),
        MetricInfo(
            metric="relearn-steps",
            title="Steps to relearn",
            meaning="Training steps on all data until the loss on samples of the forgotten kind is within "
            "the margin of the original model's: the median over several orders of the data.",
            ideal="A retrained model's own value.",
            unit=Unit.STEPS,
            source="paper Section 5, rt(M, M_orig, α)",
        ),
        MetricInfo(
            metric="relearn-loss",
            title="Loss while relearning",
            meaning="The loss on samples of the forgotten kind in the first steps of training on all data, half as "
            "many as retrained models need to relearn: the mean logarithm of its ratio to the loss that counts as "
            "relearnt, over several orders of the data.",
            ideal="A retrained model's own value; a lower one says that the weights remember, though predictions may "
            "not.  Of a model that knows the samples it is 0 or less.",
            unit=Unit.SHARE,
            source="paper Section 5, Figures 2-5 (relearning); this library",
        ),
    )

    alpha: float = 0.05
    """Margin α: relearnt at (1 + α) times the original's loss; as published: 5 %."""
    recipe: Recipe = Recipe(epochs=10, lr=1e-3, batch_size=256)
    """Recipe of relearning; its epochs are the cap.  The published notebook relearns at 0.01."""
    shuffles: int = 5
    """Orders of the data to relearn in; the published code uses one."""

    def __post_init__(self) -> None:
        if self.alpha < 0 or self.recipe.epochs < 1 or self.shuffles < 1:
            raise SettingError(
                f"Anamnesis has alpha={self.alpha}, a cap of {self.recipe.epochs} epochs and {self.shuffles} shuffles",
                expected="alpha 0 or more, 1 epoch or more, 1 shuffle or more",
            )

    @property
    def needs_model(self) -> bool:
        """Whether the metric needs the models themselves: it trains copies of them."""
        return True

    def trainings(self, case: Case) -> Sequence[tuple[Recipe, int]]:
        """Relearning in every order of the data."""
        return [(self.recipe, self.shuffles * passes_of(case, self.recipe))]

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """AIN and steps of every model, and the relearning curves."""
        monitor = LossMonitor(panel, self.alpha)
        runs = {
            subject.name: [
                relearn(subject.model, monitor, self.recipe, stream=f"relearn/{shuffle}")
                for shuffle in range(self.shuffles)
            ]
            for subject in panel.subjects
            if subject.model is not None
        }
        yield from measures(panel, runs, monitor.name)
        yield from early_losses(panel, runs, monitor.name, monitor.threshold)
        yield relearning_figure(panel, runs, monitor.threshold)


def measures(panel: Panel, runs: Mapping[str, Sequence[Relearning]], split: Part) -> Iterator[Measurement]:
    """Measure index and steps of every model from its relearning in each shuffle.

    Args:
        panel: the models; without golds there is no index.
        runs: one relearning per shuffle, by the model's name.
        split: the samples on which the loss was monitored.
    """
    spans = {model: [run.span for run in found] for model, found in runs.items()}
    steps = {model: stated(middle(found)) for model, found in spans.items()}
    known = {model: value for model, (value, bound) in steps.items() if bound == "=" and value is not None}
    # Golds and model are exchangeable in their steps, not in indices, each of which is relative to other golds.
    ranks = rank_among_golds(panel, known) if all(gold.name in known for gold in panel.golds) else {}
    for subject in panel.subjects:
        others = [gold.name for gold in panel.others(subject) if gold.name in runs]
        if subject.name not in runs or not others:
            continue
        gold = [middle(shuffle) for shuffle in zip(*(spans[name] for name in others), strict=True)]
        found = [ratio(*pair) for pair in zip(spans[subject.name], gold, strict=True)]
        index = [span for span in found if span is not None]
        note = _joined(_cut_off_note(spans[subject.name]), _cut_off_note(gold, "the retrained models' median was "))
        if len(index) < len(found):
            index, note = [], "the retrained models are within the margin without relearning: nothing to relearn"
        value, bound = stated(middle(index)) if index else (None, "=")
        if bound == "<=" and (least := middle(index)[0]) > 0:
            note = _joined(f"at least {least:.3g}", note)
        limits = interval(index) if value is not None else None
        yield Measurement(
            metric="ain",
            split=split,
            model=subject.name,
            value=value,
            bound=bound,
            note=_joined(note, _open_interval_note(limits)),
            interval=_finite_interval(limits),
            p=ranks.get(subject.name) if value is not None and bound == "=" else None,
        )
    for model, (value, bound) in steps.items():
        limits = interval(spans[model])
        yield Measurement(
            metric="relearn-steps",
            split=split,
            model=model,
            # Of a run that was cut off before its first step, only the trivial bound ≥ 0 is known.
            value=value or 0.0,
            bound=bound if value is not None else ">=",
            note=_joined(_cut_off_note(spans[model]), _open_interval_note(limits)),
            interval=_finite_interval(limits),
            p=ranks.get(model),
        )


def early_losses(
    panel: Panel, runs: Mapping[str, Sequence[Relearning]], split: Part, threshold: float
) -> Iterator[Measurement]:
    """Measure how low each model's loss is in the first steps of relearning; nothing without golds to relearn.

    All models are compared over as many steps: half the median of the golds' steps, one or more.  Steps to the
    threshold are a coarse number, cut off where it matters most; the losses on the way there are not.

    Args:
        panel: the models.
        runs: one relearning per shuffle, by the model's name.
        split: the samples on which the loss was monitored.
        threshold: the loss that counts as relearnt.
    """
    of_golds = [run.steps for gold in panel.golds for run in runs.get(gold.name, ())]
    if not of_golds or (steps := int(np.median(of_golds)) // 2) < 1:
        return
    positive = threshold > 0 and all(min(run.losses) > 0 for found in runs.values() for run in found)
    compared = above_threshold if positive else difference_from_threshold
    values = {
        model: float(np.mean([compared(run, steps, threshold) for run in found])) for model, found in runs.items()
    }
    yield from value_measurements(
        panel, "relearn-loss", split, values, note=f"{steps} {'step' if steps == 1 else 'steps'}"
    )


def _cut_off_note(spans: Sequence[Span], subject: str = "") -> str:
    count = sum(high == inf for _, high in spans)
    return f"{subject}cut off in {count} of {len(spans)} shuffles" if count else ""


def _finite_interval(limits: Span | None) -> Span | None:
    return limits if limits is not None and isfinite(limits[1]) else None


def _open_interval_note(limits: Span | None) -> str:
    """A note on an interval whose upper end was cut off."""
    return f"95 % interval from {limits[0]:.3g}" if limits is not None and limits[1] == inf and limits[0] > 0 else ""


def _joined(*texts: str) -> str:
    return "; ".join(text for text in texts if text)
