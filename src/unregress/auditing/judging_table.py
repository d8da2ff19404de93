"""Choose the leave-out table that judges some models: none that taught one of them, and none that is too old."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.errors import StaleError
from unregress.methods.unlearned import Candidate, lineage, record_of
from unregress.metrics import Metric
from unregress.metrics.memory_kept import MemoryKept
from unregress.metrics.revival import Revival

_TAUGHT = "No leave-out table is left to judge: each taught a model, which agrees with it by construction"
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
    can judge, the metric measures nothing and has the reason, for the verdict.

    Args:
        tables: the leave-out tables.
        case: the request and the data.
        original: the model before it forgot.
        models: the models that forgot.
        log: receives the reasons where no table can judge.
    """
    records = [record_of(each) for each in models]
    taught = [summary for record in records if record is not None for summary in record.taught_by]
    if tables and None in records:
        log("Warning: of a model without record it is unknown which leave-out tables taught it, and must not judge it")
    # A retrained model is compared with the original's table too, whatever its own initial weights.
    made_from = [
        original,
        *(each for each, record in zip(models, records, strict=True) if record and record.kind == "unlearned"),
    ]
    refused: dict[str, LeaveOutTable] = {}
    teachers = [table for table in tables if table.summary in taught]
    for table in reversed(tables):
        if table.summary in taught:
            why = _TAUGHT
        else:
            why = _too_old(table, case, made_from) or _same(table, teachers, case) or MemoryKept(table).doubt(case)
        if not why:
            return [MemoryKept(table)]
        refused.setdefault(why, table)
    # That some tables taught says nothing where another one did not, and cannot judge for a reason of its own.
    reasons = [why for why in refused if why != _TAUGHT] or list(refused)
    for why in reasons:
        log(f"Warning: {why[:1].upper()}{why[1:]}")
    return [MemoryKept(refused[why], refused=why) for why in reasons[:1]]


def _same(table: LeaveOutTable, teachers: Sequence[LeaveOutTable], case: Case) -> str:
    """Why a table is no other than one that taught; empty if it is."""
    own = table.targets(case)
    return _SAME if any(torch.equal(own, each.targets(case)) for each in teachers) else ""


def _too_old(table: LeaveOutTable, case: Case, models: Sequence[Candidate]) -> str:
    """Why a table does not belong to models and data, or does not know the samples; empty if it does."""
    try:
        for model in models:
            table.require_current(case, case.rows("train"), *lineage(model))
        table.targets(case)
    except StaleError as error:
        return error.found
    return ""


def with_judge(metrics: Sequence[Metric]) -> list[Metric]:
    """Give revival the leave-out table that judges, to compare with where there are no golds."""
    judge = next((metric for metric in metrics if isinstance(metric, MemoryKept) and not metric.refused), None)
    if judge is None:
        return list(metrics)
    return [
        replace(metric, table=judge.table) if isinstance(metric, Revival) and metric.table is None else metric
        for metric in metrics
    ]
