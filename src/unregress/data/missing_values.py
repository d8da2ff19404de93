"""Missing values: what stands for one, and what a request does about samples that lack a value."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

Missing = Literal["error", "report"]
"""Whether what a request cannot find or decide is an error, or is left out and counted in the report."""


def is_missing(value: Any) -> bool:
    """Whether a value stands for a missing one: None, NaN, pandas' NA and NaT, NumPy's NaT, or blank text.

    >>> [is_missing(value) for value in (None, float("nan"), " ", 0, "0")]
    [True, True, True, False, False]
    """
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, str):
        return not value.strip()
    return isinstance(unequal := value != value, (bool, np.bool_)) and bool(unequal)
