"""Read ids or people from a column of a CSV, JSON-lines or Parquet file."""

from __future__ import annotations

from pathlib import Path

from unregress.data.missing_values import is_missing
from unregress.errors import RequestError
from unregress.errors.wording import some
from unregress.files.tables import read_columns


def read_column(path: Path, column: str | None) -> list[str]:
    """Read the entries of a column, as texts; entries that occur again count once.

    Args:
        path: a file with a heading or named fields.
        column: the column's name; None if the file has a single column.

    Raises:
        DataError: the file cannot be read.
        RequestError: it has no such column, no rows, or rows without an entry.
    """
    table = read_columns(path)
    names = list(table)
    if column is None and len(names) == 1:
        column = names[0]
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
