"""How much trainings of one start share, and how far a leave-out table is from golds; no method is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unregress.data.case import Case
from unregress.hooks.raw_predictions import predict_rows
from unregress.methods import Unlearned
from unregress.metrics.memory_slope import memory_kept
from unregress.metrics.predictions import Values

if TYPE_CHECKING:
    from small_problems import Rows
    from small_requests import Measurement


def coupling(measurement: Measurement) -> dict[str, float | None]:
    """Distance of golds of its start from the original on never-seen samples, relative to golds of other starts."""
    case = measurement.trainings.case()

    def away(models: Sequence[Unlearned]) -> float:
        own = predict_rows(
            measurement.trainings.original(0).model, case, "test", case.rows("test"), measurement.runtime
        )
        found = [predict_rows(each.model, case, "test", case.rows("test"), measurement.runtime) for each in models]
        return float(np.mean([float((each - own).abs().mean()) for each in found]))

    rows = next(iter(measurement.problem.judged.values()))
    near, far = away(measurement.trainings.coupled(rows)), away(measurement.trainings.others(rows))
    return {
        "kappa of golds": near / far,
        "kappa of the table": measurement.judging.coupling,
        "same start": near,
        "other start": far,
    }


def memory_beside(own: Values, golds: Sequence[Values], target: Values) -> float:
    """The memory that predictions keep beside the mean of some golds'; all `(n, k)`."""
    center = np.mean(golds, axis=0)
    return memory_kept(own, target, center, float(((target - center) ** 2).mean()))


def table_error(measurement: Measurement, rows: Rows) -> dict[str, float]:
    """Distance of leave-out predictions from coupled golds' mean, and of those that teach from those that judge."""
    case: Case = measurement.trainings.case(rows)
    *taught, second = (
        measurement.problem.task.point(table.corrected(case)).double().numpy().reshape(len(rows), -1)
        for table in (*measurement.teaching, measurement.judging)
    )
    first = np.mean(taught, axis=0)
    golds = [measurement.points(gold.model, rows) for gold in measurement.trainings.coupled(rows)]
    own = measurement.points(measurement.trainings.original(0).model, rows)
    return {
        "table - gold": float(np.mean([np.abs(first - gold).mean() for gold in golds])),
        "table - other table": float(np.abs(first - second).mean()),
        "original - gold": float(np.mean([np.abs(own - gold).mean() for gold in golds])),
    }


def couplings(measurement: Measurement) -> dict[str, Any]:
    """Coupling, floors of both kinds of golds, and the table's error, without any method."""
    floors = {}
    for name, rows in measurement.problem.judged.items():
        kinds = {"coupled": measurement.trainings.coupled(rows), "uncoupled": measurement.trainings.others(rows)}
        places = {kind: [measurement.points(gold.model, rows) for gold in golds] for kind, golds in kinds.items()}
        floors[name] = {
            f"{kind} floor": float(np.mean([np.abs(a - b).mean() for k, a in enumerate(each) for b in each[:k]]))
            for kind, each in places.items()
        }
        floors[name] |= table_error(measurement, rows)
    header = measurement.header()
    command = f"{header['command']} --coupling"
    return {**header, "command": command, "coupling": coupling(measurement), "requests": floors}
