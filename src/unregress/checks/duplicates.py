"""The same sample twice: in two splits, or forgotten and retained; and the same input with another target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from unregress.checks.survey import Survey
from unregress.data.request import Mask
from unregress.errors import DataError

Pair = tuple[int, int]


def overlap(first: Survey, second: Survey) -> DataError | None:
    """A complaint about samples of one split that also are in another."""
    pairs = _pairs(first.contents, second.contents)
    if not pairs:
        return None
    one = pairs[0]
    return DataError(
        f"{len(pairs)} {second.name} samples have the same content as a {first.name} sample "
        f"({second.name} {one[1]} = {first.name} {int(first.rows[one[0]])}, for example)",
        expected="splits without common samples: attacks and held-out errors rest on it",
        remedy="Drop the duplicates, or pass `allow_overlap` to go on with a warning in the report",
    )


def _pairs(first: Sequence[bytes] | None, second: Sequence[bytes] | None) -> list[Pair]:
    """Places in the two of what both hold, in the second's order."""
    where = {row: place for place, row in reversed(list(enumerate(first or ())))}
    return [(where[row], place) for place, row in enumerate(second or ()) if row in where]


def twins(train: Survey, forgotten: Mask) -> Iterator[str]:
    """Warnings of samples to forget that are also retained, as a whole or with another target.

    Args:
        train: the training set.
        forgotten: which of its samples are to be forgotten.
    """
    if train.contents is None:
        return
    count, whole = int(forgotten.sum()), _kept(train.contents, forgotten)
    if whole:
        yield (
            f"{len(whole)} of the {count} samples to forget have a twin of the same content "
            "in the retain set: what they teach will be learnt from the twin"
        )
    if train.inputs is None:
        return
    same = {place for _, place in whole}
    if others := [pair for pair in _kept(train.inputs, forgotten) if pair[1] not in same]:
        kept, gone = (int(train.rows[place]) for place in others[0])
        yield (
            f"{len(others)} of the {count} samples to forget have the inputs of a retained sample with another target "
            f"(the first: train {gone} as train {kept}): the model keeps learning from what they show"
        )


def _kept(rows: Sequence[bytes], forgotten: Mask) -> list[Pair]:
    """Places of a retained and a forgotten row that are equal, one for each such forgotten row."""
    where: dict[bytes, int] = {}
    for place, (row, gone) in enumerate(zip(rows, forgotten, strict=True)):
        if not gone:
            where.setdefault(row, place)
    return [(where[row], place) for place, (row, gone) in enumerate(zip(rows, forgotten, strict=True))
            if gone and row in where]  # fmt: skip


def seen_again(train: Survey, held_out: Survey, forgotten: Mask) -> str | None:
    """A warning of held-out samples with a forgotten sample's inputs and another target.

    Args:
        train: the training set.
        held_out: another split.
        forgotten: which training samples are to be forgotten.
    """
    if train.inputs is None or held_out.inputs is None or train.contents is None or held_out.contents is None:
        return None
    whole = {place for _, place in _pairs(train.contents, held_out.contents)}
    places = torch.from_numpy(forgotten).nonzero().squeeze(1).tolist()
    gone = [train.inputs[place] for place in places]
    pairs = [pair for pair in _pairs(gone, held_out.inputs) if pair[1] not in whole]
    if not pairs:
        return None
    first, second = pairs[0]
    return (
        f"{len(pairs)} {held_out.name} samples have the inputs of a sample to forget with another target (the first: "
        f"{held_out.name} {second} as train {int(train.rows[places[first]])}): they are no unseen look-alikes of it"
    )
