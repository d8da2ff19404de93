"""The training loop of every method: a method supplies an objective, never a loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

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
from unregress.training.divergence import DivergenceMonitor, TargetScale, check_weights, largest_weight
from unregress.training.objective import Objective, SampleLoss, Term
from unregress.training.recipe import Recipe, Schedule
from unregress.training.runtime import Runtime, evaluating


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What happened in one epoch."""

    stage: str
    """Which training this epoch belongs to: `train`, `helper`, `unlearn`."""
    epoch: int
    """Counted from 1."""
    loss: float
    """Mean per-sample loss while training; of an objective of several terms, their weighted sum."""
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
    objective: Objective,
    runtime: Runtime,
    *,
    stage: str,
    after_step: Callable[[int, nn.Module], bool] | None = None,
) -> Fitted:
    """Train `model` in place on some rows of the training set.

    Args:
        model: trained in place and left on the runtime's device.
        case: where the rows come from.
        recipe: how to train.
        objective: what to minimise, and on which rows.
        runtime: where to train.
        stage: name of this training in history, and of its random streams.
        after_step: called with the number of steps done and the model as it is then, which may be another object than
            `model`; training stops when it returns True.

    Raises:
        DivergenceError: a loss became NaN, infinite or far larger than it began, or the weights did.
        ModelError: no parameter can be trained.
        DataError: batch normalisation was given a batch of one sample.
    """
    started, before = time.perf_counter(), largest_weight(model)
    streams = [_Stream(term, number, stage, recipe, runtime) for number, term in enumerate(objective.terms)]
    steps = max(len(stream.lengths) for stream in streams)
    _require_rows_to_normalise(streams, runtime)
    watched = objective.validation_rows(case) if recipe.schedule == "plateau" else None
    scale, history, trained = TargetScale(), list[Epoch](), 0
    monitors = [DivergenceMonitor(stage, scale) for _ in streams]
    with (
        runtime.training(model, lambda twin: recipe.make_optimizer(_trainable(twin))) as (wrapped, optimizer),
        runtime.per_process_rng(stage),
        runtime.bar(stage, recipe.epochs * steps) as advance,
    ):
        training = _Training(wrapped, optimizer, recipe.make_schedule(optimizer, steps), case, recipe, runtime, scale)
        for epoch in range(1, recipe.epochs + 1):
            taken = training.epoch(streams, steps, after_step, advance)
            # Read back once per epoch, so that an accelerator never waits for the loop.
            means = [
                monitor.mean(sums, seen, epoch, runtime.process_group)
                for monitor, sums, seen in zip(monitors, taken.sums.unbind(1), taken.seen, strict=True)
            ]
            loss: float = sum(stream.term.weight * mean for stream, mean in zip(streams, means, strict=True))
            broadcast_buffers(wrapped, runtime.process_group)
            validation = None if watched is None else evaluate(wrapped, case, "validation", watched, runtime)
            end_epoch(training.schedule, loss if validation is None else validation)
            history.append(Epoch(stage=stage, epoch=epoch, loss=loss, validation=validation, lr=taken.rate))
            trained += sum(taken.seen)
            if taken.stopped:
                break
    check_weights(model, stage, before=before, scale=scale.value(runtime.process_group))
    looked = 0 if watched is None else len(watched) * len(history)
    seconds = time.perf_counter() - started
    return Fitted(history=tuple(history), cost=Cost(forward=trained + looked, backward=trained, seconds=seconds))


class _Stream:
    """The batches of one term, epoch after epoch, with random streams of their own."""

    def __init__(self, term: Term, number: int, stage: str, recipe: Recipe, runtime: Runtime) -> None:
        self.term, self._batch_size = term, recipe.batch_size
        name = stage if number == 0 else f"{stage}/term {number + 1}"
        self._order, self.draws = runtime.generator(f"{name}/order"), runtime.generator(f"{name}/augment")
        # Chunked once for the lengths, which do not depend on the shuffle.
        self.lengths = [len(chunk) for chunk in chunked(term.rows, self._batch_size, shuffle=torch.Generator())]

    def chunks(self, steps: int) -> list[Tensor]:
        """The rows of so many batches: passes over all rows, shuffled again for each pass."""
        chunks: list[Tensor] = []
        while len(chunks) < steps:
            chunks += chunked(self.term.rows, self._batch_size, shuffle=self._order)
        return chunks[:steps]


class _Taken(NamedTuple):
    """The steps of one epoch."""

    sums: Tensor
    """Each term's summed losses at each step, of this process; `(steps, terms)`."""
    seen: list[int]
    """Each term's samples, of all processes."""
    rate: float
    """Learning rate of the last step."""
    stopped: bool


@dataclass
class _Training:
    """What the steps of a training need, and how many were done."""

    model: nn.Module
    optimizer: Optimizer
    schedule: Schedule
    case: Case
    recipe: Recipe
    runtime: Runtime
    scale: TargetScale
    step: int = 0

    def epoch(
        self,
        streams: Sequence[_Stream],
        steps: int,
        after_step: Callable[[int, nn.Module], bool] | None,
        advance: Callable[[], None],
    ) -> _Taken:
        """One step for each tuple of batches, one batch of each term."""
        unwrapped(self.model).train(self.recipe.mode == "train")
        source, group = self.case.source("train"), self.runtime.process_group
        chunks = [stream.chunks(steps) for stream in streams]
        loaded = [
            self.runtime.load(source, own, augmentation=stream.draws, share=self.case.task)
            for stream, own in zip(streams, chunks, strict=True)
        ]
        sums: list[Tensor] = []
        stopped, rate = False, 0.0
        for batches in zip(*loaded, strict=True):
            counts = [len(own[len(sums)]) for own in chunks]
            pairs = zip(streams, batches, strict=True)
            losses = [_per_sample(stream.term.loss, self.model, batch, group) for stream, batch in pairs]
            parts = zip(streams, losses, counts, strict=True)
            means = [stream.term.weight * group.mean_loss(each, count) for stream, each, count in parts]
            rate = self._update(torch.stack(means).sum())
            for batch in batches:
                self.scale.watch(self.case, batch)
            sums.append(torch.stack([each.detach().sum() for each in losses]))
            advance()
            self.step += 1
            if after_step is not None:
                broadcast_buffers(self.model, group)
                if stopped := group.broadcast(after_step(self.step, self.model)):
                    break
        seen = [sum(len(chunk) for chunk in own[: len(sums)]) for own in chunks]
        return _Taken(torch.stack(sums), seen, rate, stopped)

    def _update(self, objective: Tensor) -> float:
        norm = self.recipe.clip_norm
        clip = None if norm is None else partial(self.runtime.clip, self.optimizer, norm)
        return update(objective, self.optimizer, self.schedule, self.runtime, clip)


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


def update(
    objective: Tensor, optimizer: Optimizer, schedule: Schedule, runtime: Runtime, clip: Callable[[], None] | None
) -> float:
    """One optimiser step down an objective; returns the learning rate that it was taken at."""
    optimizer.zero_grad(set_to_none=True)
    require_gradient(objective)
    runtime.backward(objective)
    if clip is not None:
        clip()
    rate: float = optimizer.param_groups[0]["lr"]
    runtime.step(optimizer)
    if isinstance(schedule, OneCycleLR):
        schedule.step()
    return rate


def _require_rows_to_normalise(streams: Sequence[_Stream], runtime: Runtime) -> None:
    fewest = min(min(stream.lengths, default=0) for stream in streams)
    processes = runtime.process_group.world_size
    if runtime.sync_batch_norm and fewest < processes:
        raise DataError(
            f"A batch has {fewest} rows for {processes} processes, and batch normalisation is to be synchronised",
            expected="a row for each process in every batch",
            remedy="Change `batch_size`, or leave out `sync_batch_norm`",
        )


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
