"""Paired deviations: by hand, zero targets, misaligned predictions, and the figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from support.hand_panels import measures, panel, seen, values
from unregress.errors import DataError
from unregress.evidence import Figure
from unregress.metrics import Deviation
from unregress.metrics.base import Panel
from unregress.metrics.density import density
from unregress.metrics.deviation import absolute_deviation, relative_deviation
from unregress.metrics.predictions import Predictions

TARGET = [10.0, 0.0, -4.0]
GOLD = seen([10.0, 1.0, 2.0], TARGET)
MODEL = seen([15.0, 3.0, 1.0], TARGET)  # differences 5, 2, 1
METRICS = ("paired", "relative-deviation", "relative-deviation-90")


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


def forgotten(**models: Predictions) -> Panel:
    """A panel of models' predictions on the forgotten samples; `gold_2` is called `gold 2`."""
    return panel({name.replace("_", " "): {"train-forget": seen_by} for name, seen_by in models.items()})


def test_measures_by_hand() -> None:
    asked = forgotten(original=MODEL, gold=GOLD)
    found = values(Deviation(), asked)
    assert found == {
        ("paired", "train-forget", "original"): pytest.approx(8 / 3),
        ("relative-deviation", "train-forget", "original"): pytest.approx(0.375),
        ("relative-deviation-90", "train-forget", "original"): pytest.approx(0.475),
    }
    notes = {measure.note for key, measure in measures(Deviation(), asked).items() if "relative" in key[0]}
    assert notes == {"1 samples with target 0 left out"}


def test_distances_are_means_over_the_golds_and_a_golds_over_the_others() -> None:
    """The second gold is the first one plus 2, 0, 1: it is 1 from it, and 3, 2, 2 or 7/3 from the model."""
    found = values(Deviation(), forgotten(original=MODEL, gold=GOLD, gold_2=seen([12.0, 1.0, 3.0], TARGET)))
    paired = {model: value for (metric, _, model), value in found.items() if metric == "paired"}
    assert paired == {"original": pytest.approx((8 / 3 + 7 / 3) / 2), "gold": 1, "gold 2": 1}
    # Relative: 5/10 and 1/4 to the first gold, 3/10 and 2/4 to the second: medians 0.375 and 0.4.
    assert found[("relative-deviation", "train-forget", "original")] == pytest.approx((0.375 + 0.4) / 2)


def test_each_distance_is_ranked_among_the_golds() -> None:
    """Golds are 0, 1, 2 off the first one everywhere: the model at the middle one is as near as any, p = 1."""
    golds = {f"gold_{n}": seen(GOLD.prediction + n, TARGET) for n in range(3)}
    far, middle = seen(GOLD.prediction + 9, TARGET), seen(GOLD.prediction + 1, TARGET)
    found = measures(Deviation(), forgotten(original=far, model=middle, **golds))
    assert {found[(metric, "train-forget", "original")].p for metric in METRICS} == {1 / 4}
    assert found[("paired", "train-forget", "model")].p == 1
    assert {measure.p for (*_, model), measure in found.items() if model.startswith("gold")} == {None}


def test_without_golds_there_is_nothing_and_with_one_neither_its_own_value_nor_a_rank() -> None:
    assert list(Deviation().measure(forgotten(original=MODEL, model=GOLD))) == []
    found = measures(Deviation(), forgotten(original=MODEL, gold=GOLD))
    assert {model for *_, model in found} == {"original"}
    assert {measure.p for measure in found.values()} == {None}


def test_only_zero_targets_leave_no_relative_value() -> None:
    gold, model = seen([1.0, 2.0], [0.0, 0.0]), seen([2.0, 4.0], [0.0, 0.0])
    assert values(Deviation(), forgotten(original=model, gold=gold)) == {("paired", "train-forget", "original"): 1.5}


def test_change_of_units_scales_absolute_and_not_relative() -> None:
    second = seen([12.0, 1.0, 3.0], TARGET)
    small, large = (
        values(
            Deviation(),
            forgotten(
                **{
                    name: seen(unit * own.prediction, unit * own.target)
                    for name, own in {"original": MODEL, "gold": GOLD, "gold_2": second}.items()
                }
            ),
        )
        for unit in (1, 10)
    )
    assert large.keys() == small.keys()
    for key, value in small.items():
        assert large[key] == pytest.approx((10 if key[0] == "paired" else 1) * value)  # type: ignore[operator]


def test_the_first_part_that_is_kept_is_paired_too() -> None:
    """Nothing was forgotten there: a model that moved on it has lost more than it was asked to."""
    by_part = {"train-forget": GOLD, "test-retain": seen([1.0, 2.0])}
    found = values(
        Deviation(),
        panel({"original": {"train-forget": GOLD, "test-retain": seen([4.0, 2.0])}, "gold": by_part}),
    )
    assert found[("paired", "test-retain", "original")] == 1.5
    assert ("relative-deviation", "test-retain", "original") not in found


def test_figures_have_every_network_golds_as_one_and_no_constant() -> None:
    rng = np.random.default_rng(0)
    drawn = {name: seen(rng.normal(50, 10, 40), np.full(40, 50.0)) for name in ("original", "gold", "a", "gold_2")}
    asked = forgotten(**drawn, constant=seen(np.full(40, 50.0), np.full(40, 50.0)))
    figures = {found.key: found for found in Deviation().measure(asked) if isinstance(found, Figure)}
    assert set(figures) == {"relative-deviation-density", "absolute-deviation-density"}
    for figure in figures.values():
        assert [curve.model for curve in figure.curves] == ["original", "gold", "a"]
        assert all(len(curve.x) == len(curve.y) and min(curve.x) == 0 for curve in figure.curves)
    (floor,) = [curve for curve in figures["absolute-deviation-density"].curves if curve.model == "gold"]
    between = absolute_deviation(drawn["gold"], drawn["gold_2"])
    assert floor.y == pytest.approx(density(np.tile(between, 2), np.array(floor.x), at_least_zero=True))


def test_a_single_gold_has_no_others_to_deviate_from() -> None:
    curves = [
        curve
        for found in Deviation().measure(forgotten(original=MODEL, gold=GOLD))
        if isinstance(found, Figure)
        for curve in found.curves
    ]
    assert {curve.model for curve in curves if curve.y} == {"original"}
