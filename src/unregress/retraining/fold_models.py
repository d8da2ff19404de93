"""Train models without some samples, keep what they predict, and delete them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.data.request import Index
from unregress.data.splits import Split
from unregress.errors import DivergenceError
from unregress.files.partial import unfinished
from unregress.files.writing import writing
from unregress.hooks.raw_predictions import predict_rows
from unregress.methods.original import train
from unregress.parallel.jobs import run_all
from unregress.retraining.stacked_training import fit_stacked, require_stackable
from unregress.retraining.throughput import measure_throughput
from unregress.retraining.workload import Workload, plan_of
from unregress.training.fresh_model import initial_model
from unregress.training.from_scratch import Training
from unregress.training.runtime import Runtime


class Chosen(NamedTuple):
    """Some samples of one split."""

    split: Split
    rows: Index
    """Positions in the split, `(n,)`."""


class Part(NamedTuple):
    """Predictions of one model: of the samples that it was trained without, and of never-seen ones."""

    own: Tensor
    """Raw predictions of the samples that it was trained without, `(m, *out)`."""
    unseen: Tensor
    """Raw predictions of never-seen samples, `(u, *out)`."""


class FoldTraining(NamedTuple):
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

    @property
    def unread(self) -> Index:
        """The training samples that are not read."""
        return np.concatenate([self.left_out, self.gone])

    def run(self) -> Part:
        """Train, predict, and delete the model."""
        unread = self.unread if len(self.unread) else None
        model = train(self.case, self.training, self.runtime, start=self.start, left_out=unread).model
        return self.predict(model)

    def predict(self, model: nn.Module) -> Part:
        """What a model that was trained in this way predicts."""
        own = predict_rows(model, self.case, "train_eval", self.left_out, self.runtime)
        return Part(own, predict_unseen(model, self.case, self.held, self.runtime))


def _run_stack(trainings: Sequence[FoldTraining]) -> list[Part]:
    """Carry out trainings that differ by the samples that they leave out: one alone, or several in one loop."""
    first, *others = trainings
    if not others:
        return [first.run()]
    case, runtime = first.case, first.runtime
    with runtime.isolated_rng("train"):
        models = [initial_model(case, start=first.start) for _ in trainings]
        recipe = require_stackable(case, first.training, runtime)
        runtimes = [each.runtime for each in trainings]
        fits = fit_stacked(models, case, recipe, runtimes, left_out=[each.unread for each in trainings])
    for fit in fits:
        if isinstance(fit, DivergenceError):
            raise fit
    return [each.predict(model.cpu().eval()) for each, model in zip(trainings, models, strict=True)]


def run_trainings(
    trainings: Sequence[FoldTraining],
    kept: Path | None,
    workers: int,
    stack: int,
    name: str,
    log: Callable[[str], None] | None,
) -> list[Part]:
    """Carry out the trainings whose predictions are not kept yet; returns the predictions of all.

    The estimate that is logged begins with `name`.
    """
    done = {} if kept is None else _read_parts(kept)
    missing = [number for number in range(len(trainings)) if number not in done]
    # The last one has other initial weights.
    *folds, last = range(len(trainings))
    alike = [number for number in folds if number in missing]
    groups = [alike[place : place + stack] for place in range(0, len(alike), stack)]
    groups += [[last]] if last in missing else []
    if log is not None and missing:
        log(f"{name}: {_estimate([trainings[number] for number in missing], workers, stack)}")
    named = {
        f"training {', '.join(str(number + 1) for number in group)} of {len(trainings)}": group for group in groups
    }
    jobs = {name: partial(_run_stack, [trainings[number] for number in group]) for name, group in named.items()}
    runtime = trainings[0].runtime
    with runtime.bar("leaving out", len(jobs)) as advance:
        for name, parts in run_all(jobs, workers=workers, ended=advance):
            for number, part in zip(named[name], parts, strict=True):
                done[number] = part
                if kept is not None:
                    _write_part(kept / f"{number}.safetensors", part)
    return [done[number] for number in range(len(trainings))]


def _estimate(trainings: Sequence[FoldTraining], workers: int, stack: int) -> str:
    """Number of trainings, sample passes and seconds, in words."""
    first, nothing = trainings[0], Workload(models=0, passes=0)
    samples = len(first.case.rows("train"))
    work = sum((plan_of(first.training, samples - len(each.unread)) for each in trainings), nothing)
    pace = measure_throughput(first.case, first.training, first.runtime, workers=workers, stack=stack)
    return work.describe(pace, workers)


def _read_parts(folder: Path) -> dict[int, Part]:
    """Predictions that an interrupted call has kept, by the number of the training."""
    found = {}
    for path in folder.glob("*.safetensors"):
        tensors = load_file(path)
        found[int(path.stem)] = Part(tensors["own"], tensors["unseen"])
    return found


def _write_part(path: Path, part: Part) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished(path) as hidden:
            save_file({"own": part.own.contiguous(), "unseen": part.unseen.contiguous()}, hidden)
            hidden.replace(path)


def predict_unseen(model: nn.Module, case: Case, held: list[Chosen], runtime: Runtime) -> Tensor:
    """Raw predictions of held-out samples, `(n, *out)`."""
    return torch.cat([predict_rows(model, case, each.split, each.rows, runtime) for each in held])
