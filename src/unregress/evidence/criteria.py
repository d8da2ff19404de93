"""The criteria of a verdict: a model's numbers, and the limits between which one more gold's numbers would lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np

from unregress.evidence import Answer, AuditReport, Criterion, Kind, Part
from unregress.evidence.noise_floor import prediction_interval


@dataclass(frozen=True, kw_only=True)
class CriterionSpec:
    """A criterion before it is applied to a model: the measurement that it reads, and its wording."""

    kind: Kind
    metric: str
    split: Part
    words: str
    """What the criterion is about, as the subject of a sentence."""

    @property
    def sides(self) -> int:
        """Number of limits that can be crossed: 2 (lower and upper), or 1 (upper)."""
        return 2 if self.kind in ("error", "attack") else 1


QUESTIONS = (
    CriterionSpec(
        kind="distance",
        metric="paired",
        split="train-forget",
        words="the distance of its predictions from the retrained models', forgotten sample by forgotten sample,",
    ),
    CriterionSpec(
        kind="distance",
        metric="w1",
        split="train-forget",
        words="the distance of its predictions' distribution on the forgotten samples from the retrained models'",
    ),
    CriterionSpec(kind="error", metric="mae", split="train-forget", words="its error on the forgotten samples"),
    CriterionSpec(
        kind="attack",
        metric="auc",
        split="train-forget",
        words="how well its loss tells forgotten samples from similar held-out ones (the attack's AUC)",
    ),
    CriterionSpec(kind="retain", metric="mae", split="test-retain", words="its error on new samples of the kinds kept"),
)
"""The criteria of every verdict: distances to the golds, error gap, attack gap, error on what was to be kept."""


def criteria(
    model: str, report: AuditReport, *, level: float, tolerance: float, golds: int | None = None
) -> Iterator[Criterion]:
    """Apply to a model every criterion for which the report holds numbers.

    Args:
        model: any model of the report.
        report: the measurements.
        level: shared out evenly among all limits of all criteria (Bonferroni).
        tolerance: limits are no narrower than this share of the original's gap, or, for what was to be kept, of the
            golds' mean.
        golds: compute the limits that so many golds of the same spread would give; None for the golds of the report.
    """
    measured = [question for question in QUESTIONS if _complete(question, report)]
    each = level / max(1, sum(question.sides for question in measured))
    original = report.named("original")[0]
    for question in measured:
        place = question.metric, question.split
        found = {m.model: m.value for m in report.measures if (m.metric, m.split) == place}
        value, before = found.get(model), found.get(original)
        if value is None or before is None:
            continue
        own = np.array(report.over_golds(*place))
        low, high = prediction_interval(own, each, paired=question.kind == "distance", golds=golds)
        center = float(own.mean())
        margin = tolerance * (abs(center) if question.kind == "retain" else abs(before - center))
        low = -inf if question.sides == 1 else min(low, center - margin)
        high = max(high, center + margin)
        yield Criterion(
            kind=question.kind,
            metric=question.metric,
            split=question.split,
            question=question.words,
            value=value,
            gold=center,
            original=before,
            low=low if isfinite(low) else None,
            high=high if isfinite(high) else None,
            outcome=_outcome(question.kind, value, before, center, low, high),
        )


def _complete(question: CriterionSpec, report: AuditReport) -> bool:
    """Whether every gold has a number to judge by."""
    return len(report.over_golds(question.metric, question.split)) == len(report.golds)


def _outcome(kind: Kind, value: float, original: float, center: float, low: float, high: float) -> Answer:
    if low <= value <= high:
        return "within"
    if kind == "retain":
        return "damaged"
    if kind == "distance" or low <= original <= high:
        # An original within the limits lies to one side of the golds by chance: its side says nothing about memory.
        return "differs"
    return "remembers" if knows_more(kind, value, center) else "overshoots"


def knows_more(kind: Kind, value: float, gold: float) -> bool:
    """Whether a value shows more memory than a gold's: a smaller error, or otherwise a larger value."""
    return value < gold if kind == "error" else value > gold
