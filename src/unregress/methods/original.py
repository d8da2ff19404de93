"""Train an original: the model that is to forget later."""

from __future__ import annotations

import time
from dataclasses import replace

from torch import nn

from unregress.checks.model_check import quick_check
from unregress.data.case import Case
from unregress.data.request import Index
from unregress.evidence.model_record import ModelRecord
from unregress.methods.result_checks import require_no_explosion
from unregress.methods.unlearned import Unlearned
from unregress.tasks.unwrap import private_copy
from unregress.tasks.weights import weights_of
from unregress.training.fresh_model import initial_model
from unregress.training.from_scratch import Training, train_from, training_name, training_record
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


def train(
    case: Case,
    recipe: Training,
    runtime: Runtime,
    *,
    start: nn.Module | None = None,
    left_out: Index | None = None,
) -> Unlearned:
    """Train an original: a new model, on all of D.  `Retrain` makes golds, on D_r alone.

    Args:
        case: task and data; a request is not needed.  Samples of earlier requests (`ForgetRequest.others`) are left
            out.
        recipe: training settings, or a function `(data, start, seed) -> model`.
        runtime: device, precision and seed; the task builds the model under its seed.
        start: a model with the initial weights; None for new ones.
        left_out: training samples that are not read, while a recipe takes the others in the order of a training with
            them: what this original would have become without them.

    Returns:
        The model, with its initial weights as `start`.
    """
    started = time.perf_counter()
    with runtime.isolated_rng("train"):
        initial = initial_model(case, start=start)
        size = quick_check(case, initial, runtime)
        kept = private_copy(initial).cpu()
        model, fitted = train_from(
            initial, case, recipe, case.rows("train"), runtime, stage="train", validation="all", left_out=left_out
        )
        if not isinstance(recipe, Recipe):
            require_no_explosion(model, training_name(recipe), size, case, runtime)
    model.cpu().eval().zero_grad(set_to_none=True)
    digest = weights_of(kept)
    return Unlearned(
        model=model,
        history=fitted.history,
        cost=replace(fitted.cost, seconds=time.perf_counter() - started),
        record=record_of_training(recipe, runtime.seed, digest),
        start=kept,
        start_digest=digest,
    )


def record_of_training(training: Training, seed: int | None = None, start: str = "") -> ModelRecord:
    """Make the record of an original.

    Args:
        training: how it was trained.
        seed: the runtime's seed.
        start: digest of its initial weights.
    """
    recipe = training_record(training)
    return ModelRecord(
        method="train", settings={"recipe": recipe}, kind="trained", recipe=recipe, seed=seed, start=start
    )
