"""Limits of a stretch of time, given as dates or text, in the type of a column's times."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np

from unregress.errors import RequestError

_DAY_LONG = timedelta(days=1) - timedelta(microseconds=1)


def moment(limit: Any, like: Any, *, end: bool = False) -> Any:
    """A limit in the type of a column's values, so that it can be compared with them.

    Settings files and the command line know no times: there they are text such as 2026-01-31 or 2026-01-31 18:00.

    Args:
        limit: a number, a time, or a time as text in ISO format.  Returned as it is, unless the column holds times.
        like: a value of the column: a `datetime` (pandas' timestamps are), a `date`, or NumPy's `datetime64`.
        end: whether the limit is a stretch's last moment: a day without an hour is then included as a whole.

    Raises:
        RequestError: the column holds times, and the text is none.

    >>> moment("2026-01-31", datetime(2026, 1, 1)), moment("2026-01-31", datetime(2026, 1, 1), end=True)
    (datetime.datetime(2026, 1, 31, 0, 0), datetime.datetime(2026, 1, 31, 23, 59, 59, 999999))
    >>> moment(7, 3)
    7
    """
    if not isinstance(like, date | np.datetime64) or not isinstance(limit, str | date):
        return limit
    try:
        found = datetime.fromisoformat(limit) if isinstance(limit, str) else limit
    except ValueError as error:
        raise RequestError(
            f"The column holds times, and the limit is {limit!r}", expected="a time such as 2026-01-31 18:00"
        ) from error
    whole = (len(limit) == len("2026-01-31")) if isinstance(limit, str) else not isinstance(limit, datetime)
    if isinstance(like, date) and not isinstance(like, datetime):
        return found.date() if isinstance(found, datetime) else found
    moment = found if isinstance(found, datetime) else datetime.combine(found, time.min)
    moment += _DAY_LONG if whole and end else timedelta(0)
    if isinstance(like, np.datetime64):
        return np.datetime64(moment)
    return moment.replace(tzinfo=like.tzinfo) if moment.tzinfo is None else moment
