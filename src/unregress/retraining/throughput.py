"""Measure the training throughput of this machine with short trial trainings."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from unregress.checks.training_trial import TRIAL_ROWS, trial_rows
from unregress.cost import Cost
from unregress.data.case import Case
from unregress.data.request import ForgetRequest, Index
from unregress.data.subsets import part_of
from unregress.errors import DivergenceError
from unregress.parallel.jobs import run_all
from unregress.retraining.model_factory import ModelFactory, silent
from unregress.retraining.model_store import Store
from unregress.retraining.stacked_training import fit_stacked
from unregress.retraining.workload import Throughput, plan_of
from unregress.training.fresh_model import fresh_model
from unregress.training.from_scratch import Training, train_from
from unregress.training.loop import fit
from unregress.training.objective import Watched, retain_objective
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


def measure_throughput(
    case: Case, recipe: Training, runtime: Runtime, *, workers: int = 1, stack: int = 1, samples: int = 2048
) -> Throughput:
    """Measure the throughput of training with short trials, whose models are discarded.

    As many trials run in parallel as there will be workers, since parallel trainings slow each other down.  A first
    round, which does not count, warms up and starts the worker processes.

    Args:
        case: task and data; only retained samples are read.
        recipe: batch size and optimiser are used; a training function is run on a few samples.
        runtime: device and precision.
        workers: number of trainings in parallel.
        stack: number of models trained in one loop.
        samples: largest number of samples of a trial, which passes them once.
    """
    if not isinstance(recipe, Recipe):
        return _throughput_of_function(case, recipe, runtime, workers)
    rows = case.kept("train")[:samples]
    trial = replace(recipe, epochs=1, schedule="constant", schedule_options={}, schedule_every="epoch", stop_after=None)
    factory = ModelFactory(case=_part(case, rows), recipe=trial, runtime=runtime).for_workers(workers)
    small = replace(factory, case=_part(case, rows[: 2 * recipe.batch_size]))
    jobs = {f"trial {n}": partial(_trial, factory, small, range(n * stack, (n + 1) * stack)) for n in range(workers)}
    found = [dict(run_all(jobs, workers=workers)) for _ in range(2)][-1].values()
    return Throughput(*(sum(each) / workers for each in zip(*found, strict=True)))


def _throughput_of_function(case: Case, training: Training, runtime: Runtime, workers: int) -> Throughput:
    """Measure a training function on few and on twice as many samples: seconds per sample, and per model."""
    jobs = {f"trial {n}": partial(_function_trial, case.without_ids(), training, runtime) for n in range(workers)}
    found = [dict(run_all(jobs, workers=workers)) for _ in range(2)][-1].values()
    few, twice = (sum(each) / workers for each in zip(*found, strict=True))
    rows, more = (len(trial_rows(case, count)) for count in (TRIAL_ROWS, 2 * TRIAL_ROWS))
    # A forward and a backward pass for each sample, as `plan_of` counts a training function.
    slope = (twice - few) / (2 * (more - rows)) if more > rows else 0.0
    if slope <= 0:
        return Throughput(twice / (2 * more))
    return Throughput(slope, max(0.0, few - 2 * rows * slope))


def _function_trial(case: Case, training: Training, runtime: Runtime) -> tuple[float, float]:
    """Seconds of two short trainings, on few samples and on twice as many."""
    seconds = []
    for count in (TRIAL_ROWS, 2 * TRIAL_ROWS):
        with runtime.isolated_rng("trial"):
            start = fresh_model(case)
        rows = trial_rows(case, count)
        # A leave-out table is made without any request.
        watched: Watched = "all" if case.request is None else "retain"
        made = train_from(
            start, case, training, rows, replace(runtime, progress=False), stage="trial", validation=watched
        )
        seconds.append(made[1].cost.seconds)
    return seconds[0], seconds[1]


def _part(case: Case, rows: Index) -> Case:
    """A case that retains these rows and forgets a copy of the first, since a request must not be empty."""
    return part_of(case, [rows[0], *rows], ForgetRequest.where(np.arange(1 + len(rows)) == 0, reason="throughput"))


def _trial(factory: ModelFactory, small: ModelFactory, seeds: range) -> Throughput:
    """Measure seconds per sample pass, and the overhead per model from a small training that is stored and read."""
    cost = _cost(factory, seeds)
    sample, passes = cost.seconds / cost.passes, plan_of(small.recipe, len(small.case.requested.retain)).passes
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        replace(small, store=Store(root=Path(folder), log=silent)).train_stacked(seeds)
        seconds = (time.perf_counter() - started) / len(seeds)
    return Throughput(sample, max(0.0, seconds - passes * sample))


def _cost(factory: ModelFactory, seeds: range) -> Cost:
    """The cost of training one of the models, without building and checking it."""
    case, runtimes, recipe = factory.case, [factory.runtime_for(seed) for seed in seeds], factory.recipe
    if not isinstance(recipe, Recipe):
        raise TypeError("a training function has another trial")
    with factory.runtime.isolated_rng("trial"):
        models = [case.task.build_model() for _ in seeds]
        if len(seeds) == 1:
            return fit(models[0], case, recipe, retain_objective(case), runtimes[0], stage="trial").cost
        found = fit_stacked(models, case, recipe, runtimes, stage="trial")
    if isinstance(found[0], DivergenceError):
        raise found[0]
    return found[0].cost
