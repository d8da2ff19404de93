"""Read ids or people from a column of a CSV, JSON-lines or Parquet file."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path

from unregress.data.missing_values import is_missing
from unregress.errors import RequestError
from unregress.errors.wording import some
from unregress.files.tables import JSON_LINES, read_columns


def read_column(path: Path, column: str | None, known: Container[str]) -> list[str]:
    """Read the entries of a column, as texts; entries that occur again count once.

    Args:
        path: a file with a heading or named fields.
        column: the column's name; None if the file has a single column.
        known: the ids or people of the data, as texts: a heading is none of them.

    Raises:
        DataError: the file cannot be read.
        RequestError: it has no such column, no rows, rows without an entry, or seems to have no heading.
    """
    table = read_columns(path)
    names = list(table)
    if column is None and len(names) == 1:
        column = names[0]
        _require_heading(path, column, table[column], known)
    if column is None or column not in names:
        raise RequestError(
            f"{path} has {f'the columns {some(names)}' if names else 'no columns'}"
            + ("" if column is None else f", and none is called {column!r}"),
            expected="the name of the column with the ids or people",
            remedy="Name it with `column`",
        )
    values = table[column]
    if missing := sum(map(is_missing, values)):
        raise RequestError(f"{missing} of {len(values)} rows of {path} have no {column!r}", expected="one for each row")
    if not len(values):
        raise RequestError(f"{path} has no rows", expected="one row for each id or person")
    return list(dict.fromkeys(map(str, values)))


def _require_heading(path: Path, name: str, values: Sequence[object], known: Container[str]) -> None:
    """Refuse a file whose first line was taken for the heading and looks like the entries below it.

    Whom it names would not be forgotten, and nobody would be told.

    Raises:
        RequestError: see above.
    """
    # The other formats have names for their columns.
    if path.suffix in (*JSON_LINES, ".parquet"):
        return
    if name in known or (_is_number(name) and all(map(_is_number, values))):
        kind = "a number as all entries are" if name not in known else "an entry of the data"
        raise RequestError(
            f"{path} seems to have no heading: its first line, {name!r}, is {kind}",
            expected="a first line with the name of the column",
            remedy="Add one; or if this is the heading, name it with `column`",
        )


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True
