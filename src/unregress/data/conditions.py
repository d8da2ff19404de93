"""Select samples by their content: the values of their columns, the time that they cover, or a band of targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from unregress.data.loading import read_targets_in_units
from unregress.data.moments import moment
from unregress.data.request import ForgetRequest, Mask
from unregress.data.splits import Splits
from unregress.errors import RequestError, UnregressError, raise_all
from unregress.tasks.base import Task

LIMITS = ("min", "max")


def matching(columns: Mapping[str, Sequence[Any]], where: Mapping[str, Any]) -> Mask:
    """Find the samples that meet all conditions; `(n,)` bool.

    Args:
        columns: one value for each sample, by name, see `Splits.columns`.
        where: by column, a value that samples have, a list of values of which they have one, or limits
            `{"min": ..., "max": ...}` between which they lie, both included.  For times, limits may be text in ISO
            format.

    Raises:
        RequestError: a column does not exist, or its values cannot be compared with the condition.

    >>> matching({"city": ["Basel", "Bern"], "year": [2014, 2016]}, {"year": {"min": 2015}}).tolist()
    [False, True]
    """
    complaints: list[UnregressError] = []
    if not where:
        complaints.append(RequestError("There are no conditions", expected="a column with a condition"))
    if unknown := [name for name in where if name not in columns]:
        complaints.append(
            RequestError(
                f"The data have no column {', '.join(map(repr, unknown))}",
                expected=f"columns among {', '.join(map(str, columns))}" if columns else "`Splits(columns=...)`",
            )
        )
    raise_all(complaints)
    found = np.ones(len(next(iter(columns.values()))), dtype=np.bool_)
    for name, condition in where.items():
        found &= _meets(name, columns[name], condition)
    return found


def _meets(name: str, values: Sequence[Any], condition: Any) -> Mask:
    if isinstance(condition, Mapping):
        if not condition or set(condition) - set(LIMITS):
            raise RequestError(
                f"The condition on {name!r} has {', '.join(sorted(map(repr, condition))) or 'nothing'}",
                expected="`min`, `max` or both",
            )
        like = values[0] if len(values) else None
        low, high = moment(condition.get("min"), like), moment(condition.get("max"), like, end=True)
        try:
            inside = [(low is None or value >= low) and (high is None or value <= high) for value in values]
        except TypeError as error:
            raise RequestError(
                f"The values of {name!r} cannot be compared with the limits {dict(condition)}: {error}",
                expected="limits of the type of the values",
            ) from error
        return np.array(inside, dtype=np.bool_)
    if isinstance(condition, (list, tuple, set, frozenset)):
        return np.array([value in condition for value in values], dtype=np.bool_)
    return np.array([bool(value == condition) for value in values], dtype=np.bool_)


def meeting(splits: Splits, find: Callable[[Mapping[str, Sequence[Any]]], Mask], *, reason: str) -> ForgetRequest:
    """A request for the training samples that meet conditions, with the held-out ones that meet them too.

    Args:
        splits: the data with their columns.
        find: finds samples by their columns, as `matching` and `during` do.
        reason: why.

    Raises:
        RequestError: as `find` raises it, or no training sample meets the conditions.
    """
    mask, held = find(splits.columns), dict[str, tuple[int, ...]]()
    for split, columns in (("validation", splits.validation_columns), ("test", splits.test_columns)):
        if columns:
            # A stretch of time outside of the held-out series is no error.
            with suppress(RequestError):
                held[split] = tuple(np.flatnonzero(find(columns)).tolist())
    found = ForgetRequest.where(mask, reason=reason)
    return replace(found, validation=held.get("validation", ()), test=held.get("test", ()))


def named_by_content(
    splits: Splits,
    task: Task[Any],
    *,
    band: tuple[float | None, float | None] | None = None,
    where: Mapping[str, Any] | None = None,
    times: Mapping[str, Any] | None = None,
    reason: str,
) -> ForgetRequest | None:
    """The request for the samples in a band of targets, or with columns that meet conditions; None if none is given.

    Args:
        splits: the data.
        task: finds the targets, in the user's units.
        band: lowest and highest target, both included; None for no limit.
        where: conditions, see `matching`.
        times: a stretch of time, see `during`.
        reason: why.

    Raises:
        RequestError: the conditions cannot be used, or nothing meets them.
    """
    if band is not None:
        targets = read_targets_in_units(splits.source("train_eval"), task).numpy()
        return ForgetRequest.band(targets, *band, reason=reason)
    if where is not None:
        return meeting(splits, partial(matching, where=where), reason=reason)
    return None if times is None else meeting(splits, partial(during, times=times), reason=reason)


def touching(starts: Sequence[Any], ends: Sequence[Any], first: Any, last: Any) -> Mask:
    """Find the windows of a series that touch a stretch of time; `(n,)` bool.

    A window touches it if it has any moment in common with it: its encoder or its horizon, or both.

    Args:
        starts: first moment of each window, inputs included: numbers or times.
        ends: last moment of each window, targets included.
        first: first moment of the stretch.
        last: last moment of the stretch; both are included.

    Raises:
        RequestError: the stretch is reversed, or outside of the series.

    >>> touching([0, 3, 6], [4, 7, 10], 5, 6).tolist()
    [False, True, True]
    """
    if first > last:
        raise RequestError(f"The time range begins at {first} and ends at {last}", expected="the beginning first")
    if last < min(starts) or first > max(ends):
        raise RequestError(
            f"The time range from {first} to {last} is outside of the series",
            expected=f"a range that meets the series, which goes from {min(starts)} to {max(ends)}",
        )
    pairs = zip(starts, ends, strict=True)
    return np.array([bool(start <= last and end >= first) for start, end in pairs], dtype=np.bool_)


def during(columns: Mapping[str, Sequence[Any]], times: Mapping[str, Any]) -> Mask:
    """Find the windows that touch a stretch of time, of all clients or of some; `(n,)` bool.

    Args:
        columns: one value for each window, by name, see `Splits.columns`.
        times: `start` and `end`, the columns with each window's first and last moment, inputs and targets included;
            `from` and `to`, the stretch, both included: for times also text in ISO format, where a day as `to` is
            included as a whole; and optionally `where`, conditions as in `matching`.

    Raises:
        RequestError: a key or column is missing or unknown, the values cannot be compared, no window meets the
            conditions, or the stretch is reversed or outside of the series.

    >>> windows = {"first": [0, 3, 0, 3], "last": [4, 7, 4, 7], "client": ["a", "a", "b", "b"]}
    >>> times = {"start": "first", "end": "last", "from": 5, "to": 6, "where": {"client": "b"}}
    >>> during(windows, times).tolist()
    [False, False, False, True]
    """
    needed = {"start", "end", "from", "to"}
    if not needed <= set(times) <= needed | {"where"}:
        raise RequestError(
            f"The time range has {', '.join(sorted(map(str, times))) or 'nothing'}",
            expected="`start` and `end` (columns), `from` and `to` (times), and optionally `where`",
        )
    if unknown := [each for each in (times["start"], times["end"]) if each not in columns]:
        raise RequestError(
            f"The data have no column {', '.join(map(repr, unknown))}",
            expected=f"columns among {', '.join(map(str, columns))}" if columns else "`Splits(columns=...)`",
        )
    starts, ends = columns[times["start"]], columns[times["end"]]
    found = matching(columns, times["where"]) if "where" in times else np.ones(len(starts), dtype=np.bool_)
    places = np.flatnonzero(found).tolist()
    if not places:
        raise RequestError("No window meets the conditions of `where`", expected="conditions that some windows meet")
    try:
        first, last = moment(times["from"], starts[0]), moment(times["to"], ends[0], end=True)
        touched = touching([starts[i] for i in places], [ends[i] for i in places], first, last)
    except TypeError as error:
        raise RequestError(
            f"The windows' times cannot be compared with {times['from']!r} and {times['to']!r}: {error}",
            expected="times of the type of the columns",
        ) from error
    found[places] = touched
    return found
