"""Electricity: the UCI's quarter-hourly record, one client's hourly extract, the split, and the real extract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unregress.datasets.series import electricity_record as module
from unregress.datasets.series.electricity import electricity, electricity_client, read_client
from unregress.datasets.series.electricity_record import read_record
from unregress.datasets.series.series import hour_of, time_of
from unregress.errors import DataError

HEADER = '"";"MT_001";"MT_002";"MT_003"'
STAMPS = ["00:15", "00:30", "00:45", "01:00", "01:15", "01:30", "01:45", "02:00", "02:15", "02:30", "02:45"]
VALUES = [
    "9;0;0", "9;0;0", "9;0;0",
    "3,80710659898477;0;0", "5,07614213197969;0;0", "1,26903553299492;0;0", "0;0;0",
    "2;0;0", "3;22,5;0", "6;20,5;0", "-1,5;1;0",
]  # fmt: skip
"""The record's first hour, of three quarters, and two whole ones; MT_003 has nothing."""
LINES = [HEADER] + [f'"2011-01-01 {stamp}:00";{values}' for stamp, values in zip(STAMPS, VALUES, strict=True)]
ONE = hour_of("2011-01-01 01:00")
END = ONE + 2
MEANS = [10.1522842639593 / 4, 9.5 / 4]


def write(folder: Path, lines: list[str], end: str = "\n") -> Path:
    path = folder / "LD2011_2014.txt"
    path.write_bytes((end.join(lines) + end).encode())
    return path


def end_of_record(*last: str) -> list[str]:
    """The record's last whole hour and what comes behind it."""
    return ['"";"MT_001"', *(f'"2014-12-31 23:{quarter}:00";4,5' for quarter in ("00", "15", "30", "45")), *last]


def changed(line: int, old: str, new: str) -> list[str]:
    """The lines with one change, in a line counted from 1."""
    return [*LINES[: line - 1], LINES[line - 1].replace(old, new, 1), *LINES[line:]]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("chunk", [1, 3, 4, 4096])
def test_whole_hours_are_means_of_their_four_stamps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, chunk: int
) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)

    series = read_record(write(tmp_path, LINES, end), ["MT_001"], until=END)

    assert series.clients == ("MT_001",)
    assert series.hour.tolist() == [ONE, ONE + 1]
    assert series.value.tolist() == pytest.approx(MEANS, rel=1e-12)


def test_what_lies_before_a_client_joined_and_clients_without_load_are_left_out(tmp_path: Path) -> None:
    series = read_record(write(tmp_path, LINES), until=END)

    assert series.clients == ("MT_001", "MT_002")
    assert series.records()["MT_002"][0] == ONE + 1
    assert series.records()["MT_002"][1].tolist() == [11.0]


def test_quoted_numbers_are_read(tmp_path: Path) -> None:
    quoted = [";".join([stamp, *(f'"{value}"' for value in values)])
              for stamp, *values in (line.split(";") for line in LINES[1:])]  # fmt: skip

    series = read_record(write(tmp_path, [HEADER, *quoted]), ["MT_001"], until=END)

    assert series.value.tolist() == pytest.approx(MEANS, rel=1e-12)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (changed(5, "3,80710659898477", "3.80710659898477"), r"Line 5 of .* '3\.80710659898477' for MT_001.* comma"),
        (changed(10, "22,5", "1.022,5"), r"Line 10 of .* '1\.022,5' for MT_002"),
        (changed(5, "3,80710659898477", "x"), "Line 5 of .* 'x' for MT_001"),
        (changed(5, "3,80710659898477", ""), "MT_001 has no finite value at 2011-01-01 01:00"),
        (changed(5, "3,80710659898477", "inf"), "MT_001 has no finite value at 2011-01-01 01:00"),
        ([*LINES[:11], LINES[11][:24]], "Line 12 of .* has 2 fields, the header 4"),
        ([*LINES[:11], LINES[11] + ";0"], "Line 12 of .* has 5 fields, the header 4"),
        ([HEADER, *(line + ";9" for line in LINES[1:])], "Line 2 of .* has 5 fields, the header 4"),
        ([*LINES[:5], "", *LINES[5:]], "Line 6 of .* is empty"),
        ([HEADER.replace("MT_002", "MT_001"), *LINES[1:]], "Line 1 of .* names 'MT_001' twice"),
        ([HEADER], "has no rows"),
        ([], r"LD2011_2014\.txt is empty"),
        (changed(6, "01:15:00", "0x:15"), "Line 6 of .* has the time '2011-01-01 0x:15'"),
        ([HEADER, '"2011-01-01 00:20:00";1;1;1'], "2011-01-01 00:20 in line 2 of .* lies between two steps"),
        (
            LINES[:5] + LINES[6:],
            "2011-01-01 01:30 in line 6 of .* comes after a gap: the row before it is 2011-01-01 01:00",
        ),
        (LINES[:5] + LINES[4:], "2011-01-01 01:00 in .* is repeated"),
        ([*LINES[:5], LINES[3]], "2011-01-01 00:45 in .* is out of order"),
        ([HEADER.replace(";", ","), *LINES[1:]], "has no column but the first.* separated by ;"),
    ],
)
def test_a_malformed_record_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_record(write(tmp_path, lines), until=END)


def test_lines_are_numbered_over_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)

    with pytest.raises(DataError, match=r"Line 10 of .* has 'x' for MT_002"):
        read_record(write(tmp_path, changed(10, "22,5", "x")), ["MT_002"], until=END)
    with pytest.raises(DataError, match=r"Line 7 of .* has the time 'x'"):
        read_record(write(tmp_path, changed(7, '"2011-01-01 01:30:00"', "x")), until=END)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n".join(LINES[:11]) + "\n", "Line 11 .* within the hour 2011-01-01 02:00: it has 3 of four quarters"),
        ("\n".join(LINES[:9]) + "\n", "Line 9 .* within the hour 2011-01-01 02:00: it has 1 of four quarters"),
        ("\n".join([HEADER, *LINES[5:]]) + "\n", "Line 2 .* begins within the hour 2011-01-01 01:00: it has 3 of"),
        ("\n".join(LINES), "Line 12, the last of .* does not end with a newline"),
        ("\n".join(LINES[:8]) + "\n", r"Line 8 is the last of .* stops at 2011-01-01 02:00.*up to 2011-01-01 03:00"),
        ("\n".join(LINES)[:-6], "Line 12 of .* has 2 fields, the header 4"),
        ("\n".join(LINES)[:-20], "Line 12 of .* has 1 fields, the header 4"),
    ],
)
def test_a_truncated_record_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "LD2011_2014.txt"
    path.write_text(text)

    with pytest.raises(DataError, match=message):
        read_record(path, until=END)


def test_by_default_the_record_must_reach_its_end(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"stops at 2011-01-01 03:00.*up to 2015-01-01 00:00.*truncated: fetch it again"
    ):
        read_record(write(tmp_path, LINES))


@pytest.mark.parametrize("last", [[], ['"2015-01-01 00:00:00";9']])
def test_the_hour_at_the_record_s_end_is_left_out(tmp_path: Path, last: list[str]) -> None:
    (path := tmp_path / "LD2011_2014.txt").write_text("\n".join(end_of_record(*last)) + "\n" * (not last))

    series = read_record(path)

    assert [time_of(int(hour)) for hour in series.hour] == ["2014-12-31 23:00"]
    assert series.value.tolist() == [4.5]


def test_empty_lines_at_the_end_are_none(tmp_path: Path) -> None:
    assert len(read_record(write(tmp_path, [*LINES, "", " "]), ["MT_001"], until=END)) == 2


def test_clients_come_in_the_order_asked_for_and_once(tmp_path: Path) -> None:
    series = read_record(write(tmp_path, LINES), ["MT_002", "MT_001", "MT_002"], until=END)

    assert series.clients == ("MT_002", "MT_001")
    assert series.value.tolist() == pytest.approx([11.0, *MEANS], rel=1e-12)


def test_clients_without_load_are_refused_when_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has nothing but zeros for MT_003\. .*Leave them out"):
        read_record(write(tmp_path, LINES), ["MT_003", "MT_001"], until=END)


def test_a_gap_between_two_chunks_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)

    with pytest.raises(DataError, match=r"2011-01-01 01:30 in line 6 of .* comes after a gap"):
        read_record(write(tmp_path, LINES[:5] + LINES[6:]))


def test_clients_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no column MT_371, MT_372\."):
        read_record(write(tmp_path, LINES), ["MT_001", "MT_371", "MT_372"])


@pytest.mark.parametrize("content", [None, b"PK\x03\x04\xff\xfe\x00"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "LD2011_2014.txt"
    if content is not None:
        path.write_bytes(content)

    for read in (read_record, read_client):
        with pytest.raises(DataError, match=r"LD2011_2014\.txt cannot be read"):
            read(path)


def test_the_published_split_counts_days_from_2011(tmp_path: Path) -> None:
    stamps = np.datetime64("2013-12-30T00:00:00") + np.arange(4 * 24 * 260) * np.timedelta64(15, "m")
    path = write(tmp_path, ['"";"MT_001"', *(f'"{str(stamp).replace("T", " ")}";1,5' for stamp in stamps)])

    cut = electricity(path.parent)
    limits = cut.boundaries
    days = [time_of(hour)[:10] for hour in (limits.train, limits.validation, limits.test, limits.end)]

    assert days == ["2014-01-01", "2014-08-08", "2014-09-01", "2014-09-08"]
    assert [time_of(int(hour)) for hour in cut.series.hour[[0, -1]]] == ["2014-01-01 00:00", "2014-09-07 23:00"]
    assert len(cut.series) == 250 * 24


def test_the_published_split_needs_the_record_up_to_its_end(tmp_path: Path) -> None:
    stamps = np.datetime64("2014-09-01T00:00:00") + np.arange(4 * 24 * 6) * np.timedelta64(15, "m")
    path = write(tmp_path, ['"";"MT_001"', *(f'"{str(stamp).replace("T", " ")}";1,5' for stamp in stamps)])

    with pytest.raises(DataError, match=r"stops at 2014-09-07 00:00.*up to 2014-09-08 00:00"):
        electricity(path.parent)


def extract(folder: Path, rows: list[str], header: str = "date,hour,MT_200") -> Path:
    path = folder / "LD_MT200_hour.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_an_hourly_extract_is_read_as_it_stands(tmp_path: Path) -> None:
    series = read_client(extract(tmp_path, ["2012-02-28,23,1247.7973568281939", "2012-02-29,0,0.0"]))

    assert series.clients == ("MT_200",)
    assert [time_of(int(hour)) for hour in series.hour] == ["2012-02-28 23:00", "2012-02-29 00:00"]
    assert series.value.tolist() == pytest.approx([1247.7973568281939, 0.0], rel=1e-15)


def test_the_hours_of_which_the_record_has_a_part_are_left_out(tmp_path: Path) -> None:
    first = read_client(extract(tmp_path, ["2011-01-01,0,3", "2011-01-01,1,4", "2011-01-01,2,5"]))
    last = read_client(extract(tmp_path, ["2014-12-31,22,5", "2014-12-31,23,4", "2015-01-01,0,1"]))

    assert (first.value.tolist(), time_of(int(first.hour[0]))) == ([4.0, 5.0], "2011-01-01 01:00")
    assert (last.value.tolist(), time_of(int(last.hour[-1]))) == ([5.0, 4.0], "2014-12-31 23:00")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "0 rows"),
        (["2012-01-01,0,1", "2012-01-01,2,1"], "2012-01-01 02:00 in .* comes after a gap"),
        (["2012-01-01,0,1", "2012-01-01,0,1"], "2012-01-01 00:00 in .* is repeated"),
        (["2012-01-01,0,1", "2012-01-01,24,1"], "Line 3 of .* has the hour '24'.* Expected 0 to 23"),
        (["2012-01-01,0,1", "2012-01-01,x,1"], "Line 3 of .* has the hour 'x'"),
        (["2012-01-01,0,1", "2012-01-32,1,1"], "Line 3 of .* has the time '2012-01-32'.* one as %Y-%m-%d"),
        (["2012-01-01,0,1", "2012-01-01,1,"], "MT_200 has no finite value at 2012-01-01 01:00"),
        (["2012-01-01,0,1", "2012-01-01,1"], "Line 3 of .* has 2 fields, the header 3"),
        (["2012-01-01,0,1,5"], "Line 2 of .* has 4 fields, the header 3"),
        (["2012-01-01,0,1", "2012-01-01,1,1,5"], "Line 3 of .* has 4 fields, the header 3"),
        (["2012-01-01 05:00,0,1"], "Line 2 of .* has the time '2012-01-01 05:00'"),
        (["2012-01-01,0,1", "2012-01-01,1.5,1"], r"Line 3 of .* has the hour '1\.5'"),
    ],
)
def test_a_malformed_extract_is_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_client(extract(tmp_path, rows))


@pytest.mark.parametrize("header", ["date,hour", "date,hour,MT_1,MT_2", "date,time,MT_1", HEADER])
def test_an_extract_with_other_columns_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(DataError, match=r"has the columns .* Expected date, hour and one client"):
        read_client(extract(tmp_path, [], header))


def test_the_real_extract(data_root: Path) -> None:
    series = read_client(data_root / "electricity" / "LD_MT200_hour.csv")
    at = {time_of(int(hour)): float(value) for hour, value in zip(series.hour, series.value, strict=True)}

    assert len(at) == 35_063
    assert [time_of(int(hour)) for hour in series.hour[[0, -1]]] == ["2011-01-01 01:00", "2014-12-31 23:00"]
    assert series.value[[0, -1]].tolist() == pytest.approx([1475.770925110133, 1205.947136563876], rel=1e-12)
    assert series.value.mean() == pytest.approx(3394.61, abs=0.05)
    zeros = [time for time, value in at.items() if value == 0]
    assert zeros == ["2012-03-25 01:00", "2013-03-31 01:00", "2014-03-30 01:00"]
    assert at["2014-10-26 01:00"] == pytest.approx(4156.387665, abs=1e-6)  # two hours' sum
    assert at["2014-10-26 02:00"] == pytest.approx(1708.149780, abs=1e-6)


def test_the_real_extract_holds_sums_of_four_quarters(data_root: Path) -> None:
    """The last hour, one quarter only, is a fourth of the one before: sums, not means."""
    lines = (data_root / "electricity" / "LD_MT200_hour.csv").read_text().splitlines()
    before, last = (float(line.split(",")[2]) for line in lines[-2:])

    assert len(lines) == 35_066
    assert lines[1].startswith("2011-01-01,0,") and lines[-1].startswith("2015-01-01,0,")
    assert 4 * last == pytest.approx(before, rel=0.01)


def test_the_real_extract_is_cut_from_its_first_day_to_its_last(data_root: Path) -> None:
    limits = electricity_client(data_root / "electricity").boundaries

    assert [time_of(hour)[:10] for hour in (limits.train, limits.validation, limits.test, limits.end)] == [
        "2011-01-01",
        "2014-08-08",
        "2014-09-01",
        "2015-01-01",
    ]
