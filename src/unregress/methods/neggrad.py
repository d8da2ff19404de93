"""NegGrad+: gradient descent on the retain set and bounded gradient ascent on the forget set, in the same steps.

After Kurmanji, Triantafillou, Hayes and Triantafillou, "Towards Unbounded Machine Unlearning" (NeurIPS 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.data.loading import Batch, read_targets
from unregress.errors import ModelError, UnregressError, require_fields
from unregress.evidence.nan_means import median
from unregress.methods.base import Method
from unregress.methods.unlearned import Unlearned
from unregress.training.loop import fit
from unregress.training.objective import Objective, SampleLoss, Term, task_loss
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime, evaluating


@dataclass(frozen=True, kw_only=True)
class NegGradPlus(Method):
    """Minimise the mean retain loss minus `alpha` times the mean forget loss, each forget loss up to a bound.

    Each step takes one batch of D_r and one of D_f.  A regression loss has no upper limit, so that unbounded ascent
    would make predictions ever larger.  A forget sample whose loss has reached its bound therefore no longer
    contributes to the gradient.  By default the bound is the loss, on the same sample, of a constant prediction: the
    median of the retained targets, as predicted by a model that knows nothing of the sample.

    Forget labels are used, and the loss on them only grows: the error on a forget sample may become larger than that of
    a retrained model.

    Raises:
        SettingError: settings are out of range; all of them are reported at once.
    """

    recipe: Recipe = Recipe(epochs=5, lr=1e-3)
    """Settings of the training, which starts from the original."""
    alpha: float = 0.05 / 0.95
    """Weight of the forget loss relative to the retain loss; as published for small data: β = 0.95 of the retain loss
    and 0.05 of the forget loss.  Zero is fine-tuning."""
    bound: float | None = None
    """Loss, in the loss's own units, above which a forget sample no longer contributes; None for the loss, on the same
    sample, of the median of the retained targets; infinity for the published method."""

    def __post_init__(self) -> None:
        require_fields(
            "NegGradPlus",
            self,
            [
                ("alpha", 0 <= self.alpha < float("inf"), "a number, 0 or more"),
                ("bound", self.bound is None or self.bound > 0, "a positive number, or None for a constant's loss"),
            ],
        )

    @property
    def deviations(self) -> tuple[str, ...]:
        """The bound of the forget loss, and the length of an epoch."""
        found = (
            "An epoch of NegGradPlus is one pass over the larger of retain and forget set; in the published code it is "
            "one pass over the retain set.",
        )
        if self.bound == float("inf"):
            return found
        bound = "that of the retained targets' median" if self.bound is None else f"{self.bound:g}"
        return (
            f"NegGradPlus does not raise a forgotten sample's loss beyond {bound}; the published objective has no "
            "bound, and a regression loss has no upper limit.",
            *found,
        )

    def objections(self, student: nn.Module, case: Case, runtime: Runtime) -> Iterator[UnregressError]:
        try:
            self._require_bound(student, case, runtime)
        except UnregressError as error:
            yield error

    def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        self._require_bound(student, case, runtime)
        retain, forget = torch.from_numpy(case.requested.retain), torch.tensor(case.requested.forget)
        terms = (
            Term(rows=retain, loss=task_loss(case)),
            Term(rows=forget, loss=self._bounded_loss(case), weight=-self.alpha),
        )
        fitted = fit(student, case, self.recipe, Objective(terms=terms), runtime, stage="unlearn")
        return Unlearned(model=student, history=fitted.history, cost=fitted.cost)

    def _bounded_loss(self, case: Case) -> SampleLoss:
        """The task's loss, constant above each sample's bound."""
        task = case.task
        bounds = self._bounds(case)

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            prediction, target = task.predict(model, batch.data), task.target(batch.data)
            losses = task.batch_loss(prediction, target, batch.data)
            bound = bounds(prediction, target, batch.data).to(losses)
            return task.weighed(torch.where(losses < bound, losses, bound), batch.data)

        return loss

    def _bounds(self, case: Case) -> Callable[[Tensor, Tensor, Any], Tensor]:
        """A function from predictions, targets and their batch to each sample's bound, `(n,)`."""
        if (bound := self.bound) is not None:
            return lambda prediction, target, batch: torch.full(target.shape[:1], bound)
        retained = read_targets(case.source("train_eval"), case.task, torch.from_numpy(case.requested.retain))
        middle = torch.from_numpy(median(retained.double().numpy()))

        @torch.no_grad()
        def of_constant(prediction: Tensor, target: Tensor, batch: Any) -> Tensor:
            if prediction.shape[: target.ndim] != target.shape:
                raise ModelError(
                    f"Predictions have shape {tuple(prediction.shape)} and targets {tuple(target.shape)}, so that a "
                    "constant prediction is not defined",
                    expected="predictions whose first axes are those of the targets",
                    remedy="Set `bound` of `NegGradPlus`",
                )
            levels = [1] * (prediction.ndim - target.ndim)
            constant = middle.to(prediction).reshape((*middle.shape, *levels)).expand(prediction.shape)
            return case.task.batch_loss(constant, target, batch)

        return of_constant

    def _require_bound(self, student: nn.Module, case: Case, runtime: Runtime) -> None:
        """Refuse a task whose loss is not defined for a constant prediction.

        Raises:
            ModelError: the loss of a constant prediction is not defined or not finite.
        """
        if self.bound is not None:
            return
        model = runtime.set_up(student)
        (batch,) = runtime.load(case.source("train_eval"), [torch.tensor(case.requested.forget[:2])])
        with evaluating(model), torch.no_grad():
            prediction = case.task.predict(model, batch.data)
        found = self._bounds(case)(prediction, case.task.target(batch.data), batch.data)
        if not bool(found.isfinite().all()):
            raise ModelError(
                "The loss of a constant prediction, the median of the retained targets, is not finite",
                expected="a finite loss, which bounds the loss of forget samples",
                remedy="Set `bound` of `NegGradPlus`",
            )
