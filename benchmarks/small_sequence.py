"""Measure ten requests in a row: what the edit leaves of each, and of the first one after the others.

    python benchmarks/small_sequence.py wage stsb-annealed-20 --output results/small-requests

Golds never saw the samples of any of the ten.  Beside it one edit of all ten requests at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from small_problems import PROBLEMS, Rows, arguments
from small_requests import Measurement
from torch import nn

from unregress import LeaveOutEdit
from unregress.files.writing import write_json
from unregress.methods import Unlearned
from unregress.metrics.memory_slope import memory_kept
from unregress.parallel.jobs import one_thread


def in_a_row(measurement: Measurement, requests: tuple[Rows, ...]) -> dict[str, Any]:
    """The edit of some requests, one after the other, beside golds without any of them."""
    trainings, method = measurement.trainings, LeaveOutEdit(table=measurement.teaching)
    golds = [gold.model for gold in trainings.coupled(requests[-1], before=requests[:-1])]
    original = trainings.original(0)
    every = tuple(sorted(row for rows in requests for row in rows))
    model: Unlearned = original
    first, own = [], []
    for number, rows in enumerate(requests):
        model = method.unlearn(model, trainings.case(rows, requests[:number]), measurement.runtime)
        first.append(_beside(measurement, model.model, golds, requests[0]))
        own.append(_beside(measurement, model.model, golds, rows))
    at_once = method.unlearn(original, trainings.case(every), measurement.runtime)
    models = {"original": original.model, "in a row": model.model, "at once": at_once.model}
    others = [[each for each in golds if each is not gold] for gold in golds]
    return {
        "samples": len(every),
        "all": {name: _beside(measurement, each, golds, every) for name, each in models.items()},
        "golds": [_beside(measurement, gold, rest, every) for gold, rest in zip(golds, others, strict=True)],
        "first": {
            "original": _beside(measurement, original.model, golds, requests[0]),
            "after each": first,
            "golds": [_beside(measurement, gold, rest, requests[0]) for gold, rest in zip(golds, others, strict=True)],
        },
        "each, right after it": own,
        "test error": {
            **{name: measurement.test_error(each) for name, each in models.items()},
            "golds": float(np.mean([measurement.test_error(gold) for gold in golds])),
        },
    }


def _beside(measurement: Measurement, model: nn.Module, golds: Sequence[nn.Module], rows: Rows) -> dict[str, float]:
    """A model's mean distance from golds on some samples, and the memory that it keeps of them."""
    own = measurement.points(model, rows)
    places = np.stack([measurement.points(gold, rows) for gold in golds])
    target, mean = measurement.targets(rows), places.mean(0)
    return {
        "distance": float(np.abs(own - places).mean()),
        "beta": memory_kept(own, target, mean, float(((target - mean) ** 2).mean())),
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
