"""One training loop for every method: a method supplies a per-sample loss, never a loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR

from unregress.cost import Cost
from unregress.data.case import Case
from unregress.data.loading import Batch, chunked
from unregress.distributed.process_group import ProcessGroup
from unregress.distributed.replicas import broadcast_buffers, require_forward_call
from unregress.errors import DataError, ModelError
from unregress.tasks.unwrap import unwrapped
from unregress.training.divergence import DivergenceMonitor
from unregress.training.recipe import Recipe, Schedule
from unregress.training.runtime import Runtime, evaluating

SampleLoss = Callable[[nn.Module, Batch], Tensor]
"""(model, batch) -> per-sample losses `(n,)`."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What happened in one epoch."""

    stage: str
    """Which training this epoch belongs to: `train`, `helper`, `unlearn`."""
    epoch: int
    """Counted from 1."""
    loss: float
    """Mean per-sample loss while training."""
    validation: float | None
    """Mean task loss on the monitored validation rows; None where nothing needs it."""
    lr: float
    """Learning rate of the last step."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A finished training."""

    history: tuple[Epoch, ...]
    cost: Cost


def fit(
    model: nn.Module,
    case: Case,
    recipe: Recipe,
    rows: Tensor,
    sample_loss: SampleLoss,
    runtime: Runtime,
    *,
    stage: str,
    monitor: Tensor | None = None,
    after_step: Callable[[int, nn.Module], bool] | None = None,
) -> Fitted:
    """Train `model` in place on some rows of the training set.

    The loss of a step is the mean of its per-sample losses (paper Eq. 9 is such a mean).

    Args:
        model: trained in place and left on the runtime's device.
        case: where the rows come from.
        recipe: how to train.
        rows: positions in the training set.
        sample_loss: per-sample losses of a batch.
        runtime: where to train.
        stage: name of this training in history, and of its random streams.
        monitor: validation rows for a plateau schedule; None for the training loss.
        after_step: called with the number of steps done and the model as it is then, which may be another object than
            `model`; training stops when it returns True.

    Raises:
        DivergenceError: the loss became NaN, infinite or far larger than it began.
        ModelError: no parameter can be trained.
        DataError: batch normalisation was given a batch of one sample.
    """
    started = time.perf_counter()
    source, guard, group = case.source("train"), DivergenceMonitor(stage), runtime.process_group
    history: list[Epoch] = []
    order, draws = runtime.generator(f"{stage}/order"), runtime.generator(f"{stage}/augment")
    # Cut once for the count: how many steps an epoch has does not depend on the shuffle.
    lengths = [len(chunk) for chunk in chunked(rows, recipe.batch_size, shuffle=torch.Generator())]
    steps = len(lengths)
    if runtime.sync_batch_norm and lengths and min(lengths) < group.world_size:
        raise DataError(
            f"A batch has {min(lengths)} rows for {group.world_size} processes, and batch normalisation is to be "
            "synchronised",
            expected="a row for each process in every batch",
            remedy="Change `batch_size`, or leave out `sync_batch_norm`",
        )
    trained, watched, step, stop = 0, 0, 0, False
    with (
        runtime.training(model, lambda twin: recipe.make_optimizer(_trainable(twin))) as (wrapped, optimizer),
        runtime.per_process_rng(stage),
        runtime.bar(stage, recipe.epochs * steps) as advance,
    ):
        schedule = recipe.make_schedule(optimizer, steps)
        for epoch in range(1, recipe.epochs + 1):
            unwrapped(wrapped).train(recipe.mode == "train")
            sums: list[Tensor] = []
            chunks = chunked(rows, recipe.batch_size, shuffle=order)
            batches = runtime.load(source, chunks, augmentation=draws, share=case.task)
            for batch, chunk in zip(batches, chunks, strict=False):
                losses = _per_sample(sample_loss, wrapped, batch, group)
                rate = _update(group.mean_loss(losses, len(chunk)), optimizer, schedule, recipe, runtime)
                guard.watch(case, batch)
                sums.append(losses.detach().sum())
                advance()
                step += 1
                if after_step is not None:
                    broadcast_buffers(wrapped, group)
                    if stop := group.broadcast(after_step(step, wrapped)):
                        break
            seen = sum(len(chunk) for chunk in chunks[: len(sums)])
            # Read back once per epoch, so that an accelerator never waits for the loop.
            loss, validation = guard.mean(torch.stack(sums), seen, epoch, group), None
            broadcast_buffers(wrapped, group)
            if isinstance(schedule, ReduceLROnPlateau) and monitor is not None and len(monitor):
                validation = evaluate(wrapped, case, "validation", monitor, runtime)
                watched += len(monitor)
            end_epoch(schedule, loss if validation is None else validation)
            history.append(Epoch(stage=stage, epoch=epoch, loss=loss, validation=validation, lr=rate))
            trained += seen
            if stop:
                break
    guard.check(model)
    seconds = time.perf_counter() - started
    return Fitted(history=tuple(history), cost=Cost(forward=trained + watched, backward=trained, seconds=seconds))


def evaluate(
    model: nn.Module, case: Case, split: Literal["train_eval", "validation"], rows: Tensor, runtime: Runtime
) -> float:
    """Mean task loss over some rows, in evaluation mode; each submodule's mode is as before afterwards."""
    chunks = chunked(rows, runtime.evaluation_batch_size)
    with evaluating(model), torch.no_grad():
        losses = [
            _counted(case.task.checked_loss(case.task.predict(model, batch.data), case.task.target(batch.data)), batch)
            for batch in runtime.load(case.source(split), chunks, share=case.task)
        ]
    total = torch.stack([each.sum() for each in losses]).double().sum()
    return float(runtime.process_group.all_reduce(total)) / len(rows)


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    found = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not found:
        raise ModelError("All of the model's parameters are frozen", expected="at least one to train")
    return found


def _counted(losses: Tensor, batch: Batch) -> Tensor:
    return losses * 0 if batch.is_padding else losses


def require_gradient(losses: Tensor) -> None:
    """Refuse losses that do not depend on any weight that is trained.

    Raises:
        ModelError: they do not.
    """
    if not losses.requires_grad:
        raise ModelError(
            "The loss does not depend on the model's weights: it has no gradient",
            expected="a prediction and a loss that PyTorch can differentiate",
            remedy="Take `.detach()`, `.item()`, `torch.no_grad()` and NumPy out of what model, task and loss compute",
        )


def _update(objective: Tensor, optimizer: Optimizer, schedule: Schedule, recipe: Recipe, runtime: Runtime) -> float:
    """One optimiser step down an objective; the learning rate it was taken at."""
    optimizer.zero_grad(set_to_none=True)
    require_gradient(objective)
    runtime.backward(objective)
    if recipe.clip_norm is not None:
        runtime.clip(optimizer, recipe.clip_norm)
    rate: float = optimizer.param_groups[0]["lr"]
    runtime.step(optimizer)
    if isinstance(schedule, OneCycleLR):
        schedule.step()
    return rate


def _per_sample(sample_loss: SampleLoss, model: nn.Module, batch: Batch, group: ProcessGroup) -> Tensor:
    try:
        with require_forward_call(model, group):
            return _counted(sample_loss(model, batch), batch)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise DataError(
            "Batch normalisation was given a batch of one sample to train on",
            expected="two samples or more per batch",
            remedy="Retain more samples, raise `batch_size`, or train with `Recipe(mode='eval')`; of several processes "
            "each needs two, unless `sync_batch_norm` is set",
        ) from error


def end_epoch(schedule: Schedule, loss: float) -> None:
    """Let schedules that go by epochs go on; one-cycle went with each step."""
    if isinstance(schedule, ReduceLROnPlateau):
        schedule.step(loss)
    elif isinstance(schedule, StepLR):
        schedule.step()
