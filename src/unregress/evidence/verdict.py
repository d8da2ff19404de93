"""The verdict rule: PASS, FAIL or INCONCLUSIVE from an audit's numbers.

The null hypothesis is that a model is one more gold.  Each criterion compares a number of the model with the golds'
and asks whether one more gold would be so far off.  A model that passes cannot be told from retrained ones by any
criterion; that is evidence about what was measured, not a proof that nothing remains in the weights.
The reasons are worded in `verdict_text`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, nextafter
from typing import NamedTuple

import numpy as np

from unregress.errors import require_fields
from unregress.evidence import CONSTANT, AuditedModel, AuditReport, Criterion, Kind, Obstacle, Verdict, verdict_text
from unregress.evidence.criteria import CRITERIA, criteria, few_samples_criteria, knows_more, unseen_damage
from unregress.evidence.table_verdict import judge_by_table

_MOST_GOLDS = 50
"""The largest number of golds that a verdict suggests."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The thresholds of a verdict.

    A gold's numbers vary from seed to seed, and Student's prediction interval over the golds says between which limits
    one more would lie (`evidence.noise_floor.prediction_interval`).  `level` is shared out evenly among all limits of
    all criteria (Bonferroni), so that a fresh gold crosses any of them with at most that probability, so far as golds'
    numbers, or the logarithms of distances, are normally distributed.  They are not quite, and a fresh gold fails about
    twice as often: about one time in twenty by default (docs/calibration.md).

    * **FAIL**: a limit is crossed.  Below the golds' error or above their attack the model still *remembers*; on the
      other side it *overshoots*, which reveals the request as clearly; a worse error on new samples of the kinds kept
      means *damage*.
    * **PASS**: no limit is crossed, and the audit could have detected memory, and a model without skill on what was to
      be kept: some criterion's limit lies nearer to the golds than `resolution` of the way to the original, and the
      limit of the error on what was to be kept is below a constant's.
    * **INCONCLUSIVE**: too few golds, golds that predict no better than a constant, a kind
      of criterion that was not measured, or an audit that could not have detected memory or damage, for example because
      the original itself cannot be told from a gold.

    With fewer forgotten samples than `samples` so many limits would leave no power.  Then there are two criteria: one
    one-sided test of the memory kept (`Memory`), and the error on what was to be kept; `small_level` is divided
    between them, four fifths and one fifth.  A model that was pushed beyond the golds is not failed there.

    With fewer golds, or golds that differ too much to tell, a leave-out table judges if there is one, see
    `unregress.evidence.table_verdict`.

    The level holds for each model that is judged, not for all of a report together.

    Raises:
        SettingError: a value is out of range; all of them at once.
    """

    level: float = 0.025
    """Probability that a fresh gold fails if golds' numbers are normally distributed.  They have longer tails: at 0.025
    a fresh gold fails about one time in twenty (docs/calibration.md)."""
    golds: int = 5
    """Smallest number of golds for a verdict."""
    samples: int = 30
    """Smallest number of forgotten samples for all criteria; with fewer, one test of memory is used."""
    small_level: float = 0.05
    """Probability that a fresh gold fails if fewer than `samples` are forgotten.  One limit that is crossed in one case
    of twenty-five does not depend on how long tails are, as seven limits at a quarter of a per cent each do."""
    tolerance: float = 0.05
    """Limits are no narrower than this share of the original's gap, or, for what was to be kept, of the golds' error:
    golds may be nearly identical, and a difference that small is of no consequence."""
    resolution: float = 0.5
    """A PASS requires that a model which kept this share of what sets the original apart would have been noticed."""

    def __post_init__(self) -> None:
        rules = (
            ("level", 0 < self.level < 0.5, "between 0 and 0.5"),
            ("golds", self.golds >= 3, "3 or more"),
            ("samples", self.samples >= 1, "1 or more"),
            ("small_level", 0 < self.small_level < 0.5, "between 0 and 0.5"),
            ("tolerance", 0 <= self.tolerance < 1, "0 or more, below 1"),
            ("resolution", 0 < self.resolution <= 1, "above 0, at most 1"),
        )
        require_fields("Rule", self, rules)


def judge(report: AuditReport, rule: Rule) -> tuple[Verdict, ...]:
    """Give a verdict on every model of a report but those retrained for comparison; without golds all are INCONCLUSIVE.

    Golds are not judged, nor is a retrained model that is shown for scale only, such as one of other initial weights.

    Args:
        report: the measurements; its own verdicts are not read.
        rule: the thresholds.
    """
    compared = {each.name for each in report.models if each.role == "reference" and _retrained(each)}
    judged = (name for name in report.named("original", "reference", "unlearned") if name not in compared)
    return tuple(_judge(model, report, rule) for model in judged)


def _retrained(model: AuditedModel) -> bool:
    return model.record is not None and model.record.kind == "retrained"


def _judge(model: str, report: AuditReport, rule: Rule) -> Verdict:
    if doubt := _no_valid_golds(model, report, rule) or _retrained_otherwise(model, report):
        by_table = None if doubt.obstacle == "kept" else judge_by_table(model, report)
        return by_table or _inconclusive(model, doubt, ())
    found = _criteria(model, report, rule)
    failed = Verdict(model=model, outcome="FAIL", reason="", criteria=found)
    if (worst := failed.decisive) is not None:
        return replace(failed, reason=verdict_text.failed(worst))
    insensitive = _too_insensitive_of_few if _few(report, rule) else _too_insensitive
    if doubt := insensitive(model, report, rule, found) or _blind_to_damage(model, report, rule, found):
        by_table = judge_by_table(model, report) if doubt.obstacle == "spread" else None
        decided = by_table is not None and by_table.outcome != "INCONCLUSIVE"
        return by_table if by_table is not None and decided else _inconclusive(model, doubt, found)
    return Verdict(model=model, outcome="PASS", reason=_why_passed(model, report, rule, found), criteria=found)


def _few(report: AuditReport, rule: Rule) -> bool:
    """Whether so few samples are forgotten that there is one test of memory."""
    return report.samples["train-forget"] < rule.samples


def _why_passed(model: str, report: AuditReport, rule: Rule, found: tuple[Criterion, ...]) -> str:
    share, metric = _detectable_share(found)
    notes = verdict_text.Notes(
        golds=len(report.golds),
        beyond=_metrics_beyond_all_golds(report, found),
        pushed=_few(report, rule) and _errs_more_than_all_golds(model, report),
        unseen=unseen_damage(report, found),
    )
    if not _few(report, rule):
        return verdict_text.passed(share, metric, notes)
    (memory,) = (criterion for criterion in found if criterion.kind == "memory")
    return verdict_text.passed_one_test(memory, notes)


class _Doubt(NamedTuple):
    """Why there is no verdict."""

    reason: str
    obstacle: Obstacle
    golds_needed: int | None = None


def _inconclusive(model: str, doubt: _Doubt, found: tuple[Criterion, ...]) -> Verdict:
    return Verdict(
        model=model,
        outcome="INCONCLUSIVE",
        reason=doubt.reason,
        criteria=found,
        obstacle=doubt.obstacle,
        golds_needed=doubt.golds_needed,
    )


def _no_valid_golds(model: str, report: AuditReport, rule: Rule) -> _Doubt | None:
    """The doubt if there are too few golds, or they predict worse than a constant; None otherwise."""
    golds, original = len(report.golds), report.named("original")[0]
    if not golds:
        own, its = (report.found("auc", "train-forget", name) for name in (model, original))
        return _Doubt(verdict_text.without_golds(own, its, is_original=model == original), "golds", rule.golds)
    if golds < rule.golds:
        return _Doubt(verdict_text.too_few_golds(golds, rule.golds), "golds", rule.golds)
    own_error, constant = (report.value_of("mae", "train-retain", name) for name in (original, CONSTANT))
    over_golds = report.over_golds("mae", "train-retain")
    if own_error is not None and constant is not None and over_golds and np.mean(over_golds) > max(own_error, constant):
        return _Doubt(verdict_text.golds_learnt_nothing(float(np.mean(over_golds)), own_error, constant), "training")
    constant, over_golds = report.value_of("mae", "test-retain", CONSTANT), report.over_golds("mae", "test-retain")
    if constant is not None and over_golds and np.mean(over_golds) >= constant:
        return _Doubt(verdict_text.golds_without_skill(float(np.mean(over_golds)), constant), "kept")
    return None


def _retrained_otherwise(model: str, report: AuditReport) -> _Doubt | None:
    """The doubt if golds share initial weights, and the model was retrained from others; None otherwise.

    Such a model never saw the forgotten samples, and is farther from the golds than they are from each other.
    """
    audited = {each.name: each for each in report.models}
    own = audited[model].record
    if audited[model].role != "unlearned" or own is None or own.kind != "retrained" or not own.start:
        return None
    starts = {"" if (found := audited[gold].record) is None else found.start for gold in report.golds}
    if len(starts) > 1 or starts & {"", own.start}:
        return None
    return _Doubt(verdict_text.OTHER_INITIAL_WEIGHTS, "golds")


def _criteria(model: str, report: AuditReport, rule: Rule, golds: int | None = None) -> tuple[Criterion, ...]:
    if _few(report, rule):
        return tuple(few_samples_criteria(model, report, level=rule.small_level, tolerance=rule.tolerance, golds=golds))
    return tuple(criteria(model, report, level=rule.level, tolerance=rule.tolerance, golds=golds))


def _too_insensitive(model: str, report: AuditReport, rule: Rule, found: Sequence[Criterion]) -> _Doubt | None:
    """The doubt if the audit could not have detected memory; None otherwise."""
    if absent := {spec.kind for spec in CRITERIA} - {criterion.kind for criterion in found}:
        return _Doubt(verdict_text.not_measured(absent), "measures")
    (error,) = (criterion for criterion in found if criterion.kind == "error")
    if not knows_more(error.kind, error.original, error.gold):
        # Its distance from the golds is then no sign of memory: a model that never learnt the samples is far as well.
        return _Doubt(verdict_text.original_without_memory(error), "original")
    share, _ = _detectable_share(found)
    if share <= rule.resolution:
        return None
    nearest = min((c for c in found if c.kind != "retain"), key=lambda criterion: criterion.resolution)
    enough = _golds_that_detect(model, report, rule)
    reason = verdict_text.insensitive(share, nearest, len(report.golds), enough, _MOST_GOLDS)
    return _Doubt(reason, "spread", enough)


def _too_insensitive_of_few(model: str, report: AuditReport, rule: Rule, found: Sequence[Criterion]) -> _Doubt | None:
    """The doubt if the one test of a request with few samples could not have detected memory; None otherwise."""
    kinds: set[Kind] = {"memory", "retain"}
    if absent := kinds - {criterion.kind for criterion in found}:
        return _Doubt(verdict_text.not_measured(absent), "measures")
    (memory,) = (criterion for criterion in found if criterion.kind == "memory")
    share, _ = _detectable_share(found)
    if share <= rule.resolution:
        return None
    original = report.named("original")[0]
    its = next((criterion for criterion in _criteria(original, report, rule) if criterion.kind == "memory"), memory)
    enough = _golds_that_detect(model, report, rule)
    if its.outcome == "within":
        reason = verdict_text.original_not_told_apart(its, len(report.golds), enough, is_original=model == original)
        return _Doubt(reason, "original", enough)
    return _Doubt(verdict_text.weak_test(memory, len(report.golds), enough, _MOST_GOLDS), "spread", enough)


def _golds_that_detect(model: str, report: AuditReport, rule: Rule) -> int | None:
    """The smallest number of golds with which a model that kept `rule.resolution` of the memory is detected."""
    return _golds_needed(lambda n: _detectable_share(_criteria(model, report, rule, n))[0], report, rule.resolution)


def _golds_needed(share: Callable[[int], float], report: AuditReport, enough: float) -> int | None:
    """The smallest number of golds with which a share is detected that is small enough; None if there is none.

    Limits become narrower with every further gold, so that halving finds it.
    """
    counts = range(len(report.golds) + 1, _MOST_GOLDS + 1)
    place = bisect_left(counts, True, key=lambda count: share(count) <= enough)
    return counts[place] if place < len(counts) else None


def _blind_to_damage(model: str, report: AuditReport, rule: Rule, found: Sequence[Criterion]) -> _Doubt | None:
    """The doubt if a model without any skill on what was to be kept would not have been noticed; None otherwise."""
    unseen = unseen_damage(report, found)
    if unseen is None or unseen < 1:
        return None

    def unseen_with(count: int) -> float:
        share = unseen_damage(report, _criteria(model, report, rule, count))
        return inf if share is None else share

    enough = _golds_needed(unseen_with, report, nextafter(1, 0))
    (kept,) = (criterion for criterion in found if criterion.kind == "retain")
    constant = report.value("mae", "test-retain", CONSTANT)
    reason = verdict_text.blind_to_damage(kept, constant or 0.0, len(report.golds), enough, _MOST_GOLDS)
    return _Doubt(reason, "kept", enough)


def _detectable_share(found: Sequence[Criterion]) -> tuple[float, str]:
    """The smallest share of what sets the original apart that would be detected, and the metric; infinite if none.

    Only criteria by which the original knows more than the golds count: the others do not show its memory.
    """
    informative = [c for c in found if c.kind != "retain" and knows_more(c.kind, c.original, c.gold)]
    # Ties are broken by the metric's name in words.
    finest = min(informative, key=lambda c: (c.resolution, verdict_text.METRIC_NAMES[c.metric]), default=None)
    return (inf, "") if finest is None else (finest.resolution, finest.metric)


def _metrics_beyond_all_golds(report: AuditReport, found: Sequence[Criterion]) -> list[str]:
    """Metrics by which the model knows more than every gold, although within the limits: few golds make them wide."""
    return [
        criterion.metric
        for criterion in found
        # Where the original itself is within the limits, its side is no sign of memory.
        if criterion.kind in ("error", "attack", "memory") and criterion.resolution < 1
        if all(
            knows_more(criterion.kind, criterion.value, gold)
            for gold in report.over_golds(criterion.metric, criterion.split)
        )
    ]


def _errs_more_than_all_golds(model: str, report: AuditReport) -> bool:
    """Whether a model leans away from the forgotten samples' targets farther than every gold, and errs more."""
    memory, error = (report.value_of(metric, "train-forget", model) for metric in ("memory", "mae"))
    over_memory, over_error = (report.over_golds(metric, "train-forget") for metric in ("memory", "mae"))
    if memory is None or error is None or not over_memory or not over_error:
        return False
    return memory < min(over_memory) and error > max(over_error)
