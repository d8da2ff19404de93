"""Make the leave-out tables of a model that are missing, and remove the samples of requests that were carried out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from torch import nn

from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.errors import StaleError
from unregress.methods.unlearned import Unlearned, lineage, require_initial
from unregress.retraining.leave_out import fit_table
from unregress.runs.folder import check_run
from unregress.runs.table_folder import read_tables, write_tables
from unregress.training.from_scratch import Training, training_record
from unregress.training.runtime import Runtime


def up_to_date_tables(
    case: Case,
    training: Training,
    runtime: Runtime,
    model: nn.Module | Unlearned,
    *,
    start: nn.Module | None,
    folder: Path | None,
    folds: int = 5,
    partitions: int = 2,
    workers: int = 1,
    stack: int = 1,
    log: Callable[[str], None],
) -> tuple[LeaveOutTable, ...]:
    """Read a model's leave-out tables, make those that are missing or too old, and drop what was forgotten since.

    Args:
        case: task and data; its request and the other ones are those that were carried out already.
        training: how the original was trained.
        runtime: as for the original, with its seed.
        model: the model that the tables belong to.
        start: the original's initial weights; None if unknown.
        folder: where tables are kept, and the predictions of an interrupted call beside it; None keeps nothing.
        folds: number of folds.
        partitions: number of tables, each with a partition into folds of its own: one teaches, the other judges.
        workers: number of trainings side by side.
        stack: number of fold models of a small network to train in one loop.
        log: receives lines of progress.

    Raises:
        SettingError: fewer than two folds, or more than people; or the initial weights are those of the trained model.
        DataError: there are no held-out samples.
        RunFolderError: there are other files in the folder, or it cannot be written.
        JobsError: a training failed.
    """
    require_initial(start, model, training)
    settings = {"training": training_record(training), "seed": runtime.seed, "folds": folds, "partitions": partitions}
    config = yaml.safe_dump(settings, sort_keys=False)
    if folder is not None:
        # What cannot be written is refused before anything is trained.
        check_run(folder, config)
    bare = model.model if isinstance(model, Unlearned) else model
    known = {} if folder is None else {table.partition: table for table in read_tables(folder)}
    tables = []
    for number in range(partitions):
        table = known.get(number)
        if table is not None and (why := _unusable(table, case, model, folds)):
            log(f"Table {number} is made again: {why}")
            table = None
        if table is None:
            table = fit_table(
                case,
                training,
                runtime,
                bare,
                start=start,
                folds=folds,
                partition=number,
                workers=workers,
                stack=stack,
                store=None if folder is None else folder.parent,
                log=log,
            )
        tables.append(table)
    kept = tuple(table.retained(case) for table in tables)
    for before, after in zip(tables, kept, strict=True):
        if gone := len(before.keys) - len(after.keys):
            log(f"Table {after.partition}: the predictions of {gone} samples that are forgotten or gone were removed")
    if folder is not None:
        write_tables(runtime.process_group, folder, kept, config)
    return kept


def current(
    tables: Sequence[LeaveOutTable], case: Case, model: nn.Module | Unlearned, log: Callable[[str], None]
) -> tuple[LeaveOutTable, ...]:
    """The tables that still belong to a model and its data; what is wrong with the others is logged."""
    found = []
    for table in tables:
        try:
            table.require_current(case, case.rows("train"), *lineage(model))
        except StaleError as error:
            log(f"Warning: {error}")
        else:
            found.append(table)
    return tuple(found)


def _unusable(table: LeaveOutTable, case: Case, model: nn.Module | Unlearned, folds: int) -> str:
    """Why a table cannot be used any longer; empty if it can."""
    if table.number_of_folds != folds:
        return f"it has {table.number_of_folds} folds, and {folds} are asked for"
    try:
        table.require_current(case, case.kept("train"), *lineage(model))
    except StaleError as error:
        return error.found
    return ""
