"""Make a leave-out table: train a model without each fold, predict the fold, and keep the predictions alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.loading import chunked
from unregress.data.request import Index
from unregress.data.splits import Split
from unregress.errors import DataError, SettingError
from unregress.files.partial import unfinished
from unregress.files.writing import writing
from unregress.methods.base import train
from unregress.parallel.jobs import run_all
from unregress.retraining.throughput import measure_throughput
from unregress.retraining.workload import Workload, plan_of
from unregress.tasks.weights import weights_of
from unregress.training.from_scratch import Training, training_record
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
        original: the original, whose coupling with the fold models is measured.
        start: its initial weights; None if unknown: fold models then have new ones.
        folds: number of folds, by people where `Splits.subjects` is given; more folds are nearer to the truth.
        partition: number of the division into folds; another number gives another division.
        workers: number of trainings side by side.
        store: folder for the predictions of finished trainings, with which an interrupted call continues; they are
            removed in the end.
        log: receives the estimate of how long it will take.

    Raises:
        SettingError: fewer than two folds, or more than people.
        DataError: there are no held-out samples.
        JobsError: a training failed.
    """
    fold, rows, gone = fold_of_each(case, runtime, folds, partition), case.kept, forgotten_rows(case)
    held = never_seen(case, training)
    assigned = _fold_of_unseen(case, held, runtime, folds, partition)
    sent, shared = case.without_ids(), replace(runtime, progress=False)
    trainings = [
        _Training(sent, training, shared, start, rows[fold == each], gone, _chosen(held, assigned == each))
        for each in range(folds)
    ]
    # A training from other initial weights, for the coupling.
    trainings.append(_Training(sent, training, replace(shared, seed=runtime.seed + 1), None, rows[:0], gone, held))
    kept = (
        None
        if store is None
        else store / f"leave-out-{_key(case, training, runtime, original, start, folds, partition)}"
    )
    parts = _run(trainings, kept, case, runtime, workers, log)
    unseen = _in_place([each.unseen for each in parts[:-1]], assigned)
    table = LeaveOutTable(
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
        coupling=_coupling(_on_unseen(original, case, held, runtime), unseen, parts[-1].unseen),
    )
    if kept is not None:
        shutil.rmtree(kept, ignore_errors=True)
    return table


def fold_of_each(case: Case, runtime: Runtime, folds: int, partition: int) -> Index:
    """The fold of each training sample that no request forgot, `(n,)`; all samples of a person share one.

    Folds have nearly equal numbers of samples: people are dealt out in a random order, each to the smallest fold.
    """
    rows = case.kept
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
    held = [Chosen(split, case.rows(split)) for split in splits if getattr(case.splits, split) is not None]
    if not sum(len(each.rows) for each in held):
        raise DataError("There are no never-seen samples", expected="test data, to compare leave-out predictions with")
    return held


class _Part(NamedTuple):
    """Predictions of one model: of the samples that it was trained without, and of never-seen ones."""

    own: Tensor
    unseen: Tensor


class _Training(NamedTuple):
    """One training without some samples, and what its model predicts."""

    case: Case
    training: Training
    runtime: Runtime
    start: nn.Module | None
    left_out: Index
    """Samples of the fold."""
    gone: Index
    """Samples that were forgotten before."""
    held: list[Chosen]

    def run(self) -> _Part:
        """Train, predict, and delete the model."""
        masked = np.concatenate([self.left_out, self.gone])
        left_out = masked if len(masked) else None
        model = train(self.case, self.training, self.runtime, start=self.start, left_out=left_out).model
        own = predict_rows(model, self.case, "train_eval", self.left_out, self.runtime)
        return _Part(own, _on_unseen(model, self.case, self.held, self.runtime))


def _run(
    trainings: Sequence[_Training],
    kept: Path | None,
    case: Case,
    runtime: Runtime,
    workers: int,
    log: Callable[[str], None] | None,
) -> list[_Part]:
    """Carry out the trainings whose predictions are not kept yet; returns the predictions of all."""
    done = {} if kept is None else _read_parts(kept)
    missing = [number for number in range(len(trainings)) if number not in done]
    if log is not None and missing:
        each = trainings[0]
        samples = len(case.kept)
        work = sum(
            (plan_of(each.training, samples - len(trainings[number].left_out)) for number in missing),
            Workload(models=0, passes=0),
        )
        pace = measure_throughput(case, each.training, runtime, workers=workers)
        log(f"Leave-out table: {work.describe(pace, workers)}")
    jobs = {f"training {number + 1} of {len(trainings)}": trainings[number].run for number in missing}
    with runtime.bar("leaving out", len(jobs)) as advance:
        for number, (_, part) in zip(missing, run_all(jobs, workers=workers, ended=advance), strict=True):
            done[number] = part
            if kept is not None:
                _write_part(kept / f"{number}.safetensors", part)
    return [done[number] for number in range(len(trainings))]


def _read_parts(folder: Path) -> dict[int, _Part]:
    """Predictions that an interrupted call has kept, by the number of the training."""
    found = {}
    for path in folder.glob("*.safetensors"):
        tensors = load_file(path)
        found[int(path.stem)] = _Part(tensors["own"], tensors["unseen"])
    return found


def _write_part(path: Path, part: _Part) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished(path) as hidden:
            save_file({"own": part.own.contiguous(), "unseen": part.unseen.contiguous()}, hidden)
            hidden.replace(path)


def _key(
    case: Case,
    training: Training,
    runtime: Runtime,
    original: nn.Module,
    start: nn.Module | None,
    folds: int,
    partition: int,
) -> str:
    """A name for the predictions of these trainings and no others."""
    described = [
        case.splits.data_digest,
        case.kept.tolist(),
        training_record(training),
        weights_of(original),
        "" if start is None else weights_of(start),
        runtime.seed,
        folds,
        partition,
    ]
    return hashlib.sha256(json.dumps(described, default=str, sort_keys=True).encode()).hexdigest()[:16]


def _fold_of_unseen(case: Case, held: list[Chosen], runtime: Runtime, folds: int, partition: int) -> Index:
    """The fold whose model predicts each never-seen sample, drawn at random; samples of a person share one, `(u,)`."""
    draws = np.random.default_rng(runtime.generator(f"leave-out/unseen {partition}").initial_seed())
    people: list[Hashable] = []
    for each in held:
        subjects = case.splits.subjects_of(each.split)
        people += [(each.split, row) if subjects is None else subjects[row] for row in each.rows.tolist()]
    number = {person: place for place, person in enumerate(dict.fromkeys(people))}
    drawn = draws.integers(folds, size=len(number))
    return np.array([drawn[number[person]] for person in people], dtype=np.int64)


def _on_unseen(model: nn.Module, case: Case, held: list[Chosen], runtime: Runtime) -> Tensor:
    """Raw predictions of held-out samples, `(n, *out)`."""
    return torch.cat([predict_rows(model, case, each.split, each.rows, runtime) for each in held])


def predict_rows(model: nn.Module, case: Case, split: Split, rows: Index, runtime: Runtime) -> Tensor:
    """Raw predictions of some samples, on the CPU; `(n, *out)`."""
    if not len(rows):
        return torch.empty(0)
    ready, chunks = (
        runtime.set_up(runtime.private_copy(model)),
        chunked(torch.from_numpy(rows), runtime.evaluation_batch_size),
    )
    with evaluating(ready), torch.no_grad():
        found = [
            case.task.predict(ready, batch.data).float().cpu() for batch in runtime.load(case.source(split), chunks)
        ]
    return torch.cat(found)


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
