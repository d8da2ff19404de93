"""A project's requests: the samples to forget, named in one way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unregress.data.conditions import named_by_content
from unregress.data.missing_values import Missing
from unregress.data.records_file import read_column
from unregress.data.request import ForgetRequest
from unregress.data.request_checks import require_list
from unregress.data.samples_by_name import Names
from unregress.data.splits import Splits
from unregress.errors import RequestError, SettingError
from unregress.files.tables import JSON_LINES
from unregress.tasks.base import Task

WAYS = ("subjects", "ids", "band", "where", "times")
"""The ways to name samples, as arguments of `Project.request`."""
TABLES = (".csv", ".tsv", ".parquet")
"""Endings of tables, besides those of JSON lines."""


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
) -> ForgetRequest:
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
    named = ids if subjects is None else subjects
    file = _file(named)
    if column is not None and file is None:
        raise RequestError(
            f"`column` is {column!r}, and no file is named", expected="`subjects` or `ids` as the path of a file"
        )
    notes: list[str] = []
    if subjects is not None or ids is not None:
        names = Names.of(splits, "people" if ids is None else "ids")
        wanted: Any = named if file is None else read_column(file, column, names)
        if file is None:
            require_list("subjects" if ids is None else "ids", wanted)
        found = ForgetRequest.named(
            names,
            wanted,
            reason=reason,
            as_text=file is not None,
            notes=notes if missing == "report" else None,
        )
    elif where is not None and not isinstance(where, Mapping):
        found = ForgetRequest.where(where, reason=reason)
        if found.size != splits.size:
            raise RequestError(
                f"The mask has {found.size} values for {splits.size} training samples", expected="one for each"
            )
    else:
        by_content = named_by_content(
            splits, task, band=band, where=where, times=times, reason=reason, missing=missing, notes=notes
        )
        if by_content is None:
            raise RequestError("The request names nothing", expected=f"one of {', '.join(WAYS)}")
        found = by_content
    return replace(found, requested_by=requested_by, requested_on=requested_on, not_found=tuple(notes))


def _file(named: object) -> Path | None:
    """The file that lists people or ids, if a path is given: as text, one with the ending of a table."""
    if isinstance(named, str) and Path(named).suffix in (*TABLES, *JSON_LINES) and Path(named).is_file():
        return Path(named)
    return named if isinstance(named, Path) else None
