"""The anamnesis index: its arithmetic by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import pytest

import unregress
from support.hand_panels import panel as panel_of
from unregress.errors import SettingError
from unregress.evidence import Measurement, Role
from unregress.metrics import Anamnesis
from unregress.metrics.anamnesis import interval, measures, middle, ratio, stated
from unregress.metrics.base import Panel
from unregress.metrics.relearning import Relearning
from unregress.metrics.relearning_curves import median_curve, relearning_figure


def run(steps: int, *, reached: bool = True) -> Relearning:
    return Relearning(losses=tuple(float(loss) for loss in range(steps + 1, 0, -1)), reached=reached)


def runs(*steps: int) -> list[Relearning]:
    """One relearning per shuffle; a negative number of steps was cut off there."""
    return [run(abs(count), reached=count >= 0) for count in steps]


def panel(*names: str) -> Panel:
    """A panel of which those called gold… are golds."""

    def role(name: str) -> Role:
        return "gold" if name.startswith("gold") else "original" if name == "original" else "unlearned"

    asked = panel_of({name: {} for name in names})
    return replace(asked, subjects=tuple(replace(subject, role=role(subject.name)) for subject in asked.subjects))


def found(relearned: Mapping[str, Sequence[Relearning]], metric: str = "ain") -> dict[str, Measurement]:
    made = measures(panel(*relearned), relearned, "validation-forget")
    return {measure.model: measure for measure in made if measure.metric == metric}


@pytest.mark.parametrize(
    ("model", "gold", "span"),
    [
        ((2, 2), (4, 4), (0.5, 0.5)),
        ((8, 8), (4, 4), (2, 2)),
        ((0, 0), (4, 4), (0, 0)),
        # The model was cut off at 10: it needs 10 steps or more, gold 4.
        ((10, inf), (4, 4), (2.5, inf)),
        # Gold was cut off at 10: the share is anything up to 5/10.
        ((5, 5), (10, inf), (0, 0.5)),
        ((0, 0), (10, inf), (0, 0)),
        ((10, inf), (10, inf), (0, inf)),
        # Gold diverged at once: it needs some steps, however many.
        ((3, 3), (0, inf), (0, inf)),
        ((3, 3), (0, 0), None),
        ((0, 0), (0, 0), None),
        ((10, inf), (0, 0), None),
    ],
)
def test_ratio_by_hand(model: Any, gold: Any, span: Any) -> None:
    assert ratio(model, gold) == span


@pytest.mark.parametrize(
    ("spans", "span", "said"),
    [
        ([(3, 3)], (3, 3), (3, "=")),
        ([(3, 3), (5, 5), (8, inf)], (5, 5), (5, "=")),
        ([(3, 3), (8, inf), (8, inf)], (8, inf), (8, ">=")),
        ([(5, 5), (8, inf)], (6.5, inf), (6.5, ">=")),
        ([(0, 0.5), (0, 0.7), (0.9, 0.9)], (0, 0.7), (0.7, "<=")),
        ([(0, inf), (0, 0), (0, inf)], (0, inf), (None, "=")),
        ([(0, 0), (0, 0), (0, inf)], (0, 0), (0, "=")),
    ],
)
def test_the_median_of_numbers_that_were_cut_off(spans: Any, span: Any, said: Any) -> None:
    assert middle(spans) == span
    assert stated(span) == said


def test_the_interval_of_the_median_leaves_out_what_95_percent_allow() -> None:
    """Of nine, the median is below the second with probability (1 + 9) / 512 = 2 %, below the third with 9 %."""
    exact = [(float(n), float(n)) for n in (5, 1, 9, 3, 7, 2, 8, 4, 6)]
    assert interval(exact) == (2, 8)
    assert interval(exact[:5]) == (1, 9)
    assert interval(exact[:1]) is None
    # With the two largest cut off, the second largest is not known.
    assert interval([(low, inf if low > 7 else high) for low, high in exact]) == (2, inf)
    assert interval([(low, inf if low > 8 else high) for low, high in exact]) == (2, 8)


def test_median_over_shuffles_with_one_cut_off() -> None:
    """2/4, 3/4 and 10/4 or more: the median is 3/4, whatever the last one is; the range has no end."""
    index = found({"gold": runs(4, 4, 4), "model": runs(2, 3, -10)})["model"]
    assert (index.value, index.bound, index.interval, index.note) == (0.75, "=", None, "cut off in 1 of 3 shuffles")
    steps = found({"gold": runs(4, 4, 4), "model": runs(2, 3, -10)}, "relearn-steps")["model"]
    assert (steps.value, steps.bound, steps.interval, steps.note) == (3, "=", None, "cut off in 1 of 3 shuffles")


@pytest.mark.parametrize(
    ("gold", "model", "value", "bound", "within"),
    [
        ((4, 8, 5, 4, 4), (2, 2, 10, 2, 2), 0.5, "=", (0.25, 2)),
        ((4, 8, 5), (2, 2, 10), 0.5, "=", None),  # shuffle by shuffle: 1/2, 1/4, 2; not 2/5, median by median
        ((4, 4, 4), (2, -10, -10), 2.5, ">=", None),
        ((4, -10, -10), (2, 2, 2), 0.2, "<=", None),
        ((-10, -10, -10), (-10, -10, -10), None, "=", None),
        ((-10, -10, -10), (0, 0, 0), 0, "=", None),
        ((0, 0, 0), (2, 2, 2), None, "=", None),
        # 4/10, 5/10 or less, 6/6: between 0.4 and 0.5.
        ((10, -10, 6), (4, 5, 6), 0.5, "<=", None),
    ],
)
def test_censoring_by_hand(gold: Any, model: Any, value: float | None, bound: str, within: Any) -> None:
    index = found({"gold": runs(*gold), "model": runs(*model)})["model"]
    assert (index.value, index.bound, index.interval) == (value, bound, within)
    assert bool(index.note) == (value is None or bound == "<=" or bound == ">=" or -10 in (*gold, *model))


def test_notes_say_who_was_cut_off() -> None:
    notes = {
        "at least 0.4; the retrained models' median was cut off in 1 of 3 shuffles": ((10, -10, 6), (4, 5, 6)),
        "cut off in 2 of 3 shuffles": ((4, 4, 4), (2, -10, -10)),
        "cut off in 1 of 1 shuffles; the retrained models' median was cut off in 1 of 1 shuffles": ((-9,), (-9,)),
        "the retrained models are within the margin without relearning: nothing to relearn": ((0,), (3,)),
    }
    for note, (gold, model) in notes.items():
        assert found({"gold": runs(*gold), "model": runs(*model)})["model"].note == note


def test_the_reference_is_the_median_of_the_golds_and_for_a_gold_of_the_others() -> None:
    """Shuffle by shuffle.  Golds 4, 6, 9 and 5, 8, 6: the model has 3/6 and 12/6; the first gold 4/7.5 and 5/7."""
    index = found({"gold": runs(4, 5), "gold 2": runs(6, 8), "gold 3": runs(9, 6), "model": runs(3, 12)})
    assert index["model"].value == pytest.approx((3 / 6 + 12 / 6) / 2)
    assert index["gold"].value == pytest.approx((4 / 7.5 + 5 / 7) / 2)
    assert index["gold 2"].value == pytest.approx((6 / 6.5 + 8 / 5.5) / 2)
    assert index["gold 3"].value == pytest.approx((9 / 5 + 6 / 6.5) / 2)


def test_a_gold_that_was_cut_off_need_not_matter_to_the_others_median() -> None:
    index = found({"gold": runs(4), "gold 2": runs(6), "gold 3": runs(-10), "model": runs(3)})
    assert (index["model"].value, index["model"].bound) == (0.5, "=")
    # Without the first, the median of 6 and 10 or more is 8 or more; of 4 and 10 or more, 7 or more.
    assert (index["gold"].value, index["gold"].bound) == (0.5, "<=")
    assert (index["gold 2"].value, index["gold 2"].bound) == (6 / 7, "<=")
    assert (index["gold 3"].value, index["gold 3"].bound) == (2, ">=")


def test_rank_among_golds_where_nothing_was_cut_off() -> None:
    """Three golds: a model farther than each of them is one of four, p = 1/4; one in their middle is as near as any."""
    golds = {"gold": runs(4, 4, 4), "gold 2": runs(5, 5, 5), "gold 3": runs(6, 6, 6)}
    for metric in ("ain", "relearn-steps"):
        ranks = {
            name: measure.p
            for name, measure in found({**golds, "far": runs(50, 50, 50), "near": runs(5, 5, 5)}, metric).items()
        }
        assert ranks == {"gold": None, "gold 2": None, "gold 3": None, "far": 0.25, "near": 1}
        cut = found({**golds, "model": runs(9, -9, -9)}, metric)["model"]
        assert (cut.p, cut.bound) == (None, ">=")
        unsure = found({**golds, "gold 3": runs(-9, -9, 6), "model": runs(50, 50, 50)}, metric)["model"]
        assert unsure.p is None


def test_one_gold_has_no_index_and_without_golds_nothing_has() -> None:
    one = {"original": runs(0, 0), "gold": runs(4, 4), "model": runs(2, 2)}
    assert set(found(one)) == {"original", "model"}
    assert set(found(one, "relearn-steps")) == {"original", "gold", "model"}
    none = {"original": runs(0, 0), "model": runs(2, 2)}
    assert found(none) == {}
    assert {name: m.value for name, m in found(none, "relearn-steps").items()} == {"original": 0, "model": 2}


def test_steps_are_counted_from_zero() -> None:
    assert Relearning(losses=(3.0,), reached=True).steps == 0
    assert Relearning(losses=(3.0, 2.0, 1.0), reached=False).span == (2, inf)


def test_median_curve_by_hand() -> None:
    """Two of three runs have ended after 3 steps.  Until then the one that ended first counts as at its last loss."""
    first = Relearning((3.0, 2.0, 1.0), True)
    second = Relearning((3.0, 2.5, 2.0, 0.9), True)
    third = Relearning((4.0, 3.5, 3.0, 2.5, 2.0), False)
    curve = median_curve("model", [first, second, third])
    assert curve.x == (0, 1, 2, 3)
    assert curve.y == (3, 2.5, 2, 1)
    # Ran away after one step: above all others.
    lost = Relearning((3.5, 9.0), False)
    assert median_curve("model", [first, lost, third]).y == (3.5, 3.5, 3)
    assert median_curve("model", [lost]).y == (3.5, 9)
    assert median_curve("model", [lost, lost, third, third]).y == (3.75, 6.25)


def test_golds_share_a_curve() -> None:
    relearned = {"original": runs(0), "gold": runs(2), "gold 2": runs(4), "gold 3": runs(3), "model": runs(1)}
    drawn = relearning_figure(panel(*relearned), relearned, 1.0)
    assert [curve.model for curve in drawn.curves] == ["original", "gold", "model"]
    # Losses fall by 1 a step from 3, 5 and 4 to 1.
    assert drawn.curves[1].y == (4, 3, 2, 1)
    assert drawn.threshold == 1
    assert [curve.y for curve in relearning_figure(panel("original"), {"original": runs(0)}, 1.0).curves] == [(1,)]


@pytest.mark.parametrize("options", [{"alpha": -0.01}, {"recipe": unregress.Recipe(epochs=0)}, {"shuffles": 0}])
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="Anamnesis"):
        Anamnesis(**options)


def test_medians_of_endless_values_warn_of_nothing() -> None:
    with np.errstate(all="raise"):
        assert median_curve("model", [Relearning((1.0,), False), Relearning((1.0, 1.0), False)]).y == (1,)
