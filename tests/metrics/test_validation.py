"""What a user's own metric may hand over: numbers of any library, and nothing that a report could not show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from support.hand_panels import panel, seen
from unregress.errors import DataError, SettingError
from unregress.evidence import Curve, Figure, Measurement, MetricInfo
from unregress.metrics import Metric
from unregress.metrics.base import Panel
from unregress.metrics.validation import validated_results

PANEL = panel({name: {"train-forget": seen([1.0, 2.0])} for name in ("original", "mine")})
GOOD = Measurement(metric="bias", split="train-forget", model="mine", value=1.0)
CURVE = Curve(model="mine", x=(0.0, 1.0), y=(2.0, 3.0))
FIGURE = Figure(key="f", title="t", caption="c", x_label="x", y_label="y", curves=(CURVE,))
NAN = float("nan")


class Own(Metric):
    """Hands over what it is given."""

    about = (MetricInfo(metric="bias", title="", meaning="", ideal="", unit="share", source=""),)

    def __init__(self, *found: Any) -> None:
        self.found = found

    def measure(self, panel: Panel) -> Iterator[Any]:
        for each in self.found:
            if isinstance(each, Exception):
                raise each
            yield each


def shown(*found: Any) -> list[Any]:
    return list(validated_results(Own(*found), PANEL))


@pytest.mark.parametrize(
    "number",
    [2, 2.0, np.float32(2), np.int64(2), np.array(2.0), torch.tensor(2.0), torch.tensor(2), torch.tensor(2.0).double()],
    ids=lambda number: str(type(number)),
)
def test_numbers_of_any_library_become_pythons(number: Any) -> None:
    (found,) = shown(replace(GOOD, value=number, p=number / 2, interval=(number, number)))
    assert found == replace(GOOD, value=2.0, p=1.0, interval=(2.0, 2.0))
    assert {type(each) for each in (found.value, found.p, *found.interval)} == {float}
    (figure,) = shown(replace(FIGURE, threshold=number, curves=[replace(CURVE, x=[number], y=[number])]))
    assert figure == replace(FIGURE, threshold=2.0, curves=(replace(CURVE, x=(2.0,), y=(2.0,)),))


def test_arrays_as_curves_become_numbers() -> None:
    (figure,) = shown(replace(FIGURE, curves=(replace(CURVE, x=np.arange(2), y=torch.arange(2)),)))
    assert figure.curves == (replace(CURVE, x=(0.0, 1.0), y=(0.0, 1.0)),)


NOT_NUMBERS = [NAN, float("inf"), np.float64("nan"), torch.tensor(NAN), "1", True, np.bool_(True), torch.ones(2), [1.0],
               10**400, 1 + 2j]  # fmt: skip


@pytest.mark.parametrize("number", NOT_NUMBERS, ids=repr)
@pytest.mark.parametrize("field", ["value", "p", "interval", "threshold", "x", "y"])
def test_what_is_no_number_is_refused_by_metric_and_field(field: str, number: Any) -> None:
    bad: Any = {
        "value": lambda: replace(GOOD, value=number),
        "p": lambda: replace(GOOD, p=number),
        "interval": lambda: replace(GOOD, interval=(number, 1.0)),
        "threshold": lambda: replace(FIGURE, threshold=number),
        "x": lambda: replace(FIGURE, curves=(replace(CURVE, x=(number, 1.0)),)),
        "y": lambda: replace(FIGURE, curves=(replace(CURVE, y=(number, 1.0)),)),
    }[field]
    with pytest.raises(SettingError) as refused:
        shown(bad())
    assert refused.value.found.startswith("`Own.measure`") and f" {field}=" in refused.value.found


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model": "yours"}, "model="),
        ({"model": None}, "model="),
        ({"split": "train_forget"}, "split="),
        ({"split": "Test Retain"}, "split="),
        ({"split": 3}, "split="),
        ({"note": None}, "note="),
        ({"bound": "<"}, "bound"),
        ({"p": 1.5}, "p="),
        ({"interval": (2.0, 1.0)}, "interval="),
        ({"interval": 2.0}, "interval="),
        ({"metric": "biass"}, "'biass'"),
    ],
)
def test_other_fields_are_refused_by_name(change: dict[str, Any], field: str) -> None:
    with pytest.raises(SettingError) as refused:
        shown(replace(GOOD, **change))
    assert "Own" in refused.value.found and field in refused.value.found


@pytest.mark.parametrize(
    "figure",
    [
        replace(FIGURE, title=None),
        replace(FIGURE, curves=None),
        replace(FIGURE, curves=("curve",)),
        replace(FIGURE, curves=(replace(CURVE, model="yours"),)),
        replace(FIGURE, curves=(replace(CURVE, x=(1.0,)),)),
        replace(FIGURE, curves=(replace(CURVE, y=None),)),
    ],
    ids=["title", "no curves", "text", "model", "lengths", "no y"],
)
def test_figures_that_cannot_be_drawn_are_refused(figure: Figure) -> None:
    with pytest.raises(SettingError, match=r"`Own\.measure` gives Figure 'f'"):
        shown(figure)


@pytest.mark.parametrize("split", ["", "another clinic", "train-forget", "validation-forget", "random"])
def test_data_of_the_users_own_may_have_any_name(split: str) -> None:
    assert shown(replace(GOOD, split=split)) == [replace(GOOD, split=split)]


def test_a_number_that_does_not_exist_is_none() -> None:
    missing = replace(GOOD, value=None, note="too few")
    assert shown(missing, FIGURE) == [missing, FIGURE]


def test_each_measure_is_given_once() -> None:
    with pytest.raises(SettingError, match="twice"):
        shown(GOOD, replace(GOOD, value=2.0))


def test_what_a_metric_raises_is_named() -> None:
    with pytest.raises(
        SettingError, match=r"`Own\.measure` raised KeyError: 'gone' \(.*test_validation\.py:\d+, in meas"
    ):
        shown(GOOD, KeyError("gone"))
    with pytest.raises(DataError):
        shown(DataError("no data"))
    with pytest.raises(SettingError, match=r"`Own\.measure` yields something of type float"):
        shown(1.0)
