"""Whether golds lean towards forgotten pairs of STS-B since other pairs have the same sentences.

    python benchmarks/shared_sentences.py --cache runs/small-requests

A leave-out table lacks a whole fold, and so more pairs with a forgotten pair's sentences than a gold lacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from small_problems import arguments
from small_requests import Measurement
from torch import nn

from unregress.data.loading import read_targets
from unregress.data.sample_keys import sample_keys
from unregress.files.writing import write_json
from unregress.hooks.raw_predictions import predict_rows
from unregress.metrics.memory_slope import memory_kept
from unregress.metrics.predictions import Values
from unregress.parallel.jobs import one_thread

PROBLEM = "stsb-annealed-20"
SHARED = {"any number": (0, 10**9), "none": (0, 0), "one or two": (1, 2), "three or more": (3, 10**9)}
"""Numbers of other training pairs that have a sentence of a pair."""


def sharing(measurement: Measurement) -> Values:
    """How many other training pairs have a sentence of each pair."""
    first, second, _ = measurement.problem.splits.train[:]
    _, which = np.unique(torch.cat([first, second]).numpy(), axis=0, return_inverse=True)
    ends = which.reshape(2, -1)
    pairs: dict[int, set[int]] = {}
    for pair, both in enumerate(ends.T.tolist()):
        for sentence in both:
            pairs.setdefault(sentence, set()).add(pair)
    return np.array([len(pairs[one] | pairs[other]) - 1 for one, other in ends.T.tolist()])


def golds(measurement: Measurement) -> Iterator[tuple[tuple[int, ...], nn.Module]]:
    """Each request with each of its coupled golds."""
    judged = ((rows, measurement.trainings.coupled(rows)) for rows in measurement.problem.judged.values())
    for rows, several in (*judged, *measurement.trainings.further()):
        yield from ((rows, gold.model) for gold in several)


def main() -> None:
    """Measure, and write the numbers."""
    given = arguments(__doc__)
    given.add_argument("--output", type=Path, default=Path("results/small-requests"))
    found = given.parse_args()
    with one_thread():
        measurement = Measurement(PROBLEM, found.data, found.cache)
        task, case, table = measurement.problem.task, measurement.trainings.case(), measurement.judging
        hashes, known = sample_keys(case.splits, "test"), {key: place for place, key in enumerate(table.unseen_keys)}
        rows = np.array([row for row in case.rows("test") if hashes[row] in known])
        unseen = task.point(table.unseen[[known[hashes[row]] for row in rows]]).double().numpy().reshape(-1, 1)
        new = read_targets(case.source("test"), task, torch.from_numpy(rows)).double().numpy().reshape(-1, 1)
        shared, forgotten, never_seen = sharing(measurement), list[Values](), list[float]()
        for asked, gold in golds(measurement):
            left_out = task.point(table.targets(measurement.trainings.case(asked))).double().numpy().reshape(-1, 1)
            own, truth = measurement.points(gold, asked), measurement.targets(asked)
            forgotten.append(np.hstack([own, truth, left_out, shared[list(asked)][:, None]]))
            raw = predict_rows(gold, case, "test", rows, measurement.runtime)
            never_seen.append(memory_kept(task.point(raw).double().numpy().reshape(-1, 1), new, unseen, 0.0))
    own, truth, left_out, number = np.concatenate(forgotten).T
    parts = {name: (number >= low) & (number <= high) for name, (low, high) in SHARED.items()}
    write_json(
        found.output / "stsb-shared-sentences.json",
        {
            "command": "python benchmarks/shared_sentences.py",
            "golds": len(forgotten),
            "forgotten pairs, by others with a sentence of theirs": {
                name: [round(memory_kept(own[part], truth[part], left_out[part], 0.0), 4), int(part.sum())]
                for name, part in parts.items()
            },
            "never-seen pairs": round(float(np.mean(never_seen)), 4),
        },
    )


if __name__ == "__main__":
    main()
