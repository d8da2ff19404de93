"""Check what the data say of each sample: its id, whose record it is, and the values of its columns."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from unregress.data.missing_values import is_missing
from unregress.errors import DataError
from unregress.errors.wording import type_names


def about_names(
    name: str, found: Sequence[Hashable] | None, split: str, size: int, trained: Sequence[Hashable] | None
) -> Iterator[DataError]:
    """Complain about the ids or people of a split: their number, missing ones, and types unlike the training set's.

    Args:
        name: the field of `Splits`: `ids`, `test_subjects`, ...
        found: one for each sample; None for none.
        split: the split.
        size: its number of samples.
        trained: those of the training samples.
    """
    people = name.endswith("subjects")
    if found is None:
        if people and trained is not None and size:
            yield DataError(
                f"`subjects` is given, and `{name}` is not",
                expected=f"whose record each {split} sample is, since a request is about all records of a person",
            )
        return
    if len(found) != size:
        yield DataError(f"`{name}` has {len(found)} entries for {size} {split} samples", expected="one for each")
    if missing := [place for place, value in enumerate(found) if is_missing(value)]:
        yield DataError(
            f"`{name}` has {len(missing)} missing values, the first at position {missing[0]}",
            expected="a person for each sample" if people else "an id for each sample",
            remedy=f"Drop these samples, or give each {'a person' if people else 'an id'} of its own",
        )
    if split == "train":
        return
    if trained is None and not people:
        yield DataError(f"`{name}` is given, and `ids` is not", expected="an id for each training sample too")
    kinds, known = ({_kind(value) for value in each or ()} for each in (found, trained))
    if known and kinds and not kinds <= known:
        yield DataError(
            f"`{name}` holds {type_names(found)} and `{name.removeprefix(f'{split}_')}` {type_names(trained or ())}",
            expected="the same type, or one would not be found in both",
        )


def _kind(value: Hashable) -> type:
    """The type of a name; whole numbers equal numbers with a fraction."""
    return float if type(value) is int else type(value)


def plain_columns(columns: Any) -> dict[str, Any]:
    """Columns by name, each of which is read by position: a data frame's column is read by its labels.

    Raises:
        DataError: they are no columns by name.
    """
    if not isinstance(columns, Mapping) and not all(hasattr(columns, each) for each in ("columns", "__len__")):
        raise DataError(
            f"The columns of samples are of type {type(columns).__name__}",
            expected="lists or arrays by name, or a data frame",
        )
    names = columns if isinstance(columns, Mapping) else columns.columns
    found = {str(name): columns[name] for name in names}
    return {name: each if isinstance(each, list | tuple | np.ndarray) else list(each) for name, each in found.items()}


def about_columns(split: str, size: int, columns: Mapping[str, Sequence[Any]]) -> Iterator[DataError]:
    """Complain about columns that do not have a value for each sample of a split."""
    for name, values in columns.items():
        if len(values) != size:
            yield DataError(
                f"The column {name!r} has {len(values)} values for {size} {split} samples", expected="one for each"
            )
