"""Estimates of what an audit's measurements cost, told before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from unregress.auditing.training import Log
from unregress.data.case import Case
from unregress.metrics import Metric
from unregress.retraining.throughput import measure_throughput
from unregress.retraining.workload import Throughput, duration
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime

TRIAL_STEPS = 4
"""Batches of the short training by which the pace is measured."""


def announce_measuring(metrics: Sequence[Metric], models: int, case: Case, runtime: Runtime, log: Log | None) -> None:
    """Log how long relearning, revival and other trainings of metrics will take at most; nothing if there are none.

    Args:
        metrics: what is measured.
        models: number of models with a network.
        case: the request and the data.
        runtime: where to train.
        log: receives the estimate, which takes short trainings; None leaves it out, and so do several processes.
    """
    asked = {type(each).__name__: found for each in metrics if (found := each.trainings(case))}
    if log is None or not asked or runtime.process_group.world_size > 1:
        return
    passes, seconds, paces = 0, 0.0, dict[Recipe, Throughput]()
    for recipe, count in (training for found in asked.values() for training in found):
        trial = replace(recipe, epochs=1)
        if trial not in paces:
            paces[trial] = measure_throughput(case, trial, runtime, samples=TRIAL_STEPS * recipe.batch_size)
        passes, seconds = passes + models * count, seconds + models * count * paces[trial].sample
    log(
        f"Measuring {models} models by {' and '.join(asked)}: at most {passes:,} sample passes: at most about "
        f"{duration(seconds)}."
    )
