"""Measure how fast models are trained on this machine, by training some."""

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
    """How fast models will be made, from short trainings that are thrown away.

    As many at a time as there will be: side by side they slow each other down.  The first round warms up, and starts
    worker processes, which are kept for what follows.

    Args:
        case: task and data; only retained samples are read.
        recipe: its batches and optimiser.
        runtime: where.
        workers: how many will train at a time.
        stack: how many will train as one.
        samples: how many to train on at most, once.
    """
    rows = case.requested.retain[:samples]
    factory = ModelFactory(
        case=_part(case, rows), recipe=replace(recipe, epochs=1, schedule="constant"), runtime=runtime
    ).for_workers(workers)
    little = replace(factory, case=_part(case, rows[: 2 * recipe.batch_size]))
    jobs = {f"trial {n}": partial(_tried, factory, little, range(n * stack, (n + 1) * stack)) for n in range(workers)}
    found = [dict(run_all(jobs, workers=workers)) for _ in range(2)][-1].values()
    return Throughput(*(sum(each) / workers for each in zip(*found, strict=True)))


def _part(case: Case, rows: Index) -> Case:
    """A case that retains these rows, and is to forget a copy of the first: a gold leaves something out."""
    return part_of(case, [rows[0], *rows], ForgetRequest.where(np.arange(1 + len(rows)) == 0, reason="throughput"))


def _tried(factory: ModelFactory, little: ModelFactory, seeds: range) -> Throughput:
    """Seconds per pass of models that are trained as one, and seconds that each of some little ones takes besides."""
    cost = _cost(factory, seeds)
    sample, passes = cost.seconds / cost.passes, plan_of(little.recipe, len(little.case.requested.retain)).passes
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        replace(little, store=Store(root=Path(folder), log=silent)).train_stacked(seeds)
        seconds = (time.perf_counter() - started) / len(seeds)
    return Throughput(sample, max(0.0, seconds - passes * sample))


def _cost(factory: ModelFactory, seeds: range) -> Cost:
    """What training one of them costs, less building and checking it."""
    case, runtimes = factory.case, [factory.runtime_for(seed) for seed in seeds]
    with factory.runtime.isolated_rng("trial"):
        models = [case.task.build_model() for _ in seeds]
        if len(seeds) == 1:
            return fit(models[0], case, factory.recipe, retain_objective(case), runtimes[0], stage="trial").cost
        found = fit_stacked(models, case, factory.recipe, runtimes, stage="trial")
    if isinstance(found[0], DivergenceError):
        raise found[0]
    return found[0].cost
