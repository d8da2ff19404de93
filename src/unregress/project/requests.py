"""A project's requests: the samples to forget, named in one way, and what of the names is not in the data."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from unregress.data.conditions import named_by_content
from unregress.data.ids import by_text
from unregress.data.missing_values import Missing
from unregress.data.records_file import read_column
from unregress.data.request import ForgetRequest
from unregress.data.request_checks import require_list
from unregress.data.splits import HELD_OUT, Splits
from unregress.errors import RequestError, SettingError
from unregress.errors.wording import unknown_remedy
from unregress.tasks.base import Task


class NamedRequest(NamedTuple):
    """A request, and remarks on what it names and the data do not hold."""

    request: ForgetRequest
    not_found: tuple[str, ...] = ()


WAYS = ("subjects", "ids", "band", "where", "times")
"""The ways to name samples, as arguments of `Project.request`."""


def named_request(
    splits: Splits,
    task: Task[Any],
    *,
    reason: str = "",
    column: str | None = None,
    missing: Missing = "error",
    requested_by: str = "",
    requested_on: str = "",
    **ways: Any,
) -> NamedRequest:
    """Find the samples to forget; arguments as for `Project.request`.

    Raises:
        RequestError: no, several or unknown ways are used, there is no reason, or nothing matches.
        SettingError: `missing` is neither `error` nor `report`.
        DataError: a file cannot be read.
    """
    given = {name: value for name, value in ways.items() if value is not None}
    if len(given) != 1 or not given.keys() <= set(WAYS):
        raise RequestError(
            f"The request names its samples by {' and '.join(given) or 'nothing'}",
            expected=f"exactly one of {', '.join(WAYS)}",
        )
    if not reason:
        raise RequestError("The request has no reason", expected="`reason=`, a reference that reports quote")
    subjects, ids, band, where, times = map(given.get, WAYS)
    if missing not in ("error", "report"):
        raise SettingError(f"`missing` is {missing!r}", expected="error or report")
    if column is not None and not isinstance(ids if subjects is None else subjects, Path):
        raise RequestError(
            f"`column` is {column!r}, and no file is named", expected="`subjects` or `ids` as the `Path` of a file"
        )
    notes: list[str] = []
    if subjects is not None:
        everyone = {person for split in ("train", *HELD_OUT) for person in splits.subjects_of(split) or ()}
        people = _entries(subjects, column, everyone)
        if splits.subjects is not None:
            people = _present("subjects", people, everyone, missing, notes)
        found = ForgetRequest.subjects(splits, people, reason=reason)
    elif ids is not None:
        if splits.ids is None:
            raise RequestError("The data have no ids", expected="`ids=` of the project, one for each training sample")
        wanted, known = _entries(ids, column, splits.ids), set(splits.ids)
        found = ForgetRequest.ids(splits.ids, _present("ids", wanted, known, missing, notes), reason=reason)
    elif where is not None and not isinstance(where, Mapping):
        found = ForgetRequest.where(where, reason=reason)
    else:
        by_content = named_by_content(
            splits, task, band=band, where=where, times=times, reason=reason, missing=missing, notes=notes
        )
        if by_content is None:
            raise RequestError("The request names nothing", expected=f"one of {', '.join(WAYS)}")
        found = by_content
    return NamedRequest(replace(found, requested_by=requested_by, requested_on=requested_on), tuple(notes))


def _entries(named: Iterable[Hashable] | Path, column: str | None, known: Iterable[Hashable]) -> Iterable[Hashable]:
    """The people or ids as given, or those in a column of a file, matched with the known ones by their text."""
    if not isinstance(named, Path):
        return named
    named_known = by_text(list(known))
    return [named_known.get(text, text) for text in read_column(named, column)]


def _present(
    name: str, wanted: Iterable[Hashable], known: Collection[Hashable], missing: Missing, notes: list[str]
) -> list[Hashable]:
    """The people or ids to look for: all of them, or where unknown ones are only reported, those in the data.

    Args:
        name: `subjects` or `ids`.
        wanted: those that are named.
        known: those in the data.
        missing: whether unknown ones are an error.
        notes: extended by a sentence that counts the unknown ones.

    Raises:
        RequestError: none of them is in the data, or `wanted` is no list.
    """
    require_list(name, wanted)
    listed = list(wanted)
    if missing == "error":
        return listed
    present = [each for each in listed if each in known]
    called = "people" if name == "subjects" else "ids"
    if unknown := len(listed) - len(present):
        notes.append(f"{unknown} {called} of the request are not in the data")
    if unknown and not present:
        raise RequestError(
            f"None of the {unknown} {called} of the request is in the data",
            expected=f"{called} of the data",
            remedy=unknown_remedy(listed, known),
        )
    return present
