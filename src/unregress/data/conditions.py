"""Select samples by their content: the values of their columns, the time that they cover, or a band of targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from unregress.data.bands import as_band, in_units
from unregress.data.loading import read_targets
from unregress.data.missing_values import Missing
from unregress.data.moments import as_times, first_text, moment, on_clock_of
from unregress.data.request import ForgetRequest, Mask
from unregress.data.samples_by_condition import (
    NothingMeets,
    about_columns,
    decided,
    first_known,
    judge,
    no_times,
    reach_of,
    touched,
)
from unregress.data.splits import HELD_OUT, Splits
from unregress.errors import RequestError, raise_all
from unregress.tasks.base import Task


def matching(
    columns: Mapping[str, Sequence[Any]],
    where: Mapping[str, Any],
    *,
    part: str = "",
    missing: Missing = "error",
    notes: list[str] | None = None,
) -> Mask:
    """Find the samples that meet all conditions; `(n,)` bool.

    A sample that lacks a value, and that the other conditions do not rule out, may meet the conditions or not: that is
    an error, or with `missing="report"` a note.

    Args:
        columns: one value for each sample, by name, see `Splits.columns`.
        where: by column, a value that samples have, a list of values of which they have one, or limits
            `{"min": ..., "max": ...}` between which they lie, both included.  For times, limits may be text in ISO
            format.  None, or None in a list, asks for the samples without a value.
        part: what the samples are, for messages: `test`, `validation`.
        missing: whether samples that lack a value are an error, or are left out with a note.
        notes: extended by a sentence that counts these samples.

    Raises:
        RequestError: a column does not exist, its values cannot be compared with the condition, samples lack a value,
            or no sample meets the conditions.

    >>> matching({"city": ["Basel", "Bern"], "year": [2014, 2016]}, {"year": {"min": 2015}}).tolist()
    [False, True]
    """
    judged = judge(columns, where, part)
    found = decided(judged, f"{part} samples".strip(), missing, notes)
    if not found.any():
        counts = ", ".join(f"{name!r}: {int(each.met.sum())}" for name, each in judged)
        raise NothingMeets(
            f"No sample meets all conditions; each alone is met by some ({counts})",
            expected="conditions that some samples meet together",
        )
    return found


class Finder(Protocol):
    """Finds samples by their columns, as `matching` and `during` do once their conditions are given."""

    def __call__(self, columns: Mapping[str, Sequence[Any]], *, part: str) -> Mask:
        """Find samples; `(n,)` bool.

        Args:
            columns: one value for each sample, by name.
            part: the split, for messages.
        """


def meeting(splits: Splits, find: Finder, *, reason: str, notes: list[str] | None = None) -> ForgetRequest:
    """A request for the training samples that meet conditions, with the held-out ones that meet them too.

    Args:
        splits: the data with their columns.
        find: finds samples by their columns, as `matching` and `during` do.
        reason: why.
        notes: extended by a sentence for held-out samples that have no columns.

    Raises:
        RequestError: as `find` raises it, or no training sample meets the conditions.
    """
    mask, held = find(splits.columns, part="training"), dict[str, tuple[int, ...]]()
    for split, columns in (("validation", splits.validation_columns), ("test", splits.test_columns)):
        if columns:
            # A stretch of time outside of the held-out series is no error.
            with suppress(NothingMeets):
                held[split] = tuple(np.flatnonzero(find(columns, part=split)).tolist())
        elif notes is not None and getattr(splits, split) is not None:
            notes.append(f"Which {split} samples the request is about is unknown: they have no columns")
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
    missing: Missing = "error",
    notes: list[str] | None = None,
) -> ForgetRequest | None:
    """The request for the samples in a band of targets, or with columns that meet conditions; None if none is given.

    Args:
        splits: the data.
        task: finds the targets, in the user's units.
        band: lowest and highest target, both included; None for no limit.
        where: conditions, see `matching`.
        times: a stretch of time, see `during`.
        reason: why.
        missing: whether samples that lack a value are an error, or are left out with a note.
        notes: extended by what was not found, or could not be decided.

    Raises:
        RequestError: the conditions cannot be used, or nothing meets them.
    """
    if band is not None:
        low, high = as_band(band)
        targets, rounding = in_units(read_targets(splits.source("train_eval"), task), task)
        return ForgetRequest.band(targets, low, high, reason=reason, rounding=rounding)
    told: dict[str, Any] = {"missing": missing, "notes": notes}
    if where is not None:
        return meeting(splits, partial(matching, where=where, **told), reason=reason, notes=notes)
    if times is not None:
        return meeting(splits, partial(during, times=times, **told), reason=reason, notes=notes)
    return None


def touching(starts: Sequence[Any], ends: Sequence[Any], first: Any, last: Any) -> Mask:
    """Find the windows of a series that touch a stretch of time; `(n,)` bool.

    A window touches it if it has any moment in common with it: its encoder or its horizon, or both.

    Args:
        starts: first moment of each window, inputs included: numbers or times.
        ends: last moment of each window, targets included.
        first: first moment of the stretch.
        last: last moment of the stretch; both are included.

    Raises:
        RequestError: the stretch is reversed, or outside of the series; windows end before they begin, or may touch the
            stretch and lack a moment.

    >>> touching([0, 3, 6], [4, 7, 10], 5, 6).tolist()
    [False, True, True]
    """
    starts, ends = as_times(starts), as_times(ends)
    first, last = moment(first, first_known(starts)), moment(last, first_known(ends), end=True)
    everyone = np.ones(len(starts), dtype=np.bool_)
    judged = touched(("start", starts), ("end", ends), first, last, everyone)
    return decided(judged, "windows", "error", None)


def during(
    columns: Mapping[str, Sequence[Any]],
    times: Mapping[str, Any],
    *,
    part: str = "",
    missing: Missing = "error",
    notes: list[str] | None = None,
) -> Mask:
    """Find the windows that touch a stretch of time, of all clients or of some; `(n,)` bool.

    Args:
        columns: one value for each window, by name, see `Splits.columns`.
        times: `start` and `end`, the columns with each window's first and last moment, inputs and targets included;
            `from` and `to`, the stretch, both included: for times, and columns of text in ISO format, also such
            text, where a day as `to` is included as a whole; and optionally `where`, conditions as in `matching`.
        part: what the windows are, for messages: `training`, `test`, `validation`.
        missing: whether windows that lack a moment, and may touch the stretch, are an error, or are left out with a
            note.
        notes: extended by a sentence that counts these windows, and by one if the stretch goes beyond the series of
            the training data.

    Raises:
        RequestError: a key or column is missing or unknown, the values cannot be compared, windows lack a moment or end
            before they begin, no window meets the conditions, or the stretch is reversed or outside of the series.

    >>> windows = {"first": [0, 3, 0, 3], "last": [4, 7, 4, 7], "client": ["a", "a", "b", "b"]}
    >>> times = {"start": "first", "end": "last", "from": 5, "to": 6, "where": {"client": "b"}}
    >>> during(windows, times).tolist()
    [False, False, False, True]
    """
    needed = {"start", "end", "from", "to"}
    if not isinstance(times, Mapping):
        raise RequestError(f"The time range is {times!r}", expected="`start`, `end`, `from` and `to`, by name")
    if not needed <= set(times) <= needed | {"where"}:
        raise RequestError(
            f"The time range has {', '.join(sorted(map(str, times))) or 'nothing'}",
            expected="`start` and `end` (columns), `from` and `to` (times), and optionally `where`",
        )
    raise_all(list(about_columns(columns, [times["start"], times["end"]], part)))
    starts, ends = (as_times(columns[times[key]]) for key in ("start", "end"))
    # One column may hold both moments.
    named = {times["start"]: starts, times["end"]: ends}
    raise_all([no_times(name, each) for name, each in named.items() if first_text(each)])
    judged = judge(columns, times["where"], part) if "where" in times else []
    possible = np.ones(len(starts), dtype=np.bool_)
    for _, each in judged:
        possible &= each.met | each.lacking
    if not possible.any():
        raise NothingMeets("No window meets the conditions of `where`", expected="conditions that some windows meet")
    try:
        first, last, last_begun = (
            moment(times[key], first_known(each), end=end)
            for key, each, end in (("from", starts, False), ("to", ends, True), ("to", ends, False))
        )
        judged += touched((times["start"], starts), (times["end"], ends), first, last, possible)
        reach = reach_of(starts, ends, possible)
        beyond = reach is not None and (
            first < on_clock_of(first, reach[0]) or last_begun > on_clock_of(last_begun, reach[1])
        )
    except TypeError as error:
        raise RequestError(
            f"The windows' times cannot be compared with {times['from']!r} and {times['to']!r}: {error}",
            expected="times of the type of the columns",
        ) from error
    if notes is not None and reach is not None and beyond and part not in HELD_OUT:
        notes.append(
            f"The time range from {first} to {last} is partly outside of the series, which goes from {reach[0]} to "
            f"{reach[1]}"
        )
    return decided(judged, f"{part} windows".strip(), missing, notes)
