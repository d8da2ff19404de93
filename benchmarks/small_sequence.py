"""Ten requests in a row by the edit, beside golds without any of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from unregress import LeaveOutEdit
from unregress.methods import Unlearned

if TYPE_CHECKING:
    from small_problems import Rows
    from small_requests import Measurement


def in_a_row(measurement: Measurement) -> dict[str, Any]:
    """The edit of ten requests, one after the other, by its own settings, beside golds without any of them."""
    requests, method = measurement.problem.sequence, LeaveOutEdit(table=measurement.teaching)
    golds = [gold.model for gold in measurement.trainings.coupled(requests[-1], before=requests[:-1])]
    model: Unlearned = measurement.trainings.original(0)
    first, own = [], []
    for number, rows in enumerate(requests):
        case = measurement.trainings.case(rows, requests[:number])
        model = method.unlearn(model, case, measurement.runtime)
        first.append(_distance(measurement, model.model, golds, requests[0]))
        own.append(_distance(measurement, model.model, golds, rows))
    every = tuple(sorted(row for rows in requests for row in rows))
    pairs = [
        np.abs(measurement.points(a, every) - measurement.points(b, every)).mean()
        for k, a in enumerate(golds)
        for b in golds[:k]
    ]
    original = measurement.trainings.original(0).model
    return {
        "samples": len(every),
        "floor": float(np.mean(pairs)),
        "original": _distance(measurement, original, golds, every),
        "all, after ten": _distance(measurement, model.model, golds, every),
        "each, right after it": own,
        "the first, after each": first,
        "test error": {
            "original": measurement.test_error(original),
            "after ten": measurement.test_error(model.model),
            "golds": float(np.mean([measurement.test_error(gold) for gold in golds])),
        },
    }


def _distance(measurement: Measurement, model: nn.Module, golds: Sequence[nn.Module], rows: Rows) -> float:
    own = measurement.points(model, rows)
    return float(np.mean([np.abs(own - measurement.points(gold, rows)).mean() for gold in golds]))
