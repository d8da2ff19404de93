"""Find out what the others of a fold did to a table's leave-out predictions, by the gradients of the original."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.data.fold_effects import FoldEffects
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.listed import numbered
from unregress.data.loading import chunked
from unregress.errors import ModelError, UnregressError
from unregress.hooks.gram_passes import within_memory
from unregress.hooks.landmarks import FEWEST, gradient_features
from unregress.hooks.raw_predictions import flattened
from unregress.methods.edit_samples import spread_of
from unregress.training.runtime import Runtime, evaluating

RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Ridges, relative to the mean squared gradient, of which the one that explains a table best is taken."""
FEATURES = 512
"""Largest number of features of a sample."""
VALUES = 2**26
"""Largest number of values of a table's features, which are kept with it: a quarter of a gigabyte."""
EXPLAINED = 0.1
"""Least share that the gradients explain of what was measured beside a person's own absence.  By two data sets: a
correction took tables with 4 % farther from golds, and those with 11 % and more nearer (docs/small-requests.md)."""
SIGMAS = 3.0
"""Least agreement with what was measured, in its standard errors over the folds, to be more than chance."""


def with_fold_effects(
    table: LeaveOutTable, model: nn.Module, case: Case, runtime: Runtime, log: Callable[[str], None] | None = None
) -> LeaveOutTable:
    """A table that also knows what the others of a fold did to its predictions, if the original's gradients explain it.

    Whatever the model or the task cannot do, the table itself is returned, and the log says why it is not corrected.

    Args:
        table: a table that was made with the case, and of which nothing has been removed.
        model: the original.
        case: task and data.
        runtime: where to run, with the original's seed.
        log: receives how well the gradients explain the table, or why it is not corrected.
    """
    try:
        effects = _explained(table, model, case, runtime)
    # A user's model and loss are called here in ways that a training does not; what hours of it gave must not be lost.
    except Exception as error:
        why = error.found if isinstance(error, UnregressError) else f"{type(error).__name__}: {error}"
        made, said = table, f"cannot be corrected for the others of a fold where they teach ({why})"
    else:
        made, said = (
            replace(table, effects=effects),
            "will be corrected for the others of a fold where they teach: the ",
        )
        said += (
            f"model's gradients explain {effects.agreement**2:.0%} of what was measured beside a person's own absence"
        )
    if log is not None:
        log(f"Table {table.partition}: its predictions {said}")
    return made


def _explained(table: LeaveOutTable, model: nn.Module, case: Case, runtime: Runtime) -> FoldEffects:
    """The effects of the others of a fold.

    Raises:
        ModelError: they cannot be computed, or explain too little.
    """
    if case.splits.weight_array is not None:
        raise ModelError("Samples have weights")
    rows = torch.from_numpy(case.kept("train"))
    outputs = table.predictions[0].numel()
    if FEATURES // outputs < FEWEST:
        raise ModelError(f"{outputs} outputs leave fewer than {FEWEST} landmarks for {FEATURES} features")
    landmarks = min(FEATURES, VALUES // (len(rows) * outputs)) // outputs
    if landmarks < FEWEST:
        raise ModelError(f"Features of {len(rows):,} samples with {outputs} outputs take too much memory")
    order = torch.randperm(len(rows), generator=runtime.generator("leave-out/landmarks"))
    full = runtime.without_mixed_precision
    ready = full.set_up(full.private_copy(model)).eval()
    reading = within_memory(full, ready, case, rows[:2])
    features = gradient_features(ready, case, rows, rows[order[:landmarks]], outputs, reading)
    own, pulls = _pulled(ready, case, rows, reading)
    changes = own - flattened(table.predictions).double()
    if not bool(changes.isfinite().all() and pulls.isfinite().all()):
        raise ModelError("Predictions, or derivatives of losses by them, are not finite")
    return _best(features, pulls, changes, spread_of(own), table.folds, _people(case, rows, table.folds))


def _people(case: Case, rows: Tensor, folds: Tensor) -> Tensor:
    """A number for each person, or for each sample where people are not known or each is a whole fold; `(n,)` int64."""
    subjects = case.splits.subjects
    if subjects is None:
        return torch.arange(len(rows))
    found = torch.from_numpy(numbered(subjects[row] for row in rows.tolist()))
    return torch.arange(len(rows)) if len(found.unique()) == len(folds.unique()) else found


def _pulled(model: nn.Module, case: Case, rows: Tensor, runtime: Runtime) -> tuple[Tensor, Tensor]:
    """The model's raw predictions, and minus the derivative of each sample's training loss by its own; `(n, k)`.

    Raises:
        ModelError: samples have weights, of which the regression knows nothing.
    """
    own, pulls = [], []
    with evaluating(model):
        for batch in runtime.load(case.source("train_eval"), chunked(rows, runtime.evaluation_batch_size)):
            if case.task.weights(batch.data) is not None:
                raise ModelError("Samples have weights")
            with torch.no_grad():
                raw = case.task.predict(model, batch.data)
            leaf = raw.detach().clone().requires_grad_()
            with torch.enable_grad():
                losses = case.task.training_loss(leaf, case.task.target(batch.data), batch.data)
                (slope,) = torch.autograd.grad(losses.sum(), leaf, allow_unused=True, materialize_grads=True)
            own.append(flattened(raw).double().cpu())
            pulls.append(-flattened(slope).double().cpu())
    return torch.cat(own), torch.cat(pulls)


def _best(
    features: Tensor, pulls: Tensor, changes: Tensor, units: Tensor, folds: Tensor, people: Tensor
) -> FoldEffects:
    """The effects with the ridge by which they explain best what leaving out folds has changed.

    The changes are explained by two sums, with a factor each: what a person's own absence does, and what the others of
    the fold do.  The second factor is that of the effects: the slope once the first sum is taken out of both sides.

    Args:
        features: whose inner products are those of gradients, `(n, k, r)`.
        pulls: minus the derivatives of losses by predictions, `(n, k)`.
        changes: predictions of the original less those of the fold models, `(n, k)`.
        units: of each output, so that one of large numbers is not the only one that counts, `(k,)`.
        folds: `(n,)`.
        people: a number for each person, `(n,)`.

    Raises:
        ModelError: they explain too little.
    """
    flat = features.flatten(0, 1).double()
    moments, unit = flat.T @ flat, float(flat.square().sum(1).mean())
    best: FoldEffects | None = None
    sigmas, least = 0.0, float("inf")
    for ridge in RIDGES:
        root = torch.linalg.cholesky(moments + ridge * unit * torch.eye(len(moments), dtype=moments.dtype))
        divided = torch.linalg.solve_triangular(root, flat.T, upper=False).T.reshape(features.shape).float()
        tried = FoldEffects(features=divided, pulls=pulls.float(), agreement=0.0)
        own = (tried.of_each(people) / units).flatten()
        others = (tried.of_each(folds) / units).flatten() - own
        rest, measured = _without(others, own), _without((changes / units).flatten(), own)
        factor = float(rest @ measured / (rest @ rest))
        left = float((measured - factor * rest).square().sum())
        if left < least and factor > 0:
            least, sigmas = left, _sigmas((rest * measured).reshape(changes.shape).sum(1), folds)
            agreement = float(rest @ measured / (rest.norm() * measured.norm()))
            best = replace(tried, pulls=(factor * pulls).float(), agreement=agreement)
    if best is None or sigmas < SIGMAS or best.agreement**2 < EXPLAINED:
        share = 0.0 if best is None else best.agreement**2
        little = f"less than {EXPLAINED:.0%}" if share < EXPLAINED else "no more than chance may, with so few folds"
        raise ModelError(
            f"The model's gradients explain {share:.0%} of what was measured beside a person's own absence, which is "
            f"{little}"
        )
    return best


def _without(values: Tensor, others: Tensor) -> Tensor:
    """What other values do not explain, as a multiple of them; `(n,)`."""
    return values - (values @ others) / (others @ others) * others


def _sigmas(products: Tensor, folds: Tensor) -> float:
    """The mean over folds of the samples' sums, in its standard errors."""
    _, number = folds.unique(return_inverse=True)
    sums = torch.zeros(int(number.max()) + 1, dtype=torch.float64).index_add_(0, number, products)
    return float(sums.mean() / (sums.std() / len(sums) ** 0.5))
