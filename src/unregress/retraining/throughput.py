"""Measure the training throughput of this machine with short trial trainings."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

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
from unregress.training.loop import fit
from unregress.training.objective import retain_objective
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


def measure_throughput(
    case: Case, recipe: Recipe, runtime: Runtime, *, workers: int = 1, stack: int = 1, samples: int = 2048
) -> Throughput:
    """Measure the throughput of training with short trials, whose models are discarded.

    As many trials run in parallel as there will be workers, since parallel trainings slow each other down.  A first
    round, which does not count, warms up and starts the worker processes.

    Args:
        case: task and data; only retained samples are read.
        recipe: batch size and optimiser are used.
        runtime: device and precision.
        workers: number of trainings in parallel.
        stack: number of models trained in one loop.
        samples: largest number of samples of a trial, which passes them once.
    """
    rows = case.requested.retain[:samples]
    factory = ModelFactory(
        case=_part(case, rows), recipe=replace(recipe, epochs=1, schedule="constant"), runtime=runtime
    ).for_workers(workers)
    small = replace(factory, case=_part(case, rows[: 2 * recipe.batch_size]))
    jobs = {f"trial {n}": partial(_trial, factory, small, range(n * stack, (n + 1) * stack)) for n in range(workers)}
    found = [dict(run_all(jobs, workers=workers)) for _ in range(2)][-1].values()
    return Throughput(*(sum(each) / workers for each in zip(*found, strict=True)))


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
    case, runtimes = factory.case, [factory.runtime_for(seed) for seed in seeds]
    with factory.runtime.isolated_rng("trial"):
        models = [case.task.build_model() for _ in seeds]
        if len(seeds) == 1:
            return fit(models[0], case, factory.recipe, retain_objective(case), runtimes[0], stage="trial").cost
        found = fit_stacked(models, case, factory.recipe, runtimes, stage="trial")
    if isinstance(found[0], DivergenceError):
        raise found[0]
    return found[0].cost
