"""Retraining from scratch without the forget set: the reference ("gold") for other methods."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from unregress.data.case import Case
from unregress.errors import UnregressError
from unregress.methods.base import Method, Unlearned
from unregress.training.fresh_model import fresh_model
from unregress.training.loop import fit
from unregress.training.objective import retain_objective
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class Retrain(Method):
    """Train a new model on D_r alone (paper Section 3.1).

    Forget samples are never read.  Of the original only the architecture is used: the new model is made by the
    task's `build_model` under the runtime's seed.
    """

    retrains: ClassVar[bool] = True

    recipe: Recipe = Recipe(epochs=100, lr=0.01, schedule="plateau")
    """Training settings, which should be those of the original; as published: 100 epochs of Adam from 0.01, reduced on
    plateau."""

    @property
    def uses_original(self) -> bool:
        """False: only the original's architecture is used."""
        return False

    def objections(self, student: nn.Module, case: Case, runtime: Runtime) -> Iterator[UnregressError]:
        try:
            fresh_model(case, student)
        except UnregressError as error:
            yield error

    def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        fresh = fresh_model(case, student)
        fitted = fit(fresh, case, self.recipe, retain_objective(case), runtime, stage="train")
        return Unlearned(model=fresh, history=fitted.history, cost=fitted.cost)
