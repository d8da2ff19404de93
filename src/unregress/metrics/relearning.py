"""Relearning: train a copy of a model on all of D again, and monitor its loss on samples of the forgotten kind."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from math import inf, isfinite, sqrt
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

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
"""Watched samples per forward pass: small enough to stop early, large enough to be fast."""
FEWEST = 128
"""Smallest number of samples for an estimate of the loss."""
MARGIN = 0.02
"""A loss within this share of the threshold is always evaluated in full."""
SURE = 6.0
"""Standard errors beyond the margin at which an estimate is taken for an answer: one in a billion is wrong."""
KEPT = 2**28
"""Bytes of watched samples that are kept on the device between looks; more are read again each time."""


@dataclass(frozen=True)
class Relearning:
    """The watched loss after each step of relearning."""

    losses: tuple[float, ...]
    """Mean loss after 0, 1, 2, … steps; where it is above the threshold, maybe estimated from a part of the samples."""
    reached: bool
    """Whether the last of them is at the threshold or below; if not, the measurement was cut off there."""

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


class Watch:
    """A model's mean loss on samples of the forgotten kind, to be compared with a threshold.

    The samples are held-out ones where there are any, or else the forgotten samples themselves.  The loss is only
    needed to know whether the threshold is reached, and most of the time it is far from that.  The samples are in a
    fixed random order, so that those looked at first are a random sample of all, and their mean and its standard
    error (with the finite population's correction) tell whether looking on can matter.  A few huge losses, which raise
    the mean, raise the error more: what is uncertain is looked at in full.

    Args:
        panel: whose original and whose samples.
        alpha: margin α above the original's loss.

    Raises:
        ModelError: the original's loss is not finite.
    """

    def __init__(self, panel: Panel, alpha: float) -> None:
        self.case, self.runtime = panel.case, panel.runtime
        held_out = len(panel.validation_forget_like) > 0
        self.split: Literal["validation", "train_eval"] = "validation" if held_out else "train_eval"
        self.name: Part = "validation-forget" if held_out else "train-forget"
        watched = panel.validation_forget_like if held_out else panel.case.requested.forget
        rows = torch.from_numpy(np.asarray(watched, np.int64))
        self.samples = len(rows)
        order = torch.randperm(self.samples, generator=self.runtime.generator("anamnesis/watched"))
        self.chunks = chunked(rows[order], min(CHUNK, self.runtime.evaluation_batch_size))
        with self.runtime.isolated_rng("anamnesis/watched"):
            self.kept = self._keep()
            fresh = self.case.task.build_model()
        self.trainable = {name: parameter.requires_grad for name, parameter in fresh.named_parameters()}
        self.threshold = inf
        own = self.look(self.runtime.set_up(self.runtime.private_copy(network(panel.original.model))))
        self.require_finite(own)
        # (1 + α) L for the positive losses of the paper; α of its size above it for those that can be negative.
        self.threshold = own + alpha * abs(own)

    def look(self, model: nn.Module) -> float:
        """The mean loss: exact near the threshold and below it, from there on estimated from the first samples.

        Global random state is left alone: how far one looked must not decide on what is drawn next.
        """
        task, losses = self.case.task, torch.zeros(0, dtype=torch.float64)
        with self.runtime.isolated_rng("anamnesis/look"), evaluating(model), torch.no_grad():
            for batch in self._batches():
                found = task.checked_loss(task.predict(model, batch.data), task.target(batch.data))
                losses = torch.cat([losses, found.cpu().double()])
                if len(losses) >= FEWEST and self._above(losses):
                    break
        return float(losses.mean())

    def _above(self, losses: Tensor) -> bool:
        """Whether the mean over all samples is above the threshold for sure, given the first samples' losses."""
        unseen = 1 - len(losses) / self.samples
        error = float(losses.std()) * sqrt(unseen / len(losses))
        return float(losses.mean()) - SURE * error > self.threshold + MARGIN * abs(self.threshold)

    def require_finite(self, loss: float) -> None:
        """Refuse a model whose loss is no number before any relearning.

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


def relearn(model: nn.Module, watch: Watch, recipe: Recipe, *, stream: str, at_start: bool = True) -> Relearning:
    """Train a copy of a model on D until its watched loss is at the threshold, or the recipe's epochs are over.

    Args:
        model: the model; a copy is trained.
        watch: the samples to monitor, and the threshold.
        recipe: how to train; its epochs are the cap.
        stream: of the draws: the same name, the same batches for every model.
        at_start: stop without any training if the threshold is reached already; otherwise the first step is always
            taken.
    """
    case, runtime = watch.case, watch.runtime
    twin = runtime.private_copy(model)
    # A reference is often frozen for inference; relearning trains what training from scratch would.
    for name, parameter in twin.named_parameters():
        parameter.requires_grad_(watch.trainable.get(name, True))
    losses = [watch.look(runtime.set_up(twin))]
    watch.require_finite(losses[0])

    def after_step(_: int, trained: nn.Module) -> bool:
        losses.append(watch.look(trained))
        return losses[-1] <= watch.threshold

    if not at_start or losses[0] > watch.threshold:
        members = torch.from_numpy(case.rows("train"))
        objective = Objective.over(members, task_loss(case), validation="none")
        with runtime.isolated_rng(stream), suppress(DivergenceError):
            fit(twin, case, recipe, objective, runtime, stage=stream, after_step=after_step)
    # A model that runs away while relearning did not relearn; its losses are shown while they are numbers.
    finite = tuple(takewhile(isfinite, losses))
    started = len(finite) > 1 or at_start
    return Relearning(losses=finite, reached=started and finite[-1] <= watch.threshold)
