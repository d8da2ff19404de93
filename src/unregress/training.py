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

from unregress.case import Case
from unregress.cost import Cost
from unregress.errors import DataError, DivergenceError, ModelError
from unregress.loading import Batch, chunked
from unregress.recipe import Recipe, Schedule
from unregress.runtime import Runtime, evaluating

SampleLoss = Callable[[nn.Module, Batch], Tensor]
"""(model, batch) -> per-sample losses `(n,)`."""

RUNAWAY = 1e3
"""A mean loss this many times the larger of the first step's loss and the targets' own size is divergence."""


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
    after_step: Callable[[int], bool] | None = None,
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
        after_step: called with the number of steps done; training stops when it returns True.

    Raises:
        DivergenceError: the loss became NaN, infinite or far larger than it began.
        ModelError: no parameter can be trained.
        DataError: batch normalisation was given a batch of one sample.
    """
    started = time.perf_counter()
    source, guard = case.source("train"), _Guard(stage)
    history: list[Epoch] = []
    wrapped, optimizer = runtime.set_up(model, recipe.make_optimizer(_trainable(model)))
    order, draws = runtime.generator(f"{stage}/order"), runtime.generator(f"{stage}/augment")
    # Cut once for the count: how many steps an epoch has does not depend on the shuffle.
    steps = len(chunked(rows, recipe.batch_size, shuffle=torch.Generator()))
    schedule = recipe.make_schedule(optimizer, steps)
    trained, watched, step, stop = 0, 0, 0, False
    with runtime.bar(stage, recipe.epochs * steps) as advance:
        for epoch in range(1, recipe.epochs + 1):
            model.train(recipe.mode == "train")
            sums: list[Tensor] = []
            chunks = chunked(rows, recipe.batch_size, shuffle=order)
            for batch in runtime.load(source, chunks, augmentation=draws):
                losses = _per_sample(sample_loss, wrapped, batch)
                rate = _update(wrapped, losses, optimizer, schedule, recipe, runtime)
                guard.watch(case, batch)
                sums.append(losses.detach().sum())
                advance()
                step += 1
                if after_step is not None and (stop := after_step(step)):
                    break
            seen = sum(len(chunk) for chunk in chunks[: len(sums)])
            # Read back once per epoch, so that an accelerator never waits for the loop.
            loss, validation = guard.mean(torch.stack(sums), seen, epoch), None
            if isinstance(schedule, ReduceLROnPlateau) and monitor is not None and len(monitor):
                validation = evaluate(wrapped, case, "validation", monitor, runtime)
                watched += len(monitor)
            _end_epoch(schedule, loss if validation is None else validation)
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
        sums = [
            case.task.checked_loss(case.task.predict(model, batch.data), case.task.target(batch.data)).sum()
            for batch in runtime.load(case.source(split), chunks)
        ]
    return float(torch.stack(sums).double().sum()) / len(rows)


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    found = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not found:
        raise ModelError("All of the model's parameters are frozen", expected="at least one to train")
    return found


def _update(
    model: nn.Module, losses: Tensor, optimizer: Optimizer, schedule: Schedule, recipe: Recipe, runtime: Runtime
) -> float:
    """One optimiser step down the mean of the losses; the learning rate it was taken at."""
    optimizer.zero_grad(set_to_none=True)
    runtime.backward(losses.mean())
    if recipe.clip_norm is not None:
        runtime.clip(model, optimizer, recipe.clip_norm)
    rate: float = optimizer.param_groups[0]["lr"]
    optimizer.step()
    if isinstance(schedule, OneCycleLR):
        schedule.step()
    return rate


def _per_sample(sample_loss: SampleLoss, model: nn.Module, batch: Batch) -> Tensor:
    try:
        return sample_loss(model, batch)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise DataError(
            "Batch normalisation was given a batch of one sample to train on",
            expected="two samples or more per batch",
            remedy="Retain more samples, raise `batch_size`, or train with `Recipe(mode='eval')`",
        ) from error


def _end_epoch(schedule: Schedule, loss: float) -> None:
    """Let schedules that go by epochs go on; one-cycle went with each step."""
    if isinstance(schedule, ReduceLROnPlateau):
        schedule.step(loss)
    elif isinstance(schedule, StepLR):
        schedule.step()


class _Guard:
    """Stops a training whose loss is no longer a number, or runs away."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.reference: float | None = None
        self.sizes: list[Tensor] = []

    def watch(self, case: Case, batch: Batch) -> None:
        """Take the size of the retained targets during the first epoch: the scale of what losses are normal."""
        if self.reference is None:
            target = case.task.target(batch.data).detach()
            target = target[batch.retained.to(target.device)].double()
            self.sizes.append((target.abs() + target.square()).sum() / max(1, target.numel()))

    def mean(self, sums: Tensor, count: int, epoch: int) -> float:
        """The epoch's mean loss.

        Args:
            sums: each step's summed losses.
            count: samples seen in the epoch.
            epoch: counted from 1.

        Raises:
            DivergenceError: the loss is not finite, or far beyond the first step's and the targets' size.
        """
        finite = torch.isfinite(sums)
        if not bool(finite.all()):
            step = int((~finite).nonzero()[0]) + 1
            raise DivergenceError(
                f"The loss became {float(sums[step - 1])} in epoch {epoch}, step {step}, of stage {self.stage!r}",
                expected="finite losses",
                remedy=_REMEDY,
            )
        mean = float(sums.double().sum()) / count
        if self.reference is None:
            first = float(sums[0]) / count * len(sums)
            self.reference = max(first, float(torch.stack(self.sizes).mean()))
        if mean > RUNAWAY * self.reference:
            raise DivergenceError(
                f"The mean loss of epoch {epoch} of stage {self.stage!r} is {mean:.3g}, "
                f"against {self.reference:.3g} at the start",
                remedy=_REMEDY,
            )
        return mean

    def check(self, model: nn.Module) -> None:
        """Look at the weights that the last step left, which no loss has seen.

        Raises:
            DivergenceError: a weight is not finite.
        """
        broken = [name for name, parameter in model.named_parameters() if not bool(parameter.isfinite().all())]
        if broken:
            raise DivergenceError(
                f"The weights {', '.join(broken[:3])} are NaN or infinite after stage {self.stage!r}",
                remedy=_REMEDY,
            )


_REMEDY = "Lower the learning rate, set `clip_norm`, or check the data with `unregress.preflight`"
