"""Make the leave-out tables of a model that are missing, and remove the samples of requests that were carried out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import yaml
from torch import nn

from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.sample_keys import sample_keys
from unregress.errors import SettingError
from unregress.errors.wording import within_sentence
from unregress.methods.unlearned import (
    Candidate,
    Unlearned,
    lineage,
    record_of,
    require_initial,
    trained_otherwise,
)
from unregress.retraining.leave_out import fit_table, key_of
from unregress.runs.folder import CONFIG, check_run
from unregress.runs.lenient import mapping_of
from unregress.runs.table_folder import partitions_in, read_tables, write_tables
from unregress.runs.unfinished_tables import discard, unfinished_of
from unregress.training.from_scratch import Training, training_record
from unregress.training.runtime import Runtime

FOLDS = 5
"""Number of folds of tables that are made for the first time."""
PARTITIONS = 2
"""Number of tables that are made for the first time."""


def up_to_date_tables(
    case: Case,
    training: Training,
    runtime: Runtime,
    model: Candidate,
    *,
    start: nn.Module | None,
    folder: Path | None,
    after: Candidate | None = None,
    known: Sequence[LeaveOutTable] = (),
    folds: int | None = None,
    partitions: int | None = None,
    workers: int = 1,
    stack: int = 1,
    log: Callable[[str], None],
) -> tuple[LeaveOutTable, ...]:
    """Read a model's leave-out tables, make those that are missing or too old, and drop what was forgotten since.

    Args:
        case: task and data; its request and the other ones are those that were carried out already.
        training: how the original was trained.
        runtime: as for the original, with its seed; a warning says where its record has another one.
        model: the model that the tables belong to.
        start: the original's initial weights; None if unknown.
        folder: where tables are kept, and the predictions of an interrupted call beside it; None keeps nothing.
        after: the model that carried out the last request, which is to take the place of `model`.
        known: the tables that there are already, where no folder keeps them.
        folds: number of folds; None for that of the tables that exist, and `FOLDS` if there are none.
        partitions: number of tables, each with a partition into folds of its own: the last one judges, the others
            teach; None for as many as exist, and `PARTITIONS` if there are none.
        workers: number of trainings side by side.
        stack: number of fold models of a small network to train in one loop.
        log: receives lines of progress.

    Raises:
        SettingError: fewer than two folds, or more than people; fewer than one table; or the initial weights are those
            of the trained model.
        DataError: there are no held-out samples.
        RunFolderError: there are other files in the folder, or tables of other folds or another training, or it cannot
            be written.
        JobsError: a training failed.
    """
    require_initial(start, model, training)
    for warning in trained_otherwise(model, training):
        log(f"Warning: {warning}")
    if partitions is not None and partitions < 1:
        raise SettingError(f"partitions is {partitions}", expected="1 or more; 2 or more to judge what one has taught")
    present = _of_tables(known) if folder is None else _of_folder(folder)
    folds, partitions = present[0] if folds is None else folds, present[1] if partitions is None else partitions
    settings = {"training": training_record(training), "seed": runtime.seed, "folds": folds}
    config = yaml.safe_dump(settings, sort_keys=False)
    if folder is not None:
        # What cannot be written is refused before anything is trained.
        check_run(folder, config)
    bare = model.model if isinstance(model, Unlearned) else model
    existing = _usable(known if folder is None else read_tables(folder), case, model, folds, partitions, log)
    if folder is not None:
        # Those of an interrupted call before a request have predictions of people who are forgotten now.
        missing = [number for number in range(partitions) if number not in existing]
        keys = [key_of(case, training, runtime, start=start, folds=folds, partition=number) for number in missing]
        if count := discard(folder, but=keys):
            log(f"{count} unfinished leave-out tables of other data or settings were deleted")
    if len(existing) < partitions:
        _warn_of_another_seed(model, runtime, log)
    later, tables = model if after is None else after, list[LeaveOutTable]()
    for number in range(partitions):
        made = existing.get(number) or fit_table(
            case,
            training,
            runtime,
            bare,
            start=start,
            folds=folds,
            partition=number,
            workers=workers,
            stack=stack,
            store=None if folder is None else unfinished_of(folder),
            log=log,
        )
        tables.append(_with_retrained(made, case, later, log, new=number not in existing))
    kept = tuple(table.retained(case) for table in tables)
    for before, now in zip(tables, kept, strict=True):
        if gone := len(before.keys) - len(now.keys):
            log(f"Table {now.partition}: the predictions of {gone} samples that are forgotten or gone were removed")
    if folder is not None:
        write_tables(runtime.process_group, folder, kept, config)
        discard(folder)
    return kept


def _warn_of_another_seed(model: Candidate, runtime: Runtime, log: Callable[[str], None]) -> None:
    record = record_of(model)
    if record is None or record.kind not in ("trained", "retrained") or record.seed is None:
        return
    if record.seed != runtime.seed:
        log(
            f"Warning: the model was trained with seed {record.seed}, and its tables with {runtime.seed}: their models "
            "see batches in another order. Take the model's seed (`Runtime(seed=...)`, `--runtime.seed`)"
        )


def _with_retrained(
    table: LeaveOutTable, case: Case, model: Candidate, log: Callable[[str], None], *, new: bool
) -> LeaveOutTable:
    """A table that records an exact retraining, and belongs to it even when samples come that it does not know.

    A new table lacks the samples of requests that came before it, of which the retraining may have read some.
    """
    weights = lineage(model).weights
    if {table.original, *table.retrained} & set(weights):
        return table
    every = tuple(sample_keys(case.splits, "train_eval"))
    asked = replace(table, keys=every, folds=torch.zeros(len(every))) if new else table
    if why := _why_not(asked, case, model):
        log(f"Warning: table {table.partition} does not belong to the model that the request made. {why}")
        return table
    return replace(table, retrained=(*table.retrained, *weights))


def _usable(
    tables: Sequence[LeaveOutTable],
    case: Case,
    model: Candidate,
    folds: int,
    partitions: int,
    log: Callable[[str], None],
) -> dict[int, LeaveOutTable]:
    """The tables that can be kept, by their number; what is dropped or made again is logged with the reason."""
    found: dict[int, LeaveOutTable] = {}
    for table in sorted(tables, key=lambda each: each.partition):
        if table.partition >= partitions:
            log(f"Table {table.partition} is dropped: {partitions} tables are asked for")
        elif why := _unusable(table, case, model, folds):
            log(f"Table {table.partition} is made again: {why}")
        else:
            found[table.partition] = table
    return found


def current(
    tables: Sequence[LeaveOutTable], case: Case, model: Candidate, log: Callable[[str], None]
) -> tuple[tuple[LeaveOutTable, ...], str]:
    """The tables that still belong to a model and its data, and what is wrong with the others, which is logged once."""
    found, refused = [], dict[str, None]()
    for table in tables:
        error = table.staleness(case, case.rows("train"), *lineage(model))
        if error is None:
            found.append(table)
        elif error.found not in refused:
            log(f"Warning: {error}")
            refused[error.found] = None
    return tuple(found), "; ".join(map(within_sentence, refused))


def _of_tables(known: Sequence[LeaveOutTable]) -> tuple[int, int]:
    """Number of folds and number of tables of those in memory."""
    if not known:
        return FOLDS, PARTITIONS
    return known[0].number_of_folds, 1 + max(table.partition for table in known)


def _of_folder(folder: Path) -> tuple[int, int]:
    """Number of folds that a folder was made with, and number of tables in it."""
    folds, numbers = mapping_of(folder / CONFIG).get("folds"), partitions_in(folder)
    return folds if isinstance(folds, int) else FOLDS, 1 + max(numbers) if numbers else PARTITIONS


def _unusable(table: LeaveOutTable, case: Case, model: Candidate, folds: int) -> str:
    """Why a table cannot be used any longer; empty if it can."""
    if table.number_of_folds != folds:
        return f"it has {table.number_of_folds} folds, and {folds} are asked for"
    return _why_not(table, case, model)


def _why_not(table: LeaveOutTable, case: Case, model: Candidate) -> str:
    """Why a table does not belong to a model and the samples that are kept; empty if it does."""
    error = table.staleness(case, case.kept("train"), *lineage(model))
    return "" if error is None else error.found
