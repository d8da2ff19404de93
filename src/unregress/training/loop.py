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

from unregress.cost import Cost
from unregress.data.case import Case
from unregress.data.loading import Batch, chunked
from unregress.distributed.process_group import ProcessGroup
from unregress.distributed.replicas import broadcast_buffers, require_forward_call
from unregress.errors import DataError, ModelError
from unregress.tasks.unwrap import unwrapped
from unregress.training.divergence import DivergenceMonitor, TargetScale, check_weights, largest_weight
from unregress.training.final_weights import FinalWeights
from unregress.training.objective import Objective, SampleLoss
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime, evaluating
from unregress.training.schedules import Schedule
from unregress.training.term_batches import TermBatches, sample_weights


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Losses and learning rate of one epoch."""

    stage: str
    """Name of the training that the epoch belongs to: `train`, `helper` or `unlearn`."""
    epoch: int
    """Counted from 1."""
    loss: float
    """Mean per-sample training loss, weighted where samples' weights are factors; for an objective of several terms,
    the weighted sum of their means."""
    validation: float | None
    """Mean task loss on the validation rows that a plateau schedule or early stopping monitors; None without either, or
    without rows."""
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
            object than `model`; training stops when it returns True, with the weights of that step (or their average).

    Raises:
        DivergenceError: a loss or the weights became NaN, infinite, or far larger than at the start.
        ModelError: all parameters are frozen, or the loss has no gradient.
        DataError: batch normalisation was given a batch of one sample.
    """
    started, before = time.perf_counter(), largest_weight(model)
    weights = sample_weights(case, recipe)
    streams = [TermBatches(term, n, stage, recipe, runtime, weights) for n, term in enumerate(objective.terms)]
    steps = max(len(stream.lengths) for stream in streams)
    _require_rows_to_normalise(streams, runtime)
    watched = objective.validation_rows(case) if recipe.monitors else None
    scale, history, trained = TargetScale(), list[Epoch](), 0
    monitors = [DivergenceMonitor(stage, scale) for _ in streams]
    with (
        runtime.training(model, lambda copied: recipe.make_optimizer(_trainable(copied))) as (wrapped, optimizer),
        runtime.per_process_rng(stage),
        runtime.bar(stage, recipe.epochs * steps) as advance,
    ):
        schedule, final = recipe.make_schedule(optimizer, steps), FinalWeights(wrapped, recipe, runtime)
        training, stopped = _Training(wrapped, optimizer, schedule, final, case, recipe, runtime, scale), False
        for epoch in range(1, recipe.epochs + 1):
            taken = training.epoch(streams, steps, after_step, advance)
            # Losses are copied from the device once per epoch, so that an accelerator does not wait for the loop.
            means = [
                monitor.mean(sums, mass, epoch, runtime.process_group)
                for monitor, sums, mass in zip(monitors, taken.sums.unbind(1), taken.masses, strict=True)
            ]
            loss: float = sum(stream.term.weight * mean for stream, mean in zip(streams, means, strict=True))
            for each in (wrapped, final.evaluated):
                broadcast_buffers(each, runtime.process_group)
            validation = None if watched is None else evaluate(final.evaluated, case, "validation", watched, runtime)
            monitored, stopped = loss if validation is None else validation, taken.stopped
            schedule.after_epoch(monitored)
            history.append(Epoch(stage=stage, epoch=epoch, loss=loss, validation=validation, lr=taken.rate))
            trained += sum(taken.seen)
            if final.after_epoch(monitored) or stopped:
                break
        final.apply(best=not stopped)
    check_weights(model, stage, before=before, scale=scale.value(runtime.process_group))
    evaluated = 0 if watched is None else len(watched) * len(history)
    seconds = time.perf_counter() - started
    return Fitted(history=tuple(history), cost=Cost(forward=trained + evaluated, backward=trained, seconds=seconds))


class _EpochSteps(NamedTuple):
    """Losses and sample counts of the steps of one epoch."""

    sums: Tensor
    """Sum of this process's losses by step and term; `(steps, terms)`."""
    seen: list[int]
    """Number of samples of each term, over all processes."""
    masses: list[float]
    """What each term's sums are divided by for their mean, see `TermBatches.mass`."""
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
    final: FinalWeights
    case: Case
    recipe: Recipe
    runtime: Runtime
    scale: TargetScale
    step: int = 0

    def epoch(
        self,
        streams: Sequence[TermBatches],
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
            losses = [
                stream.weigh(_sample_losses(stream.term.loss, self.model, batch, group), batch)
                for stream, batch in zip(streams, batches, strict=True)
            ]
            parts = zip(streams, losses, [own[len(sums)] for own in chunks], strict=True)
            means = [stream.term.weight * stream.mean(each, chunk, group) for stream, each, chunk in parts]
            rate = self._update(torch.stack(means).sum())
            self.final.after_step()
            for batch in batches:
                self.scale.watch(self.case, batch)
            sums.append(torch.stack([each.detach().sum() for each in losses]))
            advance()
            self.step += 1
            if after_step is not None:
                broadcast_buffers(self.model, group)
                if stopped := group.broadcast(after_step(self.step, self.model)):
                    break
        rows = [torch.cat(own[: len(sums)]) for own in chunks]
        masses = [stream.mass(own) for stream, own in zip(streams, rows, strict=True)]
        return _EpochSteps(torch.stack(sums), [len(own) for own in rows], masses, rate, stopped)

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
                case.task.batch_loss(case.task.predict(model, batch.data), case.task.target(batch.data), batch.data),
                batch,
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
    schedule.after_step()
    return rate


def _require_rows_to_normalise(streams: Sequence[TermBatches], runtime: Runtime) -> None:
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
