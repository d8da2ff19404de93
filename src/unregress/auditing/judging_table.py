"""Choose the leave-out table that judges some models: none that taught one of them, and none that is too old."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from unregress.auditing.assemble import Participant
from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.sample_keys import sample_keys
from unregress.errors import SettingError, StaleError, UnregressError
from unregress.evidence import Measurement
from unregress.methods.unlearned import Candidate, lineage, record_of
from unregress.metrics import Metric
from unregress.metrics.memory_kept import MemoryKept
from unregress.metrics.revival import Revival

_TAUGHT = "no leave-out table is left to judge: each taught a model, which agrees with it by construction"
_SAME = (
    "the leave-out table has the same predictions of forgotten samples as one that taught, since both left out the "
    "same people at a time: tables of fewer folds differ"
)


def judging(
    tables: Sequence[LeaveOutTable],
    case: Case,
    original: Candidate,
    models: Sequence[Candidate],
    log: Callable[[str], None],
) -> list[MemoryKept]:
    """The metric by the last table that taught none of the models and belongs to them; empty if there are no tables.

    Nor may it have taught a model that one of these was made from, whose earlier request is checked again.  If no table
    may judge, the metric measures nothing and has the reason, for the verdict.  If none can say anything about this
    request, that of one that may judge is given, which may be able to check earlier requests again.

    Args:
        tables: the leave-out tables.
        case: the request and the data.
        original: the model before it forgot.
        models: the models that forgot.
        log: receives the reasons where no table can judge.
    """
    taught, made_from = _summaries(models), _made_from(original, models)
    teachers = [table for table in tables if _taught(table, taught)]
    found: dict[str, MemoryKept] = {}
    for table in reversed(tables):
        if table in teachers:
            refused = _TAUGHT
        elif error := _stale(table, case, made_from):
            refused = error.found
        else:
            refused = _same(table, teachers, case)
        metric = MemoryKept(table, refused=refused)
        if not (why := metric.doubt(case)):
            return [metric]
        found.setdefault(why, metric)
    # That some tables taught says nothing where another one did not, and cannot judge for a reason of its own.
    reasons = {why: metric for why, metric in found.items() if why != _TAUGHT} or found
    for why in reasons:
        log(f"Warning: {why[:1].upper()}{why[1:]}")
    return sorted(reasons.values(), key=lambda metric: bool(metric.refused))[:1]


def table_errors(
    metrics: Sequence[Metric], case: Case, original: Candidate, models: Sequence[Candidate], golds: int
) -> Iterator[UnregressError]:
    """Errors about leave-out tables of metrics that must not judge some models, or belong to others.

    A table that taught no model, and is the same as one that did, is only found by `judging`, which has both.

    Args:
        metrics: the metrics of an audit; those by a table that `judging` chose pass.
        case: the request and the data.
        original: the model before it forgot.
        models: the models to judge.
        golds: number of golds, beside which `Revival` does not use its table.
    """
    taught, made_from = _summaries(models), _made_from(original, models)
    for metric in metrics:
        table = _table_of(metric)
        if table is None or (isinstance(metric, Revival) and golds):
            continue
        if _taught(table, taught):
            yield SettingError(
                f"The leave-out table of {type(metric).__name__} taught a model, which agrees with it by construction",
                expected="a table that taught none of the models, nor those that they were made from",
                remedy="Make two tables, whose last one judges: `Project.table` does, and `Project.audit` chooses it",
            )
        elif error := _stale(table, case, made_from):
            yield error


def unknown_teachers(
    metrics: Sequence[Metric], models: Sequence[Participant], measures: Sequence[Measurement]
) -> list[str]:
    """A caveat where a table judges a model of which no record tells by which tables it was taught."""
    unknown = [name for name, role, model in models if role == "unlearned" and record_of(model) is None]
    names = {about.metric for metric in metrics if _table_of(metric) is not None for about in metric.about}
    if not unknown or not any(each.metric in names and each.value is not None for each in measures):
        return []
    return [
        f"No record says which leave-out tables taught {', '.join(map(repr, unknown))}; a model agrees by construction "
        "with a table that taught it."
    ]


def _table_of(metric: Metric) -> LeaveOutTable | None:
    """The leave-out table by which a metric judges, if it may."""
    if isinstance(metric, MemoryKept) and metric.refused:
        return None
    return metric.table if isinstance(metric, MemoryKept | Revival) else None


def _summaries(models: Sequence[Candidate]) -> list[dict[str, Any]]:
    """Summaries of the tables that taught some models, or those that they were made from, as far as is recorded."""
    return [summary for each in models if (record := record_of(each)) is not None for summary in record.taught_by]


def _taught(table: LeaveOutTable, summaries: Sequence[dict[str, Any]]) -> bool:
    """Whether a table is one of those that taught; records of earlier versions say less of them."""
    named = (each for each in summaries if {"original", "partition"} <= each.keys())
    return any(each.items() <= table.summary.items() for each in named)


def _made_from(original: Candidate, models: Sequence[Candidate]) -> list[Candidate]:
    """The original, and the models whose records say that they were made from another one."""
    return [original, *(each for each in models if (record := record_of(each)) is not None and record.parents)]


def _same(table: LeaveOutTable, teachers: Sequence[LeaveOutTable], case: Case) -> str:
    """Why a table is no other than one that taught about this request, or an earlier one; empty if it is."""
    keys, asked = sample_keys(case.splits, "train_eval"), case.requested
    own = dict(zip(table.keys, table.predictions, strict=True))
    for teacher in teachers:
        its = dict(zip(teacher.keys, teacher.predictions, strict=True))
        for request in (asked, *asked.others):
            known = [key for row in request.forget if (key := keys[row]) in own and key in its]
            if known and all(torch.equal(own[key], its[key]) for key in known):
                return _SAME
    return ""


def _stale(table: LeaveOutTable, case: Case, models: Sequence[Candidate]) -> StaleError | None:
    """Why a table does not belong to models and data; None if it does."""
    found = (table.staleness(case, case.rows("train"), *lineage(model)) for model in models)
    return next((error for error in found if error is not None), None)


def with_judge(metrics: Sequence[Metric]) -> list[Metric]:
    """Give revival the leave-out table that judges, to compare with where there are no golds."""
    judge = next((metric for metric in metrics if isinstance(metric, MemoryKept) and not metric.refused), None)
    if judge is None:
        return list(metrics)
    return [
        replace(metric, table=judge.table) if isinstance(metric, Revival) and metric.table is None else metric
        for metric in metrics
    ]
