"""Paired deviations: by hand, zero targets, misaligned predictions, and the figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metrics.by_hand import panel, seen, values
from unregress.errors import DataError
from unregress.evidence import Figure, Measure
from unregress.metrics import Deviation
from unregress.metrics.deviation import absolute_deviation, relative_deviation

TARGET = [10.0, 0.0, -4.0]
GOLD = seen([10.0, 1.0, 2.0], TARGET)
MODEL = seen([15.0, 3.0, 1.0], TARGET)  # differences 5, 2, 1


def test_absolute_by_hand_and_zero_to_itself() -> None:
    assert absolute_deviation(MODEL, GOLD).tolist() == [5, 2, 1]
    assert absolute_deviation(GOLD, MODEL).tolist() == [5, 2, 1]
    assert absolute_deviation(GOLD, GOLD).tolist() == [0, 0, 0]


def test_relative_by_hand_leaves_out_zero_targets() -> None:
    assert relative_deviation(MODEL, GOLD).tolist() == [0.5, 0.25]  # 5/10 and 1/|-4|


def test_several_outputs_side_by_side() -> None:
    gold = seen([[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [2.0, 4.0]])
    model = seen([[2.0, 2.0], [3.0, 0.0]], [[1.0, 0.0], [2.0, 4.0]])
    assert absolute_deviation(model, gold).tolist() == [1, 0, 0, 4]
    assert relative_deviation(model, gold).tolist() == [1, 0, 1]


@pytest.mark.parametrize("deviation", [absolute_deviation, relative_deviation])
@pytest.mark.parametrize(
    "other",
    [
        replace(MODEL, index=np.array([0, 1, 3])),
        MODEL.at(np.array([0, 1])),
    ],
    ids=["other samples", "fewer samples"],
)
def test_misaligned_predictions_are_refused(deviation: object, other: object) -> None:
    with pytest.raises(DataError, match="different samples"):
        deviation(other, GOLD)  # type: ignore[operator]


def test_measures_by_hand() -> None:
    asked = panel({"gold": {"train-forget": GOLD}, "model": {"train-forget": MODEL}})
    found = values(Deviation(), asked)
    assert found[("paired", "train-forget", "model")] == pytest.approx(8 / 3)
    assert found[("relative-deviation", "train-forget", "model")] == pytest.approx(0.375)
    assert found[("relative-deviation-90", "train-forget", "model")] == pytest.approx(0.475)
    assert {found[(metric, "train-forget", "gold")] for metric in ("paired", "relative-deviation")} == {0}
    notes = {m.note for m in Deviation().measure(asked) if isinstance(m, Measure) and "relative" in m.metric}
    assert notes == {"1 samples with target 0 left out"}


def test_only_zero_targets_leave_no_relative_value() -> None:
    gold, model = seen([1.0, 2.0], [0.0, 0.0]), seen([2.0, 4.0], [0.0, 0.0])
    found = values(Deviation(), panel({"gold": {"train-forget": gold}, "model": {"train-forget": model}}))
    assert found[("relative-deviation", "train-forget", "model")] is None
    assert found[("paired", "train-forget", "model")] == 1.5


def test_change_of_units_scales_absolute_and_not_relative() -> None:
    def ten_times(part: object) -> dict[str, object]:
        return {"train-forget": seen(10 * part.prediction, 10 * part.target)}  # type: ignore[attr-defined]

    small = values(Deviation(), panel({"gold": {"train-forget": GOLD}, "model": {"train-forget": MODEL}}))
    large = values(Deviation(), panel({"gold": ten_times(GOLD), "model": ten_times(MODEL)}))  # type: ignore[dict-item]
    assert large.keys() == small.keys()
    for (metric, split, model), value in small.items():
        scale = 10 if metric == "paired" else 1
        assert large[(metric, split, model)] == pytest.approx(scale * value)  # type: ignore[operator]


def test_figures_have_every_model_but_gold() -> None:
    rng = np.random.default_rng(0)
    gold, model, other = (seen(rng.normal(50, 10, 40), np.full(40, 50.0)) for _ in range(3))
    asked = panel({"gold": {"train-forget": gold}, "a": {"train-forget": model}, "b": {"train-forget": other}})
    figures = {found.key: found for found in Deviation().measure(asked) if isinstance(found, Figure)}
    assert set(figures) == {"relative-deviation-density", "absolute-deviation-density"}
    for figure in figures.values():
        assert [curve.model for curve in figure.curves] == ["a", "b"]
        assert all(len(curve.x) == len(curve.y) and min(curve.x) == 0 for curve in figure.curves)
