"""Train several retrained models of a small network in one vectorised loop, so that the per-step overhead is paid once.

This is a second training loop beside `unregress.training.loop.fit`: a batch contains rows for each model in the model's
own order, each model has its own history and may diverge without the others, and gradients are clipped for each model.
Optimiser step, schedule and divergence checks are those of `fit`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unregress.cost import Cost
from unregress.data.case import Case
from unregress.data.loading import chunked
from unregress.data.request import Index
from unregress.errors import DivergenceError, SettingError, require
from unregress.methods.base import record_of_method, restore_placement
from unregress.methods.retrain import Retrain
from unregress.methods.unlearned import Unlearned
from unregress.retraining.stack import SEPARATE_HINT, Stack, require_equal_step
from unregress.tasks.unwrap import unwrapped
from unregress.training.divergence import DivergenceMonitor, TargetScale, check_weights, largest_weight
from unregress.training.from_scratch import Training, training_name
from unregress.training.loop import Epoch, Fitted, update
from unregress.training.optimizers import NOT_ELEMENTWISE
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime
from unregress.training.schedules import MONITORING


def retrain_stacked(
    case: Case,
    recipe: Recipe,
    runtime: Runtime,
    seeds: Sequence[int],
    like: nn.Module,
    *,
    start: nn.Module | None = None,
) -> list[Unlearned | DivergenceError]:
    """Retrain under several seeds in one loop; up to rounding, results equal those of `Retrain(recipe=recipe)`.

    Each model has its own initial weights, and its own batches in its own order.  Only random draws inside a dataset,
    such as crops in `__getitem__`, differ from separate trainings.

    Args:
        case: the request and the data.
        recipe: the recipe of each training.
        runtime: device and precision; its seed is not used.
        seeds: one per model.
        like: a model of the architecture; unchanged.
        start: a model with the initial weights of all; None for new ones by each seed.

    Returns:
        For each seed the model, or the error if its training diverged, which does not affect the others.

    Raises:
        SettingError: model, loss, recipe, data or precision need separate trainings.
    """
    started = time.perf_counter()
    require_stackable(case, recipe, runtime)
    # Zero epochs: initial weights as in a separate training.
    fresh = Retrain(recipe=replace(recipe, epochs=0), start=start)
    found: dict[int, Unlearned | DivergenceError] = {}
    for seed in seeds:
        try:
            found[seed] = fresh.unlearn(like, case, replace(runtime, seed=seed))
        except DivergenceError as error:
            found[seed] = error
    initial = {seed: made for seed, made in found.items() if isinstance(made, Unlearned)}
    models, runtimes = [made.model for made in initial.values()], [replace(runtime, seed=seed) for seed in initial]
    # Random draws inside a dataset follow the first seed.
    with replace(runtime, seed=seeds[0]).isolated_rng("stacked"):
        fits = fit_stacked(models, case, recipe, runtimes) if models else []
    retrain, seconds = Retrain(recipe=recipe), (time.perf_counter() - started) / len(seeds)
    for (seed, made), fit in zip(initial.items(), fits, strict=True):
        if isinstance(fit, DivergenceError):
            found[seed] = fit
        else:
            restore_placement(made.model, like)
            cost = replace(fit.cost, seconds=seconds)
            record = replace(record_of_method(retrain, seed), start=made.start_digest)
            found[seed] = replace(made, history=fit.history, cost=cost, record=record, start=None)
    return list(found.values())


def require_stackable(case: Case, recipe: Training, runtime: Runtime) -> Recipe:
    """Refuse, before anything is trained, settings and data that one loop cannot serve for several models.

    Returns:
        The recipe.

    Raises:
        SettingError: training, precision or data need separate trainings; all reasons together.
    """
    if not isinstance(recipe, Recipe):
        raise SettingError(
            f"Models are trained by the function {training_name(recipe)}, and are to be trained in one loop",
            expected="a `Recipe`",
            remedy=SEPARATE_HINT,
        )
    data = case.splits
    rules = [
        (
            f"Recipe.schedule is {recipe.schedule!r}",
            recipe.schedule not in MONITORING,
            "a schedule that is the same for all",
        ),
        (
            f"Recipe.optimizer is {recipe.optimizer!r}",
            recipe.optimizer not in NOT_ELEMENTWISE,
            "an optimiser whose step for a weight does not depend on other weights",
        ),
        (f"Recipe.weights is {recipe.weights!r}", recipe.weights == "none", "none"),
        (f"Recipe.ema is {recipe.ema!r}", recipe.ema is None, "no average"),
        (f"Recipe.stop_after is {recipe.stop_after!r}", recipe.stop_after is None, "the same epochs for all"),
        (f"Runtime.precision is {runtime.precision!r}", runtime.precision == "32-true", "32-true"),
        (
            "The data are augmented batch by batch",
            data.augment is None,
            "no `augment`, which draws for one model",
        ),
        (
            "The data have a `collate` of their own",
            data.collate is None,
            "none, since it may depend on the whole batch",
        ),
    ]
    require(
        ((f"{found}, and models are to be trained in one loop", fine, wanted) for found, fine, wanted in rules),
        remedy=SEPARATE_HINT,
    )
    return recipe


def fit_stacked(
    models: Sequence[nn.Module],
    case: Case,
    recipe: Recipe,
    runtimes: Sequence[Runtime],
    *,
    stage: str = "train",
    left_out: Sequence[Index] | None = None,
) -> list[Fitted | DivergenceError]:
    """Train several models in place in one loop: on D_r as by `fit` with `retain_objective(case)`, or without folds.

    Args:
        models: models of one architecture; afterwards on the runtime's device.
        case: the request and the data.
        recipe: the recipe of each training; one that `require_stackable` accepts.
        runtimes: one per model, which differ in their seeds only.
        stage: name of this training in the history, and of its random streams.
        left_out: for each model, rows among all training rows that it draws and does not read (`Term.left_out`); None
            to train all of them on D_r.

    Returns:
        For each model its history and cost, or the error if its training diverged.

    Raises:
        SettingError: `torch.func` cannot stack the model or the loss, or rows are left out of batches whose other rows
            depend on them.
    """
    started, runtime, count = time.perf_counter(), runtimes[0], len(models)
    rows = torch.from_numpy(case.requested.retain if left_out is None else case.rows("train"))
    unread = None if left_out is None else _unread(left_out, case)
    if unread is not None:
        _require_separate_rows(models[0], recipe)
    inner = [unwrapped(runtime.set_up(model)) for model in models]
    require_equal_step(inner, case, rows[: recipe.batch_size], runtime, recipe.mode)
    stack = Stack(inner, case.task)
    optimizer = recipe.make_optimizer(stack.trainable)
    orders, draws = [each.generator(f"{stage}/order") for each in runtimes], runtime.generator(f"{stage}/augment")
    # One scale for all models: they are trained on the same rows.
    scale = TargetScale()
    records = [_Record(model, stage, scale) for model in inner]
    sizes = [len(rows) - (0 if left_out is None else len(left_out[place])) for place in range(count)]
    steps = len(chunked(rows, recipe.batch_size, shuffle=torch.Generator()))
    schedule = recipe.make_schedule(optimizer, steps)
    clip = None if recipe.clip_norm is None else partial(stack.clip, recipe.clip_norm)
    with runtime.bar(stage, recipe.epochs * steps) as advance:
        for epoch in range(1, recipe.epochs + 1):
            stack.module.train(recipe.mode == "train")
            orderings = [chunked(rows, recipe.batch_size, shuffle=order) for order in orders]
            # Each batch has the rows of all models, ordered by model.
            batches = [torch.cat(chunks) for chunks in zip(*orderings, strict=True)]
            sums, rate = list[Tensor](), recipe.lr
            for batch in runtime.load(case.source("train"), batches, augmentation=draws):
                losses = stack.losses(stack.unstack_batch(batch.data, len(batch.index)))
                mean = losses.mean(1)
                if unread is not None:
                    read = (~unread.gather(1, batch.index.cpu().reshape(count, -1))).to(losses)
                    losses = losses * read
                    mean = losses.sum(1) / read.sum(1).clamp(min=1)
                rate = update(mean.sum(), optimizer, schedule, runtime, clip)
                scale.watch(case, batch)
                sums.append(losses.detach().sum(1))
                advance()
            for record, own, number in zip(records, torch.stack(sums).unbind(1), sizes, strict=True):
                record.end_epoch(own, number, epoch, rate, runtime)
            schedule.after_epoch(0.0)
    seconds = (time.perf_counter() - started) / count
    stack.write_back()
    passes = (recipe.epochs * number for number in sizes)
    costs = (Cost(forward=each, backward=each, seconds=seconds) for each in passes)
    return [record.end(cost, runtime) for record, cost in zip(records, costs, strict=True)]


def _unread(left_out: Sequence[Index], case: Case) -> Tensor:
    """True for each training row that a model leaves out, `(models, training rows)`."""
    unread = torch.zeros(len(left_out), case.splits.size, dtype=torch.bool)
    for own, rows in zip(unread, left_out, strict=True):
        own[torch.from_numpy(rows)] = True
    return unread


def _require_separate_rows(model: nn.Module, recipe: Recipe) -> None:
    """Refuse layers through which the rows of a batch depend on each other: one that is left out would still count.

    Raises:
        SettingError: the model has batch normalisation, and is in training mode.
    """
    if recipe.mode == "train" and any(isinstance(layer, _BatchNorm) for layer in model.modules()):
        raise SettingError(
            "The model has batch normalisation, by which rows that are left out would still change the others",
            expected="a model that treats the rows of a batch separately, to train several in one loop",
            remedy=SEPARATE_HINT,
        )


class _Record:
    """One model's history, up to the epoch in which it diverged."""

    def __init__(self, model: nn.Module, stage: str, scale: TargetScale) -> None:
        self._model, self._before = model, largest_weight(model)
        self._monitor = DivergenceMonitor(stage, scale)
        self._history: list[Epoch] = []
        self._failed: DivergenceError | None = None

    def end_epoch(self, sums: Tensor, count: int, epoch: int, rate: float, runtime: Runtime) -> None:
        """Record an epoch's mean loss, or that the model diverged; ignored after a divergence."""
        if self._failed is None:
            try:
                loss = self._monitor.mean(sums, count, epoch, runtime.process_group)
            except DivergenceError as error:
                self._failed = error
            else:
                self._history.append(Epoch(stage=self._monitor.stage, epoch=epoch, loss=loss, validation=None, lr=rate))

    def end(self, cost: Cost, runtime: Runtime) -> Fitted | DivergenceError:
        """The training's result, after a final check of the weights, which must be back in the model."""
        if self._failed is None:
            try:
                size = self._monitor.scale.value(runtime.process_group)
                check_weights(self._model, self._monitor.stage, before=self._before, scale=size)
            except DivergenceError as error:
                self._failed = error
        return self._failed or Fitted(history=tuple(self._history), cost=cost)
