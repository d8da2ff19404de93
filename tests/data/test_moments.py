"""Times as text, as files without types hold them, are times: in stretches of time and in conditions."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from unregress.data.conditions import during, matching, touching
from unregress.data.moments import as_times
from unregress.errors import RequestError

HOURS = pd.date_range("2026-02-05 21:00", periods=20, freq="4h")  # until 9:00 on the 9th
DAYS = [hour.date().isoformat() for hour in HOURS]
FORMATS = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.000", "%Y-%m-%dT%H:%M", " %Y-%m-%d %H:%M "]


def texts(form: str) -> list[str]:
    return [hour.strftime(form) for hour in HOURS]


@pytest.mark.parametrize("form", FORMATS)
def test_a_day_as_the_end_is_included_as_a_whole_where_times_are_text(form: str) -> None:
    columns = {"hour": texts(form)}
    asked = {"start": "hour", "end": "hour", "from": "2026-02-06", "to": "2026-02-07"}
    expected = [day in ("2026-02-06", "2026-02-07") for day in DAYS]
    assert during(columns, asked).tolist() == expected and sum(expected) == 12
    limits: dict[str, Any]
    for limits in ({"min": "2026-02-06", "max": "2026-02-07"}, {"min": date(2026, 2, 6), "max": date(2026, 2, 7)}):
        assert matching(columns, {"hour": limits}).tolist() == expected
    early = during(columns, {**asked, "to": "2026-02-06 05:00"})
    assert np.flatnonzero(early).tolist() == [1, 2]
    found = touching(columns["hour"], columns["hour"], "2026-02-06", "2026-02-07")
    assert found.tolist() == expected


def test_compact_dates_are_days_too() -> None:
    assert matching({"hour": list(HOURS)}, {"hour": {"max": "20260206"}}).sum() == 7


@pytest.mark.parametrize("day", ["2026-02-06", date(2026, 2, 6)])
@pytest.mark.parametrize("hours", [texts(FORMATS[0]), list(HOURS), HOURS.to_numpy(), DAYS])
def test_a_day_is_asked_for_as_a_whole(day: Any, hours: Any) -> None:
    expected = [each == "2026-02-06" for each in DAYS]
    assert matching({"hour": hours}, {"hour": day}).tolist() == expected
    assert matching({"hour": [None, *hours]}, {"hour": [day, None]}).tolist() == [True, *expected]
    with pytest.raises(RequestError):
        matching({"hour": hours}, {"hour": "2026-03-01"})


@pytest.mark.parametrize("gap", ["", " ", None, float("nan")])
def test_text_with_gaps(gap: Any) -> None:
    columns = {"hour": [gap, *texts(FORMATS[0])]}
    asked = {"start": "hour", "end": "hour", "from": "2026-02-07", "to": "2026-02-07"}
    with pytest.raises(RequestError, match="1 of 21 windows have no 'hour'"):
        during(columns, asked)
    assert during(columns, asked, missing="report").sum() == 6
    with pytest.raises(RequestError, match="1 of 21 samples have no 'hour'"):
        matching(columns, {"hour": {"min": "2026-02-07"}})


GERMAN = ["01.02.2026", "02.02.2026", "01.03.2026"]


@pytest.mark.parametrize("wrong", [GERMAN, ["2026-02-01", "2026-02-02", "unknown"], ["5", "6", "12"]])
def test_text_that_is_no_time_is_not_compared_letter_by_letter(wrong: list[str]) -> None:
    for limits in (("01.02.2026", "07.02.2026"), ("2026-02-01", "2026-02-07"), ("5", "9")):
        with pytest.raises(RequestError) as caught:
            during({"day": wrong}, {"start": "day", "end": "day", "from": limits[0], "to": limits[1]})
        assert "'day'" in caught.value.found and caught.value.remedy
        assert any(repr(text) in caught.value.found for text in wrong)


@pytest.mark.parametrize("limit", ["01.02.2026", "2026-02-01", "2/1/26"])
def test_conditions_on_text_with_limits_that_are_dates_are_refused(limit: str) -> None:
    with pytest.raises(RequestError) as caught:
        matching({"day": GERMAN}, {"day": {"min": limit}})
    assert "'01.02.2026'" in caught.value.found and "pandas.to_datetime" in caught.value.remedy
    if limit != "2026-02-01":
        with pytest.raises(RequestError):
            matching({"day": DAYS}, {"day": {"min": limit}})


def test_other_text_is_compared_as_text() -> None:
    columns = {"name": ["Anna", "Bert", "Carl"], "code": ["20260101", "20260102", "x"]}
    assert matching(columns, {"name": {"min": "B", "max": "C"}}).tolist() == [False, True, False]
    assert matching(columns, {"code": {"max": "20260101"}}).tolist() == [True, False, False]
    assert matching({"day": GERMAN}, {"day": "01.02.2026"}).tolist() == [True, False, False]
    assert as_times(["20260101", "20260102"]) == ["20260101", "20260102"] and as_times(["", None]) == ["", None]


ZONES = {
    "text": ["2026-03-28T23:30:00+01:00", "2026-03-29T23:30:00+02:00", "2026-03-30T00:30:00+02:00"],
    "pandas": list(
        pd.to_datetime(["2026-03-28 23:30", "2026-03-29 23:30", "2026-03-30 00:30"]).tz_localize("Europe/Berlin")
    ),
}


@pytest.mark.parametrize("kind", ZONES)
def test_a_day_is_that_of_the_clocks_in_the_column(kind: str) -> None:
    """The clocks were set forward on 29 March; midnight is midnight before and after."""
    columns = {"hour": ZONES[kind]}
    asked = {"start": "hour", "end": "hour", "from": "2026-03-29", "to": "2026-03-29"}
    assert during(columns, asked).tolist() == [False, True, False]
    assert matching(columns, {"hour": {"min": "2026-03-30"}}).tolist() == [False, False, True]
    assert matching(columns, {"hour": {"min": "2026-03-29T22:30Z"}}).tolist() == [False, False, True]
    both = {**asked, "from": "2026-03-28T22:30Z", "to": "2026-03-29T21:30:00+00:00"}
    assert during(columns, both).tolist() == [True, True, False]
    with pytest.raises(RequestError):
        during(columns, {**asked, "to": "2026-03-29T21:30Z"})


@pytest.mark.parametrize("hours", [list(HOURS), HOURS.to_numpy(), texts(FORMATS[0])])
def test_a_limit_with_a_zone_needs_times_with_zones(hours: Any) -> None:
    for limit in ("2026-02-06T00:00Z", datetime(2026, 2, 6, tzinfo=UTC)):
        with pytest.raises(RequestError):
            matching({"hour": hours}, {"hour": {"min": limit}})


@pytest.mark.parametrize("times", [5, "2026", ["2026-02-06"], {"start": ["hour"], "end": "hour", "from": 1, "to": 2}])
def test_what_is_no_stretch_of_time_is_refused(times: Any) -> None:
    with pytest.raises(RequestError):
        during({"hour": list(HOURS)}, times)


@pytest.mark.parametrize("where", [5, "city", ["city"], {("a", "b"): 3}, {"city": {"min": [1]}}])
def test_what_are_no_conditions_is_refused(where: Any) -> None:
    with pytest.raises(RequestError):
        matching({"city": ["Basel", "Bern"]}, where)
    with pytest.raises(RequestError):
        during({"first": [1, 2]}, {"start": "first", "end": "first", "from": 1, "to": 2, "where": where})


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_times_of_a_file_without_types(tmp_path: Path, ending: str) -> None:
    from unregress.project.table_file import table_data

    frame = pd.DataFrame({"day": HOURS, "x": np.arange(20.0), "y": np.arange(20.0), "id": DAYS, "part": ["train"] * 20})
    frame["id"] += [f"-{row}" for row in range(20)]
    frame.loc[19, "part"] = "test"
    path = tmp_path / f"table.{ending}"
    if ending == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True, date_format="iso")
        assert json.loads(path.read_text().splitlines()[0])["day"].startswith("2026-02-05T21:00")
    splits = table_data(table=path, features=["x"], target="y", id="id", split="part")
    asked = {"start": "day", "end": "day", "from": "2026-02-06", "to": "2026-02-07"}
    assert during(splits.columns, asked).sum() == 12
    assert splits.ids == frame["id"].tolist()[:19]
