"""The criteria of a verdict: a model's numbers, and the limits between which one more gold's numbers would lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np

from unregress.evidence import AuditReport, Criterion, CriterionOutcome, Kind, Part
from unregress.evidence.noise_floor import prediction_interval


@dataclass(frozen=True, kw_only=True)
class CriterionSpec:
    """A criterion before it is applied to a model: the measurement that it reads, and its wording."""

    kind: Kind
    metric: str
    split: Part
    words: str
    """The quantity, as the subject of a sentence."""

    @property
    def sides(self) -> int:
        """Number of limits that can be crossed: 2 (lower and upper), or 1 (upper)."""
        return 2 if self.kind in ("error", "attack") else 1


CRITERIA = (
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
        golds: number of golds to compute the limits for, given the spread of the report's golds; None for as many as
            the report has.
    """
    measured = [spec for spec in CRITERIA if _complete(spec, report)]
    level_per_limit = level / max(1, sum(spec.sides for spec in measured))
    original = report.named("original")[0]
    for spec in measured:
        place = spec.metric, spec.split
        found = {m.model: m.value for m in report.measures if (m.metric, m.split) == place}
        value, of_original = found.get(model), found.get(original)
        if value is None or of_original is None:
            continue
        gold_values = np.array(report.over_golds(*place))
        low, high = prediction_interval(gold_values, level_per_limit, paired=spec.kind == "distance", golds=golds)
        center = float(gold_values.mean())
        margin = tolerance * (abs(center) if spec.kind == "retain" else abs(of_original - center))
        low = -inf if spec.sides == 1 else min(low, center - margin)
        high = max(high, center + margin)
        yield Criterion(
            kind=spec.kind,
            metric=spec.metric,
            split=spec.split,
            question=spec.words,
            value=value,
            gold=center,
            original=of_original,
            low=low if isfinite(low) else None,
            high=high if isfinite(high) else None,
            outcome=_outcome(spec.kind, value, of_original, center, low, high),
        )


def _complete(spec: CriterionSpec, report: AuditReport) -> bool:
    """Whether every gold has a value of the criterion's measurement."""
    return len(report.over_golds(spec.metric, spec.split)) == len(report.golds)


def _outcome(kind: Kind, value: float, original: float, center: float, low: float, high: float) -> CriterionOutcome:
    if low <= value <= high:
        return "within"
    if kind == "retain":
        return "damaged"
    if kind == "distance" or low <= original <= high:
        # An original within the limits lies on its side of the golds by chance, so that side is no sign of memory.
        return "differs"
    return "remembers" if knows_more(kind, value, center) else "overshoots"


def knows_more(kind: Kind, value: float, gold: float) -> bool:
    """Whether a value shows more memory than a gold's: a smaller error, or otherwise a larger value."""
    return value < gold if kind == "error" else value > gold
