"""What the audit concludes, model by model, and how the rule works: ready to be laid out as HTML or text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unregress.evidence import AuditReport, Criterion, MetricInfo, Outcome, Role, Verdict
from unregress.report.formatting import DASH, measured, plural, significant, span, whole_percent
from unregress.report.models import ORDER, share_of_retraining, typical_retraining

RULE = {
    "level": "probability that one more retrained model would fail, at most",
    "golds": "retrained models that a verdict needs, at least",
    "samples": "forgotten samples that a verdict needs, at least",
    "tolerance": "limits are no narrower than this share of what sets the original apart or, for what was to be kept, "
    "of the retrained models’ error: a smaller difference is of no consequence",
    "resolution": "a model passes only if one that kept this share of what sets the original apart would not",
}
"""The settings of the rule, in words."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One criterion, formatted."""

    metric: str
    title: str
    """Of the measure; empty if it is not explained."""
    split: str
    question: str
    value: str
    gold: str
    limits: str
    """Where one more gold would be."""
    outcome: str
    crossed: bool
    noticed: str
    """What would have been noticed."""


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """One model's line in the list of verdicts."""

    model: str
    role: Role
    outcome: Outcome
    reason: str
    share: str
    """Cost as a share of retraining; empty if unknown."""
    answers: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True)
class Again:
    """Another request that the models were made to forget, looked at again."""

    reason: str
    samples: str
    note: str
    """Why nothing could be concluded; empty where something was."""
    rulings: tuple[Ruling, ...]


def looked_at_again(report: AuditReport) -> tuple[Again, ...]:
    """The other requests, in order, each with its verdicts."""
    return tuple(
        Again(
            reason=each.reason,
            samples=plural(each.samples, "sample"),
            note=each.note,
            rulings=rulings(report, each.verdicts),
        )
        for each in report.earlier
    )


def rulings(report: AuditReport, verdicts: Sequence[Verdict] | None = None) -> tuple[Ruling, ...]:
    """Verdicts in reading order: original, unlearned models, references.

    Args:
        report: describes the models.
        verdicts: which; by default the report's own.
    """
    models = {model.name: model for model in report.models}
    about = {each.metric: each for each in report.about}
    retraining = typical_retraining(report)
    found = [
        Ruling(
            model=verdict.model,
            role=models[verdict.model].role,
            outcome=verdict.outcome,
            reason=verdict.reason,
            # What the original cost is spent, whatever comes of the request.
            share=""
            if models[verdict.model].role == "original"
            else share_of_retraining(models[verdict.model], retraining),
            answers=tuple(_answer(each, about.get(each.metric)) for each in verdict.criteria),
        )
        for verdict in (report.verdicts if verdicts is None else verdicts)
    ]
    return tuple(sorted(found, key=lambda ruling: ORDER.index(ruling.role)))


def rule_settings(report: AuditReport) -> tuple[tuple[str, str, str], ...]:
    """The rule's settings as name, value and meaning; none if the report does not record them."""
    rule = report.settings.get("rule")
    if not isinstance(rule, dict):
        return ()
    return tuple((name, str(value), RULE.get(name, "")) for name, value in rule.items())


def _answer(criterion: Criterion, about: MetricInfo | None) -> Answer:
    unit = "" if about is None else about.unit
    low, high = criterion.low, criterion.high
    if low is not None and high is not None:
        limits = span(low, high, unit)
    elif high is not None:
        limits = f"at most {significant(high)}"
    else:
        limits = DASH if low is None else f"at least {significant(low)}"
    question = criterion.question.strip().rstrip(",")
    return Answer(
        metric=criterion.metric,
        title="" if about is None else about.title,
        split=criterion.split,
        question=question[:1].upper() + question[1:],
        value=measured(criterion.value, "=", unit),
        gold=significant(criterion.gold),
        limits=limits,
        outcome=criterion.outcome,
        crossed=criterion.outcome != "within",
        noticed=_noticed(criterion),
    )


def _noticed(criterion: Criterion) -> str:
    """From which share of the original's memory on a criterion would have told."""
    if criterion.kind == "retain":
        return DASH  # not the original's fault there
    if criterion.resolution < 1:
        return f"more than {whole_percent(criterion.resolution)} kept"
    return "not even the original"
