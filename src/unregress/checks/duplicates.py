"""Find duplicates: samples in two splits, samples both forgotten and retained, and equal inputs with other targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from unregress.checks.survey import Survey
from unregress.data.request import Mask
from unregress.errors import DataError

Pair = tuple[int, int]
"""Indices of two equal samples, one in each of two lists."""


def overlap(first: Survey, second: Survey) -> DataError | None:
    """Complain about samples that are in both of two splits; None if there are none."""
    pairs = _equal_pairs(first.contents, second.contents)
    if not pairs:
        return None
    one = pairs[0]
    return DataError(
        f"{len(pairs)} {second.name} samples have the same content as a {first.name} sample "
        f"({second.name} {one[1]} = {first.name} {int(first.rows[one[0]])}, for example)",
        expected="splits without common samples, which attacks and held-out errors assume",
        remedy="Remove the duplicates, or pass `allow_overlap` to continue with a warning in the report",
    )


def _equal_pairs(first: Sequence[bytes] | None, second: Sequence[bytes] | None) -> list[Pair]:
    """Index pairs of equal entries, in the second list's order; the first match in the first list is taken."""
    first_index = {row: index for index, row in reversed(list(enumerate(first or ())))}
    return [(first_index[row], index) for index, row in enumerate(second or ()) if row in first_index]


def retained_duplicates(train: Survey, forgotten: Mask) -> Iterator[str]:
    """Warn of samples to forget whose content, or whose inputs with another target, are also in the retain set.

    Args:
        train: the training set.
        forgotten: mask of its samples to forget.
    """
    if train.contents is None:
        return
    count, whole = int(forgotten.sum()), _retained_pairs(train.contents, forgotten)
    if whole:
        yield (
            f"{len(whole)} of the {count} samples to forget have a duplicate "
            "in the retain set: models keep learning from the duplicate what was to be forgotten"
        )
    if train.inputs is None:
        return
    same = {index for _, index in whole}
    if others := [pair for pair in _retained_pairs(train.inputs, forgotten) if pair[1] not in same]:
        retained, forget = (int(train.rows[index]) for index in others[0])
        yield (
            f"{len(others)} of the {count} samples to forget have the inputs of a retained sample with another target "
            f"(the first: train {forget} and train {retained}): models keep learning from these inputs"
        )


def _retained_pairs(rows: Sequence[bytes], forgotten: Mask) -> list[Pair]:
    """Index pairs of an equal retained and forgotten row, one for each such forgotten row."""
    retained: dict[bytes, int] = {}
    for index, (row, forget) in enumerate(zip(rows, forgotten, strict=True)):
        if not forget:
            retained.setdefault(row, index)
    pairs = enumerate(zip(rows, forgotten, strict=True))
    return [(retained[row], index) for index, (row, forget) in pairs if forget and row in retained]


def held_out_duplicates(train: Survey, held_out: Survey, forgotten: Mask) -> str | None:
    """Warn of held-out samples with the inputs of a sample to forget and another target.

    Args:
        train: the training set.
        held_out: another split.
        forgotten: mask of the training samples to forget.
    """
    if train.inputs is None or held_out.inputs is None or train.contents is None or held_out.contents is None:
        return None
    whole = {index for _, index in _equal_pairs(train.contents, held_out.contents)}
    indices = torch.from_numpy(forgotten).nonzero().squeeze(1).tolist()
    inputs = [train.inputs[index] for index in indices]
    pairs = [pair for pair in _equal_pairs(inputs, held_out.inputs) if pair[1] not in whole]
    if not pairs:
        return None
    first, second = pairs[0]
    return (
        f"{len(pairs)} {held_out.name} samples have the inputs of a sample to forget with another target (the first: "
        f"{held_out.name} {second} and train {int(train.rows[indices[first]])}): they are not unseen samples of the "
        "forgotten kind"
    )
