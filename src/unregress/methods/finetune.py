"""Fine-tuning on the retain set: the paper's baseline."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from unregress.data.case import Case
from unregress.methods.base import Method
from unregress.methods.unlearned import Unlearned
from unregress.training.loop import fit
from unregress.training.objective import retain_objective
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class FineTune(Method):
    """Continue training the original on D_r, so that it gradually forgets D_f (paper Section 6.2).

    Forget samples are never read.
    """

    recipe: Recipe = Recipe(epochs=5, lr=1e-3)
    """Settings of the fine-tuning; as published for AgeDB: 5 epochs at 0.001."""

    def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        fitted = fit(student, case, self.recipe, retain_objective(case), runtime, stage="unlearn")
        return Unlearned(model=student, history=fitted.history, cost=fitted.cost)
