"""Training objectives: a weighted sum of mean losses, each over its own rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.data.loading import Batch

SampleLoss = Callable[[nn.Module, Batch], Tensor]
"""(model, batch) -> per-sample losses `(n,)`, in the order of the batch's rows where samples are weighted."""


Watched = Literal["retain", "all", "none"]
"""The values of `Objective.validation`."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """One term of an objective: a per-sample loss, the training rows that it is averaged over, and a weight.

    The mean is over all rows alike, or as `Recipe.weights` says.
    """

    rows: Tensor
    """Positions in the training set, `(n,)` int64."""
    loss: SampleLoss
    weight: float = 1.0
    """Factor of the mean loss; negative for gradient ascent."""
    left_out: Tensor | None = None
    """Rows among `rows` that are drawn into batches and not read: a training without them then takes the others in the
    same order as one with them; `(m,)` int64.  None for no such row."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The objective that `fit` minimises: the sum over terms of weight times mean loss (paper Eq. 9 has one term).

    Each step draws one batch for every term.  An epoch has as many steps as the term with the most batches, so that
    its rows are passed once.  The rows of the other terms are passed repeatedly until the epoch ends, in a new order
    each time.
    """

    terms: tuple[Term, ...]
    """The terms; further terms do not change the order of rows drawn for the first."""
    validation: Watched = "retain"
    """Validation samples whose mean task loss a plateau schedule or early stopping monitors: those outside the
    forgotten group (`retain`) or all of them.  With `none`, and without validation data, it is the training loss."""

    @classmethod
    def over(
        cls, rows: Tensor, loss: SampleLoss, *, validation: Watched = "retain", left_out: Tensor | None = None
    ) -> Objective:
        """Make an objective of one term: the mean loss over the given rows.

        Args:
            rows: positions in the training set.
            loss: per-sample losses of a batch.
            validation: see the field of that name.
            left_out: rows among them that are drawn and not read, see `Term.left_out`.
        """
        return cls(terms=(Term(rows=rows, loss=loss, left_out=left_out),), validation=validation)

    def validation_rows(self, case: Case) -> Tensor | None:
        """Positions of the validation samples that a training monitors; None for the training loss."""
        if case.splits.validation is None or self.validation == "none":
            return None
        rows = case.retained_validation() if self.validation == "retain" else torch.from_numpy(case.rows("validation"))
        return rows if rows is not None and len(rows) else None


def retain_objective(case: Case) -> Objective:
    """The task's loss on the retain set D_r; the forget set is not read."""
    return Objective.over(torch.from_numpy(case.requested.retain), task_loss(case))


def task_loss(case: Case) -> SampleLoss:
    """The task's loss against the true targets."""

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        prediction = case.task.predict(model, batch.data)
        return case.task.training_loss(prediction, case.task.target(batch.data), batch.data)

    return loss


def relabelled_loss(case: Case, labels: Tensor) -> SampleLoss:
    """The task's loss, with the targets of the forget set replaced by given labels; unknown outputs (NaN) stay unknown.

    Args:
        case: the task, the data and the request.
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
        return case.task.training_loss(prediction, target, batch.data)

    return loss


def _partly_unknown(target: Tensor) -> Tensor:
    """Mask of unknown outputs (NaN) of samples that also have known ones; of `target`'s shape."""
    unknown = target.isnan()
    wholly = unknown.flatten(1).all(1) if target.ndim > 1 else unknown
    return unknown & ~wholly.view(-1, *[1] * (target.ndim - 1))
