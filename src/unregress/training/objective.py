"""What a training minimises: a weighted sum of mean losses, each over rows of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.data.loading import Batch

SampleLoss = Callable[[nn.Module, Batch], Tensor]
"""(model, batch) -> per-sample losses `(n,)`."""


Watched = Literal["retain", "all", "none"]


@dataclass(frozen=True, kw_only=True)
class Term:
    """A per-sample loss, and the rows of the training set that it is taken over."""

    rows: Tensor
    """Positions in the training set, `(n,)` int64."""
    loss: SampleLoss
    weight: float = 1.0
    """Factor of the mean loss; negative for gradient ascent."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What `fit` minimises: the sum over terms of weight times mean loss (paper Eq. 9 is one such mean).

    Each step draws one batch for every term.  An epoch has as many steps as the term with the most batches; its rows
    are passed once.  The other terms' rows are passed again until the epoch is over, in a new order each time.
    """

    terms: tuple[Term, ...]
    """The first one's order of rows is drawn as if there were no others."""
    validation: Watched = "retain"
    """Whose mean task loss a plateau schedule watches: the validation samples that are not of the forgotten kind, or
    all of them; with `none`, and without validation data, the training loss."""

    @classmethod
    def over(
        cls, rows: Tensor, loss: SampleLoss, *, validation: Literal["retain", "all", "none"] = "retain"
    ) -> Objective:
        """A single term: the mean loss over some rows.

        Args:
            rows: positions in the training set.
            loss: per-sample losses of a batch.
            validation: as the field.
        """
        return cls(terms=(Term(rows=rows, loss=loss),), validation=validation)

    def validation_rows(self, case: Case) -> Tensor | None:
        """Positions of the validation samples that a plateau schedule watches; None for the training loss."""
        if case.splits.validation is None or self.validation == "none":
            return None
        rows = (
            case.retained_validation() if self.validation == "retain" else torch.arange(len(case.source("validation")))
        )
        return rows if rows is not None and len(rows) else None


def retain_objective(case: Case) -> Objective:
    """The task's loss on the retain set D_r; nothing forgotten is read."""
    return Objective.over(torch.from_numpy(case.requested.retain), task_loss(case))


def task_loss(case: Case) -> SampleLoss:
    """The task's own loss against the true targets."""

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        return case.task.checked_loss(case.task.predict(model, batch.data), case.task.target(batch.data))

    return loss


def relabelled_loss(case: Case, labels: Tensor) -> SampleLoss:
    """The task's loss, with the forget rows' targets replaced by given labels; unknown outputs (NaN) stay unknown.

    Args:
        case: whose forget rows.
        labels: one label per forget row, in the request's order; shape `(n_forget, *out)`.
    """
    place = torch.zeros(case.splits.size, dtype=torch.int64)
    place[list(case.requested.forget)] = torch.arange(len(case.requested.forget))

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        prediction = case.task.predict(model, batch.data)
        target = case.task.target(batch.data).clone()
        if not target.is_floating_point():
            target = target.to(torch.promote_types(prediction.dtype, torch.float32))
        rows = batch.forgotten.to(target.device)
        new = labels[place[batch.index[batch.forgotten]]].to(target)
        target[rows] = torch.where(_partly_unknown(target[rows]), torch.nan, new)
        return case.task.checked_loss(prediction, target)

    return loss


def _partly_unknown(target: Tensor) -> Tensor:
    """Where some of a sample's outputs are unknown (NaN); nowhere if all are, which says nothing of the task."""
    unknown = target.isnan()
    wholly = unknown.flatten(1).all(1) if target.ndim > 1 else unknown
    return unknown & ~wholly.view(-1, *[1] * (target.ndim - 1))
