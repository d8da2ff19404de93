"""The values of arrays as Python's own."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def listed(values: Any) -> Any:
    """The values of an array, tensor or column as a list; what is no array as it is.

    NumPy makes whole numbers of times that are finer than Python's, such as pandas' nanoseconds.

    >>> listed(np.array(["2026-01-31"], dtype="datetime64[ns]"))
    [datetime.datetime(2026, 1, 31, 0, 0)]
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "mM":
        unit, _ = np.datetime_data(values.dtype)
        if unit in ("ns", "ps", "fs", "as"):
            values = values.astype(f"{values.dtype.kind}8[us]")
    return values.tolist() if hasattr(values, "tolist") else values


def numbered(values: Iterable[Hashable]) -> NDArray[np.int64]:
    """A number for each different value, in the order of first appearance.

    >>> numbered(["b", "a", "b"]).tolist()
    [0, 1, 0]
    """
    places: dict[Hashable, int] = {}
    return np.array([places.setdefault(value, len(places)) for value in values], dtype=np.int64)


def as_written(values: NDArray[Any]) -> list[Any]:
    """The same of a table's column; a number of single precision is the one with the fewest digits that it stands for.

    A table shows 2.2, and a condition names 2.2; as 2.200000048 the number would be above that limit.

    >>> as_written(np.array([2.2, 7], dtype=np.float32))
    [2.2, 7.0]
    """
    if values.dtype.kind == "f" and values.dtype.itemsize < np.dtype(np.float64).itemsize:
        values = values.astype(str).astype(np.float64)
    found: list[Any] = listed(values)
    return found
