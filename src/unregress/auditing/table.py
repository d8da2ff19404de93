"""Choose the leave-out table that judges some models: none that taught one of them, and none that is too old."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from unregress.auditing.assemble import Candidate, record_of
from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.errors import StaleError
from unregress.metrics import Metric
from unregress.metrics.memory_kept import MemoryKept
from unregress.metrics.revival import Revival
from unregress.retraining.table_upkeep import current


def judging(
    tables: Sequence[LeaveOutTable], case: Case, models: Sequence[Candidate], log: Callable[[str], None]
) -> list[MemoryKept]:
    """The metric by the first table that taught none of the models and still belongs to them; empty if there is none.

    Args:
        tables: the leave-out tables.
        case: the request and the data.
        models: the models to audit, one or more.
        log: receives the reason why a table is not used.
    """
    records = [record_of(each) for each in models]
    taught = [record.settings.get("table") for record in records if record is not None]
    usable = [table for table in tables if table.summary not in taught]
    if tables and not usable:
        log("Warning: the only leave-out table taught a model, which agrees with it by construction: it does not judge")
    for table in current(usable, case, models[0], log):
        try:
            table.targets(case)
        except StaleError as error:
            log(f"Warning: {error}")
        else:
            return [MemoryKept(table)]
    return []


def with_judge(metrics: Sequence[Metric]) -> list[Metric]:
    """Give revival the leave-out table that judges, to compare with where there are no golds."""
    judge = next((metric for metric in metrics if isinstance(metric, MemoryKept)), None)
    if judge is None:
        return list(metrics)
    return [
        replace(metric, table=judge.table) if isinstance(metric, Revival) and metric.table is None else metric
        for metric in metrics
    ]
