"""Measure ten requests in a row: what the edit leaves of each, and of the first one after the others.

    python benchmarks/small_sequence.py wage stsb-annealed-20 --output results/small-requests

Golds never saw the samples of any of the ten.  Beside it one edit of all ten requests at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from small_couplings import memory_beside
from small_problems import PROBLEMS, Rows, arguments
from small_requests import Measurement
from torch import nn

from unregress import LeaveOutEdit
from unregress.files.writing import write_json
from unregress.methods import Unlearned
from unregress.parallel.jobs import one_thread

HELD = {"in a row": 300, "in a row, 600 held": 600}
"""Retained samples whose predictions each edit holds: the default, and twice as many."""


def in_a_row(measurement: Measurement, requests: tuple[Rows, ...]) -> dict[str, Any]:
    """The edit of some requests, one after the other, beside golds without any of them."""
    trainings, edit = measurement.trainings, LeaveOutEdit(table=measurement.teaching)
    golds = [gold.model for gold in trainings.coupled(requests[-1], before=requests[:-1])]
    every = tuple(sorted(row for rows in requests for row in rows))
    original = trainings.original(0)
    at_once = edit.unlearn(original, trainings.case(every), measurement.runtime)
    models = {"original": original.model, "at once": at_once.model}
    shares = {"at once": at_once.cost.share_of(measurement.retraining)}
    first: dict[str, list[dict[str, float]]] = {}
    for name, anchors in HELD.items():
        model: Unlearned = original
        costs, first[name] = [], []
        for number, rows in enumerate(requests):
            case = trainings.case(rows, requests[:number])
            model = replace(edit, anchors=anchors).unlearn(model, case, measurement.runtime)
            costs.append(model.cost.share_of(measurement.retraining))
            first[name].append(_beside(measurement, model.model, golds, requests[0]))
        models[name], shares[name] = model.model, float(np.mean(costs))
    others = [[each for each in golds if each is not gold] for gold in golds]
    return {
        "samples": len(every),
        "share of retraining, an edit": shares,
        "all": {name: _beside(measurement, each, golds, every) for name, each in models.items()},
        "golds": [_beside(measurement, gold, rest, every) for gold, rest in zip(golds, others, strict=True)],
        "first": {
            "original": _beside(measurement, original.model, golds, requests[0]),
            "golds": [_beside(measurement, gold, rest, requests[0]) for gold, rest in zip(golds, others, strict=True)],
            "after each": first,
        },
        "test error": {
            **{name: measurement.test_error(each) for name, each in models.items()},
            "golds": float(np.mean([measurement.test_error(gold) for gold in golds])),
        },
    }


def _beside(measurement: Measurement, model: nn.Module, golds: Sequence[nn.Module], rows: Rows) -> dict[str, float]:
    """A model's mean distance from golds on some samples, and the memory that it keeps of them."""
    own = measurement.points(model, rows)
    places = np.stack([measurement.points(gold, rows) for gold in golds])
    return {
        "distance": float(np.abs(own - places).mean()),
        "beta": memory_beside(own, list(places), measurement.targets(rows)),
    }


def main() -> None:
    """Measure the sequences of some problems."""
    parser = arguments(__doc__)
    parser.add_argument("problems", nargs="+", choices=PROBLEMS)
    parser.add_argument("--output", type=Path, default=Path("results/small-requests"))
    given = parser.parse_args()
    for name in given.problems:
        with one_thread():
            measurement = Measurement(name, given.data, given.cache)
            header = measurement.header("small_sequence.py")
            found = [in_a_row(measurement, requests) for requests in measurement.problem.sequences]
            write_json(given.output / f"{name}-sequence.json", {**header, "sequences": found})


if __name__ == "__main__":
    main()
