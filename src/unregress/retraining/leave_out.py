"""Make a leave-out table: train a model without each fold, predict the fold, and keep the predictions alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable, training_of
from unregress.data.listed import numbered
from unregress.data.loading import read_targets
from unregress.data.request import Index
from unregress.data.sample_keys import sample_keys
from unregress.data.splits import Split
from unregress.errors import DataError, SettingError
from unregress.evidence.coupling import coupling
from unregress.hooks.raw_predictions import flattened, point_predictions
from unregress.methods.edit_samples import spread_of
from unregress.retraining.fingerprint import task_fingerprint
from unregress.retraining.fold_effects import with_fold_effects
from unregress.retraining.fold_models import Chosen, FoldTraining, predict_unseen, run_trainings
from unregress.retraining.model_spec import code_of
from unregress.retraining.model_store import STACKING, TRAINING, code
from unregress.retraining.stacked_training import require_stackable
from unregress.tasks.weights import weights_of
from unregress.training.from_scratch import Training, training_record
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


class _Plan(NamedTuple):
    """The trainings of a table, and which of them predicts which sample."""

    rows: Index
    """The training samples that no request forgot."""
    fold: Index
    held: list[Chosen]
    assigned: Index
    """The fold whose model predicts each never-seen sample."""
    trainings: list[FoldTraining]


FAILED = 3.0
"""The training of a fold may have failed if its model errs so many times as much as those of the others."""
LEAST_FOLD = 10
"""Number of samples from which on a fold's error is compared with the others', since that of few varies too much."""
LEAST_UNSEEN = 500
"""Number of never-seen samples that a table should have, to say how leave-out predictions vary."""
FOLD_MODELS = ("retraining/fold_models", "retraining/leave_out")
"""Modules whose code determines what a table's models leave out and predict, besides those of all models."""


def fit_table(
    case: Case,
    training: Training,
    runtime: Runtime,
    original: nn.Module,
    *,
    start: nn.Module | None = None,
    folds: int = 5,
    partition: int = 0,
    workers: int = 1,
    stack: int = 1,
    store: Path | None = None,
    log: Callable[[str], None] | None = None,
) -> LeaveOutTable:
    """Make the leave-out table of an original.

    The fold models are trained as the original was: from its initial weights, with its seed and so, by a recipe, in
    its order of batches, the samples of the fold left out of them.  They are deleted once they have predicted.

    Args:
        case: task and data; samples of its request, and of other requests, are in no fold and in no training.
        training: how the original was trained.
        runtime: as for the original, with its seed.
        original: the original, whose coupling with the fold models is measured, and by whose gradients the table is
            corrected where they explain it (`fold_effects.with_fold_effects`).
        start: its initial weights; None if unknown: fold models then have new ones.
        folds: number of folds, by people where `Splits.subjects` is given; more folds are nearer to the truth.
        partition: number of the partition into folds; another number gives another partition.
        workers: number of trainings side by side.
        stack: number of fold models of a small network to train in one loop, see `Retraining.stack`.
        store: folder for the predictions of finished trainings, with which an interrupted call continues unless code,
            data, folds or settings have changed since; see `runs.unfinished_tables`, which removes them.
        log: receives the estimate of how long it will take, warnings, and whether the table can be corrected.

    Raises:
        SettingError: fewer than two folds, or more than people; or the task cannot be trained in stacks.
        DataError: there are no held-out samples.
        JobsError: a training failed.
    """
    rows, fold, held, assigned, trainings = _planned(case, training, runtime, start, folds, partition)
    if log is not None and (unseen_count := sum(len(each.rows) for each in held)) < LEAST_UNSEEN:
        log(f"Warning: there are {unseen_count} never-seen samples, and limits by fewer than {LEAST_UNSEEN} are rough")
    kept = None if store is None else store / _key(case, trainings)
    if stack > 1:
        require_stackable(case, training, runtime)
    parts = run_trainings(trainings, kept, workers, stack, f"Leave-out table {partition}", log)
    unseen = _in_place([each.unseen for each in parts[:-1]], assigned)
    # The table is the models of one start together; each never-seen sample has one of them.
    own = predict_unseen(original, case, held, runtime)
    made = LeaveOutTable(
        keys=_keys(case, [Chosen("train_eval", rows)]),
        predictions=_in_place([each.own for each in parts[:-1]], fold),
        folds=torch.from_numpy(fold),
        unseen=unseen,
        unseen_keys=_keys(case, held),
        seed=runtime.seed,
        partition=partition,
        start_digest="" if start is None else weights_of(start),
        original=weights_of(original),
        made_with=len(rows),
        number_of_folds=folds,
        training=training_of(case, training_record(training)),
        data=case.splits.data_digest,
        coupling=_coupling(case, unseen, parts[-1].unseen, own),
    )
    if log is not None and (failed := _failed(made, case, rows)):
        log(f"Warning: {failed}")
    return with_fold_effects(made, original, case, runtime, log)


def _coupling(case: Case, same: Tensor, other: Tensor, own: Tensor) -> float | None:
    """κ by raw predictions of never-seen samples: point predictions, each output in units of the original's spread."""
    points = [point_predictions(case, each) for each in (same, other, own)]
    near, far, center = ((each / spread_of(points[-1])).numpy() for each in points)
    return coupling([near], [far], center)


def _failed(table: LeaveOutTable, case: Case, rows: Index) -> str:
    """A warning if models err far more on their folds than the others on theirs, or predict nothing; else empty."""
    target = flattened(read_targets(case.source("train_eval"), case.task, torch.from_numpy(rows))).double()
    point = point_predictions(case, table.predictions)
    each = ((point - target).abs() / spread_of(target.nan_to_num())).nanmean(dim=1)
    each[~point.isfinite().all(dim=1)] = torch.inf
    sizes = torch.bincount(table.folds, minlength=table.number_of_folds)
    errors = {fold: float(each[table.folds == fold].nanmean()) for fold, size in enumerate(sizes) if size >= LEAST_FOLD}
    others = {fold: [error for other, error in errors.items() if other != fold] for fold in errors}
    typical = {fold: float(np.nanmedian(each)) if each else np.inf for fold, each in others.items()}
    failed = [f"{fold + 1}" for fold, error in errors.items() if error > FAILED * typical[fold] > 0 or error == np.inf]
    if not failed:
        return ""
    return (
        f"Table {table.partition}: on fold {', '.join(failed)} the model that was trained without it errs more than "
        f"{FAILED:g} times as much as the others on theirs. Its training may have failed, and the table then neither "
        "teaches nor judges well"
    )


def key_of(
    case: Case, training: Training, runtime: Runtime, *, start: nn.Module | None, folds: int, partition: int
) -> str:
    """Name of the folder in `store` where `fit_table`, with these arguments, keeps what finished trainings predict."""
    return _key(case, _planned(case, training, runtime, start, folds, partition).trainings)


def _planned(
    case: Case, training: Training, runtime: Runtime, start: nn.Module | None, folds: int, partition: int
) -> _Plan:
    fold, rows, gone = fold_of_each(case, runtime, folds, partition), case.kept("train"), forgotten_rows(case)
    held = never_seen(case, training)
    assigned = _fold_of_unseen(case, held, runtime, folds, partition)
    sent, shared = case.without_ids(), replace(runtime, progress=False)
    trainings = [
        FoldTraining(sent, training, shared, start, rows[fold == each], gone, _chosen(held, assigned == each))
        for each in range(folds)
    ]
    # A training from other initial weights, for the coupling.
    trainings.append(FoldTraining(sent, training, replace(shared, seed=runtime.seed + 1), None, rows[:0], gone, held))
    return _Plan(rows, fold, held, assigned, trainings)


def fold_of_each(case: Case, runtime: Runtime, folds: int, partition: int) -> Index:
    """The fold of each training sample that no request forgot, `(n,)`.

    All samples of a person share one; where people are not known, all copies of a sample do.
    Folds have nearly equal numbers of samples: people are dealt out in a random order, each to the smallest fold.
    """
    rows = case.kept("train")
    subjects = case.splits.subjects
    # Copies of a sample share a fold too: a model that saw one has seen the other.
    known = case.splits.row_hashes("train_eval") if subjects is None else subjects
    people: Sequence[Hashable] = [known[row] for row in rows]
    members: dict[Hashable, list[int]] = {}
    for place, person in enumerate(people):
        members.setdefault(person, []).append(place)
    if not 2 <= folds <= len(members):
        raise SettingError(
            f"A leave-out table is to have {folds} folds, and there are {len(members)} people, or samples that differ",
            expected="two folds or more, and no more than people, or samples that differ where people are not known",
        )
    groups = list(members.values())
    order = torch.randperm(len(groups), generator=runtime.generator(f"leave-out/folds {partition}"))
    sizes, fold = [0] * folds, np.zeros(len(rows), dtype=np.int64)
    for place in order.tolist():
        smallest = sizes.index(min(sizes))
        fold[groups[place]] = smallest
        sizes[smallest] += len(groups[place])
    return fold


def forgotten_rows(case: Case) -> Index:
    """Positions of the samples that the case's own request forgets."""
    return np.array([] if case.request is None else case.request.forget, dtype=np.int64)


def never_seen(case: Case, training: Training) -> list[Chosen]:
    """Held-out samples that no training looks at: the test set, and validation samples if nothing monitors them.

    Raises:
        DataError: there are none.
    """
    splits: list[Split] = ["test"]
    if isinstance(training, Recipe) and not training.monitors:
        splits.append("validation")
    held = [Chosen(split, case.kept(split)) for split in splits if getattr(case.splits, split) is not None]
    if not sum(len(each.rows) for each in held):
        raise DataError("There are no never-seen samples", expected="test data, to compare leave-out predictions with")
    return held


def _key(case: Case, trainings: Sequence[FoldTraining]) -> str:
    """A name for the predictions of these trainings and no others: they are not mixed with those of other code or data.

    Args:
        case: their case, which has read its data already.
        trainings: those of one table.
    """
    first = trainings[0]
    described = {
        **task_fingerprint(case, first.runtime),
        "code": code((*TRAINING, *STACKING, *FOLD_MODELS)),
        "training": training_record(first.training),
        **code_of(first.training),
        "start": None if first.start is None else weights_of(first.start),
        "rows": case.kept("train").tolist(),
        "gone": first.gone.tolist(),
        "left_out": [each.left_out.tolist() for each in trainings],
        "seeds": [each.runtime.seed for each in trainings],
        "held": [[[split, rows.tolist()] for split, rows in each.held] for each in trainings],
        "held_data": {each.split: case.splits.content_digest(each.split) for each in trainings[-1].held},
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]


def _fold_of_unseen(case: Case, held: list[Chosen], runtime: Runtime, folds: int, partition: int) -> Index:
    """The fold whose model predicts each never-seen sample, drawn at random; samples of a person share one, `(u,)`."""
    draws = np.random.default_rng(runtime.generator(f"leave-out/unseen {partition}").initial_seed())
    people: list[Hashable] = []
    for each in held:
        subjects = case.splits.subjects_of(each.split)
        people += [(each.split, row) if subjects is None else subjects[row] for row in each.rows.tolist()]
    drawn: Index = draws.integers(folds, size=len(set(people)))
    return drawn[numbered(people)]


def _chosen(held: list[Chosen], mask: np.typing.NDArray[np.bool_]) -> list[Chosen]:
    """The held-out samples that a mask over all of them chooses."""
    ends = np.cumsum([len(each.rows) for each in held])[:-1]
    return [Chosen(each.split, each.rows[part]) for each, part in zip(held, np.split(mask, ends), strict=True)]


def _keys(case: Case, chosen: list[Chosen]) -> tuple[bytes, ...]:
    """The keys of the chosen samples."""
    found: list[bytes] = []
    for each in chosen:
        keys = sample_keys(case.splits, each.split)
        found += [keys[row] for row in each.rows]
    return tuple(found)


def _in_place(parts: Sequence[Tensor], number: Index) -> Tensor:
    """One tensor, `(n, *out)`, of which sample `i` is the next of part `number[i]`."""
    # A part without samples does not know the shape of an output: with fewer people than folds some have none.
    known = next(part for part in parts if len(part))
    whole = known.new_empty(len(number), *known.shape[1:])
    for each, part in enumerate(parts):
        if len(part):
            whole[torch.from_numpy(number == each)] = part
    return whole
