"""The helpers by which metrics compare every model with the golds: values by hand, and what has no value."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from support.hand_panels import panel, seen
from unregress.evidence import Unit
from unregress.evidence.noise_floor import mean_confidence_interval, rank_test
from unregress.metrics.base import Panel, distance_measurements, measured, value_measurements, without_value

NUMBERS = {"original": 9.0, "mine": 2.0, "gold": 0.0, "gold 2": 1.0, "gold 3": 5.0}


@pytest.fixture
def asked() -> Panel:
    return panel({name: {"train-forget": seen([1.0, 2.0])} for name in NUMBERS})


def apart(first: float, second: float) -> float:
    return abs(first - second)


def test_distances_by_hand(asked: Panel) -> None:
    """`mine` is 2, 1 and 3 from the golds; each gold's distance is to the other two."""
    found = {m.model: m for m in distance_measurements(asked, "d", "train-forget", NUMBERS, apart, note="by hand")}
    assert {name: m.value for name, m in found.items()} == {
        "original": (9 + 8 + 4) / 3,
        "mine": (2 + 1 + 3) / 3,
        "gold": (1 + 5) / 2,
        "gold 2": (1 + 4) / 2,
        "gold 3": (5 + 4) / 2,
    }
    assert {(m.metric, m.split, m.note) for m in found.values()} == {("d", "train-forget", "by hand")}
    between = np.array([[0.0, 1.0, 5.0], [1.0, 0.0, 4.0], [5.0, 4.0, 0.0]])
    toward = np.array([2.0, 1.0, 3.0])
    assert found["mine"].interval == mean_confidence_interval(toward)
    assert found["mine"].p == rank_test(between, toward) == 1.0
    assert found["original"].p == 1 / 4
    assert found["gold"].interval is None and found["gold"].p is None


def test_an_infinite_distance_is_a_row_without_value(asked: Panel) -> None:
    found = {m.model: m for m in distance_measurements(asked, "d", "train-forget", NUMBERS, lambda a, b: math.inf)}
    assert set(found) == set(NUMBERS) and all(m.value is None and m.interval is None for m in found.values())
    assert all("too large" in m.note for m in found.values())


def test_values_keep_their_order_and_are_ranked_among_the_golds(asked: Panel) -> None:
    values = {"mine": 2.0, "gold": 0.0, "original": math.nan, "gold 2": 1.0, "gold 3": 5.0}
    found = list(value_measurements(asked, "v", "test-retain", values))
    assert [m.model for m in found] == list(values) and {m.split for m in found} == {"test-retain"}
    assert found[0].value == 2.0 and found[0].p == 1.0
    assert found[1].p is None
    assert found[2].value is None and found[2].p is None and found[2].note


def test_rows_without_value() -> None:
    found = list(without_value(["a", "b"], "random", ["x", "y"], "why"))
    assert [(m.metric, m.model, m.value, m.note) for m in found] == [
        ("a", "x", None, "why"),
        ("a", "y", None, "why"),
        ("b", "x", None, "why"),
        ("b", "y", None, "why"),
    ]


def test_an_interval_without_an_end_is_left_out() -> None:
    found = measured(metric="m", split="train-forget", model="x", value=1.0, interval=(0.0, math.inf))
    assert found.value == 1.0 and found.interval is None


def test_several_outputs_are_in_units_of_their_spread(asked: Panel) -> None:
    assert asked.unit is Unit.TARGET and asked.unit == "target units"
    assert replace(asked, units=np.array([2.0, 3.0])).unit is Unit.TARGET_SPREAD
