"""Read the columns of a CSV, JSON-lines or Parquet file."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unregress.errors import DataError, SettingError

Columns = dict[str, Sequence[Any]]
"""The values of each column, by its name; texts where the file is a CSV."""
JSON_LINES = (".jsonl", ".ndjson")
_FORMATS = "a CSV file, JSON lines (.jsonl, .ndjson) or Parquet (.parquet)"
_SEPARATORS = ",;\t"


def read_columns(path: Path) -> Columns:
    """Read a table; the file's ending says its format, and every other ending is read as CSV.

    A CSV file has a heading, and its separator is the comma, the semicolon or the tab, whichever the heading has most
    of.  Each line of JSON lines is an object.  Parquet needs the extra `tables`.

    Args:
        path: the file.

    Raises:
        DataError: the file cannot be read, or its rows are not those of one table.
        SettingError: pyarrow, which reads Parquet, is not installed.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{path} cannot be read: it is not a file", expected=_FORMATS)
    try:
        if path.suffix == ".parquet":
            return _parquet(path)
        # Excel begins UTF-8 text with a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _json_lines(path, file) if path.suffix in JSON_LINES else _csv(path, file)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}", expected=_FORMATS) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text", expected=_FORMATS) from error


def _csv(path: Path, file: Any) -> Columns:
    heading = file.readline()
    separator = max(_SEPARATORS, key=heading.count)
    file.seek(0)
    try:
        names, *rows = [row for row in csv.reader(file, delimiter=separator) if row] or [[]]
    except csv.Error as error:
        raise DataError(f"{path} is not a table: {error}", expected=_FORMATS) from error
    names = [name.strip() for name in names]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{path} has the column {repeated[0]!r} twice", remedy="Give each column a name of its own")
    if uneven := [number for number, row in enumerate(rows, 1) if len(row) != len(names)]:
        raise DataError(
            f"{path}: {len(uneven)} rows have not as many values as the heading has columns, the first is row "
            f"{uneven[0]}",
            expected=f"{len(names)} values in each row",
        )
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _json_lines(path: Path, file: Any) -> Columns:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: line {number} is not JSON", expected="an object in each line") from error
        if not isinstance(row, dict) or (rows and row.keys() != rows[0].keys()):
            raise DataError(
                f"{path}: line {number} is not an object with the names of the first line",
                expected="an object in each line, all with the same names",
            )
        rows.append(row)
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def _parquet(path: Path) -> Columns:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise SettingError(
            f"{path} is a Parquet file, and pyarrow is not installed",
            remedy="Install it with pip install 'unregress[tables]', or write a CSV file",
        ) from error
    try:
        table = parquet.read_table(path)
    except pyarrow.ArrowException as error:
        raise DataError(f"{path} is not a Parquet file: {error}", expected=_FORMATS) from error
    return {name: table[name].to_pylist() for name in table.column_names}
