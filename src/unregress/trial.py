"""How fast models are made here, found by making some."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from unregress.case import Case
from unregress.cost import Cost
from unregress.errors import DivergenceError
from unregress.methods.base import fit_fresh
from unregress.parallel import run_all
from unregress.plans import Pace, plan_of
from unregress.recipe import Recipe
from unregress.request import Index
from unregress.runtime import Runtime
from unregress.stacked import fit_stacked
from unregress.store import Store
from unregress.subsets import part_of
from unregress.trainings import Maker, silent


def trial(
    case: Case, recipe: Recipe, runtime: Runtime, *, workers: int = 1, stack: int = 1, samples: int = 2048
) -> Pace:
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
    rows = case.request.retain[:samples]
    maker = Maker(
        case=_part(case, rows), recipe=replace(recipe, epochs=1, schedule="constant"), runtime=runtime
    ).for_jobs(workers)
    little = replace(maker, case=_part(case, rows[: 2 * recipe.batch_size]))
    jobs = {f"trial {n}": partial(_tried, maker, little, range(n * stack, (n + 1) * stack)) for n in range(workers)}
    found = [dict(run_all(jobs, workers=workers)) for _ in range(2)][-1].values()
    return Pace(*(sum(each) / workers for each in zip(*found, strict=True)))


def _part(case: Case, rows: Index) -> Case:
    """A case that retains these rows; what it forgets is a copy of the first, for a case forgets something."""
    return part_of(case, [rows[0], *rows])


def _tried(maker: Maker, little: Maker, seeds: range) -> Pace:
    """Seconds per pass of models that are trained as one, and seconds that each of some little ones takes besides."""
    cost = _cost(maker, seeds)
    sample, passes = cost.seconds / cost.passes, plan_of(little.recipe, len(little.case.request.retain)).passes
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        replace(little, store=Store(root=Path(folder), say=silent)).together(seeds)
        seconds = (time.perf_counter() - started) / len(seeds)
    return Pace(sample, max(0.0, seconds - passes * sample))


def _cost(maker: Maker, seeds: range) -> Cost:
    """What training one of them costs, less building and checking it."""
    case, runtimes = maker.case, [maker.seeded(seed) for seed in seeds]
    with maker.runtime.isolated("trial"):
        models = [case.task.build_model() for _ in seeds]
        if len(seeds) == 1:
            return fit_fresh(models[0], case, maker.recipe, runtimes[0], retain_only=True, stage="trial").cost
        found = fit_stacked(models, case, maker.recipe, runtimes, stage="trial")
    if isinstance(found[0], DivergenceError):
        raise found[0]
    return found[0].cost
