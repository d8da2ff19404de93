"""The values of arrays as Python's own."""

from __future__ import annotations

from typing import Any

import numpy as np


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
