"""The criteria of a verdict: a model's numbers, and the limits between which one more gold's numbers would lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import inf, isfinite
from typing import NamedTuple

import numpy as np

from unregress.evidence import CONSTANT, IN_WEIGHTS, AuditReport, Criterion, CriterionOutcome, Kind
from unregress.evidence.combined_memory import combined_memory
from unregress.evidence.criterion_specs import CRITERIA, MEMORY, TOGETHER, WEIGHTS, CriterionSpec
from unregress.evidence.memory_limit import MemoryTest
from unregress.evidence.noise_floor import prediction_interval

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
        level: half for the combined test of memory, half shared out evenly among the limits of all other criteria
            (Bonferroni).
        tolerance: limits are no narrower than this share of the original's gap, or, for what was to be kept, of the
            golds' mean.
        golds: number of golds to compute the limits for, given the spread of the report's golds; None for as many as
            the report has.
    """
    measured = [spec for spec in CRITERIA if _complete(spec, report)]
    if (together := _together(model, report, level / 2, tolerance, golds)) is not None:
        level /= 2
        yield together
    level_per_limit = level / max(1, sum(spec.has_low + spec.has_high for spec in measured))
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


def weights_criteria(
    model: str, report: AuditReport, *, level: float, tolerance: float, golds: int | None = None
) -> Iterator[Criterion]:
    """Apply to a model the criteria about memory in the weights for which the report holds numbers.

    Args:
        model: any model of the report.
        report: the measurements.
        level: shared out evenly among the criteria, each of which has one limit.
        tolerance: as for `criteria`.
        golds: as for `criteria`.
    """
    measured = [spec for spec in WEIGHTS if _complete(spec, report)]
    for spec in measured:
        if (found := _applied(spec, model, report, level / len(measured), tolerance, golds)) is not None:
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
    low = min(low, center - margin) if spec.has_low else -inf
    high = max(high, center + margin) if spec.has_high else inf
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
    return _tested(spec, model, report, test, (center, original.value), level, tolerance, golds)


def _together(model: str, report: AuditReport, level: float, tolerance: float, golds: int | None) -> Criterion | None:
    """The combined test of memory for one model; None without its numbers."""
    if (found := combined_memory(model, report)) is None:
        return None
    return _tested(TOGETHER, model, report, found.test, (0.0, found.original), level, tolerance, golds)


def _tested(
    spec: CriterionSpec,
    model: str,
    report: AuditReport,
    test: MemoryTest,
    known: tuple[float, float],
    level: float,
    tolerance: float,
    golds: int | None,
) -> Criterion:
    """A criterion by a one-sided test of memory; `known` are the golds' mean and the original's value."""
    center, original = known
    gap = original - center
    high = max(test.limit(level, golds), center + tolerance * abs(gap))
    outcome: CriterionOutcome = "within"
    if test.value > high:
        outcome = "remembers" if _Errors.of(model, report).small else "differs"
    return Criterion(
        kind=spec.kind,
        metric=spec.metric,
        split=spec.split,
        question=spec.words,
        value=test.value,
        gold=center,
        original=original,
        low=None,
        high=high if isfinite(high) else None,
        outcome=outcome,
        # The combined test is not exact, see `CombinedMemory`.
        p=None if spec is TOGETHER else test.p,
        power=None if spec is TOGETHER else test.power(high, center + HALF * gap),
    )


def _complete(spec: CriterionSpec, report: AuditReport) -> bool:
    """Whether every gold has a value of the criterion's measurement."""
    return 0 < len(report.golds) == len(report.over_golds(spec.metric, spec.split))


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
    def small(self) -> bool:
        """Whether the forgotten samples are known better than the golds know them, and not only what is like them."""
        return self.forgotten is None or (self.forgotten < 0 and self._mostly_forgotten(-1))

    @property
    def large(self) -> bool:
        """Whether the error on the forgotten samples is above the golds', and not only below on what is like them."""
        return self.forgotten is None or (self.forgotten > 0 and self._mostly_forgotten(1))

    def _mostly_forgotten(self, sign: int) -> bool:
        """Whether the difference from similar samples has a sign, half of it or more from the forgotten ones."""
        if self.forgotten is None or self.beyond_similar is None:
            return True
        return 0 < sign * self.beyond_similar <= 2 * sign * self.forgotten


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
    if low <= value <= high or (kind in IN_WEIGHTS and low <= original <= high):
        # Where the original shows no memory in its weights, what others show there is none either.
        return "within"
    if kind == "retain":
        return "damaged"
    if kind == "distance" or low <= original <= high:
        # An original within the limits lies on its side of the golds by chance, so that side is no sign of memory.
        return "differs"
    if kind in IN_WEIGHTS:
        return "remembers"
    if knows_more(kind, value, center):
        return "remembers" if errors().small else "differs"
    return "overshoots" if errors().large else "differs"


def knows_more(kind: Kind, value: float, gold: float) -> bool:
    """Whether a value shows more memory than a gold's: a smaller error or loss, or otherwise a larger value."""
    return value < gold if kind in ("error", "relearning") else value > gold


def unseen_damage(report: AuditReport, found: Sequence[Criterion]) -> float | None:
    """Share of the golds' skill on what was to be kept, less error than a constant, that could be lost unnoticed.

    None where the constant was not measured.
    """
    kept = next((criterion for criterion in found if criterion.kind == "retain"), None)
    constant = report.value_of("mae", "test-retain", CONSTANT)
    if kept is None or kept.high is None or constant is None:
        return None
    return (kept.high - kept.gold) / (constant - kept.gold) if constant > kept.gold else inf
