"""What a data frame holds, whatever its types: times finer than Python's, single precision, nothing at all."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import nn

from unregress import Project, Recipe, Runtime, Splits
from unregress.data.listed import listed
from unregress.errors import DataError, RequestError

HOURS = pd.date_range("2026-01-30 12:00", periods=6, freq="12h")


def frame_of(**columns: Any) -> pd.DataFrame:
    numbers = np.arange(6.0)
    return pd.DataFrame({"x": numbers, "y": numbers, "part": ["train"] * 5 + ["test"], **columns})


def project_of(table: Any, **changes: Any) -> Project:
    names = {"features": ["x"], "target": "y", "split": "part", **changes}
    return Project.from_table(
        table, build_model=lambda: nn.Linear(1, 1), training=Recipe(epochs=1), runtime=Runtime(accelerator="cpu"),
        log=lambda _: None, **names,
    )  # fmt: skip


@pytest.mark.parametrize("unit", ["ns", "us", "ms", "s"])
def test_times_of_any_unit_are_times(unit: str) -> None:
    hours = HOURS.to_numpy().astype(f"datetime64[{unit}]")
    project = project_of(frame_of(hour=hours, lasted=(hours - hours[0]), who=hours), subject="who")
    assert frame_of(hour=hours)["hour"].dtype == f"datetime64[{unit}]"
    assert project.splits.columns["hour"] == HOURS.to_pydatetime().tolist()[:5]
    assert project.splits.columns["lasted"][2] == timedelta(days=1)
    where = {"hour": {"min": "2026-01-31", "max": "2026-01-31"}}
    assert project.request(where=where, reason="test").forget == (1, 2)
    times = {"start": "hour", "end": "hour", "from": date(2026, 1, 31), "to": "2026-02-01"}
    assert project.request(times=times, reason="test").forget == (1, 2, 3, 4)
    assert project.request(where={"lasted": {"max": timedelta(hours=12)}}, reason="test").forget == (0, 1)
    assert project.request(subjects=[datetime(2026, 1, 31)], reason="test").forget == (1,)


def test_missing_times_are_missing() -> None:
    hours = HOURS.to_numpy().astype("datetime64[ns]")
    hours[2] = np.datetime64("NaT")
    project = project_of(frame_of(hour=hours))
    assert project.splits.columns["hour"][2] is None
    with pytest.raises(RequestError, match="1 of 5 training samples have no 'hour'"):
        project.request(where={"hour": {"min": "2026-01-31"}}, reason="test")


def test_ids_of_nanoseconds_are_times() -> None:
    hours = HOURS.to_numpy().astype("datetime64[ns]")
    splits = Splits(train=project_of(frame_of()).splits.train, ids=hours[:5])
    assert splits.ids == HOURS.to_pydatetime().tolist()[:5]
    assert listed(hours.astype("datetime64[D]"))[0] == date(2026, 1, 30)


@pytest.mark.parametrize("precision", ["float16", "float32", "float64"])
def test_numbers_of_single_precision_are_as_the_table_shows_them(precision: str) -> None:
    project = project_of(frame_of(kg=np.array([1.1, 2.2, 3.3, 4.4, 5.5, 6.6], dtype=precision)))
    assert project.splits.columns["kg"] == [1.1, 2.2, 3.3, 4.4, 5.5]
    assert project.request(where={"kg": {"max": 2.2}}, reason="test").forget == (0, 1)
    assert project.request(where={"kg": [3.3]}, reason="test").forget == (2,)


class Zoned:
    """A column of polars' times with a zone: its array has the hours of Greenwich."""

    dtype = type("Datetime", (), {"time_zone": "Europe/Berlin"})()

    def to_list(self) -> list[datetime]:
        return HOURS.tz_localize("Europe/Berlin").to_pydatetime().tolist()

    def to_numpy(self) -> Any:
        return HOURS.tz_localize("Europe/Berlin").tz_convert(None).to_numpy()


class WithZone(dict[str, Any]):
    """A table with such a column."""

    columns = ("x", "y", "part", "hour")

    def __len__(self) -> int:
        return 6


def test_times_with_a_zone_keep_it() -> None:
    frame = frame_of()
    project = project_of(WithZone({name: frame[name] for name in frame.columns}, hour=Zoned()))
    assert project.request(where={"hour": "2026-01-31"}, reason="test").forget == (1, 2)


class Lazy:
    """A query that was not carried out, as polars' LazyFrame."""

    columns = ("x", "y", "part")

    def collect(self) -> pd.DataFrame:
        return frame_of()


@pytest.mark.parametrize("table", [frame_of().iloc[:0], Lazy(), "people.csv", Path("people.csv"), {"x": [1]}, 5, None])
def test_what_is_no_table_of_records_is_refused(table: Any) -> None:
    with pytest.raises(DataError) as caught:
        project_of(table)
    assert "`table`" in caught.value.found and caught.value.remedy
    if not isinstance(table, int):
        with pytest.raises(DataError) as caught:
            project_of(frame_of(), split=None, test=table)
        assert "`test`" in caught.value.found


def test_a_table_that_was_not_read_is_told_how() -> None:
    with pytest.raises(DataError) as caught:
        project_of(Lazy())
    assert ".collect()" in caught.value.remedy


@pytest.mark.parametrize("columns", [5, "columns", Lazy()])
def test_columns_that_are_none_are_refused(columns: Any) -> None:
    with pytest.raises(DataError):
        Splits(train=project_of(frame_of()).splits.train, columns=columns)


@pytest.mark.parametrize(
    "named",
    [
        {"band": 80}, {"band": (1, 2, 3)}, {"band": ("1", None)}, {"band": (float("nan"), 3)}, {"band": (3, 1)},
        {"where": 5}, {"where": "x"}, {"where": {"x": {"min": [1]}}}, {"times": "2026"}, {"times": 5},
        {"subjects": 5}, {"subjects": "abc"}, {"ids": 5},
    ],
)  # fmt: skip
def test_what_names_no_samples_is_refused(named: dict[str, Any]) -> None:
    project = project_of(frame_of(nr=list("abcdef"), record=list("abcdef")), id="record", subject="nr")
    with pytest.raises(RequestError) as caught:
        project.request(**named, reason="test")
    assert caught.value.expected or caught.value.remedy


@pytest.mark.parametrize("said", [{"reason": 5}, {"reason": "a", "requested_on": date(2026, 1, 31)},
                                  {"reason": "a", "requested_by": 7}])  # fmt: skip
def test_what_is_said_of_a_request_is_text(said: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        project_of(frame_of()).request(band=(3, None), **said)
    assert caught.value.expected == "text"
