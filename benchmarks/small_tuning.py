"""Choose the settings of the methods that `small_requests.py` compares, on other requests than it reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from small_methods import candidates

from unregress import Method
from unregress.metrics.predictions import Values

if TYPE_CHECKING:
    from small_problems import Rows
    from small_requests import Measurement

ALIKE = 0.02
"""Settings whose score is above the best one by this share or less are alike, and the cheapest of them is taken."""


def tune(measurement: Measurement) -> tuple[dict[str, Method], dict[str, list[float]]]:
    """The best of each method's settings, and the scores of all."""
    found, scores = dict[str, Method](), dict[str, list[float]]()
    for name, settings in settings_of(measurement).items():
        found[name], scores[name] = best(measurement, settings)
        print(measurement.name, "tuned", name, [f"{score:.2f}" for score in scores[name]], flush=True)
    return found, scores


def settings_of(measurement: Measurement) -> dict[str, list[Method]]:
    """The settings of each method that are tried."""
    problem = measurement.problem
    return candidates(problem.recipe, measurement.teaching, min(map(len, problem.tuning.values())))


def best(measurement: Measurement, settings: Sequence[Method]) -> tuple[Method, list[float]]:
    """The best of some settings on the requests for tuning, the cheapest of those about as good; and all scores."""
    tried = [[_score(measurement, each, rows) for rows in measurement.problem.tuning.values()] for each in settings]
    scores = [float(np.mean([score for score, _ in each])) for each in tried]
    good = [place for place, score in enumerate(scores) if score <= (1 + ALIKE) * np.nanmin(scores)]
    return settings[min(good, key=lambda place: sum(passes for _, passes in tried[place]))], scores


def _score(measurement: Measurement, method: Method, rows: Rows) -> tuple[float, int]:
    """Distance from coupled golds in floors, with ten times the relative damage on new samples; and sample passes."""
    try:
        made = measurement.unlearned(method, rows)
    except Exception as error:
        print(measurement.name, type(method).__name__, "failed:", error, flush=True)
        return float("inf"), 0
    golds = [gold.model for gold in measurement.trainings.coupled(rows)]
    places: list[Values] = [measurement.points(gold, rows) for gold in golds]
    floor = np.mean([np.abs(a - b).mean() for k, a in enumerate(places) for b in places[:k]])
    own = measurement.points(made.model, rows)
    distance = np.mean([np.abs(own - gold).mean() for gold in places]) / floor
    damage = measurement.test_error(made.model) / np.mean([measurement.test_error(gold) for gold in golds]) - 1
    return float(distance + 10 * max(0.0, float(damage))), made.cost.passes
