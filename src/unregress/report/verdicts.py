"""Format verdicts, model by model, and the settings of the rule, for HTML and terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unregress.evidence import AuditReport, Criterion, MetricInfo, Outcome, Role, Verdict
from unregress.report.formatting import DASH, measured, plural, significant, span, whole_percent
from unregress.report.models import ORDER, share_of_retraining, typical_retraining

RULE = {
    "level": "probability that one more retrained model would fail, at most",
    "golds": "retrained models that a verdict needs, at least",
    "samples": "forgotten samples from which on all questions are asked; of fewer, one test of the memory kept and the "
    "error on what was to be kept",
    "small_level": "the same probability for so few samples: 78 % for the memory, 20 % for what was kept",
    "weights_level": "the same probability for memory in the weights, shared by readout, relearning and revival",
    "tolerance": "limits are no narrower than this share of what sets the original apart or, for what was to be kept, "
    "of the retrained models’ error: a smaller difference is of no consequence",
    "resolution": "a model passes only if one that kept this share of what sets the original apart would have been "
    "noticed",
}
"""The settings of the rule, in words."""


@dataclass(frozen=True, kw_only=True)
class CriterionRow:
    """One criterion of a verdict, formatted."""

    metric: str
    title: str
    """The metric's title; empty if the report does not explain the metric."""
    split: str
    question: str
    value: str
    gold: str
    limits: str
    """The limits between which one more gold would lie."""
    outcome: str
    crossed: bool
    noticed: str
    """The smallest share of the original's memory that would have been noticed."""


@dataclass(frozen=True, kw_only=True)
class VerdictRow:
    """One model's verdict, formatted."""

    model: str
    role: Role
    outcome: Outcome
    reason: str
    share: str
    """Cost as a share of retraining; empty if unknown."""
    criteria: tuple[CriterionRow, ...]


@dataclass(frozen=True, kw_only=True)
class RecheckRow:
    """The verdicts about another request that the models were made to forget, formatted."""

    reason: str
    samples: str
    note: str
    """Why nothing could be concluded, or what could not be compared with; empty if all was measured."""
    rows: tuple[VerdictRow, ...]


def recheck_rows(report: AuditReport) -> tuple[RecheckRow, ...]:
    """The other requests, in order, each with its verdicts."""
    return tuple(
        RecheckRow(
            reason=each.reason,
            samples=plural(each.samples, "sample"),
            note=each.note,
            rows=verdict_rows(report, each.verdicts),
        )
        for each in report.earlier
    )


def verdict_rows(report: AuditReport, verdicts: Sequence[Verdict] | None = None) -> tuple[VerdictRow, ...]:
    """Verdicts in reading order: original, unlearned models, references.

    Args:
        report: the report, which describes the models.
        verdicts: the verdicts to format; by default the report's own.
    """
    models = {model.name: model for model in report.models}
    about = {each.metric: each for each in report.about}
    retraining = typical_retraining(report)
    found = [
        VerdictRow(
            model=verdict.model,
            role=models[verdict.model].role,
            outcome=verdict.outcome,
            reason=verdict.reason,
            # The original's cost is not a cost of forgetting.
            share=""
            if models[verdict.model].role == "original"
            else share_of_retraining(models[verdict.model], retraining),
            criteria=tuple(_criterion_row(each, about.get(each.metric)) for each in verdict.criteria),
        )
        for verdict in (report.verdicts if verdicts is None else verdicts)
    ]
    return tuple(sorted(found, key=lambda row: ORDER.index(row.role)))


def rule_settings(report: AuditReport) -> tuple[tuple[str, str, str], ...]:
    """The rule's settings as name, value and meaning; none if the report does not record them."""
    rule = report.settings.get("rule")
    if not isinstance(rule, dict):
        return ()
    return tuple((name, str(value), RULE.get(name, "")) for name, value in rule.items())


def _criterion_row(criterion: Criterion, about: MetricInfo | None) -> CriterionRow:
    unit, said = ("", str) if about is None else (about.unit, about.in_unit)
    low, high = criterion.low, criterion.high
    if low is not None and high is not None:
        limits = span(low, high, unit)
    elif high is not None:
        limits = f"at most {significant(high)}"
    else:
        limits = DASH if low is None else f"at least {significant(low)}"
    question = criterion.question.strip().rstrip(",")
    return CriterionRow(
        metric=criterion.metric,
        title="" if about is None else about.title,
        split=criterion.split,
        question=question[:1].upper() + question[1:],
        value=said(measured(criterion.value, "=", unit)),
        gold=said(significant(criterion.gold)),
        limits=limits if limits == DASH else said(limits),
        outcome=criterion.outcome,
        crossed=criterion.outcome != "within",
        noticed=_noticed(criterion),
    )


def _noticed(criterion: Criterion) -> str:
    """The smallest share of the original's memory that a criterion would have noticed, in words."""
    if criterion.kind == "retain" or (criterion.kind == "error" and criterion.low is None):
        return DASH  # this criterion is not about memory
    if criterion.power is not None:
        return f"half kept, with a probability of {whole_percent(min(criterion.power, 0.995))}"
    if criterion.resolution < 1:
        return f"more than {whole_percent(criterion.resolution)} kept"
    return "not even the original"
