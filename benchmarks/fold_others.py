"""What the others of a fold do to leave-out predictions, and how much of it several tables or a correction take back.

A fold's model lacks more samples than a request forgets, and the others that it lacks move its predictions too.  A
table corrects for them by the gradients of the original (`unregress.data.fold_effects`).  Of the wage panel the edit
that follows corrected tables is measured as well: many requests tell smaller differences from golds than a few do.

    python benchmarks/fold_others.py

It takes the further requests of the wage panel and of STS-B, of which no figure of a method is reported.  The tables of
STS-B are not corrected, as the gradients explain too little of them; here they are, to see what the limit spares.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from small_couplings import memory_beside
from small_problems import arguments, stsb_annealed_20, wage
from small_trainings import Trainings

from unregress import LeaveOutEdit
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.loading import read_targets
from unregress.evidence.permutation import Group, exchanged
from unregress.files.writing import write_json
from unregress.hooks.raw_predictions import flattened
from unregress.methods.edit_samples import predict_raw
from unregress.metrics.predictions import Values
from unregress.parallel.jobs import one_thread
from unregress.retraining import fold_effects

TABLES = {20: 3, 40: 2}
"""Number of tables of each number of folds."""


def measure(data: Path, cache: Path) -> dict[str, Any]:
    """Distances from coupled golds in floors: of one table, of several, and of both after the correction."""
    problem = wage(data)
    trainings = Trainings(problem, cache / "wage")
    tables = {folds: [trainings.table(0, number, folds) for number in range(count)] for folds, count in TABLES.items()}
    found: dict[str, dict[str, list[float]]] = {}
    for kind, several in problem.further.items():
        for rows in several:
            case, places = trainings.case(rows), torch.tensor(rows)
            golds = [predict_raw(gold.model, case, places, trainings.runtime(0)) for gold in trainings.coupled(rows)]
            floor = np.mean([float((a - b).abs().mean()) for k, a in enumerate(golds) for b in golds[:k]])
            for folds, several_tables in tables.items():
                each = {
                    "as they are": [flattened(table.targets(case)).double() for table in several_tables],
                    "corrected": [flattened(table.corrected(case)).double() for table in several_tables],
                }
                for number in range(1, len(several_tables) + 1):
                    for how, predictions in each.items():
                        mean = torch.stack(predictions[:number]).mean(0)
                        distance = np.mean([float((mean - gold).abs().mean()) for gold in golds]) / floor
                        title = f"{number} of {folds} folds, {how}"
                        found.setdefault(title, {}).setdefault(kind, []).append(round(float(distance), 3))
    effects = {f"{folds} folds": [table.effects for table in several] for folds, several in tables.items()}
    return {
        "problem": "wage",
        "command": "python benchmarks/fold_others.py",
        "agreement": {
            name: [each and round(each.agreement, 3) for each in several] for name, several in effects.items()
        },
        "distance / floor": found,
        "edit": {
            "1 of 20 folds": edited(trainings, tables[20][:1]),
            "2 of 40 folds": edited(trainings, tables[40][:2]),
        },
    }


def edited(trainings: Trainings, tables: Sequence[LeaveOutTable]) -> dict[str, Any]:
    """The edit by its own settings on the further requests: distances in floors, memory kept, and p over all of them.

    Args:
        trainings: of the problem.
        tables: those that teach.
    """
    runtime, groups = trainings.runtime(0), dict[str, list[Group]]()
    found: dict[str, dict[str, list[float]]] = {}
    for kind, several in trainings.problem.further.items():
        for rows in several:
            case, places = trainings.case(rows), torch.tensor(rows)
            made = LeaveOutEdit(table=tables).unlearn(trainings.original(0), case, runtime)
            models = [made, *trainings.coupled(rows)]
            own, *golds = (predict_raw(each.model, case, places, runtime).numpy() for each in models)
            target = flattened(read_targets(case.source("train_eval"), case.task, places)).double().numpy()
            for name, measure in (("distance", _distance), ("memory kept", memory_beside)):
                of_golds = [measure(each, golds[:k] + golds[k + 1 :], target) for k, each in enumerate(golds)]
                value, unit = measure(own, golds, target), np.mean(of_golds) if name == "distance" else 1.0
                found.setdefault(name, {}).setdefault(kind, []).append(round(float(value / unit), 4))
                groups.setdefault(name, []).append(Group((value,), tuple(of_golds)))
    p = {name: round(exchanged(each, np.random.default_rng(0)).p, 4) for name, each in groups.items()}
    return {"p": p, **found}


def _distance(own: Values, others: Sequence[Values], _: Values) -> float:
    return float(np.mean([np.abs(own - other).mean() for other in others]))


def measure_stsb(data: Path, cache: Path) -> dict[str, Any]:
    """Distances of STS-B's tables from one coupled gold of each request, in points, corrected in spite of the limit."""
    problem = stsb_annealed_20(data)
    trainings = Trainings(problem, cache / "stsb-annealed")
    case, original, runtime = trainings.case(), trainings.original(0).model, trainings.runtime(0)
    with patch.object(fold_effects, "EXPLAINED", 0.0):
        tables = [
            fold_effects.with_fold_effects(trainings.table(0, number), original, case, runtime)
            for number in range(problem.teaching)
        ]
    found: dict[str, list[float]] = {"as they are": [], "corrected": []}
    for rows, (gold,) in trainings.further():
        case, places = trainings.case(rows), torch.tensor(rows)
        own = predict_raw(gold.model, case, places, runtime)
        both = ([table.targets(case) for table in tables], [table.corrected(case) for table in tables])
        for several, distances in zip(both, found.values(), strict=True):
            mean = torch.stack([flattened(each).double() for each in several]).mean(0)
            distances.append(round(float((mean - own).abs().mean()), 4))
    further = np.array(found["corrected"]) - np.array(found["as they are"])
    return {
        "problem": "stsb-annealed-20",
        "command": "python benchmarks/fold_others.py",
        "agreement": [table.effects and round(table.effects.agreement, 3) for table in tables],
        "distance of the mean of two tables": found,
        "farther by": [round(float(further.mean()), 4), round(float(further.std(ddof=1) / len(further) ** 0.5), 4)],
    }


def main() -> None:
    """Measure, and write the results."""
    parser = arguments(__doc__)
    parser.add_argument("problems", nargs="*", default=["wage", "stsb"])
    given = parser.parse_args()
    measures = {"wage": measure, "stsb": measure_stsb}
    with one_thread():
        for name in given.problems:
            measured = measures[name]
            write_json(Path(f"results/small-requests/{name}-fold-others.json"), measured(given.data, given.cache))


if __name__ == "__main__":
    main()
