"""The training loop shared by all methods; a method supplies the objective."""

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
    """Losses and learning rate of one epoch."""

    stage: str
    """Name of the training that the epoch belongs to: `train`, `helper` or `unlearn`."""
    epoch: int
    """Counted from 1."""
    loss: float
    """Mean per-sample training loss; for an objective of several terms, the weighted sum of their means."""
    validation: float | None
    """Mean task loss on the validation rows that a plateau schedule monitors; None without such a schedule or rows."""
    lr: float
    """Learning rate of the last step."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Result of a training: its epochs and its cost."""

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
    """Train `model` in place to minimise an objective on rows of the training set.

    Args:
        model: trained in place and left on the runtime's device.
        case: the task and the data.
        recipe: passes, batches, optimiser and schedule.
        objective: losses to minimise, and the rows of each.
        runtime: device, processes, precision and seed.
        stage: name of this training in the history and of its random streams.
        after_step: called after each step with the number of steps done and the current model, which may be another
            object than `model`; training stops when it returns True.

    Raises:
        DivergenceError: a loss or the weights became NaN, infinite, or far larger than at the start.
        ModelError: all parameters are frozen, or the loss has no gradient.
        DataError: batch normalisation was given a batch of one sample.
    """
    started, before = time.perf_counter(), largest_weight(model)
    streams = [_TermBatches(term, number, stage, recipe, runtime) for number, term in enumerate(objective.terms)]
    steps = max(len(stream.lengths) for stream in streams)
    _require_rows_to_normalise(streams, runtime)
    watched = objective.validation_rows(case) if recipe.schedule == "plateau" else None
    scale, history, trained = TargetScale(), list[Epoch](), 0
    monitors = [DivergenceMonitor(stage, scale) for _ in streams]
    with (
        runtime.training(model, lambda copied: recipe.make_optimizer(_trainable(copied))) as (wrapped, optimizer),
        runtime.per_process_rng(stage),
        runtime.bar(stage, recipe.epochs * steps) as advance,
    ):
        training = _Training(wrapped, optimizer, recipe.make_schedule(optimizer, steps), case, recipe, runtime, scale)
        for epoch in range(1, recipe.epochs + 1):
            taken = training.epoch(streams, steps, after_step, advance)
            # Losses are copied from the device once per epoch, so that an accelerator does not wait for the loop.
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
    evaluated = 0 if watched is None else len(watched) * len(history)
    seconds = time.perf_counter() - started
    return Fitted(history=tuple(history), cost=Cost(forward=trained + evaluated, backward=trained, seconds=seconds))


class _TermBatches:
    """Draws the batches of one term of the objective, with the term's own random streams."""

    def __init__(self, term: Term, number: int, stage: str, recipe: Recipe, runtime: Runtime) -> None:
        self.term, self._batch_size = term, recipe.batch_size
        name = stage if number == 0 else f"{stage}/term {number + 1}"
        self._order, self.draws = runtime.generator(f"{name}/order"), runtime.generator(f"{name}/augment")
        # Chunked once for the lengths, which do not depend on the shuffle.
        self.lengths = [len(chunk) for chunk in chunked(term.rows, self._batch_size, shuffle=torch.Generator())]

    def chunks(self, steps: int) -> list[Tensor]:
        """Rows of the next `steps` batches; the term's rows are passed again, in a new order, as often as needed."""
        chunks: list[Tensor] = []
        while len(chunks) < steps:
            chunks += chunked(self.term.rows, self._batch_size, shuffle=self._order)
        return chunks[:steps]


class _EpochSteps(NamedTuple):
    """Losses and sample counts of the steps of one epoch."""

    sums: Tensor
    """Sum of this process's losses by step and term; `(steps, terms)`."""
    seen: list[int]
    """Number of samples of each term, over all processes."""
    rate: float
    """Learning rate of the last step."""
    stopped: bool
    """Whether `after_step` ended the training."""


@dataclass
class _Training:
    """State of a running training: the model, its optimiser and the number of steps done."""

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
        streams: Sequence[_TermBatches],
        steps: int,
        after_step: Callable[[int, nn.Module], bool] | None,
        advance: Callable[[], None],
    ) -> _EpochSteps:
        """Run one epoch: in each step, draw a batch of every term and update the weights."""
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
            losses = [_sample_losses(stream.term.loss, self.model, batch, group) for stream, batch in pairs]
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
        return _EpochSteps(torch.stack(sums), seen, rate, stopped)

    def _update(self, objective: Tensor) -> float:
        norm = self.recipe.clip_norm
        clip = None if norm is None else partial(self.runtime.clip, self.optimizer, norm)
        return update(objective, self.optimizer, self.schedule, self.runtime, clip)


def evaluate(
    model: nn.Module, case: Case, split: Literal["train_eval", "validation"], rows: Tensor, runtime: Runtime
) -> float:
    """Mean task loss over rows of a split, in evaluation mode; each submodule's own mode is restored."""
    chunks = chunked(rows, runtime.evaluation_batch_size)
    with evaluating(model), torch.no_grad():
        losses = [
            _zero_if_padding(
                case.task.checked_loss(case.task.predict(model, batch.data), case.task.target(batch.data)), batch
            )
            for batch in runtime.load(case.source(split), chunks, share=case.task)
        ]
    total = torch.stack([each.sum() for each in losses]).double().sum()
    return float(runtime.process_group.all_reduce(total)) / len(rows)


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters to train; a `ModelError` if all are frozen."""
    found = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not found:
        raise ModelError("All of the model's parameters are frozen", expected="at least one trainable parameter")
    return found


def _zero_if_padding(losses: Tensor, batch: Batch) -> Tensor:
    """Let the losses of a padding batch count as 0; the gradient stays connected, so that processes stay in step."""
    return losses * 0 if batch.is_padding else losses


def require_gradient(losses: Tensor) -> None:
    """Refuse losses without a gradient.

    Raises:
        ModelError: the losses do not depend on any trainable weight.
    """
    if not losses.requires_grad:
        raise ModelError(
            "The loss does not depend on the model's weights: it has no gradient",
            expected="a prediction and a loss that PyTorch can differentiate",
            remedy="Remove `.detach()`, `.item()`, `torch.no_grad()` and NumPy from model, task and loss",
        )


def update(
    objective: Tensor, optimizer: Optimizer, schedule: Schedule, runtime: Runtime, clip: Callable[[], None] | None
) -> float:
    """Take one optimiser step to minimise an objective; returns the learning rate of the step."""
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


def _require_rows_to_normalise(streams: Sequence[_TermBatches], runtime: Runtime) -> None:
    """Refuse batches with fewer rows than processes when batch normalisation is synchronised."""
    fewest = min(min(stream.lengths, default=0) for stream in streams)
    processes = runtime.process_group.world_size
    if runtime.sync_batch_norm and fewest < processes:
        raise DataError(
            f"A batch has {fewest} rows for {processes} processes, and `sync_batch_norm` is set",
            expected="at least one row per process in every batch",
            remedy="Change `batch_size`, or do not set `sync_batch_norm`",
        )


def _sample_losses(sample_loss: SampleLoss, model: nn.Module, batch: Batch, group: ProcessGroup) -> Tensor:
    """Losses of a batch, `(n,)`.

    Raises:
        DataError: batch normalisation was given a batch of one sample.
    """
    try:
        with require_forward_call(model, group):
            return _zero_if_padding(sample_loss(model, batch), batch)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise DataError(
            "Batch normalisation was given a training batch of one sample",
            expected="two samples or more per batch",
            remedy="Retain more samples, raise `batch_size`, or train with `Recipe(mode='eval')`; with several "
            "processes each needs two samples, unless `sync_batch_norm` is set",
        ) from error


def end_epoch(schedule: Schedule, loss: float) -> None:
    """Advance a schedule that changes by epoch; the one-cycle schedule advances with each step."""
    if isinstance(schedule, ReduceLROnPlateau):
        schedule.step(loss)
    elif isinstance(schedule, StepLR):
        schedule.step()
