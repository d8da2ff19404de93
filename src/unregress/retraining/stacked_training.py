"""Golds of a small network trained as one: a step is mostly the cost of starting it, which so is paid once for all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from unregress.cost import Cost
from unregress.data.case import Case
from unregress.data.loading import chunked
from unregress.errors import DivergenceError, SettingError, raise_all
from unregress.methods.base import Unlearned, monitored, return_to
from unregress.methods.retrain import Retrain
from unregress.retraining.stack import ALONE, Stack, along, require_alike
from unregress.training.divergence import DivergenceMonitor
from unregress.training.loop import Epoch, Fitted, end_epoch
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime, bare


def retrain_stacked(
    case: Case, recipe: Recipe, runtime: Runtime, seeds: Sequence[int], like: nn.Module
) -> list[Unlearned | DivergenceError]:
    """What `Retrain(recipe=recipe)` makes under each of the seeds, up to rounding, all of them trained as one.

    Each starts from its own weights, goes through its own batches in its own order, and has its own learning rate.
    Only what a dataset draws by itself, such as crops in `__getitem__`, are other draws.

    Args:
        case: the request and the data.
        recipe: how each is trained.
        runtime: where; its seed is not used.
        seeds: one per model.
        like: a model of the architecture; untouched.

    Returns:
        By seed, the model, or why its training was given up; that of the others is not touched by it.

    Raises:
        SettingError: model, loss, data or precision need each training to be alone.
    """
    started = time.perf_counter()
    _require_stackable(case, runtime)
    # Of no epoch, so that they begin as they would alone.
    fresh = Retrain(recipe=replace(recipe, epochs=0))
    found: dict[int, Unlearned | DivergenceError] = {}
    for seed in seeds:
        try:
            found[seed] = fresh.unlearn(like, case, replace(runtime, seed=seed))
        except DivergenceError as error:
            found[seed] = error
    born = {seed: made for seed, made in found.items() if isinstance(made, Unlearned)}
    models, runtimes = [made.model for made in born.values()], [replace(runtime, seed=seed) for seed in born]
    # What a dataset draws by itself is the stack's, and its seeds'.
    with replace(runtime, seed=seeds[0]).isolated_rng("stacked"):
        fits = fit_stacked(models, case, recipe, runtimes) if models else []
    method, seconds = str(Retrain(recipe=recipe)), (time.perf_counter() - started) / len(seeds)
    for (seed, made), fit in zip(born.items(), fits, strict=True):
        if isinstance(fit, DivergenceError):
            found[seed] = fit
        else:
            return_to(made.model, like)
            cost = replace(fit.cost, seconds=seconds)
            found[seed] = replace(made, history=fit.history, cost=cost, method=method)
    return list(found.values())


def _require_stackable(case: Case, runtime: Runtime) -> None:
    data = case.splits
    rules = [
        (f"Runtime.precision is {runtime.precision!r}", runtime.precision == "32-true", "32-true"),
        (
            "The data are augmented batch by batch",
            data.augment is None,
            "no `augment`, which draws for one model",
        ),
        (
            "The data have a `collate` of their own",
            data.collate is None,
            "none, for it may look at a batch as a whole",
        ),
    ]
    raise_all(
        [
            SettingError(f"{found}, and models are to be trained as one", expected=wanted, remedy=ALONE)
            for found, fine, wanted in rules
            if not fine
        ]
    )


def fit_stacked(
    models: Sequence[nn.Module], case: Case, recipe: Recipe, runtimes: Sequence[Runtime], *, stage: str = "train"
) -> list[Fitted | DivergenceError]:
    """Train models in place on D_r, as `fit_fresh` does with each, all in one.

    Args:
        models: of one architecture; left on the runtime's device.
        case: the request and the data.
        recipe: how to train each.
        runtimes: where to train, which is the same for all, and each one's seed.
        stage: name of this training in history, and of its random streams.

    Returns:
        Each model's history and cost, or why its training was given up.

    Raises:
        SettingError: `torch.func` cannot stack the model or the loss.
    """
    started = time.perf_counter()
    runtime, count = runtimes[0], len(models)
    rows, monitor = torch.from_numpy(case.requested.retain), monitored(case, recipe, retain_only=True)
    inner = [bare(runtime.set_up(model)) for model in models]
    require_alike(inner, case, rows[: recipe.batch_size], runtime, recipe.mode)
    stack = Stack(inner, case.task)
    optimizer = recipe.make_optimizer(stack.trainable)
    orders, draws = [each.generator(f"{stage}/order") for each in runtimes], runtime.generator(f"{stage}/augment")
    # Copies that share what the first one has watched: all models go through the same rows.
    watcher, histories = DivergenceMonitor(stage), [list[Epoch]() for _ in models]
    guards = [copy(watcher) for _ in models]
    failed: dict[int, DivergenceError] = {}
    steps = len(chunked(rows, recipe.batch_size, shuffle=torch.Generator()))
    pace = _Pace(recipe, optimizer, steps, count)
    with runtime.bar(stage, recipe.epochs * steps) as advance:
        for epoch in range(1, recipe.epochs + 1):
            stack.module.train(recipe.mode == "train")
            orderings = [chunked(rows, recipe.batch_size, shuffle=order) for order in orders]
            # One batch of all models' rows: read and moved as any other.
            whole = [torch.cat(chunks) for chunks in zip(*orderings, strict=True)]
            sums: list[Tensor] = []
            for batch in runtime.load(case.source("train"), whole, augmentation=draws):
                losses = stack.losses(stack.cut(batch.data, len(batch.index)))
                optimizer.zero_grad(set_to_none=True)
                losses.mean(1).sum().backward()
                rates = pace.step(stack, recipe.clip_norm)
                if epoch == 1:
                    watcher.watch(case, batch)
                sums.append(losses.detach().sum(1))
                advance()
            watched = None if monitor is None or not len(monitor) else stack.evaluate(case, monitor, runtime)
            for k, own in enumerate(torch.stack(sums).unbind(1)):
                if k in failed:
                    continue
                try:
                    loss = guards[k].mean(own, len(rows), epoch, runtime.team)
                except DivergenceError as error:
                    failed[k] = error
                    continue
                validation = None if watched is None else watched[k]
                pace.watch(k, loss if validation is None else validation)
                histories[k].append(Epoch(stage=stage, epoch=epoch, loss=loss, validation=validation, lr=rates[k]))
            pace.end_epoch()
    trained = recipe.epochs * len(rows)
    forward = trained + recipe.epochs * (0 if monitor is None else len(monitor))
    cost = Cost(forward=forward, backward=trained, seconds=(time.perf_counter() - started) / count)
    stack.give_back()
    for k, model in enumerate(inner):
        try:
            guards[k].check(model)
        except DivergenceError as error:
            failed.setdefault(k, error)
    return [failed.get(k) or Fitted(history=tuple(history), cost=cost) for k, history in enumerate(histories)]


class _Pace:
    """Steps of the optimiser that all models share, at a learning rate of each one's own.

    Only on plateaus do the rates differ.  All then step at the first one, and those that are slower by now go back to
    their share of the way: steps of Adam and SGD are proportional to the rate.
    """

    def __init__(self, recipe: Recipe, optimizer: Optimizer, steps: int, count: int) -> None:
        self._optimizer, self._first, self._count = optimizer, recipe.lr, count
        on_plateaus = recipe.schedule == "plateau"
        self._schedule = None if on_plateaus else recipe.make_schedule(optimizer, steps)
        # Optimisers of nothing, for the rate that a schedule sets in them.
        self._own: list[Optimizer] = [SGD([torch.zeros(())], lr=recipe.lr) for _ in range(count * on_plateaus)]
        self._plateaus = [recipe.make_schedule(own, steps) for own in self._own]

    def step(self, stack: Stack, clip_norm: float | None) -> list[float]:
        """One step of all; the rates that they were taken at."""
        rates = [float(each.param_groups[0]["lr"]) for each in self._own or [self._optimizer] * self._count]
        slower = bool(self._own) and min(rates) < self._first
        before = [each.detach().clone() for each in stack.trainable] if slower else []
        if clip_norm is not None:
            stack.clip(clip_norm)
        self._optimizer.step()
        if isinstance(self._schedule, OneCycleLR):
            self._schedule.step()
        share = torch.tensor(rates, dtype=torch.float64) / self._first
        with torch.no_grad():
            for each, old in zip(stack.trainable, before, strict=False):
                each.copy_(old.lerp(each, along(share.to(each), each)))
        return rates

    def watch(self, k: int, loss: float) -> None:
        """Tell a model's plateau its loss."""
        if self._plateaus:
            end_epoch(self._plateaus[k], loss)

    def end_epoch(self) -> None:
        """Let a schedule that goes by epochs go on."""
        end_epoch(self._schedule, 0.0)
