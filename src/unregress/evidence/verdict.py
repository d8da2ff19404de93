"""The verdict rule: PASS, FAIL or INCONCLUSIVE from an audit's numbers.

The null hypothesis is that a model is one more gold.  Each criterion compares a number of the model with the golds'
and asks whether one more gold would be so far off.  A model that passes cannot be told from retrained ones by any
criterion; that is evidence about what was measured, not a proof that nothing remains in the weights.
The reasons are worded in `verdict_text`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple, get_args

import numpy as np

from unregress.errors import require_fields
from unregress.evidence import CONSTANT, AuditReport, Criterion, Kind, Measurement, Obstacle, Verdict, verdict_text
from unregress.evidence.criteria import criteria, knows_more
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
    * **PASS**: no limit is crossed, and the audit could have detected memory: some criterion's limit lies nearer to the
      golds than `resolution` of the way to the original.
    * **INCONCLUSIVE**: too few golds or forgotten samples, golds that predict worse than a constant, a kind
      of criterion that was not measured, or an audit that could not have detected memory, for example because the
      original itself cannot be told from a gold.

    With fewer golds, a leave-out table judges if there is one, see `unregress.evidence.table_verdict`.

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
    """Smallest number of forgotten samples for a verdict."""
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
            ("tolerance", 0 <= self.tolerance < 1, "0 or more, below 1"),
            ("resolution", 0 < self.resolution <= 1, "above 0, at most 1"),
        )
        require_fields("Rule", self, rules)


def judge(report: AuditReport, rule: Rule) -> tuple[Verdict, ...]:
    """Give a verdict on every model of a report that is not a gold; without golds all are INCONCLUSIVE.

    Args:
        report: the measurements; its own verdicts are not read.
        rule: the thresholds.
    """
    return tuple(_judge(model, report, rule) for model in report.named("original", "reference", "unlearned"))


def _judge(model: str, report: AuditReport, rule: Rule) -> Verdict:
    if doubt := _no_valid_golds(model, report, rule):
        return judge_by_table(model, report) or _inconclusive(model, doubt, ())
    found = _criteria(model, report, rule)
    if (samples := report.samples["train-forget"]) < rule.samples:
        return _inconclusive(model, _Doubt(verdict_text.too_few_samples(samples, rule.samples), "samples"), found)
    failed = Verdict(model=model, outcome="FAIL", reason="", criteria=found)
    if (worst := failed.decisive) is not None:
        return replace(failed, reason=verdict_text.failed(worst))
    if doubt := _too_insensitive(model, report, rule, found):
        return _inconclusive(model, doubt, found)
    share, metric = _detectable_share(found)
    beyond = _metrics_beyond_all_golds(report, found)
    reason = verdict_text.passed(share, metric, beyond, len(report.golds))
    return Verdict(model=model, outcome="PASS", reason=reason, criteria=found)


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
        attacks = _by_model(report, "auc", "train-forget")
        own, its = attacks.get(model), attacks.get(original)
        return _Doubt(verdict_text.without_golds(own, its, is_original=model == original), "golds", rule.golds)
    if golds < rule.golds:
        return _Doubt(verdict_text.too_few_golds(golds, rule.golds), "golds", rule.golds)
    errors = _by_model(report, "mae", "train-retain")
    own_error, constant = (errors[name].value if name in errors else None for name in (original, CONSTANT))
    over_golds = report.over_golds("mae", "train-retain")
    if own_error is None or constant is None or not over_golds or np.mean(over_golds) <= max(own_error, constant):
        return None
    return _Doubt(verdict_text.golds_learnt_nothing(float(np.mean(over_golds)), own_error, constant), "training")


def _by_model(report: AuditReport, metric: str, split: str) -> dict[str, Measurement]:
    return {each.model: each for each in report.measures if (each.metric, each.split) == (metric, split)}


def _criteria(model: str, report: AuditReport, rule: Rule, golds: int | None = None) -> tuple[Criterion, ...]:
    return tuple(criteria(model, report, level=rule.level, tolerance=rule.tolerance, golds=golds))


def _too_insensitive(model: str, report: AuditReport, rule: Rule, found: Sequence[Criterion]) -> _Doubt | None:
    """The doubt if the audit could not have detected memory; None otherwise."""
    if absent := set(get_args(Kind)) - {criterion.kind for criterion in found}:
        return _Doubt(verdict_text.not_measured(absent), "measures")
    (error,) = (criterion for criterion in found if criterion.kind == "error")
    if not knows_more(error.kind, error.original, error.gold):
        # Its distance from the golds is then no sign of memory: a model that never learnt the samples is far as well.
        return _Doubt(verdict_text.original_without_memory(error), "original")
    share, _ = _detectable_share(found)
    if share <= rule.resolution:
        return None
    golds = len(report.golds)
    counts = (
        count
        for count in range(golds + 1, _MOST_GOLDS + 1)
        if _detectable_share(_criteria(model, report, rule, count))[0] <= rule.resolution
    )
    nearest = min((c for c in found if c.kind != "retain"), key=lambda criterion: criterion.resolution)
    enough = next(counts, None)
    return _Doubt(verdict_text.insensitive(share, nearest, golds, enough, _MOST_GOLDS), "spread", enough)


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
        if criterion.kind in ("error", "attack") and criterion.resolution < 1
        if all(
            knows_more(criterion.kind, criterion.value, gold)
            for gold in report.over_golds(criterion.metric, criterion.split)
        )
    ]
