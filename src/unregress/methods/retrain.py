"""Retraining from scratch without the forget set: the reference ("gold") for other methods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from torch import nn

from unregress.data.case import Case
from unregress.errors import UnregressError
from unregress.methods.base import Method
from unregress.methods.unlearned import Unlearned
from unregress.tasks.unwrap import private_copy
from unregress.tasks.weights import weights_of
from unregress.training.fresh_model import initial_model
from unregress.training.from_scratch import Training, require_possible, train_from
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime

PUBLISHED = Recipe(epochs=100, lr=0.01, schedule="plateau")
"""The training as published (paper Section 6.3)."""


@dataclass(frozen=True, kw_only=True)
class Retrain(Method):
    """Train a new model on D_r alone (paper Section 3.1).

    Forget samples are never read.  Of the original only the architecture is used: the new model is made by the
    task's `build_model` under the runtime's seed, or has the initial weights `start`.  From the original's own initial
    weights, the result is what would have become of this original without the forgotten samples, up to batch order.
    """

    retrains: ClassVar[bool] = True

    recipe: Training = PUBLISHED
    """How to train, which should be how the original was trained: settings, or a function `(data, start, seed) ->
    model`; as published: 100 epochs of Adam from 0.01, reduced on plateau."""
    start: nn.Module | None = field(default=None, repr=False)
    """A model with the initial weights to train from; None for new ones."""

    @property
    def uses_original(self) -> bool:
        """False: only the original's architecture is used."""
        return False

    def objections(self, student: nn.Module, case: Case, runtime: Runtime) -> Iterator[UnregressError]:
        try:
            initial_model(case, student, self.start)
            require_possible(self.recipe, runtime)
        except UnregressError as error:
            yield error

    def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        initial = initial_model(case, student, self.start)
        kept = private_copy(initial).cpu()
        rows = case.requested.retain
        trained, fitted = train_from(initial, case, self.recipe, rows, runtime, stage="train", validation="retain")
        return Unlearned(
            model=trained, history=fitted.history, cost=fitted.cost, start=kept, start_digest=weights_of(kept)
        )
