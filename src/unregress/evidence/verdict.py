"""The verdict rule: PASS, FAIL, OUTPUTS ONLY or INCONCLUSIVE from an audit's numbers.

The null hypothesis is that a model is one more gold.  Each criterion compares a number of the model with the golds'
and asks whether one more gold would be so far off.  A model that passes cannot be told from retrained ones by any
criterion; that is evidence about what was measured, not a proof that nothing remains in the weights.
The reasons are worded in `verdict_text` and `doubt_text`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf, nextafter
from typing import NamedTuple

import numpy as np

from unregress.evidence import (
    CONSTANT,
    IN_WEIGHTS,
    AuditedModel,
    AuditReport,
    Criterion,
    Kind,
    Obstacle,
    Verdict,
    doubt_text,
    verdict_text,
)
from unregress.evidence.criteria import (
    criteria,
    far_off,
    few_samples,
    knows_more,
    memory_sensitivity,
    unseen_damage,
    weights_criteria,
)
from unregress.evidence.criterion_specs import REQUIRED
from unregress.evidence.rule import Rule
from unregress.evidence.shared_golds import identity
from unregress.evidence.table_verdict import judge_by_table, why_not_by_table

_MOST_GOLDS = 50
"""The largest number of golds that a verdict suggests."""


def judge(report: AuditReport, rule: Rule) -> tuple[Verdict, ...]:
    """Give a verdict on every model of a report but those retrained for comparison.

    Without golds only a leave-out table can give another one than INCONCLUSIVE.  Golds are not judged, nor is a
    retrained model that is shown for scale only, such as one of other initial weights.

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
    found, in_weights = criteria(model, report, rule), weights_criteria(model, report, rule)
    failed = Verdict(model=model, outcome="FAIL", reason="", criteria=(*found, *in_weights))
    if (worst := failed.decisive) is not None and worst.kind not in IN_WEIGHTS:
        return replace(failed, reason=verdict_text.failed(worst, report.said_unit(worst.metric)))
    insensitive = _too_insensitive_of_few if few_samples(report, rule) else _too_insensitive
    doubt = insensitive(model, report, rule, found) or _blind_to_damage(model, report, rule, found)
    by_table = judge_by_table(model, report) if doubt is not None and doubt.obstacle == "spread" else None
    if by_table is not None and by_table.outcome == "INCONCLUSIVE":
        by_table = None
    if by_table is not None and by_table.outcome == "FAIL":
        return by_table
    doubt = doubt or _far_off_of_few(model, report, rule)
    # Not where a part was not measured, or the original has no memory that could be kept.
    if worst is not None and (doubt is None or doubt.obstacle in ("spread", "kept", "far")):
        reason = verdict_text.remembered_in_weights(worst, doubt and doubt.obstacle)
        return replace(failed, outcome="OUTPUTS ONLY", reason=reason)
    if doubt is not None:
        return by_table or _inconclusive(model, doubt, failed.criteria)
    return replace(failed, outcome="PASS", reason=_why_passed(model, report, rule, found, in_weights))


def _why_passed(
    model: str, report: AuditReport, rule: Rule, found: Sequence[Criterion], in_weights: Sequence[Criterion]
) -> str:
    share, metric = _detectable_share(found)
    notes = verdict_text.Notes(
        golds=len(report.golds),
        beyond=_metrics_beyond_all_golds(report, found),
        pushed=few_samples(report, rule) and _errs_more_than_all_golds(model, report),
        single=next((each.resolution for each in found if each.metric == "memory-of-few"), None),
        unseen=unseen_damage(report, found),
        in_weights=in_weights,
    )
    if not few_samples(report, rule):
        return verdict_text.passed(share, metric, notes)
    (memory,) = (criterion for criterion in found if criterion.kind == "memory")
    return verdict_text.passed_one_test(memory, report.samples["train-forget"], notes)


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
    golds, original, unit = _distinct_golds(report), report.named("original")[0], report.said_unit("mae")
    if golds < rule.golds:
        own, its = (report.found("auc", "train-forget", name) for name in (model, original))
        few = doubt_text.too_few_golds(golds, rule.golds, len(report.golds) - golds)
        reason = few if golds else doubt_text.without_golds(own, its, is_original=model == original)
        return _Doubt(f"{reason}{doubt_text.without_table(why_not_by_table(model, report))}", "golds", rule.golds)
    own_error, constant = (report.value_of("mae", "train-retain", name) for name in (original, CONSTANT))
    over_golds = report.over_golds("mae", "train-retain")
    if own_error is not None and constant is not None and over_golds and np.mean(over_golds) > max(own_error, constant):
        reason = doubt_text.golds_learnt_nothing(float(np.mean(over_golds)), own_error, constant, unit)
        return _Doubt(reason, "training")
    constant, over_golds = report.value_of("mae", "test-retain", CONSTANT), report.over_golds("mae", "test-retain")
    if constant is not None and over_golds and np.mean(over_golds) >= constant:
        return _Doubt(doubt_text.golds_without_skill(float(np.mean(over_golds)), constant, unit), "kept")
    return None


def _distinct_golds(report: AuditReport) -> int:
    """Number of golds without copies; all of them where all are alike, as those of a small convex problem are."""
    different = len({identity(report, gold) for gold in report.golds})
    return len(report.golds) if different == 1 else different


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
    return _Doubt(doubt_text.OTHER_INITIAL_WEIGHTS, "golds")


def _too_insensitive(model: str, report: AuditReport, rule: Rule, found: Sequence[Criterion]) -> _Doubt | None:
    """The doubt if the audit could not have detected memory; None otherwise."""
    if absent := set(REQUIRED) - {criterion.kind for criterion in found}:
        return _Doubt(doubt_text.not_measured(absent), "measures")
    (error,) = (criterion for criterion in found if criterion.kind == "error")
    if not knows_more(error.kind, error.original, error.gold):
        # Its distance from the golds is then no sign of memory: a model that never learnt the samples is far as well.
        return _Doubt(doubt_text.original_without_memory(error, report.said_unit("mae")), "original")
    share, _ = _detectable_share(found)
    if share <= rule.resolution:
        return None
    nearest = min((c for c in found if c.kind != "retain"), key=lambda criterion: criterion.resolution)
    enough = _golds_that_detect(model, report, rule)
    unit = report.said_unit(nearest.metric)
    of_original = criteria(report.named("original")[0], report, rule)
    told = any(each.outcome != "within" for each in of_original)
    reason = doubt_text.insensitive(share, nearest, unit, len(report.golds), enough, _MOST_GOLDS, told=told)
    return _Doubt(reason, "spread", enough)


def _too_insensitive_of_few(model: str, report: AuditReport, rule: Rule, found: Sequence[Criterion]) -> _Doubt | None:
    """The doubt if the one test of a request with few samples could not have detected memory; None otherwise."""
    kinds: set[Kind] = {"memory", "retain"}
    if absent := kinds - {criterion.kind for criterion in found}:
        return _Doubt(doubt_text.not_measured(absent), "measures")
    (memory,) = (criterion for criterion in found if criterion.kind == "memory")
    original = report.named("original")[0]
    its = next((criterion for criterion in criteria(original, report, rule) if criterion.kind == "memory"), memory)
    if its.outcome != "within" and _detectable_memory(report, rule) <= rule.resolution:
        return None
    enough = _golds_needed(lambda n: _detectable_memory(report, rule, n), report, rule.resolution)
    if its.outcome == "within":
        reason = doubt_text.original_not_told_apart(its, len(report.golds), enough, is_original=model == original)
        return _Doubt(reason, "original", enough)
    return _Doubt(doubt_text.weak_test(memory, len(report.golds), enough, _MOST_GOLDS), "spread", enough)


def _detectable_memory(report: AuditReport, rule: Rule, golds: int | None = None) -> float:
    """The smallest share of the original's memory that the test of few samples would detect; infinite if unknown."""
    found = memory_sensitivity(report, rule, golds)
    return inf if found is None else found.share


def _far_off_of_few(model: str, report: AuditReport, rule: Rule) -> _Doubt | None:
    """The doubt if a model errs on few forgotten samples as hardly any gold would; None otherwise.

    It has not kept their memory, and does not answer as a retrained model does.
    """
    error = far_off(model, report, rule) if few_samples(report, rule) else None
    if error is None or error.outcome == "within":
        return None
    return _Doubt(doubt_text.far_off(error, max(report.over_golds("mae", "train-forget"))), "far")


def _golds_that_detect(model: str, report: AuditReport, rule: Rule) -> int | None:
    """The smallest number of golds with which a model that kept `rule.resolution` of the memory is detected."""
    return _golds_needed(lambda n: _detectable_share(criteria(model, report, rule, n))[0], report, rule.resolution)


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
        share = unseen_damage(report, criteria(model, report, rule, count))
        return inf if share is None else share

    enough = _golds_needed(unseen_with, report, nextafter(1, 0))
    (kept,) = (criterion for criterion in found if criterion.kind == "retain")
    constant = report.value("mae", "test-retain", CONSTANT)
    unit = report.said_unit("mae")
    reason = doubt_text.blind_to_damage(kept, constant or 0.0, unit, len(report.golds), enough, _MOST_GOLDS)
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
    beyond = []
    for criterion in found:
        golds = report.over_golds(criterion.metric, criterion.split)
        # Where the original itself is within the limits, its side is no sign of memory.
        by_golds_alone = criterion.power is not None
        informative = by_golds_alone or (criterion.kind in ("error", "attack", "memory") and criterion.resolution < 1)
        if informative and golds and all(knows_more(criterion.kind, criterion.value, gold) for gold in golds):
            beyond.append(criterion.metric)
    return beyond


def _errs_more_than_all_golds(model: str, report: AuditReport) -> bool:
    """Whether a model's error on the forgotten samples is above every gold's."""
    error, over_golds = report.value_of("mae", "train-forget", model), report.over_golds("mae", "train-forget")
    return error is not None and bool(over_golds) and error > max(over_golds)
