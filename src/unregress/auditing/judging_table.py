"""Choose the leave-out table that judges some models: none that taught one of them, and none that is too old."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from unregress.auditing.assemble import Participant
from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.errors import SettingError, StaleError, UnregressError
from unregress.methods.unlearned import Candidate, lineage, record_of
from unregress.metrics import Metric
from unregress.metrics.memory_kept import MemoryKept
from unregress.metrics.revival import Revival

_TAUGHT = "no leave-out table is left to judge: each taught a model, which agrees with it by construction"
_SAME = (
    "the leave-out table has the same predictions of the forgotten samples as one that taught, since both left out the "
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
    refused, doubted = dict[str, LeaveOutTable](), dict[str, LeaveOutTable]()
    for table in reversed(tables):
        if table in teachers:
            refused.setdefault(_TAUGHT, table)
        elif error := _stale(table, case, made_from):
            refused.setdefault(error.found, table)
        elif why := _same(table, teachers, case):
            refused.setdefault(why, table)
        elif why := MemoryKept(table).doubt(case):
            doubted.setdefault(why, table)
        else:
            return [MemoryKept(table)]
    # That some tables taught says nothing where another one did not, and cannot judge for a reason of its own.
    reasons = [why for why in (*doubted, *refused) if why != _TAUGHT] or list(refused)
    for why in reasons:
        log(f"Warning: {why[:1].upper()}{why[1:]}")
    return [
        MemoryKept(doubted[why]) if why in doubted else MemoryKept(refused[why], refused=why) for why in reasons[:1]
    ]


def table_errors(
    metrics: Sequence[Metric], case: Case, original: Candidate, models: Sequence[Candidate]
) -> Iterator[UnregressError]:
    """Errors about leave-out tables of metrics that must not judge some models, or belong to others.

    Args:
        metrics: the metrics of an audit; those by a table that `judging` chose pass.
        case: the request and the data.
        original: the model before it forgot.
        models: the models to judge.
    """
    taught, made_from = _summaries(models), _made_from(original, models)
    for metric in metrics:
        table = metric.table if isinstance(metric, MemoryKept | Revival) else None
        if table is None or (isinstance(metric, MemoryKept) and metric.refused):
            continue
        if _taught(table, taught):
            yield SettingError(
                f"The leave-out table of {type(metric).__name__} taught a model, which agrees with it by construction",
                expected="a table that taught none of the models, nor those that they were made from",
                remedy="Make two tables, whose last one judges: `Project.table` does, and `Project.audit` chooses it",
            )
        elif error := _stale(table, case, made_from):
            yield error


def unknown_teachers(metrics: Sequence[Metric], models: Sequence[Participant]) -> list[str]:
    """A caveat where a table judges a model of which no record tells by which tables it was taught."""
    unknown = [name for name, role, model in models if role == "unlearned" and record_of(model) is None]
    if not unknown or not any(isinstance(metric, MemoryKept) and not metric.refused for metric in metrics):
        return []
    return [
        f"No record says which leave-out tables taught {', '.join(map(repr, unknown))}; a model agrees by construction "
        "with a table that taught it."
    ]


def _summaries(models: Sequence[Candidate]) -> list[dict[str, Any]]:
    """Summaries of the tables that taught some models, or those that they were made from, as far as is recorded."""
    return [summary for each in models if (record := record_of(each)) is not None for summary in record.taught_by]


def _taught(table: LeaveOutTable, summaries: Sequence[dict[str, Any]]) -> bool:
    """Whether a table is one of those that taught; records of earlier versions say less of them."""
    return any(each.items() <= table.summary.items() for each in summaries)


def _made_from(original: Candidate, models: Sequence[Candidate]) -> list[Candidate]:
    """The original and the models that were made from it: a retrained one may have initial weights of its own."""
    unlearned = [each for each in models if (record := record_of(each)) is not None and record.kind == "unlearned"]
    return [original, *unlearned]


def _same(table: LeaveOutTable, teachers: Sequence[LeaveOutTable], case: Case) -> str:
    """Why a table is no other than one that taught; empty if it is."""
    try:
        return _SAME if any(torch.equal(table.targets(case), each.targets(case)) for each in teachers) else ""
    except StaleError:
        return ""


def _stale(table: LeaveOutTable, case: Case, models: Sequence[Candidate]) -> StaleError | None:
    """Why a table does not belong to models and data; None if it does."""
    try:
        for model in models:
            table.require_current(case, case.rows("train"), *lineage(model))
    except StaleError as error:
        return error
    return None


def with_judge(metrics: Sequence[Metric]) -> list[Metric]:
    """Give revival the leave-out table that judges, to compare with where there are no golds."""
    judge = next((metric for metric in metrics if isinstance(metric, MemoryKept) and not metric.refused), None)
    if judge is None:
        return list(metrics)
    return [
        replace(metric, table=judge.table) if isinstance(metric, Revival) and metric.table is None else metric
        for metric in metrics
    ]
