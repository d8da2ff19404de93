"""Make a leave-out table: train a model without each fold, predict the fold, and keep the predictions alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.loading import chunked
from unregress.data.request import Index
from unregress.data.splits import Split
from unregress.errors import DataError, SettingError
from unregress.methods.base import train
from unregress.parallel.jobs import run_all
from unregress.retraining.throughput import measure_throughput
from unregress.retraining.workload import Workload, plan_of
from unregress.tasks.weights import weights_of
from unregress.training.from_scratch import Training
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime, evaluating

LEAST_UNSEEN = 500
"""Number of never-seen samples that a table should have, to say how leave-out predictions vary."""


class Chosen(NamedTuple):
    """Some samples of one split."""

    split: Split
    rows: Index


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
    log: Callable[[str], None] | None = None,
) -> LeaveOutTable:
    """Make the leave-out table of an original.

    The fold models are trained as the original was: from its initial weights, with its seed and so, by a recipe, in
    its order of batches, the samples of the fold left out of them.  They are deleted once they have predicted.

    Args:
        case: task and data; samples that other requests forgot are in no fold.
        training: how the original was trained.
        runtime: as for the original, with its seed.
        original: the original, whose coupling with the fold models is measured.
        start: its initial weights; None if unknown: fold models then have new ones.
        folds: number of folds, by people where `Splits.subjects` is given; more folds are nearer to the truth.
        partition: number of the division into folds; another number gives another division.
        workers: number of trainings side by side.
        log: receives the estimate of how long it will take.

    Raises:
        SettingError: fewer than two folds, or more than people.
        DataError: there are no held-out samples.
        JobsError: a training failed.
    """
    fold = fold_of_each(case, runtime, folds, partition)
    held = never_seen(case, training)
    draws = np.random.default_rng(runtime.generator(f"leave-out/unseen {partition}").initial_seed())
    assigned = draws.integers(folds, size=sum(len(each.rows) for each in held))
    rows = case.rows("train")
    if log is not None:
        work = sum(
            (plan_of(training, int((fold != each).sum())) for each in range(folds)), Workload(models=0, passes=0)
        )
        log(f"Leave-out table: {work.describe(measure_throughput(case, training, runtime, workers=workers), workers)}")
    sent, shared = case.without_ids(), replace(runtime, progress=False)
    jobs = {
        f"training without fold {number + 1}": partial(
            _without, sent, training, shared, start, rows[fold == number], _chosen(held, assigned == number)
        )
        for number in range(folds)
    }
    jobs["training from other initial weights"] = partial(
        _without, sent, training, replace(shared, seed=runtime.seed + 1), None, rows[:0], held
    )
    with runtime.bar("leaving out", len(jobs)) as advance:
        *parts, other = (made for _, made in run_all(jobs, workers=workers, ended=advance))
    unseen = _in_place([each.unseen for each in parts], assigned)
    return LeaveOutTable(
        keys=_keys(case, [Chosen("train_eval", rows)]),
        predictions=_in_place([each.own for each in parts], fold),
        folds=torch.from_numpy(fold),
        unseen=unseen,
        unseen_keys=_keys(case, held),
        seed=runtime.seed,
        partition=partition,
        start_digest="" if start is None else weights_of(start),
        coupling=_coupling(_on_unseen(original, case, held, runtime), unseen, other.unseen),
    )


def fold_of_each(case: Case, runtime: Runtime, folds: int, partition: int) -> Index:
    """The fold of each training sample that no request forgot, `(n,)`; all samples of a person share one.

    Folds have nearly equal numbers of samples: people are dealt out in a random order, each to the smallest fold.
    """
    rows = case.rows("train")
    subjects = case.splits.subjects
    people: Sequence[Hashable] = rows.tolist() if subjects is None else [subjects[row] for row in rows]
    members: dict[Hashable, list[int]] = {}
    for place, person in enumerate(people):
        members.setdefault(person, []).append(place)
    if not 2 <= folds <= len(members):
        raise SettingError(
            f"A leave-out table is to have {folds} folds, and there are {len(members)} people or samples",
            expected="two folds or more, and no more than people",
        )
    groups = list(members.values())
    order = torch.randperm(len(groups), generator=runtime.generator(f"leave-out/folds {partition}"))
    sizes, fold = [0] * folds, np.zeros(len(rows), dtype=np.int64)
    for place in order.tolist():
        smallest = sizes.index(min(sizes))
        fold[groups[place]] = smallest
        sizes[smallest] += len(groups[place])
    return fold


def never_seen(case: Case, training: Training) -> list[Chosen]:
    """Held-out samples that no training looks at: the test set, and validation samples if nothing monitors them.

    Raises:
        DataError: there are none.
    """
    splits: list[Split] = ["test"]
    if isinstance(training, Recipe) and not training.monitors:
        splits.append("validation")
    held = [Chosen(split, case.rows(split)) for split in splits if getattr(case.splits, split) is not None]
    if not sum(len(each.rows) for each in held):
        raise DataError("There are no never-seen samples", expected="test data, to compare leave-out predictions with")
    return held


class _Part(NamedTuple):
    """Predictions of one model: of the samples that it was trained without, and of never-seen ones."""

    own: Tensor
    unseen: Tensor


def _without(
    case: Case, training: Training, runtime: Runtime, start: nn.Module | None, left_out: Index, held: list[Chosen]
) -> _Part:
    """Train a model without some samples, predict, and delete it."""
    model = train(case, training, runtime, start=start, left_out=left_out if len(left_out) else None).model
    own = _predictions(model, case, "train_eval", left_out, runtime)
    return _Part(own, _on_unseen(model, case, held, runtime))


def _on_unseen(model: nn.Module, case: Case, held: list[Chosen], runtime: Runtime) -> Tensor:
    """Raw predictions of held-out samples, `(n, *out)`."""
    return torch.cat([_predictions(model, case, each.split, each.rows, runtime) for each in held])


def _predictions(model: nn.Module, case: Case, split: Split, rows: Index, runtime: Runtime) -> Tensor:
    """Raw predictions of some samples, on the CPU; `(n, *out)`."""
    ready, chunks = (
        runtime.set_up(runtime.private_copy(model)),
        chunked(torch.from_numpy(rows), runtime.evaluation_batch_size),
    )
    with evaluating(ready), torch.no_grad():
        found = [
            case.task.predict(ready, batch.data).float().cpu() for batch in runtime.load(case.source(split), chunks)
        ]
    return torch.cat(found) if found else torch.empty(0)


def _chosen(held: list[Chosen], mask: np.typing.NDArray[np.bool_]) -> list[Chosen]:
    """The held-out samples that a mask over all of them chooses."""
    ends = np.cumsum([len(each.rows) for each in held])[:-1]
    return [Chosen(each.split, each.rows[part]) for each, part in zip(held, np.split(mask, ends), strict=True)]


def _keys(case: Case, chosen: list[Chosen]) -> tuple[bytes, ...]:
    """The SHA-256 of each sample's content."""
    found: list[bytes] = []
    for each in chosen:
        hashes = case.splits.row_hashes(each.split)
        found += [hashes[row] for row in each.rows]
    return tuple(found)


def _in_place(parts: Sequence[Tensor], number: Index) -> Tensor:
    """One tensor, `(n, *out)`, of which sample `i` is the next of part `number[i]`."""
    whole = torch.empty(len(number), *parts[0].shape[1:])
    for each, part in enumerate(parts):
        whole[torch.from_numpy(number == each)] = part
    return whole


def _coupling(original: Tensor, unseen: Tensor, other: Tensor) -> float:
    """Distance of the fold models' predictions from the original's, in distances of a model with other initial weights.

    NaN where that model predicts what the original does.
    """
    moved, apart = (float((each - original).abs().mean()) for each in (unseen, other))
    return moved / apart if apart > 0 else float("nan")
