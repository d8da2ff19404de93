"""Long settings in a record: arrays, tables, lists and texts are replaced by their size and SHA-256."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST = 1000
"""Characters of a list or text that are recorded as they are; of longer ones size and SHA-256 are."""
MOST = 100
"""Numbers of an array, entries of a mapping, and mappings in a list that are recorded one by one."""


def shortened(value: Any) -> Any:
    """Plain data without long lists, texts and mappings: each is replaced by its size and SHA-256, as text.

    Equal values have equal texts, and different values different ones.

    Args:
        value: as JSON holds it.

    >>> shortened({"epochs": 3, "names": ["a", "b"]})
    {'epochs': 3, 'names': ['a', 'b']}
    >>> shortened([0] * 2000)[:29]
    'list of 2,000 values, SHA-256'
    >>> shortened([{"seed": 3, "name": "a" * 990}])[0]["seed"]
    3
    """
    if isinstance(value, dict):
        found = {name: shortened(each) for name, each in value.items()}
        return found if len(found) <= MOST else _summary(f"{len(found):,} values by name", json.dumps(found))
    if isinstance(value, str):
        return value if len(value) <= LONGEST else _summary(f"text of {len(value):,} characters", value)
    if isinstance(value, list) and len(value) <= MOST and all(isinstance(each, dict) for each in value):
        return [shortened(each) for each in value]
    if isinstance(value, list):
        text = json.dumps(value)
        return value if len(text) <= LONGEST else _summary(f"list of {len(value):,} values", text)
    return value


def _summary(what: str, content: str | bytes) -> str:
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return f"{what}, SHA-256 {hashlib.sha256(data).hexdigest()}"


def table_of(value: Any) -> dict[str, Any] | None:
    """A data frame's columns by name, and its index if it has one; None for anything else."""
    if not (hasattr(value, "columns") and hasattr(value, "to_numpy")):
        return None
    found: dict[str, Any] = {"columns": {str(name): value[name] for name in value.columns}}
    index = getattr(value, "index", None)
    return found if index is None else {**found, "index": np.asarray(index)}


def array_of(value: Any) -> NDArray[Any] | None:
    """An array, tensor or column of a table as an array of NumPy's; None for anything else."""
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        value = value.detach().cpu()
        try:
            return np.asarray(value)
        except TypeError:  # NumPy has no bfloat16
            return np.asarray(value.double())
    return np.asarray(value) if hasattr(value, "__array__") and not isinstance(value, type) else None


def numbers_of(array: NDArray[Any]) -> Any:
    """The entries of a small array or of one of Python objects, as a list; of a large one type, shape and SHA-256.

    >>> numbers_of(np.arange(3))
    [0, 1, 2]
    >>> numbers_of(np.zeros((50, 4)))[:33]
    'array (50, 4) of float64, SHA-256'
    """
    if array.dtype.kind in "OV":
        return array.tolist()
    if array.size <= MOST:
        return array.astype(str).tolist() if array.dtype.kind in "Mm" else array.tolist()
    return _summary(f"array {array.shape} of {array.dtype}", f"{array.shape} {array.dtype} ".encode() + array.tobytes())
