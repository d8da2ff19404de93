"""What the others of a fold do to leave-out predictions, and how much of it several tables or a correction take back.

A fold's model lacks more samples than a request forgets, and the others that it lacks move its predictions too.  A
table corrects for them by the gradients of the original (`unregress.data.fold_effects`).

    python benchmarks/fold_others.py

It takes the wage panel's further requests, of which no figure of a method is reported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from small_problems import arguments, wage
from small_trainings import Trainings

from unregress.files.writing import write_json
from unregress.hooks.raw_predictions import flattened
from unregress.methods.edit_samples import predict_raw
from unregress.parallel.jobs import one_thread

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
    }


def main() -> None:
    """Measure, and write the results."""
    given = arguments(__doc__).parse_args()
    with one_thread():
        write_json(Path("results/small-requests/wage-fold-others.json"), measure(given.data, given.cache))


if __name__ == "__main__":
    main()
