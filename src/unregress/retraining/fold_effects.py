"""Find out what the others of a fold did to a table's leave-out predictions, by the gradients of the original."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace

import torch
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.data.fold_effects import FoldEffects
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.loading import chunked
from unregress.errors import ModelError
from unregress.hooks.gram_passes import within_memory
from unregress.hooks.landmarks import FEWEST, gradient_features
from unregress.hooks.raw_predictions import flattened
from unregress.training.runtime import Runtime, evaluating

RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Ridges, relative to the mean squared gradient, of which the one that explains a table best is taken."""
FEATURES = 512
"""Largest number of features of a sample."""
VALUES = 2**26
"""Largest number of values of a table's features, which are kept with it: a quarter of a gigabyte."""


def with_fold_effects(
    table: LeaveOutTable, model: nn.Module, case: Case, runtime: Runtime, log: Callable[[str], None] | None = None
) -> LeaveOutTable:
    """A table that also knows what the others of a fold did to its predictions, if the original's gradients explain it.

    Args:
        table: a table that was made with the case, and of which nothing has been removed.
        model: the original.
        case: task and data.
        runtime: where to run, with the original's seed.
        log: receives how well the gradients explain the table.
    """
    rows = torch.from_numpy(case.kept("train"))
    outputs = table.predictions[0].numel()
    landmarks = min(FEATURES, VALUES // (len(rows) * outputs)) // outputs
    order = torch.randperm(len(rows), generator=runtime.generator("leave-out/landmarks"))
    ready = runtime.set_up(runtime.private_copy(model)).eval()
    reading = within_memory(runtime, ready, case, rows[:2])
    try:
        if landmarks < FEWEST:
            raise ModelError(f"Features of {len(rows):,} samples with {outputs} outputs take too much memory")
        features = gradient_features(ready, case, rows, rows[order[:landmarks]], outputs, reading)
    except ModelError as error:
        effects, why = None, f" since {error.found[:1].lower()}{error.found[1:]}"
    else:
        own, pulls = _pulled(ready, case, rows, reading)
        changes = own - flattened(table.predictions).double()
        effects, why = _best(features, pulls, changes, table.folds, _people(case, rows, table.folds)), ""
    if log is not None and effects is None:
        log(f"Table {table.partition}: its predictions are not corrected for the others of a fold{why}")
    elif log is not None and effects is not None:
        log(
            f"Table {table.partition}: its predictions are corrected for the others of a fold, by the gradients of the "
            f"model, which explain {effects.agreement**2:.0%} of what these changed"
        )
    return replace(table, effects=effects)


def _people(case: Case, rows: Tensor, folds: Tensor) -> Tensor:
    """A number for each person, or for each sample where people are not known or each is a whole fold; `(n,)` int64."""
    subjects = case.splits.subjects
    if subjects is None:
        return torch.arange(len(rows))
    places: dict[Hashable, int] = {}
    found = torch.tensor([places.setdefault(subjects[row], len(places)) for row in rows.tolist()])
    return torch.arange(len(rows)) if len(places) == len(folds.unique()) else found


def _pulled(model: nn.Module, case: Case, rows: Tensor, runtime: Runtime) -> tuple[Tensor, Tensor]:
    """The model's raw predictions, and minus the derivative of each sample's training loss by its own; `(n, k)`."""
    own, pulls = [], []
    with evaluating(model):
        for batch in runtime.load(case.source("train_eval"), chunked(rows, runtime.evaluation_batch_size)):
            with torch.no_grad():
                raw = case.task.predict(model, batch.data)
            leaf = raw.detach().clone().requires_grad_()
            with torch.enable_grad():
                losses = case.task.training_loss(leaf, case.task.target(batch.data), batch.data)
                (slope,) = torch.autograd.grad(losses.sum(), leaf, allow_unused=True, materialize_grads=True)
            own.append(flattened(raw).double().cpu())
            pulls.append(-flattened(slope).double().cpu())
    return torch.cat(own), torch.cat(pulls)


def _best(features: Tensor, pulls: Tensor, changes: Tensor, folds: Tensor, people: Tensor) -> FoldEffects | None:
    """The effects with the ridge by which they explain best what leaving out folds has changed.

    The changes are explained by two sums, with a factor each: what a person's own absence does, and what the others of
    the fold do.  The second factor is that of the effects.

    Args:
        features: whose inner products are those of gradients, `(n, k, r)`.
        pulls: minus the derivatives of losses by predictions, `(n, k)`.
        changes: predictions of the original less those of the fold models, `(n, k)`.
        folds: `(n,)`.
        people: a number for each person, `(n,)`.

    Returns:
        None if nothing is explained.
    """
    flat = features.flatten(0, 1).double()
    moments, unit = flat.T @ flat, float(flat.square().sum(1).mean())
    best: FoldEffects | None = None
    least = float("inf")
    for ridge in RIDGES if unit > 0 and bool(pulls.isfinite().all()) else ():
        root = torch.linalg.cholesky(moments + ridge * unit * torch.eye(len(moments), dtype=moments.dtype))
        divided = torch.linalg.solve_triangular(root, flat.T, upper=False).T.reshape(features.shape).float()
        tried = FoldEffects(features=divided, pulls=pulls.float(), agreement=0.0)
        own = tried.of_each(people).reshape(-1)
        others = tried.of_each(folds).reshape(-1) - own
        sides = torch.stack([own, others], 1)
        factors = torch.linalg.lstsq(sides, changes.reshape(-1, 1)).solution.flatten()
        left = float((changes.flatten() - sides @ factors).square().sum())
        if left < least and factors[1] > 0:
            least = left
            agreement = _correlation(_without(others, own), _without(changes.flatten(), own))
            best = replace(tried, pulls=(factors[1] * pulls).float(), agreement=agreement)
    return best


def _without(values: Tensor, others: Tensor) -> Tensor:
    """What other values do not explain, as a multiple of them; `(n,)`."""
    return values - (values @ others) / (others @ others) * others


def _correlation(first: Tensor, second: Tensor) -> float:
    return float(first @ second / (first.norm() * second.norm()))
