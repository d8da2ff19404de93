"""Read LD2011_2014.txt, the full record of the electricity load of 370 clients, as hourly means.

*Hours.*  The file has a mean power (kW) for every quarter of an hour, stamped at the quarter's end.  The hour 08:00 is
the mean of the stamps 08:00 to 08:45, as computed by `resample("1h").mean()` in the Temporal Fusion Transformer's
published preprocessing; so it covers the time from 07:45 to 08:45.  Only hours of four quarters are used: the record
begins and ends in the middle of an hour.

*Daylight saving.*  Stamps are local time in days of 24 hours.  According to the archive, the hour from 01:00 that does
not exist in March is zero for all clients, and the hour from 01:00 in October has the load of two hours.  Neither is
corrected, as in the published preprocessing: six hours in three years (the inspected clients have neither in 2011).
They count as values, and may lie in a request's target band.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unregress.datasets.series.delimited import fields_of, first_of, lines_of, times_of
from unregress.datasets.series.series import Series, Values, hour_of, time_of
from unregress.errors import DataError

ARCHIVE = "https://archive.ics.uci.edu/dataset/321/electricityloaddiagrams20112014"
COMPLETE = hour_of("2011-01-01 01:00"), hour_of("2015-01-01 00:00")
"""The record's first hour of four quarters, and the first that has fewer again."""
CHUNK = 4096
"""Rows read at a time: 20 MB of text, and with all clients 12 MB of numbers."""
STAMP = "%Y-%m-%d %H:%M:%S"
QUARTER = np.timedelta64(15, "m")


def read_record(path: str | Path, clients: Sequence[str] | None = None, *, until: int = COMPLETE[1]) -> Series:
    """Read the full record as hourly means of power in kW, which equal the hour's energy in kWh.

    The file of 700 MB is read in chunks; only the hourly means are held in memory (104 MB).  Zeros before a client's
    first load, when it had not joined yet, and after its last count as missing, as in the published preprocessing.

    *Truncated files* are refused: every hour must have four quarters, except the record's first (2011-01-01 00:00, of
    three) and last (2015-01-01 00:00, of one), which are left out; every line but the record's last must end with a
    newline; and the hours must reach `until`.

    Args:
        path: LD2011_2014.txt: fields separated by semicolons, decimal commas, the first column a time stamp.
        clients: names of the clients to read, in this order.  None for all that have any load, in the file's order;
            clients without load are left out.
        until: the hour (`hour_of`) that the file must reach; by default, the record's end.

    Raises:
        DataError: the file cannot be read or is truncated, a named client is not in it or has no load, a column is
            named twice, a line has more or fewer fields than the header, a field is not a number, or there is a gap.
    """
    hours, means, names = _hourly(Path(path), clients, until)
    records: dict[str, tuple[int, Values]] = {}
    for column, name in enumerate(names):
        loaded = np.flatnonzero(means[:, column] != 0)
        if len(loaded):
            records[name] = int(hours[loaded[0]]), means[loaded[0] : loaded[-1] + 1, column]
    if clients is not None and (idle := [name for name in names if name not in records]):
        raise DataError(
            f"{path} has nothing but zeros for {', '.join(idle)}",
            expected="clients with some load",
            remedy="Leave them out",
        )
    return Series.of(records)


def _hourly(path: Path, clients: Sequence[str] | None, until: int) -> tuple[NDArray[np.int64], Values, list[str]]:
    """Complete hours, their means `(hours, clients)` and the clients' names."""
    hours: list[NDArray[np.int64]] = []
    sums: list[Values] = []
    counts: list[NDArray[np.int64]] = []
    before = np.empty(0, "datetime64[s]")
    line, last = 2, "\n"
    try:
        lines = lines_of(path, ";")
        places = _chosen(path, fields_of(next(lines), ";")[1:], clients)
        options: dict[str, Any] = {"header": None, "usecols": [0, *places.values()], "dtype": {0: str}}
        while chunk := list(islice(lines, CHUNK)):
            table = pd.read_csv(StringIO("".join(chunk)), sep=";", decimal=",", **options)
            times = times_of(table[0], STAMP, path, line)
            # With the last stamp of the chunk before, so that a gap between two chunks is found.
            first_of(np.concatenate([before, times]), QUARTER, str(path), line - len(before))
            values = _numbers(path, table, places, line)
            hour = times.astype("datetime64[h]").astype(np.int64)
            starts = np.flatnonzero(np.append(True, np.diff(hour) != 0))
            hours.append(hour[starts])
            sums.append(np.add.reduceat(values, starts))
            counts.append(np.diff(np.append(starts, len(hour))))
            before, line, last = times[-1:], line + len(chunk), chunk[-1]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read: {error}",
            expected="LD2011_2014.txt: fields separated by semicolons, decimal commas",
            remedy=f"Fetch it from {ARCHIVE} and unpack it",
        ) from error
    if not hours:
        raise DataError(f"{path} has no rows", expected="one every quarter of an hour")
    # An hour that is split over two chunks occurs twice.
    every = np.concatenate(hours)
    starts = np.flatnonzero(np.append(True, np.diff(every) != 0))
    every, quarters = every[starts], np.add.reduceat(np.concatenate(counts), starts)
    _refuse_truncated(path, every, quarters, until, line - 1, last)
    full = quarters == 4
    return every[full], np.add.reduceat(np.concatenate(sums), starts)[full] / 4, list(places)


def _refuse_truncated(
    path: Path, hours: NDArray[np.int64], quarters: NDArray[np.int64], until: int, line: int, last: str
) -> None:
    """Refuse a truncated record; `line` is the number of its last line, `last`."""
    short = np.flatnonzero((quarters < 4) & ~np.isin(hours, [COMPLETE[0] - 1, COMPLETE[1]]))
    if len(short):
        where = f"Line 2 of {path} begins" if short[0] == 0 else f"Line {line} is the last of {path}, which stops"
        found = f"{where} within the hour {time_of(hours[short[0]])}: it has {quarters[short[0]]} of four quarters"
    elif not last.endswith("\n") and hours[-1] != COMPLETE[1]:
        found = f"Line {line}, the last of {path}, does not end with a newline: numbers may be cut off"
    elif (end := int(hours[-1]) + 1) < until:
        found = f"Line {line} is the last of {path}, which stops at {time_of(end)}"
    else:
        return
    raise DataError(
        found,
        expected=f"whole hours up to {time_of(until)}",
        remedy=f"The file seems truncated: fetch it again from {ARCHIVE} and unpack it",
    )


def _chosen(path: Path, present: list[str], clients: Sequence[str] | None) -> dict[str, int]:
    """The requested clients, in their order, with their columns in the file."""
    places = {name: column for column, name in enumerate(present, 1)}
    missing = [name for name in clients or () if name not in places]
    if missing or not present:
        raise DataError(
            f"{path} has no column {', '.join(missing) or 'but the first'}",
            expected=f"clients such as {', '.join(present[:3])}" if present else "a column per client, separated by ;",
        )
    return places if clients is None else {name: places[name] for name in clients}


def _numbers(path: Path, table: pd.DataFrame, places: dict[str, int], line: int) -> NDArray[Any]:
    """The clients' values, `(rows, clients)`, of a table whose first row is the given line of the file."""
    for name, column in places.items():
        if not pd.api.types.is_numeric_dtype(table[column]):
            texts = table[column].astype(str)
            wrong = pd.to_numeric(texts.str.replace(",", ".", regex=False).where(~texts.str.contains(".", regex=False)),
                                  errors="coerce").isna()  # fmt: skip
            row = int(np.flatnonzero(wrong.to_numpy())[0]) if wrong.any() else 0
            raise DataError(
                f"Line {row + line} of {path} has {table[column].iloc[row]!r} for {name}",
                expected="numbers with a decimal comma",
                remedy="Take the archive's file as it is",
            )
    return table[list(places.values())].to_numpy(np.float64)
