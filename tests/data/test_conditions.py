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
from unregress.data.conditions import during, matching, meeting
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
