"""Windows are found by time range: those that have a moment in common with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from unregress import Splits
from unregress.data.conditions import during, matching, meeting, touching
from unregress.errors import RequestError

WINDOWS: dict[str, Sequence[Any]] = {"first": [0, 3, 6], "last": [4, 7, 10], "client": ["a", "b", "b"]}
TIMES: dict[str, Any] = {"start": "first", "end": "last", "from": 4, "to": 5}


@given(
    starts=st.lists(st.integers(0, 30), min_size=1),
    width=st.integers(0, 8),
    first=st.integers(0, 38),
    last=st.integers(0, 38),
)
def test_a_window_is_touched_if_it_shares_a_moment(starts: list[int], width: int, first: int, last: int) -> None:
    ends = [start + width for start in starts]
    times = {"start": "first", "end": "last", "from": first, "to": last}
    if first > last or last < min(starts) or first > max(ends):
        with pytest.raises(RequestError):
            during({"first": starts, "last": ends}, times)
        return
    shared = [bool(set(range(start, start + width + 1)) & set(range(first, last + 1))) for start in starts]
    assert during({"first": starts, "last": ends}, times).tolist() == shared


def test_of_one_client_only() -> None:
    assert during(WINDOWS, TIMES).tolist() == [True, True, False]
    assert during(WINDOWS, {**TIMES, "where": {"client": "b"}}).tolist() == [False, True, False]


@pytest.mark.parametrize(
    "change", [{"until": 3}, {"start": "begin"}, {"from": "4"}, {"from": 20, "to": 30}, {"where": {"client": "c"}}]
)
def test_ranges_without_sense_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        during(WINDOWS, {**TIMES, **change})


def test_a_range_outside_states_the_range_of_the_clients_series() -> None:
    with pytest.raises(RequestError) as caught:
        during(WINDOWS, {**TIMES, "from": 0, "to": 2, "where": {"client": "b"}})
    assert "from 3 to 10" in str(caught.value.expected)


def test_held_out_samples_that_meet_the_conditions_are_named_too() -> None:
    x = torch.zeros(4, 1)
    data = Splits(
        train=TensorDataset(x, x), validation=TensorDataset(x, x), test=TensorDataset(x, x),
        columns={"start": [0, 1, 2, 3]}, validation_columns={"start": [2, 9, 9, 2]},
        test_columns={"start": [9, 9, 9, 9]},
    )  # fmt: skip
    request = meeting(data, partial(matching, where={"start": {"max": 2, "min": 2}}), reason="test")
    assert (request.forget, request.validation, request.test) == ((2,), (0, 3), ())
    times = {"start": "start", "end": "start", "from": 1, "to": 2}
    request = meeting(data, partial(during, times=times), reason="test")
    assert (request.forget, request.validation, request.test) == ((1, 2), (0, 3), ())


HOURS = pd.date_range("2026-01-30 12:00", periods=5, freq="12h")  # noon of the 30th to noon of the 1st


@pytest.mark.parametrize(
    "hours",
    [
        list(HOURS),
        HOURS.to_pydatetime().tolist(),
        HOURS.to_numpy(),
        HOURS.to_numpy().astype("datetime64[h]"),
        [each.replace(tzinfo=UTC) for each in HOURS.to_pydatetime()],
    ],
    ids=["pandas", "datetime", "numpy", "numpy hours", "with a zone"],
)
def test_limits_of_times_are_text_too(hours: Sequence[Any]) -> None:
    asked = {"start": "hour", "end": "hour", "to": "2026-01-31"}
    # A day is included as a whole; a day with an hour ends there.
    assert during({"hour": hours}, {**asked, "from": "2026-01-31"}).tolist() == [False, True, True, False, False]
    early = {**asked, "from": "2026-01-31", "to": "2026-01-31 11:00"}
    assert during({"hour": hours}, early).tolist() == [False, True, False, False, False]
    assert matching({"hour": hours}, {"hour": {"min": "2026-01-31T12:00"}}).tolist() == [False, False, True, True, True]
    # YAML reads a date as one.
    assert matching({"hour": hours}, {"hour": {"max": date(2026, 1, 31)}}).tolist() == [True, True, True, False, False]
    with pytest.raises(RequestError) as caught:
        during({"hour": hours}, {**asked, "from": "in January"})
    assert "'in January'" in caught.value.found


def test_limits_of_days() -> None:
    days = [date(2026, 1, 30), date(2026, 1, 31)]
    for limit in ("2026-01-31", date(2026, 1, 31), datetime(2026, 1, 31, 5)):
        assert matching({"day": days}, {"day": {"min": limit}}).tolist() == [False, True]


def test_a_data_frame_is_read_by_position() -> None:
    table = pd.DataFrame({"first": [0, 3, 6], "last": [4, 7, 10]}, index=[2, 0, 1])
    x = torch.zeros(3, 1)
    for columns in (table, {"first": table["first"], "last": table["last"]}):
        data = Splits(train=TensorDataset(x, x), columns=columns, test=TensorDataset(x, x), test_columns=columns)
        asked = {"start": "first", "end": "last", "from": 8, "to": 9}
        assert during(data.columns, asked).tolist() == during(data.test_columns, asked).tolist() == [False, False, True]
    kept = Splits(train=TensorDataset(x, x), columns={"first": np.arange(3)}).columns["first"]
    assert isinstance(kept, np.ndarray)


GAPS: dict[str, Sequence[Any]] = {
    "first": [0.0, 3.0, 6.0, 9.0],
    "last": [4.0, float("nan"), 10.0, 13.0],
    "city": ["Bern", "Basel", None, "Bern"],
}


@pytest.mark.parametrize("gap", [float("nan"), pd.NaT, None, pd.NA, np.datetime64("NaT"), "", " "])
def test_a_window_without_a_moment_is_not_missed_in_silence(gap: Any) -> None:
    """The window that begins at 3 may touch the stretch; the one that begins at 9 does not, whenever it ends."""
    columns = {**GAPS, "last": [4.0, gap, 10.0, gap]}
    with pytest.raises(RequestError) as caught:
        during(columns, {**TIMES, "from": 4, "to": 7})
    assert caught.value.found.startswith("1 of 4 windows have no 'last'")
    notes: list[str] = []
    asked = {**TIMES, "from": 4, "to": 7}
    assert during(columns, asked, missing="report", notes=notes).tolist() == [True, False, True, False]
    assert len(notes) == 1 and notes[0].startswith("1 of 4 windows have no 'last'")
    # Where it does not matter, nothing is said.
    assert during({**columns, "first": [0, 8, 6, 9]}, asked).tolist() == [True, False, True, False]
    with pytest.raises(RequestError, match="1 of 3 windows"):
        touching([0, 3, 6], [4, gap, 10], 4, 7)


def test_times_with_gaps() -> None:
    for zone in (None, UTC):
        hours = [pd.NaT, *(each.replace(tzinfo=zone) for each in HOURS)]
        asked = {"start": "hour", "end": "hour", "from": "2026-01-31", "to": "2026-01-31"}
        with pytest.raises(RequestError, match="1 of 6 windows have no 'hour'"):
            during({"hour": hours}, asked)
        assert during({"hour": hours}, asked, missing="report").sum() == 2
        with pytest.raises(RequestError, match="1 of 6 samples have no 'hour'"):
            matching({"hour": hours}, {"hour": {"min": "2026-01-31"}})


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"last": {"max": 10}}, "1 of 4 samples have no 'last'"),
        ({"city": "Basel"}, "1 of 4 samples have no 'city'"),
        ({"city": ["Basel", "Bern"]}, "1 of 4 samples have no 'city'"),
        ({"city": "Basel", "last": {"max": 10}}, "2 of 4 samples have no 'city' or 'last'"),
    ],
)
def test_a_sample_without_a_value_is_not_missed_in_silence(where: dict[str, Any], found: str) -> None:
    with pytest.raises(RequestError) as caught:
        matching(GAPS, where)
    assert caught.value.found.startswith(found)


def test_what_other_conditions_rule_out_or_ask_for_is_no_gap() -> None:
    assert matching(GAPS, {"city": "Bern", "last": {"max": 10}}, missing="report").tolist() == [
        True,
        False,
        False,
        False,
    ]
    assert matching(GAPS, {"first": {"min": 9}, "last": {"min": 4}}).tolist() == [False, False, False, True]
    assert matching(GAPS, {"city": None}).tolist() == [False, False, True, False]
    assert matching(GAPS, {"city": ["Basel", None]}).tolist() == [False, True, True, False]
    assert matching({"city": ["", "Basel"]}, {"city": ""}).tolist() == [True, False]


def test_held_out_samples_without_a_value_are_not_missed_in_silence() -> None:
    x = torch.zeros(4, 1)
    data = Splits(
        train=TensorDataset(x, x), validation=TensorDataset(x, x), test=TensorDataset(x, x),
        columns={"start": [0, 1, 2, 3]}, test_columns={"start": [2, None, 9, 9]},
    )  # fmt: skip
    with pytest.raises(RequestError, match="1 of 4 test samples have no 'start'"):
        meeting(data, partial(matching, where={"start": 2}), reason="test")
    notes: list[str] = []
    find = partial(matching, where={"start": 2}, missing="report", notes=notes)
    request = meeting(data, find, reason="test", notes=notes)
    assert (request.forget, request.validation, request.test) == ((2,), (), (0,))
    assert [note.split(":")[0] for note in notes] == [
        "Which validation samples the request is about is unknown",
        "1 of 4 test samples have no 'start'",
    ]


def test_windows_that_end_before_they_begin_are_refused() -> None:
    with pytest.raises(RequestError, match="3 of 3 windows end before they begin"):
        during(WINDOWS, {**TIMES, "start": "last", "end": "first"})


@pytest.mark.parametrize(("limits", "said"), [((4, 5), 0), ((0, 10), 0), ((4, 11), 1), ((-1, 5), 1)])
def test_a_stretch_partly_outside_of_the_series_is_noted(limits: tuple[int, int], said: int) -> None:
    for part, expected in (("training", said), ("test", 0)):
        notes: list[str] = []
        during(WINDOWS, {**TIMES, "from": limits[0], "to": limits[1]}, part=part, notes=notes)
        assert len(notes) == expected
    # A day as the end reaches to midnight, and the series' last hour is no later.
    notes = []
    during({"hour": HOURS}, {"start": "hour", "end": "hour", "from": "2026-01-31", "to": "2026-02-01"}, notes=notes)
    assert notes == []


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"city": "basel"}, "one of 'Basel', 'Bern'"),
        ({"city": ["Chur", "Zug"]}, "one of 'Basel', 'Bern'"),
        ({"year": "2014"}, "one of 2014, 2016"),
        ({"year": {"min": 2020}}, "limits that meet the column's values, which go from 2014 to 2016"),
        ({"name": "eva"}, "one of its 4 values, of type str"),
        ({"city": "Basel", "year": 2016}, "conditions that some samples meet together"),
    ],
)
def test_conditions_that_nothing_meets_name_the_column_and_its_values(where: dict[str, Any], expected: str) -> None:
    columns = {"city": ["Basel", "Basel", "Bern", "Bern"], "year": [2014, 2014, 2016, 2016], "name": list("abcd")}
    with pytest.raises(RequestError) as caught:
        matching(columns, where)
    assert next(iter(where)) in caught.value.found and caught.value.expected == expected


def test_limits_that_are_missing_are_refused() -> None:
    with pytest.raises(RequestError):
        matching(WINDOWS, {"first": {"min": float("nan")}})
    with pytest.raises(RequestError):
        during(WINDOWS, {**TIMES, "to": float("nan")})
