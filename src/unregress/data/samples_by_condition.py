"""Judge conditions on columns: which samples meet them, and which lack the value that would tell."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from unregress.data.listed import listed
from unregress.data.missing_values import Missing, is_missing
from unregress.data.moments import as_times, first_text, like_date, moment, on_clock_of
from unregress.data.request import Mask
from unregress.errors import RequestError, UnregressError, raise_all
from unregress.errors.wording import some, type_names, unknown_remedy

LIMITS = ("min", "max")
MOST_VALUES = 20
"""Number of different values up to which a column's values are kinds that a message may name."""


class NothingMeets(RequestError):
    """No sample meets the conditions, or the series does not reach the stretch of time."""


class Judged(NamedTuple):
    """Which samples meet a condition, and which lack the value that would tell; `(n,)` bool each."""

    met: Mask
    lacking: Mask


def judge(columns: Mapping[str, Sequence[Any]], where: Mapping[str, Any], part: str) -> list[tuple[str, Judged]]:
    """Which samples meet each condition, by its column.

    Raises:
        RequestError: a column does not exist, or the values cannot be compared with the condition.
        NothingMeets: a condition is met by no sample.
    """
    if not isinstance(where, Mapping):
        raise RequestError(
            f"The conditions are {where!r}", expected="a condition for each column, such as `{'city': 'Basel'}`"
        )
    complaints: list[UnregressError] = []
    if not where:
        complaints.append(RequestError("There are no conditions", expected="a column with a condition"))
    complaints += about_columns(columns, list(where), part)
    raise_all(complaints)
    judged = [(name, _meets(name, columns[name], condition)) for name, condition in where.items()]
    raise_all([_unmet(name, columns[name], where[name]) for name, each in judged if not any(map(np.any, each))])
    return judged


def about_columns(columns: Mapping[str, Sequence[Any]], named: Sequence[Any], part: str) -> Iterator[RequestError]:
    """Complain about columns that do not exist."""
    if unknown := [repr(name) for name in named if not isinstance(name, Hashable) or name not in columns]:
        yield RequestError(
            f"The {part} data have no column {', '.join(dict.fromkeys(unknown))}".replace("  ", " "),
            expected=f"columns among {', '.join(map(str, columns))}" if columns else "`Splits(columns=...)`",
        )


def decided(judged: Sequence[tuple[str, Judged]], called: str, missing: Missing, notes: list[str] | None) -> Mask:
    """The samples that meet all conditions, once those that may meet them are complained about or noted."""
    met: Mask = np.logical_and.reduce([each.met for _, each in judged])
    unknown = np.logical_and.reduce([each.met | each.lacking for _, each in judged]) & ~met
    if not unknown.any():
        return met
    lacked = list(dict.fromkeys(name for name, each in judged if (each.lacking & unknown).any()))
    found = f"{int(unknown.sum())} of {len(met)} {called} have no {' or '.join(map(repr, lacked))}"
    if missing == "report":
        if notes is not None:
            notes.append(f"{found}: whether the request is about them is unknown, and they are not forgotten")
        return met
    raise RequestError(
        f"{found}: whether the request is about them is unknown",
        expected="a value for each that the other conditions do not rule out",
        remedy="Fill the values in; or ask for those without a value by None (null) in `where`; or set `missing` to "
        "`report`, which leaves them out and counts them in the report",
    )


def _meets(name: str, values: Sequence[Any], condition: Any) -> Judged:
    lacking = np.array([is_missing(value) for value in values], dtype=np.bool_)
    if isinstance(condition, Mapping):
        if not condition or set(condition) - set(LIMITS):
            raise RequestError(
                f"The condition on {name!r} has {', '.join(sorted(map(repr, condition))) or 'nothing'}",
                expected="`min`, `max` or both",
            )
        return _within(name, values, lacking, condition)
    if not isinstance(condition, np.generic):
        condition = listed(condition)
    wanted = list(condition) if isinstance(condition, (list, tuple, set, frozenset)) else [condition]
    if any(each is None or each != each for each in wanted):
        # The samples without a value are asked for.
        has = [gap or bool(value in wanted) for value, gap in zip(values, lacking, strict=True)]
        return Judged(np.array(has, dtype=np.bool_) | _at(values, wanted, lacking), np.zeros_like(lacking))
    # Blank text may be asked for as such.
    lacking &= np.array([not (isinstance(value, str) and value in wanted) for value in values], dtype=np.bool_)
    has = [not gap and bool(value in wanted) for value, gap in zip(values, lacking, strict=True)]
    return Judged(np.array(has, dtype=np.bool_) | _at(values, wanted, lacking), lacking)


def _at(values: Sequence[Any], wanted: Sequence[Any], lacking: Mask) -> Mask:
    """Which samples have one of some days or times, where the column holds times: a day is wanted as a whole."""
    found = np.zeros_like(lacking)
    days = [each for each in wanted if like_date(each) or isinstance(each, date)]
    times = as_times(values) if days else values
    if not isinstance(like := first_known(times), date | np.datetime64):
        return found
    for each in days:
        # What is no time is none of the column's.
        with suppress(RequestError, TypeError):
            found |= _between(times, lacking, moment(each, like), moment(each, like, end=True))
    return found


def _within(name: str, values: Sequence[Any], lacking: Mask, limits: Mapping[str, Any]) -> Judged:
    """Which samples have a value between limits."""
    if bad := [key for key, limit in limits.items() if limit is not None and is_missing(limit)]:
        raise RequestError(f"`{bad[0]}` of {name!r} is {limits[bad[0]]!r}", expected="a number, text or a time")
    times = as_times(values)
    like = first_known(times)
    if isinstance(like, str) and any(map(like_date, limits.values())):
        raise no_times(name, times)
    low, high = moment(limits.get("min"), like), moment(limits.get("max"), like, end=True)
    try:
        inside = _between(times, lacking, low, high)
    except TypeError as error:
        raise RequestError(
            f"The values of {name!r} cannot be compared with the limits {dict(limits)}: {error}",
            expected="limits of the type of the values",
        ) from error
    return Judged(inside, lacking)


def _between(values: Sequence[Any], lacking: Mask, low: Any, high: Any) -> Mask:
    """Which samples have a value between two limits, both included; None for no limit."""
    inside = [
        not gap
        and (low is None or bool(on_clock_of(low, value) >= low))
        and (high is None or bool(on_clock_of(high, value) <= high))
        for value, gap in zip(values, lacking, strict=True)
    ]
    return np.array(inside, dtype=np.bool_)


def no_times(name: str, values: Sequence[Any]) -> RequestError:
    """A complaint about a column of texts that would be compared with times letter by letter."""
    return RequestError(
        f"The column {name!r} holds text that is no time in ISO format, such as {first_text(values)!r}",
        expected="times such as 2026-01-31 or 2026-01-31 18:00, which can be told to be before or after others",
        remedy="Write all of the column's values in this format; a data frame's column of days and months can be read "
        f"with `pandas.to_datetime(frame[{name!r}], dayfirst=True)`",
    )


def _unmet(name: str, values: Sequence[Any], condition: Any) -> NothingMeets:
    """A complaint that no sample meets a condition, with the values that there are if they tell nobody apart."""
    present = [value for value in values if not is_missing(value)]
    try:
        distinct = list(dict.fromkeys(present))
    except TypeError:
        distinct = []
    if isinstance(condition, Mapping):
        found = f"No sample has {name!r} within the limits {dict(condition)}"
        ends = f", which go from {min(present)} to {max(present)}" if present else ""
        return NothingMeets(found, expected=f"limits that meet the column's values{ends}")
    wanted = list(condition) if isinstance(condition, (list, tuple, set, frozenset)) else [condition]
    few = 0 < len(distinct) <= MOST_VALUES and 2 * len(distinct) <= len(present)
    plain = [value.item() if isinstance(value, np.str_ | np.number) else value for value in distinct]
    return NothingMeets(
        f"No sample has {name!r} {' or '.join(map(repr, wanted[:5]))}",
        # Where most samples have a value of their own, it may be somebody's name.
        expected=f"one of {some(plain)}" if few else f"one of its {len(distinct)} values, of type {type_names(plain)}",
        remedy=unknown_remedy(wanted, plain),
    )


def touched(
    starts: tuple[str, Sequence[Any]], ends: tuple[str, Sequence[Any]], first: Any, last: Any, possible: Mask
) -> list[tuple[str, Judged]]:
    """Which windows begin before a stretch of time is over, and which end after it has begun.

    Args:
        starts: the name and the values of the windows' first moments.
        ends: the same of their last moments.
        first: first moment of the stretch.
        last: last moment of the stretch.
        possible: the windows that other conditions do not rule out; they make the series.

    Raises:
        RequestError: as `touching` raises it.
    """
    if bad := [limit for limit in (first, last) if is_missing(limit)]:
        raise RequestError(f"The time range has the limit {bad[0]!r}", expected="a number or a time")
    if first > last:
        raise RequestError(f"The time range begins at {first} and ends at {last}", expected="the beginning first")
    begins, finishes = (
        _within(*each, np.array([is_missing(value) for value in each[1]], dtype=np.bool_), limits)
        for each, limits in ((starts, {"max": last}), (ends, {"min": first}))
    )
    known = np.flatnonzero(possible & ~begins.lacking & ~finishes.lacking).tolist()
    if reversed_ones := sum(bool(starts[1][i] > ends[1][i]) for i in known):
        raise RequestError(
            f"{reversed_ones} of {len(possible)} windows end before they begin",
            expected=f"first moments in {starts[0]!r} and last ones in {ends[0]!r}",
            remedy="Were the two columns swapped?",
        )
    reach = reach_of(starts[1], ends[1], possible)
    if reach and (last < on_clock_of(last, reach[0]) or first > on_clock_of(first, reach[1])):
        raise NothingMeets(
            f"The time range from {first} to {last} is outside of the series",
            expected=f"a range that meets the series, which goes from {reach[0]} to {reach[1]}",
        )
    return [(starts[0], begins), (ends[0], finishes)]


def reach_of(starts: Sequence[Any], ends: Sequence[Any], possible: Mask) -> tuple[Any, Any] | None:
    """The first and last known moment of a series; None if all windows lack a moment."""
    places = np.flatnonzero(possible).tolist()
    moments = [each[i] for each in (starts, ends) for i in places if not is_missing(each[i])]
    return (min(moments), max(moments)) if moments else None


def first_known(values: Sequence[Any]) -> Any:
    """The first value that is not missing; None if all are."""
    return next((value for value in values if not is_missing(value)), None)
