"""Apply a function to the tensors of a nested batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from copy import copy
from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import Tensor


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor."""
    return isinstance(value, Tensor)


def map_leaves(function: Callable[[Any], Any], data: Any, is_leaf: Callable[[Any], bool] = is_tensor) -> Any:
    """Apply `function` to each leaf of a nested structure; returns the same structure.

    Args:
        function: applied to leaves.
        data: mappings, sequences, named tuples and dataclasses, nested in any way; other values that are not leaves are
            kept as they are.
        is_leaf: whether a value is passed to `function` as a whole; by default whether it is a tensor.

    >>> import torch
    >>> map_leaves(torch.neg, {"x": [torch.tensor(1), "text"], "n": 2})
    {'x': [tensor(-1), 'text'], 'n': 2}
    """
    if is_leaf(data):
        return function(data)
    if is_dataclass(data) and not isinstance(data, type):
        values = {field.name: getattr(data, field.name) for field in fields(data) if field.init}
        return replace(data, **{name: map_leaves(function, value, is_leaf) for name, value in values.items()})
    if isinstance(data, Mapping):
        mapped = {key: map_leaves(function, value, is_leaf) for key, value in data.items()}
        if not isinstance(data, MutableMapping):
            return type(data)(mapped)  # type: ignore[call-arg]
        # A copy keeps the mapping's other attributes, such as a default factory.
        result = copy(data)
        result.update(mapped)
        return result
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes, range)):
        items = [map_leaves(function, item, is_leaf) for item in data]
        return type(data)(*items) if hasattr(data, "_fields") else type(data)(items)  # type: ignore[call-arg]
    return data
