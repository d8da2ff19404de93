"""The coupling by hand: distances of planted predictions."""

from __future__ import annotations

import numpy as np
import pytest

from support.small_cases import CPU
from unregress.evidence import Measurement, Part, Role
from unregress.evidence.coupling import coupling, strength
from unregress.metrics.base import Panel, Subject
from unregress.metrics.coupling import Coupling
from unregress.metrics.predictions import Predictions, Values

NAMES: dict[str, Role] = {"original": "original", "a": "gold", "b": "gold", "far": "gold", "other": "reference"}
PLANTED = {
    "original": ([1.0, 2.0], [3.0, 4.0]),
    "a": ([1.5, 2.0], [3.0, 4.5]),  # 0.25 from the original
    "b": ([1.0, 1.0], [1.0, 4.0]),  # 0.75
    "far": ([2.0, 4.0], [4.0, 4.0]),  # 1
    "other": ([1.0, 5.0], [0.0, 4.0]),  # 1.5
}
"""Predictions of two test samples of the kept kind and two of the forgotten kind."""


def seen(values: Values) -> Predictions:
    zero = np.zeros_like(values)
    return Predictions(index=np.arange(len(values)), prediction=values, target=zero, loss=np.zeros(len(values)))


def panel(shape: tuple[int, ...] = (), parts: tuple[Part, ...] = ("test-retain", "test-forget"), scale: float = 1.0
          ) -> Panel:  # fmt: skip
    subjects = []
    for name, values in PLANTED.items():
        own = [scale * np.broadcast_to(np.reshape(each, (-1, *(1 for _ in shape))), (2, *shape)) for each in values]
        held_out = dict(zip(parts, map(seen, own), strict=False))
        forgotten = {"train-forget": seen(np.full((3, *shape), 100.0 * len(name)))}
        subjects.append(Subject(name=name, role=NAMES[name], model=None, parts={**forgotten, **held_out}))
    return Panel(case=None, runtime=CPU, subjects=tuple(subjects), validation_forget_like=np.zeros(0, np.int64))


def measured(metric: Coupling, found: Panel) -> dict[str, Measurement]:
    rows = [each for each in metric.measure(found) if isinstance(each, Measurement)]
    assert {row.split for row in rows} <= {"test"} and {row.metric for row in rows} <= {"coupling", "coupling-golds"}
    return {row.model + row.metric.removeprefix("coupling"): row for row in rows}


@pytest.mark.parametrize("shape", [(), (1,), (3, 2)])
@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_each_gold_has_its_distance_in_distances_of_other_starts(shape: tuple[int, ...], scale: float) -> None:
    found = measured(Coupling(("a", "b"), ("far", "other")), panel(shape, scale=scale))
    assert {name: row.value for name, row in found.items()} == {
        "a": pytest.approx(0.25 / 1.25),
        "b": pytest.approx(0.75 / 1.25),
        # The two are (.5 + 1 + 2 + .5) / 4 apart; a is (.5 + 2 + 1 + .5 + .5 + 3 + 3 + .5) / 8 from the others, and b
        # (1 + 3 + 3 + 0 + 0 + 4 + 1 + 0) / 8.
        "a-golds": pytest.approx(1 / 1.375),
        "b-golds": pytest.approx(1 / 1.5),
    }
    # Together: mean |same - original| / mean |other - original|.
    values = {name: np.concatenate([np.ravel(part) for part in parts]) for name, parts in PLANTED.items()}
    together = coupling([values["a"], values["b"]], [values["far"], values["other"]], values["original"])
    assert together == pytest.approx(0.5 / 1.25) == pytest.approx((0.25 + 0.75) / 2 / 1.25)


def test_test_samples_of_one_kind_are_enough() -> None:
    found = measured(Coupling(("b",), ("far",)), panel(parts=("test-retain",)))
    assert found["b"].value == pytest.approx(0.5 / 1.5)


def test_without_anything_to_compare_with_there_is_no_value() -> None:
    cases = {
        "no retrained model with other initial weights": (Coupling(("a",), ()), panel()),
        "no test samples": (Coupling(("a",), ("far",)), panel(parts=())),
        "distance between models is 0": (Coupling(("a",), ("original",)), panel()),
    }
    for note, (metric, models) in cases.items():
        assert measured(metric, models)["a"].value is None and note in measured(metric, models)["a"].note
    assert coupling([np.array([1e308])], [np.array([1.0])], np.array([-1e308])) is None


def test_strength_has_three_words() -> None:
    assert [strength(value) for value in (0.0, 0.299, 0.3, 0.5, 0.7, 0.701, 1.4)] == [
        "strong", "strong", "moderate", "moderate", "moderate", "weak", "weak"
    ]  # fmt: skip
