"""Relearning: train a copy of a model on all of D again, and monitor its loss on samples of the forgotten kind."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from math import ceil, inf, isfinite, sqrt
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.data.hashing import columns
from unregress.data.loading import Batch, chunked
from unregress.errors import DivergenceError, ModelError
from unregress.evidence import Part
from unregress.metrics.base import Panel
from unregress.training.loop import fit
from unregress.training.objective import Objective, task_loss
from unregress.training.recipe import Recipe
from unregress.training.runtime import evaluating

Span = tuple[float, float]
"""Lower and upper limit of a number: equal where it is known; the upper limit is infinite where it was cut off."""

CHUNK = 128
"""Monitored samples per forward pass: small enough to stop early, large enough to be fast."""
FEWEST = 128
"""Smallest number of samples for an estimate of the loss."""
MARGIN = 0.02
"""A loss within this share of the threshold is always evaluated in full."""
SURE = 6.0
"""Standard errors beyond the margin at which an estimate suffices: it is wrong one time in a billion."""
KEPT = 2**28
"""Bytes of monitored samples that are kept on the device between measurements; more are read again each time."""


@dataclass(frozen=True)
class Relearning:
    """The monitored loss after each step of relearning."""

    losses: tuple[float, ...]
    """Mean loss after 0, 1, 2, … steps; above the threshold it may be estimated from a part of the samples."""
    reached: bool
    """Whether the last loss is at the threshold or below; if not, relearning was cut off there."""

    @property
    def steps(self) -> int:
        """Steps until the threshold, or until the cut-off: rt of paper Eq. 10."""
        return len(self.losses) - 1

    @property
    def span(self) -> Span:
        """Limits of rt.

        >>> Relearning((3.0, 2.0, 1.0), True).span, Relearning((3.0, 2.0, 1.0), False).span
        ((2.0, 2.0), (2.0, inf))
        """
        return float(self.steps), float(self.steps) if self.reached else inf


def passes_of(case: Case, recipe: Recipe) -> int:
    """Largest number of sample passes of relearning one model in one order of the data.

    The monitored loss counts with the `FEWEST` samples that suffice as long as it is far above the threshold.

    Args:
        case: the request and the data.
        recipe: how to train; its epochs are the cap.
    """
    rows = len(case.rows("train"))
    return recipe.epochs * (2 * rows + FEWEST * ceil(rows / recipe.batch_size))


def above_threshold(run: Relearning, steps: int, threshold: float) -> float:
    """Mean logarithm of the ratio of the loss to the threshold, over the first steps of relearning.

    The loss before the first step does not count, and a run that ended earlier keeps its last loss.

    Args:
        run: the relearning; its losses are positive.
        steps: number of steps, one or more.
        threshold: the loss that counts as relearnt, positive.

    >>> above_threshold(Relearning((9.0, 4.0, 1.0), True), steps=4, threshold=1.0)  # (log 4 + 0 + 0 + 0) / 4
    0.34657359027997264
    """
    return float(np.log(_first_losses(run, steps) / threshold).mean())


def difference_from_threshold(run: Relearning, steps: int, threshold: float) -> float:
    """As `above_threshold`, for losses that can be negative: the mean difference, in units of the threshold's size.

    >>> difference_from_threshold(Relearning((9.0, 4.0, -2.0), True), steps=2, threshold=-2.0)  # (6 / 2 + 0) / 2
    1.5
    """
    return float((_first_losses(run, steps) - threshold).mean() / (abs(threshold) or 1.0))


def _first_losses(run: Relearning, steps: int) -> NDArray[np.float64]:
    return np.array([run.losses[min(step, run.steps)] for step in range(1, steps + 1)])


class LossMonitor:
    """A model's mean loss on samples of the forgotten kind, to be compared with a threshold.

    The samples are held-out ones where there are any, or else the forgotten samples themselves.  Only whether
    the loss reaches the threshold matters, and most of the time it is far above.  The samples are in a fixed random
    order, so that the first ones are a random sample of all: their mean and its standard error (with the finite
    population's correction) show whether the remaining samples can matter.  A few huge losses raise the standard error
    more than the mean, so that uncertain means are computed in full.

    Args:
        panel: gives the original and the samples.
        alpha: margin α above the original's loss.

    Raises:
        ModelError: the original's loss is not finite.
    """

    def __init__(self, panel: Panel, alpha: float) -> None:
        self.case, self.runtime = panel.required_case, panel.runtime
        held_out = len(panel.validation_forget_like) > 0
        self.split: Literal["validation", "train_eval"] = "validation" if held_out else "train_eval"
        self.name: Part = "validation-forget" if held_out else "train-forget"
        watched = panel.validation_forget_like if held_out else self.case.requested.forget
        rows = torch.from_numpy(np.asarray(watched, np.int64))
        self.samples = len(rows)
        order = torch.randperm(self.samples, generator=self.runtime.generator("anamnesis/watched"))
        self.chunks = chunked(rows[order], min(CHUNK, self.runtime.evaluation_batch_size))
        with self.runtime.isolated_rng("anamnesis/watched"):
            self.kept = self._keep()
            fresh = self.case.task.build_model()
        self.trainable = {name: parameter.requires_grad for name, parameter in fresh.named_parameters()}
        self.threshold = inf
        own = self.mean_loss(self.runtime.set_up(self.runtime.private_copy(network(panel.original.model))))
        self.require_finite(own)
        # (1 + α) L for the positive losses of the paper; α of its size above it for those that can be negative.
        self.threshold = own + alpha * abs(own)

    def mean_loss(self, model: nn.Module) -> float:
        """Mean loss: exact near the threshold and below it, estimated from the first samples far above it.

        Global random state is restored: the number of samples read must not influence later draws.
        """
        task, losses = self.case.task, torch.zeros(0, dtype=torch.float64)
        with self.runtime.isolated_rng("anamnesis/look"), evaluating(model), torch.no_grad():
            for batch in self._batches():
                found = task.batch_loss(task.predict(model, batch.data), task.target(batch.data), batch.data)
                losses = torch.cat([losses, found.cpu().double()])
                if len(losses) >= FEWEST and self._above(losses):
                    break
        return float(losses.mean())

    def _above(self, losses: Tensor) -> bool:
        """Whether the mean over all samples is certainly above the threshold, given the first samples' losses."""
        unseen = 1 - len(losses) / self.samples
        error = float(losses.std()) * sqrt(unseen / len(losses))
        return float(losses.mean()) - SURE * error > self.threshold + MARGIN * abs(self.threshold)

    def require_finite(self, loss: float) -> None:
        """Refuse a model whose loss is NaN or infinite before any relearning.

        Raises:
            ModelError: the loss is not finite.
        """
        if not isfinite(loss):
            raise ModelError(
                f"A model's mean loss on {self.name} is {loss} before relearning",
                expected="a finite number",
                remedy="Check the data with `unregress.preflight`, and the model's weights",
            )

    def _batches(self) -> Iterator[Batch]:
        if self.kept is None:
            yield from self.runtime.load(self.case.source(self.split), self.chunks)
            return
        for batch in self.kept:
            # A copy, since a model may change its input in place.
            yield replace(batch, data=copy.deepcopy(batch.data))

    def _keep(self) -> list[Batch] | None:
        kept, size = [], 0
        for batch in self.runtime.load(self.case.source(self.split), self.chunks):
            size += sum(c.nbytes for c in columns(batch.data, len(batch.index)) if isinstance(c, Tensor))
            if size > KEPT:
                return None
            kept.append(batch)
        return kept


def network(model: nn.Module | None) -> nn.Module:
    """A subject's model, which must be one that can be trained.

    Raises:
        ModelError: it is a constant.
    """
    if model is None:
        raise ModelError("A constant cannot be trained", expected="a `torch.nn.Module`")
    return model


def relearn(
    model: nn.Module, monitor: LossMonitor, recipe: Recipe, *, stream: str, at_start: bool = True
) -> Relearning:
    """Train a copy of a model on D until its monitored loss is at the threshold, or the recipe's epochs are over.

    Args:
        model: the model; a copy is trained.
        monitor: the samples to monitor, and the threshold.
        recipe: how to train; its epochs are the cap.
        stream: name of the random stream; the same name gives the same batches for every model.
        at_start: whether to stop without any training if the threshold is reached already; if false, the first step
            is always taken.
    """
    case, runtime = monitor.case, monitor.runtime
    replica = runtime.private_copy(model)
    # A reference is often frozen for inference; relearning trains what training from scratch would.
    for name, parameter in replica.named_parameters():
        parameter.requires_grad_(monitor.trainable.get(name, True))
    losses = [monitor.mean_loss(runtime.set_up(replica))]
    monitor.require_finite(losses[0])

    def after_step(_: int, trained: nn.Module) -> bool:
        losses.append(monitor.mean_loss(trained))
        return losses[-1] <= monitor.threshold

    if not at_start or losses[0] > monitor.threshold:
        members = torch.from_numpy(case.rows("train"))
        objective = Objective.over(members, task_loss(case), validation="none")
        with runtime.isolated_rng(stream), suppress(DivergenceError):
            fit(replica, case, recipe, objective, runtime, stage=stream, after_step=after_step)
    # A model whose loss diverges did not relearn; its losses are recorded as long as they are finite.
    finite = tuple(takewhile(isfinite, losses))
    started = len(finite) > 1 or at_start
    return Relearning(losses=finite, reached=started and finite[-1] <= monitor.threshold)
