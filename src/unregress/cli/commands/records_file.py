"""Read ids or people from a column of a CSV, Parquet or JSON-lines file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unregress.errors import RequestError
from unregress.errors.wording import some

FORMATS = {".csv": "read_csv", ".parquet": "read_parquet", ".jsonl": "read_json", ".ndjson": "read_json"}
"""The functions of pandas that read a file, by its ending."""


def read_column(path: Path, column: str | None) -> list[str]:
    """Read the entries of a column, as texts; entries that occur again count once.

    Args:
        path: a file with a heading or named fields.
        column: the column's name; None if the file has a single column.

    Raises:
        RequestError: the file cannot be read, has no such column, no rows, or rows without an entry.
    """
    table = _table(path)
    names = [str(name) for name in table.columns]
    if column is None and len(names) == 1:
        column = names[0]
    if column is None or column not in names:
        raise RequestError(
            f"{path} has the columns {some(names)}" + ("" if column is None else f", and none is called {column!r}"),
            expected="the name of the column with the ids or people",
            remedy="Name it with `request.column`",
        )
    values = table[column]
    if missing := int(values.isna().sum()):
        raise RequestError(f"{missing} of {len(values)} rows of {path} have no {column!r}", expected="one for each row")
    if not len(values):
        raise RequestError(f"{path} has no rows", expected="one row for each id or person")
    return list(dict.fromkeys(map(str, values.tolist())))


def _table(path: Path) -> Any:
    reader = FORMATS.get(path.suffix.lower())
    if reader is None:
        raise RequestError(
            f"{path} ends in {path.suffix!r}",
            expected=f"a file that ends in {', '.join(FORMATS)}",
            remedy="A text file of ids, one a line, is given by `request.ids_file`",
        )
    try:
        import pandas
    except ImportError as error:
        raise RequestError(f"{path} cannot be read without pandas", remedy="Install `unregress[tables]`") from error
    options: dict[str, Any] = {
        "read_csv": {"dtype": str},
        "read_parquet": {},
        "read_json": {"lines": True, "dtype": False},
    }[reader]
    try:
        return getattr(pandas, reader)(path, **ways[reader])
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RequestError(f"{path} cannot be read: {reason}", expected=f"a {path.suffix[1:]} file") from error
