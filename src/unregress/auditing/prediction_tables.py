"""Read tables of predictions: files, data frames, mappings of columns, arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unregress.data.ids import plain_ids, whole_text
from unregress.data.listed import listed
from unregress.errors import DataError, SettingError
from unregress.files.tables import Columns, read_columns
from unregress.metrics.predictions import Values

Source = str | Path | Mapping[str, Any] | Any
"""A table of predictions: a file, a data frame, a mapping of columns, or an array with the predictions alone."""
ID, PART, PREDICTION, TARGET = "id", "part", "prediction", "target"
"""Names of the columns."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One source as it was read."""

    name: str
    """Its role and file, for messages."""
    columns: Columns
    rows: int
    ids: list[str] | None
    """None if it has no column `id`: rows are then matched by their order."""
    path: Path | None = None
    bare: bool = False
    """Whether it is an array without columns of its own, whose rows are in the order of the data."""

    def named(self, kind: str) -> list[str]:
        """The columns of one kind: `prediction`, or `prediction_kg`, `prediction_cm`, … in their order."""
        return [name for name in self.columns if name == kind or name.startswith(f"{kind}_")]


def given_twice(sources: Mapping[str, Source]) -> Iterator[SettingError]:
    """Errors about files that have two roles, or are given as two golds."""
    first: dict[Path, str] = {}
    for name, source in sources.items():
        if isinstance(source, (str, Path)) and (other := first.setdefault(Path(source).resolve(), name)) != name:
            yield SettingError(
                f"{source} is given twice, as {other!r} and as {name!r}",
                expected="one file for each model, and golds of seeds that differ",
                remedy="Name each file once; a pattern such as 'gold-*.csv' must not match the judged models' files",
            )


def read_table(name: str, source: Source) -> Table:
    """Read one table.

    Args:
        name: its role, for messages.
        source: the table.

    Raises:
        DataError: it cannot be read, has no rows, or repeats an id.
        SettingError: it is Parquet and cannot be read here.
    """
    path = Path(source) if isinstance(source, (str, Path)) else None
    title = name if path is None else f"{name} ({path})"
    bare = False
    if path is not None:
        columns = read_columns(path)
    elif isinstance(source, Mapping) or hasattr(source, "columns"):
        columns = _columns_of(source)
    else:
        bare, columns = True, _columns_of_array(title, np.asarray(source))
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1 or not lengths or lengths == {0}:
        raise DataError(
            f"{title} has columns of different lengths" if len(lengths) > 1 else f"{title} has no rows",
            expected="a table with one row for each sample",
        )
    given = None if ID not in columns else _id_texts(plain_ids(columns[ID]) or [])
    if given is not None and (unnamed := sum(identity in ("", "None", "nan") for identity in given)):
        raise DataError(f"{title} has {unnamed} rows without an id", expected="an id for each row")
    if given is not None and (repeats := len(given) - len(set(given))):
        raise DataError(f"{title} names {repeats} ids more than once", expected="each id once, in the column `id`")
    return Table(name=title, columns=columns, rows=lengths.pop(), ids=given, path=path, bare=bare)


def _columns_of(source: Any) -> Columns:
    """The columns of a mapping or a data frame."""
    return {str(name): _listed(source[name]) for name in (source if isinstance(source, Mapping) else source.columns)}


def _listed(values: Any) -> Sequence[Any]:
    found: Sequence[Any] = listed(values) if hasattr(values, "tolist") else list(values)
    return found


def _columns_of_array(title: str, values: NDArray[Any]) -> Columns:
    if values.ndim == 2 and values.shape[1] != 1:
        return {f"{PREDICTION}_{number}": values[:, number - 1].tolist() for number in range(1, values.shape[1] + 1)}
    if values.ndim not in (1, 2):
        raise DataError(f"{title} is an array of shape {values.shape}", expected="(rows,) or (rows, outputs)")
    return {PREDICTION: values.reshape(-1).tolist()}


def _id_texts(ids: Sequence[object]) -> list[str]:
    """Ids as texts; a CSV file whose ids are all of the form 7.0 was written from numbers, and names 7.

    >>> _id_texts(["7.0", "8.0"]), _id_texts(["7.0", "7.5"])
    (['7', '8'], ['7.0', '7.5'])
    """
    texts = [_id_text(value) for value in ids]
    whole = [whole_text(text) for text in texts]
    return whole if all(short != text for short, text in zip(whole, texts, strict=True)) else texts


def _id_text(value: object) -> str:
    """An id as a text; a whole number read as 7.0, which a column with gaps makes of 7, is 7."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def numbers(column: Sequence[Any]) -> Values:
    """A column as numbers, `(n,)`; infinite where a value is no number, and NaN where it is missing.

    >>> numbers(["1.5", "", None, "n/a", True])
    array([1.5, nan, nan, inf, inf])
    """
    return np.array([_number(value) for value in column], dtype=np.float64)


def _number(value: object) -> float:
    if value is None or (isinstance(value, str) and not value.strip()):
        return nan
    if isinstance(value, (bool, np.bool_)):
        return inf
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return inf
