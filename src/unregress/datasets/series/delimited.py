"""Read text tables with regular times; check the number of fields in each line and the steps between times."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unregress.errors import DataError


def fields_of(line: str, separator: str) -> list[str]:
    """The fields of one line of a table, without their quotes.

    >>> fields_of('"";"MT_001"', ";")
    ['', 'MT_001']
    """
    return next(csv.reader([line], delimiter=separator))


def lines_of(path: str | Path, separator: str) -> Iterator[str]:
    """Yield the lines of a table, header first, and check that each has as many fields as the header.

    pandas does not check this: it drops a surplus last field, or, if all rows have one, uses the first as an index.
    Empty lines are skipped at the end of the file and refused elsewhere, so that line numbers stay right.

    Raises:
        DataError: the header is missing or names a column twice, or a line (the first is named) has more or fewer
            fields.
        OSError: the file cannot be opened.
        ValueError: it is not text.
    """
    names: list[str] = []
    empty = 0
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                empty = empty or number
                continue
            if empty:
                raise DataError(f"Line {empty} of {path} is empty", expected="empty lines at the end only")
            if not names:
                names = fields_of(line, separator)
                if twice := [name for place, name in enumerate(names) if name in names[:place]]:
                    raise DataError(f"Line {number} of {path} names {twice[0]!r} twice", expected="one column a name")
            # Counted first, which is quick.  A quoted separator in place of a missing field passes;
            # pandas then finds the last value missing.
            elif line.count(separator) != len(names) - 1 and (many := len(fields_of(line, separator))) != len(names):
                raise DataError(
                    f"Line {number} of {path} has {many} fields, the header {len(names)}",
                    expected="as many in every line",
                    remedy="Fetch the file again, or repair the line",
                )
            yield line
    if not names:
        raise DataError(f"{path} is empty", expected="a header and rows")


def times_of(texts: pd.Series[str], form: str, path: str | Path, line: int = 2) -> NDArray[Any]:
    """Parse a column of times, `(n,)` datetime64 with seconds.

    Args:
        texts: the column.
        form: the times' format, as for `strptime`.
        path: the file, for error messages.
        line: line number of the first time in the file.

    Raises:
        DataError: a time (the first is named) has another format.
    """
    times = pd.to_datetime(texts, format=form, errors="coerce").to_numpy("datetime64[s]")
    if len(bad := np.flatnonzero(np.isnat(times))):
        raise DataError(
            f"Line {bad[0] + line} of {path} has the time {texts.iloc[bad[0]]!r}", expected=f"one as {form}"
        )
    return times


def first_of(times: NDArray[Any], step: np.timedelta64[Any], what: str, line: int = 2) -> np.datetime64[Any]:
    """Check that times are one step apart and start at a multiple of the step after 00:00; return the first.

    Args:
        times: points in time, `(n,)` datetime64, at least one.
        step: distance of successive times.
        what: the file, for error messages.
        line: line number of the first time in the file.

    Raises:
        DataError: there is a gap, or a time (the first is named) is repeated, earlier than its predecessor or between
            two steps (00:30 for hours).
    """
    minutes = int(step.astype("timedelta64[m]").astype(int))
    wrong = np.flatnonzero(np.diff(times) != step)
    if np.isnat(times).any() or len(wrong):
        if np.isnat(times).any():
            found = f"Line {int(np.flatnonzero(np.isnat(times))[0]) + line} of {what} has no time"
        else:
            before, after = times[wrong[0]], times[wrong[0] + 1]
            kind = "is repeated" if before == after else "is out of order" if after < before else "comes after a gap"
            found = (
                f"{_written(after)} in line {wrong[0] + 1 + line} of {what} {kind}: "
                f"the row before it is {_written(before)}"
            )
        raise DataError(
            f"{found}; {len(wrong)} such rows in all" if len(wrong) > 1 else found,
            expected=f"one row every {minutes} minutes, in order",
            remedy="Repair the file: windows must not span a gap, and no hour may occur twice",
        )
    first: np.datetime64[Any] = times[0]
    # All others follow in whole steps, so that only the first need be checked.
    if int(first.astype("datetime64[s]").astype(np.int64)) % (60 * minutes):
        raise DataError(
            f"{_written(first)} in line {line} of {what} lies between two steps",
            expected=f"stamps every {minutes} minutes from 00:00 on",
        )
    return first


def _written(time: np.datetime64[Any]) -> str:
    """A time as text, without seconds if they are zero."""
    return str(time.astype("datetime64[s]")).replace("T", " ").removesuffix(":00")
