"""The criteria of a verdict: a model's numbers, and the limits between which one more gold's numbers would lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf, isfinite
from typing import NamedTuple

import numpy as np

from unregress.evidence import CONSTANT, IN_WEIGHTS, AuditReport, Criterion, CriterionOutcome, Kind, Part
from unregress.evidence.combined_memory import combined_memory
from unregress.evidence.criterion_specs import (
    CHANCE_LEVEL,
    CRITERIA,
    FAR_OFF,
    KEPT,
    MEMORY,
    TOGETHER,
    WEIGHTS,
    CriterionSpec,
)
from unregress.evidence.findings import BY_CHANCE, LOW_IS_MEMORY
from unregress.evidence.memory_limit import MemoryTest, Sensitivity, sensitivity
from unregress.evidence.noise_floor import Matrix, prediction_interval
from unregress.evidence.rule import Rule

MEMORY_SHARE, FAR_OFF_SHARE, KEPT_SHARE = 0.78, 0.02, 0.2
"""Shares of the level where few samples are forgotten: of the test of memory, of an error on them that is far above the
golds', and of the error on what was to be kept."""
SIMILAR: Part = "test-forget"
"""Held-out samples of the forgotten kind, such as of the same band of targets."""
OWN_SHARE = 0.5
"""Smallest share of a difference on the forgotten samples that similar samples must not have, for it to be memory."""


def few_samples(report: AuditReport, rule: Rule) -> bool:
    """Whether so few samples are forgotten that there is one test of memory."""
    return report.samples["train-forget"] < rule.samples


def criteria(model: str, report: AuditReport, rule: Rule, golds: int | None = None) -> tuple[Criterion, ...]:
    """Apply to a model the criteria of its predictions for which the report holds numbers.

    Half of the level is for the combined test of memory, half is shared out evenly among the limits of all other
    criteria (Bonferroni).  Where few samples are forgotten there are three criteria: memory kept, with most of their
    level, an error on these samples that is far above the golds', and the error on what was to be kept.

    Args:
        model: any model of the report.
        report: the measurements.
        rule: levels and tolerance.
        golds: number of golds to compute the limits for, given the spread of the report's golds; None for as many as
            the report has.
    """
    of = _Applied(model, report, rule.tolerance, golds)
    if few_samples(report, rule):
        far_off, kept = (
            of.limits(spec, share * rule.small_level) for spec, share in ((FAR_OFF, FAR_OFF_SHARE), (KEPT, KEPT_SHARE))
        )
        found = of.memory(MEMORY_SHARE * rule.small_level), far_off, kept
        return tuple(each for each in found if each is not None)
    together = of.together(rule.level / 2)
    shared = rule.level if together is None else rule.level / 2
    return (*([] if together is None else [together]), *of.each(CRITERIA, shared))


def memory_sensitivity(report: AuditReport, rule: Rule, golds: int | None = None) -> Sensitivity | None:
    """What the test of memory notices where few samples are forgotten, whichever model is judged; None if unmeasured.

    Arguments as for `criteria`.
    """
    original = report.value_of(MEMORY.metric, MEMORY.split, report.named("original")[0])
    values = report.over_golds(MEMORY.metric, MEMORY.split)
    if original is None or not 2 <= len(report.golds) == len(values):
        return None
    return sensitivity(values, original, MEMORY_SHARE * rule.small_level, rule.tolerance, golds)


def far_off(model: str, report: AuditReport, rule: Rule) -> Criterion | None:
    """The error on few forgotten samples, with a limit that one gold in twenty crosses; None if it is not measured.

    One more gold's error is above this limit too often for a FAIL, and seldom enough for no PASS.
    """
    return _Applied(model, report, rule.tolerance).limits(FAR_OFF, rule.small_level)


def weights_criteria(model: str, report: AuditReport, rule: Rule) -> tuple[Criterion, ...]:
    """Apply to a model the criteria about memory in the weights for which the report holds numbers.

    Arguments as for `criteria`; the level is shared out evenly.
    """
    return tuple(_Applied(model, report, rule.tolerance).each(WEIGHTS, rule.weights_level))


@dataclass(frozen=True)
class _Applied:
    """Criteria, applied to one model of a report."""

    model: str
    report: AuditReport
    tolerance: float
    golds: int | None = None

    def each(self, specs: Sequence[CriterionSpec], level: float) -> Iterator[Criterion]:
        """Those that were measured, with the level shared out evenly among all of their limits."""
        measured = [spec for spec in specs if self._complete(spec)]
        limits = sum(spec.has_low + spec.has_high for spec in measured)
        for spec in measured:
            if (found := self.limits(spec, level / limits)) is not None:
                yield found

    def limits(self, spec: CriterionSpec, level: float) -> Criterion | None:
        """One criterion by the golds' spread, with `level` beyond each limit; None without its numbers."""
        place = spec.metric, spec.split
        value, original = (self.report.value_of(*place, name) for name in (self.model, self._original))
        if value is None or original is None or not self._complete(spec):
            return None
        gold_values = np.array(self.report.over_golds(*place))
        if spec.only_high:
            low, high = -inf, _skewed_limit(gold_values, level, self.golds)
        else:
            low, high = prediction_interval(gold_values, level, paired=spec.kind == "distance", golds=self.golds)
        center = float(gold_values.mean())
        margin = self.tolerance * (abs(center) if spec.kind == "retain" else abs(original - center))
        low = min(low, center - margin) if spec.has_low else -inf
        high = max(high, center + margin) if spec.has_high else inf
        return Criterion(
            kind=spec.kind,
            metric=spec.metric,
            split=spec.split,
            question=spec.words,
            value=value,
            gold=center,
            original=original,
            low=low if isfinite(low) else None,
            high=high if isfinite(high) else None,
            outcome=self._outcome(spec.kind, value, original, center, low, high),
        )

    def memory(self, level: float) -> Criterion | None:
        """The test of memory kept; None without its numbers."""
        own, original = (self.report.found(MEMORY.metric, MEMORY.split, name) for name in (self.model, self._original))
        if own is None or original is None or original.value is None or not self._complete(MEMORY):
            return None
        if (test := MemoryTest.of(own, len(self.report.golds))) is None:
            return None
        center = float(np.mean(self.report.over_golds(MEMORY.metric, MEMORY.split)))
        found = self._tested(MEMORY, test, center, original.value, level)
        by_golds = sensitivity(
            self.report.over_golds(MEMORY.metric, MEMORY.split), original.value, level, self.tolerance, self.golds
        )
        return replace(found, p=test.p, power=by_golds.power)

    def together(self, level: float) -> Criterion | None:
        """The combined test of memory; None without its numbers.  It is not exact, so that it has no p-value."""
        found = combined_memory(self.model, self.report)
        return None if found is None else self._tested(TOGETHER, found.test, 0.0, found.original, level)

    def _tested(self, spec: CriterionSpec, test: MemoryTest, center: float, original: float, level: float) -> Criterion:
        """A criterion by a one-sided test of memory, whose value is `center` for the golds' mean."""
        high = max(test.limit(level, self.golds), center + self.tolerance * abs(original - center))
        outcome: CriterionOutcome = "within"
        if test.value > high:
            outcome = self._more_knowledge
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
        )

    def _outcome(
        self, kind: Kind, value: float, original: float, center: float, low: float, high: float
    ) -> CriterionOutcome:
        if low <= value <= high or (kind in IN_WEIGHTS and low <= original <= high):
            # Where the original shows no memory in its weights, what others show there is none either.
            return "within"
        if kind in IN_WEIGHTS:
            return "remembers"
        if kind == "retain":
            return "damaged"
        if kind == "distance" or low <= original <= high:
            # An original within the limits lies on its side of the golds by chance, so that side is no sign of memory.
            return "differs"
        if knows_more(kind, value, center):
            return self._more_knowledge
        return "overshoots" if self._errors.large else "differs"

    def _complete(self, spec: CriterionSpec) -> bool:
        """Whether every gold has a value of the criterion's measurement."""
        return 0 < len(self.report.golds) == len(self.report.over_golds(spec.metric, spec.split))

    @property
    def _more_knowledge(self) -> CriterionOutcome:
        """What it says of a model that a number shows more knowledge of the forgotten samples than golds have."""
        chance = self.report.value_of(BY_CHANCE, MEMORY.split, self.model)
        if self._errors.small and (chance is None or chance <= CHANCE_LEVEL):
            return "remembers"
        return "knows the kind" if self._errors.better and self._kind_is_forgotten else "differs"

    @property
    def _kind_is_forgotten(self) -> bool:
        """Whether similar samples were known by the forgotten ones: better by the original than by any gold."""
        golds, own = self.report.over_golds("mae", SIMILAR), self.report.value_of("mae", SIMILAR, self._original)
        return bool(golds) and own is not None and own < min(golds)

    @property
    def _original(self) -> str:
        return self.report.named("original")[0]

    @cached_property
    def _errors(self) -> _Errors:
        return _Errors.of(self.model, self.report)


class _Errors(NamedTuple):
    """What errors say about the direction in which a model differs from the golds; None where they are not known."""

    forgotten: float | None
    """The model's error on the forgotten samples, less the golds'."""
    beyond_similar: float | None
    """The same of its error on the forgotten samples less that on similar held-out ones."""

    @classmethod
    def of(cls, model: str, report: AuditReport) -> _Errors:
        """Read the errors of one model.  Without held-out samples of the forgotten kind all of them are similar."""
        similar = SIMILAR if report.over_golds("mae", SIMILAR) else "test-retain"
        forgotten, held_out = (_less_golds(model, report, split) for split in ("train-forget", similar))
        both = forgotten is not None and held_out is not None
        return cls(forgotten, forgotten - held_out if both else None)  # type: ignore[operator] # both are known

    @property
    def better(self) -> bool:
        """Whether the error on the forgotten samples is below the golds'."""
        return self.forgotten is not None and self.forgotten < 0

    @property
    def small(self) -> bool:
        """Whether the forgotten samples are known better than the golds know them, and not only what is like them."""
        return self.forgotten is None or (self.better and self._mostly_forgotten(-1))

    @property
    def large(self) -> bool:
        """Whether the error on the forgotten samples is above the golds', and not only below on what is like them."""
        return self.forgotten is None or (self.forgotten > 0 and self._mostly_forgotten(1))

    def _mostly_forgotten(self, sign: int) -> bool:
        """Whether a difference in error is mostly one of the forgotten samples.

        Similar samples share half of it at most, and do not differ farther the other way than the forgotten ones do.  A
        model with more training data, which is better at all samples, remembers none of them.
        """
        if self.forgotten is None or self.beyond_similar is None:
            return True
        return OWN_SHARE * sign * self.forgotten <= sign * self.beyond_similar <= 2 * sign * self.forgotten


def _less_golds(model: str, report: AuditReport, split: str) -> float | None:
    """A model's mean absolute error less the golds' mean; None if it was not measured for all of them."""
    golds, own = report.over_golds("mae", split), report.value_of("mae", split, model)
    return None if own is None or len(golds) < len(report.golds) or not golds else own - float(np.mean(golds))


def _skewed_limit(values: Matrix, level: float, golds: int | None) -> float:
    """The upper limit of one more gold's error, by logarithms; infinite if some gold does not err at all."""
    if values.min() <= 0:
        return inf
    with np.errstate(over="ignore"):
        return float(np.exp(prediction_interval(np.log(values), level, golds=golds)[1]))


def knows_more(kind: Kind, value: float, gold: float) -> bool:
    """Whether a value shows more memory than a gold's: a smaller error or loss, or otherwise a larger value."""
    return value < gold if kind in LOW_IS_MEMORY else value > gold


def unseen_damage(report: AuditReport, found: Sequence[Criterion]) -> float | None:
    """Share of the golds' skill on what was to be kept, less error than a constant, that could be lost unnoticed.

    None where the constant was not measured.
    """
    kept = next((criterion for criterion in found if criterion.kind == "retain"), None)
    constant = report.value_of("mae", "test-retain", CONSTANT)
    if kept is None or kept.high is None or constant is None:
        return None
    return (kept.high - kept.gold) / (constant - kept.gold) if constant > kept.gold else inf
