"""ETT: the files' format, the authors' split, and the real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unregress.datasets.series.ett import ett, read_ett
from unregress.datasets.series.series import hour_of, time_of
from unregress.errors import DataError

LINES = [
    "date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT",
    "2016-07-01 00:00:00,5.827000141143799,2.009,1.598,0.462,4.203,1.34,30.5310001373291",
    "2016-07-01 01:00:00,5.692999839782715,2.075,1.491,0.425,4.141,1.371,27.78700065612793",
    "2016-07-01 02:00:00,-5.1570000648498535,1.741,1.279,0.354,3.776,1.218,-4.079999923706055",
]
START = hour_of("2016-07-01")


def write(folder: Path, lines: list[str]) -> Path:
    path = folder / "ETTh1.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("OT", [30.5310001373291, 27.78700065612793, -4.079999923706055]),
        ("HUFL", [5.827000141143799, 5.692999839782715, -5.1570000648498535]),
    ],
)
def test_a_column_is_read_as_it_stands(tmp_path: Path, column: str, values: list[float]) -> None:
    series = read_ett(write(tmp_path, LINES), column)

    assert series.clients == (column,)
    assert series.hour.tolist() == [START, START + 1, START + 2]
    assert series.value.tolist() == pytest.approx(values, rel=1e-15)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (LINES[:1], "has no rows"),
        ([LINES[0].replace("OT", "ot"), *LINES[1:]], "Expected also OT"),
        ([*LINES[:3], LINES[3].rsplit(",", 1)[0]], "Line 4 of .* has 7 fields, the header 8"),
        ([*LINES[:3], LINES[3] + ",7"], "Line 4 of .* has 9 fields, the header 8"),
        ([LINES[0], *(line + ",7" for line in LINES[1:])], "Line 2 of .* has 9 fields, the header 8"),
        ([LINES[0].replace("HULL", "OT"), *LINES[1:]], "Line 1 of .* names 'OT' twice"),
        ([*LINES[:2], LINES[2].replace("27.787", "?27.787")], "OT has no finite value at 2016-07-01 01:00"),
        ([*LINES[:2], LINES[2].replace("2016-07-01 01", "x")], r"Line 3 of .*ETTh1\.csv has the time 'x:00:00'"),
        ([LINES[0], LINES[1].replace("2016-07-01", "1.7")], r"Line 2 of .* has the time '1\.7 00:00:00'"),
        ([LINES[0], LINES[1].replace("2016-07-01", "01/07/2016")], "Line 2 of .* has the time '01/07/2016 00:00:00'"),
        (
            [*LINES[:2], LINES[3]],
            "2016-07-01 02:00 in line 3 of .* comes after a gap: the row before it is 2016-07-01 00:00",
        ),
        ([*LINES[:3], LINES[2]], "2016-07-01 01:00 in .* is repeated"),
        ([*LINES[:3], LINES[1]], "2016-07-01 00:00 in .* is out of order"),
        ([*LINES[:2], LINES[2].replace("01:00:00", "00:15:00")], "2016-07-01 00:15 in .* one row every 60 minutes"),
        ([line.replace(":00:00", ":30:00") for line in LINES], "2016-07-01 00:30 in line 2 of .* between two steps"),
        ([line.replace(":00:00", ":00:05") for line in LINES], "2016-07-01 00:00:05 in line 2 of .* between two steps"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_ett(write(tmp_path, lines))


@pytest.mark.parametrize("hours", [14_399, 12_000, 9_000, 457])
def test_a_truncated_file_is_refused_with_the_hours_found_and_expected(tmp_path: Path, hours: int) -> None:
    times = np.datetime64("2016-07-01T00", "h") + np.arange(hours)
    rows = [f"{str(time).replace('T', ' ')}:00:00,{n % 9}" for n, time in enumerate(times)]
    write(tmp_path, ["date,OT", *rows])
    with pytest.raises(DataError) as caught:
        ett(tmp_path, encoder=24)
    assert time_of(START + hours - 1) in caught.value.found
    assert "2018-02-20 23:00" in caught.value.expected


def test_the_hours_of_the_published_split_are_enough(tmp_path: Path) -> None:
    times = np.datetime64("2016-07-01T00", "h") + np.arange(14_400)
    write(tmp_path, ["date,OT", *(f"{str(time).replace('T', ' ')}:00:00,{n % 9}" for n, time in enumerate(times))])
    cut = ett(tmp_path, encoder=24)
    assert [len(cut.places(part)) for part in ("validation", "test")] == [2880, 2880]


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ETTh1\.csv cannot be read.*Fetch it"):
        read_ett(tmp_path / "ETTh1.csv")


@pytest.mark.parametrize(
    ("name", "first", "last", "mean"),
    [
        ("ETTh1", 30.5310001373291, 9.56700038909912, 13.324672),
        ("ETTh2", 38.6619987487793, 45.98649978637695, 26.609376),
    ],
)
def test_the_real_files(data_root: Path, name: str, first: float, last: float, mean: float) -> None:
    series = read_ett(data_root / "ett" / f"{name}.csv")

    assert len(series) == 17_420
    assert [time_of(int(hour)) for hour in series.hour[[0, -1]]] == ["2016-07-01 00:00", "2018-06-26 19:00"]
    assert series.value[[0, -1]].tolist() == pytest.approx([first, last], rel=1e-12)
    assert series.value.mean() == pytest.approx(mean, rel=1e-6)


def test_the_published_split_is_12_4_and_4_months_of_30_days(data_root: Path) -> None:
    limits = (cut := ett(data_root / "ett")).boundaries
    days = [time_of(hour) for hour in (limits.train, limits.validation, limits.test, limits.end)]

    assert days == ["2016-07-01 00:00", "2017-06-26 00:00", "2017-10-24 00:00", "2018-02-21 00:00"]
    assert np.diff([limits.train, limits.validation, limits.test, limits.end]).tolist() == [8640, 2880, 2880]
    assert len(cut.series) == 14_400
