"""The criteria of a verdict: a model's numbers, and the limits between which one more gold's numbers would lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf, isfinite
from typing import NamedTuple

import numpy as np

from unregress.evidence import CONSTANT, AuditReport, Criterion, CriterionOutcome, Kind, Part
from unregress.evidence.memory_limit import MemoryTest
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
"""The criteria of a verdict: distances to the golds, error gap, attack gap, error on what was to be kept."""
MEMORY = CriterionSpec(
    kind="memory",
    metric="memory",
    split="train-forget",
    words="how far its predictions lean from the retrained models' towards the forgotten samples' true values",
)
"""The one test of a request with few samples, besides the error on what was to be kept."""
MEMORY_SHARE = 0.8
"""Share of the level that this test gets."""
HALF = 0.5
"""Share of the original's memory for which its power is given."""


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
    for spec in measured:
        if (found := _applied(spec, model, report, level_per_limit, tolerance, golds)) is not None:
            yield found


def few_samples_criteria(
    model: str, report: AuditReport, *, level: float, tolerance: float, golds: int | None = None
) -> Iterator[Criterion]:
    """Apply to a model the two criteria of a request with few samples: memory kept, and what was to be kept.

    Args:
        model: any model of the report.
        report: the measurements.
        level: four fifths for the test of memory, one fifth for what was to be kept.
        tolerance: as for `criteria`.
        golds: as for `criteria`.
    """
    measured = [spec for spec in (MEMORY, CRITERIA[-1]) if _complete(spec, report)]
    for spec in measured:
        apply = _memory if spec is MEMORY else _applied
        share = MEMORY_SHARE if spec is MEMORY else 1 - MEMORY_SHARE
        if (found := apply(spec, model, report, share * level, tolerance, golds)) is not None:
            yield found


def _applied(
    spec: CriterionSpec, model: str, report: AuditReport, level: float, tolerance: float, golds: int | None
) -> Criterion | None:
    """One criterion of one model, with `level` beyond each limit; None without its numbers."""
    place = spec.metric, spec.split
    value, of_original = (report.value_of(*place, name) for name in (model, report.named("original")[0]))
    if value is None or of_original is None:
        return None
    gold_values = np.array(report.over_golds(*place))
    low, high = prediction_interval(gold_values, level, paired=spec.kind == "distance", golds=golds)
    center = float(gold_values.mean())
    margin = tolerance * (abs(center) if spec.kind == "retain" else abs(of_original - center))
    low = -inf if spec.sides == 1 else min(low, center - margin)
    high = max(high, center + margin)
    return Criterion(
        kind=spec.kind,
        metric=spec.metric,
        split=spec.split,
        question=spec.words,
        value=value,
        gold=center,
        original=of_original,
        low=low if isfinite(low) else None,
        high=high if isfinite(high) else None,
        outcome=_outcome(spec.kind, value, of_original, center, low, high, partial(_Errors.of, model, report)),
    )


def _memory(
    spec: CriterionSpec, model: str, report: AuditReport, level: float, tolerance: float, golds: int | None
) -> Criterion | None:
    """The test of memory kept for one model; None without its numbers."""
    own, original = (report.found(spec.metric, spec.split, name) for name in (model, report.named("original")[0]))
    if own is None or original is None or original.value is None:
        return None
    if (test := MemoryTest.of(own, len(report.golds))) is None:
        return None
    center = float(np.mean(report.over_golds(spec.metric, spec.split)))
    gap = original.value - center
    high = max(test.limit(level, golds), center + tolerance * abs(gap))
    outcome: CriterionOutcome = "within"
    if test.value > high:
        outcome = "remembers" if _Errors.of(model, report).special else "differs"
    return Criterion(
        kind=spec.kind,
        metric=spec.metric,
        split=spec.split,
        question=spec.words,
        value=test.value,
        gold=center,
        original=original.value,
        low=None,
        high=high if isfinite(high) else None,
        outcome=outcome,
        p=test.p,
        power=test.power(high, center + HALF * gap),
    )


def _complete(spec: CriterionSpec, report: AuditReport) -> bool:
    """Whether every gold has a value of the criterion's measurement."""
    return len(report.over_golds(spec.metric, spec.split)) == len(report.golds)


class _Errors(NamedTuple):
    """What errors say about the direction in which a model differs from the golds; None where they are not known."""

    forgotten: float | None
    """The model's error on the forgotten samples, less the golds'."""
    beyond_similar: float | None
    """The same of its error on the forgotten samples less that on similar held-out ones."""

    @classmethod
    def of(cls, model: str, report: AuditReport) -> _Errors:
        """Read the errors of one model.  Without held-out samples of the forgotten kind all of them are similar."""
        similar = "test-forget" if report.over_golds("mae", "test-forget") else "test-retain"
        forgotten, held_out = (_less_golds(model, report, split) for split in ("train-forget", similar))
        both = forgotten is not None and held_out is not None
        return cls(forgotten, forgotten - held_out if both else None)  # type: ignore[operator] # both are known

    @property
    def special(self) -> bool:
        """Whether a small error is about the forgotten samples themselves, not about all that are like them."""
        return self.beyond_similar is None or self.beyond_similar < 0

    @property
    def large(self) -> bool:
        """Whether the error on the forgotten samples is above the golds'."""
        return self.forgotten is None or self.forgotten > 0


def _less_golds(model: str, report: AuditReport, split: str) -> float | None:
    """A model's mean absolute error less the golds' mean; None if it was not measured for all of them."""
    golds, own = report.over_golds("mae", split), report.value_of("mae", split, model)
    return None if own is None or len(golds) < len(report.golds) or not golds else own - float(np.mean(golds))


def _outcome(
    kind: Kind,
    value: float,
    original: float,
    center: float,
    low: float,
    high: float,
    errors: Callable[[], _Errors],
) -> CriterionOutcome:
    if low <= value <= high:
        return "within"
    if kind == "retain":
        return "damaged"
    if kind == "distance" or low <= original <= high:
        # An original within the limits lies on its side of the golds by chance, so that side is no sign of memory.
        return "differs"
    if knows_more(kind, value, center):
        return "remembers" if errors().special else "differs"
    return "overshoots" if errors().large else "differs"


def knows_more(kind: Kind, value: float, gold: float) -> bool:
    """Whether a value shows more memory than a gold's: a smaller error, or otherwise a larger value."""
    return value < gold if kind == "error" else value > gold


def unseen_damage(report: AuditReport, found: Sequence[Criterion]) -> float | None:
    """Share of the golds' skill on what was to be kept, less error than a constant, that could be lost unnoticed.

    None where the constant was not measured.
    """
    kept = next((criterion for criterion in found if criterion.kind == "retain"), None)
    constant = report.value_of("mae", "test-retain", CONSTANT)
    if kept is None or kept.high is None or constant is None:
        return None
    return (kept.high - kept.gold) / (constant - kept.gold) if constant > kept.gold else inf
