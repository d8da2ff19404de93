"""What the others of a fold do to leave-out predictions, and how much of it several tables or a linear model take back.

A fold's model lacks more samples than a request forgets, and the others that it lacks move its predictions too.  For
ridge regression on a model's gradients, the predictions without exactly the forgotten samples follow from those of the
fold models: with Q = (K + λ)⁻¹ of all samples and the residual e of each fold F by its model, leaving out F alone means
dual coefficients Q_FF e_F, and leaving out S alone means the residual Q_SS⁻¹ (Q_FF e_F)_S.

    python benchmarks/fold_others.py

It takes the wage panel's further requests, of which no figure of a method is reported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.linalg import inv, solve
from small_problems import arguments, wage
from small_trainings import Trainings

from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.loading import read_targets
from unregress.data.request import Index
from unregress.files.writing import write_json
from unregress.hooks.changeable_layers import Changeable
from unregress.methods.edit_samples import predict_raw
from unregress.metrics.predictions import Values
from unregress.parallel.jobs import one_thread

RIDGES = (0.03, 0.1, 0.3, 0.5, 1.0, 3.0)
"""Ridges, relative to the mean squared gradient, of which the one that explains the table best is taken."""
TABLES = {20: 3, 40: 2}
"""Number of tables of each number of folds."""


def coefficients(inverse: Values, residual: Values, fold: Index) -> Values:
    """Dual coefficients of each sample from the residuals of fold models, `(n, 1)`: Q_FF e_F."""
    found = np.zeros_like(residual)
    for number in np.unique(fold):
        own = np.flatnonzero(fold == number)
        found[own] = inverse[np.ix_(own, own)] @ residual[own]
    return found


def residual_without(inverse: Values, coefficient: Values, rows: Index) -> Values:
    """Residuals of some samples by a model that was trained without these and no others, `(m, 1)`."""
    return np.asarray(solve(inverse[np.ix_(rows, rows)], coefficient[rows]), dtype=np.float64)


def predicted_residual(inverse: Values, coefficient: Values, fold: Index) -> Values:
    """Residuals by fold models, as ridge regression predicts them from the original's dual coefficients, `(n, 1)`."""
    found = np.zeros_like(coefficient)
    for number in np.unique(fold):
        own = np.flatnonzero(fold == number)
        found[own] = residual_without(inverse, coefficient, own)
    return found


def measure(data: Path, cache: Path) -> dict[str, Any]:
    """Distances from coupled golds in floors: of one table, of several, and of both after the correction."""
    problem = wage(data)
    trainings = Trainings(problem, cache / "wage")
    runtime, every = trainings.runtime(0), np.arange(problem.splits.size)
    case = trainings.case(problem.further["1 man"][0])
    model = runtime.set_up(runtime.private_copy(trainings.original(0).model)).eval()
    layers = Changeable.of(model, case, runtime)
    made = layers.products(model, layers.first_choice, case, torch.from_numpy(every), runtime)
    kernel, own = torch.stack(list(made.by_layer.values())).sum(0).numpy(), made.outputs.numpy()
    target = read_targets(case.source("train_eval"), case.task, torch.from_numpy(every)).double().numpy().reshape(-1, 1)
    hashes = case.splits.row_hashes("train_eval")

    def in_order(table: LeaveOutTable) -> tuple[Values, Index]:
        """A table's predictions and folds, in the order of the samples."""
        place = {key: number for number, key in enumerate(table.keys)}
        order = torch.tensor([place[each] for each in hashes])
        return table.predictions[order].double().numpy().reshape(-1, 1), table.folds[order].numpy()

    tables = {
        (folds, number): in_order(trainings.table(0, number, folds))
        for folds, count in TABLES.items()
        for number in range(count)
    }
    explained, inverse = _best_ridge(kernel, target, own, *next(iter(tables.values())))
    duals = {key: coefficients(inverse, target - left_out, fold) for key, (left_out, fold) in tables.items()}
    found: dict[str, dict[str, list[float]]] = {}
    for kind, several in problem.further.items():
        for rows in several:
            place = np.array(rows)
            golds = [
                predict_raw(gold.model, case, torch.from_numpy(place), runtime).numpy()
                for gold in trainings.coupled(rows)
            ]
            floor = np.mean([np.abs(a - b).mean() for k, a in enumerate(golds) for b in golds[:k]])
            for folds, count in TABLES.items():
                for number in range(1, count + 1):
                    keys = [(folds, each) for each in range(number)]
                    mean = np.mean([tables[key][0][place] for key in keys], axis=0)
                    dual = np.mean([duals[key] for key in keys], axis=0)
                    corrected = target[place] - residual_without(inverse, dual, place)
                    for how, value in (("as they are", mean), ("corrected", corrected)):
                        distance = float(np.mean([np.abs(value - gold).mean() for gold in golds]) / floor)
                        title = f"{number} of {folds} folds, {how}"
                        found.setdefault(title, {}).setdefault(kind, []).append(round(distance, 3))
    return {
        "problem": "wage",
        "command": "python benchmarks/fold_others.py",
        "explained": explained,
        "distance / floor": found,
    }


def _best_ridge(
    kernel: Values, target: Values, own: Values, left_out: Values, fold: Index
) -> tuple[dict[str, float], Values]:
    """Q for the ridge by which the changes that ridge regression predicts agree best with those of a table."""
    unit, best = float(np.diagonal(kernel).mean()), (-1.0, 0.0, kernel)
    for ridge in RIDGES:
        inverse = np.asarray(inv(kernel + ridge * unit * np.eye(len(kernel))), dtype=np.float64)
        change = predicted_residual(inverse, (target - own) / (ridge * unit), fold) - (target - own)
        agreement = float(np.corrcoef(change.ravel(), (own - left_out).ravel())[0, 1])
        best = max(best, (agreement, ridge, inverse), key=lambda each: each[0])
    return {"correlation of predicted with measured changes": round(best[0], 3), "ridge": best[1]}, best[2]


def main() -> None:
    """Measure, and write the results."""
    given = arguments(__doc__).parse_args()
    with one_thread():
        write_json(Path("results/small-requests/wage-fold-others.json"), measure(given.data, given.cache))


if __name__ == "__main__":
    main()
