"""Times of a column, and the limits of a stretch of time, given as dates or text, in the type of the column's times."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np

from unregress.data.missing_values import is_missing
from unregress.errors import RequestError

_DAY_LONG = timedelta(days=1) - timedelta(microseconds=1)
_DATE = re.compile(r"\s*\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(\D.*)?")
"""Text that somebody means as a date, in whatever order: 2026-01-31, 31.01.2026, 1/31/26 18:00."""


def moment(limit: Any, like: Any, *, end: bool = False) -> Any:
    """A limit in the type of a column's values, so that it can be compared with them.

    Settings files and the command line know no times: there they are text such as 2026-01-31 or 2026-01-31 18:00.  A
    limit without a time zone is the hour that clocks show, see `on_clock_of`.

    Args:
        limit: a number, a time, or a time as text in ISO format.  Returned as it is, unless the column holds times.
        like: a value of the column: a `datetime` (pandas' timestamps are), a `date`, or NumPy's `datetime64`.
        end: whether the limit is a stretch's last moment: a day without an hour is then included as a whole.

    Raises:
        RequestError: the column holds times, and the text is none; or they have no time zone, and it has one.

    >>> moment("2026-01-31", datetime(2026, 1, 1)), moment("2026-01-31", datetime(2026, 1, 1), end=True)
    (datetime.datetime(2026, 1, 31, 0, 0), datetime.datetime(2026, 1, 31, 23, 59, 59, 999999))
    >>> moment(7, 3)
    7
    """
    if not isinstance(like, date | np.datetime64) or not isinstance(limit, str | date):
        return limit
    found = _parsed(limit) if isinstance(limit, str) else limit
    if found is None:
        raise RequestError(
            f"The column holds times, and the limit is {limit!r}", expected="a time such as 2026-01-31 18:00"
        )
    if isinstance(like, date) and not isinstance(like, datetime):
        return found.date() if isinstance(found, datetime) else found
    if not isinstance(found, datetime):
        found = datetime.combine(found, time.min) + (_DAY_LONG if end else timedelta(0))
    if found.tzinfo is not None and getattr(like, "tzinfo", None) is None:
        raise RequestError(
            f"The limit {limit!r} has a time zone, and the column's times have none",
            expected="a time such as 2026-01-31 18:00",
        )
    return np.datetime64(found) if isinstance(like, np.datetime64) else found


def on_clock_of(limit: Any, value: Any) -> Any:
    """A time as it is compared with a limit: where that has no zone, what clocks showed in the time's own zone.

    A column's times may be one hour from Greenwich's in winter and two in summer; the limit 2026-01-31 is midnight
    of both.

    >>> on_clock_of(datetime(2026, 1, 31), datetime.fromisoformat("2026-01-31 18:00+02:00"))
    datetime.datetime(2026, 1, 31, 18, 0)
    """
    if (
        isinstance(value, datetime)
        and value.tzinfo is not None
        and isinstance(limit, datetime)
        and limit.tzinfo is None
    ):
        return value.replace(tzinfo=None)
    return value


def as_times(values: Sequence[Any]) -> Sequence[Any]:
    """Convert a column whose known values are all text in ISO format to dates or times; other columns stay as they are.

    Files such as CSV know no times.  Compared as text, `2026-01-31 18:00` would be after the day 2026-01-31.

    >>> as_times(["2026-01-31 18:00", "", "2026-01-31"])
    [datetime.datetime(2026, 1, 31, 18, 0), None, datetime.datetime(2026, 1, 31, 0, 0)]
    >>> as_times(["2026-01-31", "31.01.2026"])
    ['2026-01-31', '31.01.2026']
    """
    found: list[Any] = []
    for value in values:
        read = None if is_missing(value) else _iso(value) if isinstance(value, str) else None
        if read is None and not is_missing(value):
            return values
        found.append(read)
    if any(isinstance(each, datetime) for each in found):
        return [
            each if each is None or isinstance(each, datetime) else datetime.combine(each, time.min) for each in found
        ]
    # Nothing is known of a column without values.
    return found if any(each is not None for each in found) else values


def like_date(limit: Any) -> bool:
    """Whether a limit is a text that somebody means as a date.

    >>> [like_date(limit) for limit in ("31.01.2026", "2026-01-31 18:00", "1/31/26", "Basel", "12-b", 7)]
    [True, True, True, False, False, False]
    """
    return isinstance(limit, str) and _DATE.fullmatch(limit) is not None


def first_text(values: Sequence[Any]) -> str | None:
    """The first text among a column's values that is no time in ISO format; None if there is none."""
    known = (value for value in values if isinstance(value, str) and not is_missing(value))
    return next((value for value in known if _iso(value) is None), None)


def _iso(text: str) -> date | None:
    """The same of a column's value: a number, such as an id, may happen to have the digits of a date."""
    return None if text.strip().isdigit() else _parsed(text)


def _parsed(text: str) -> date | None:
    """A date, or a time, in ISO format; None for other text."""
    for kind in (date, datetime):
        try:
            return kind.fromisoformat(text.strip())
        except ValueError:
            continue
    return None
