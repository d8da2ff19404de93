"""Keys by which samples are found in data that have changed, and digests of sets of samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from hashlib import sha256

import torch
from torch import Tensor

from unregress.data.case import Case
from unregress.data.splits import Split, Splits


def sample_keys(splits: Splits, split: Split) -> list[bytes]:
    """Keys of the samples of a split: SHA-256 of the content, and of the person where it is known.

    By them a table finds its samples in the data, also after others were deleted.

    Raises:
        DataError: there is no such split.
    """
    hashes, people = splits.row_hashes(split), splits.subjects_of(split)
    if people is None:
        return hashes
    return [sha256(key + str(person).encode()).digest() for key, person in zip(hashes, people, strict=True)]


def digest_of_samples(splits: Splits, rows: Iterable[int]) -> str:
    """Digest of some training samples, whatever their order; that of some less that of others is that of the rest.

    The sum of their keys as numbers, modulo 2²⁵⁶, in hexadecimal digits.
    """
    keys = sample_keys(splits, "train_eval")
    return _hexadecimal(sum(int.from_bytes(keys[row]) for row in rows))


def digests_after_requests(case: Case, known: Set[int]) -> Set[str]:
    """Digests of the samples that a model may have been trained on, after some of a case's requests.

    They are those that a table knows, less those of the requests that came before the training: of the first ones, or
    of the one that the case is about and the first others.
    """
    keys = sample_keys(case.splits, "train_eval")
    own = [] if case.request is None else [case.request]
    others = [other for each in own for other in each.others]
    whole, found = sum(int.from_bytes(keys[row]) for row in known), set[str]()
    for order in ([*others, *own], [*own, *others]):
        left, gone = whole, set[int]()
        found.add(_hexadecimal(left))
        for request in order:
            new = (set(request.forget) & known) - gone
            gone |= new
            left -= sum(int.from_bytes(keys[row]) for row in new)
            found.add(_hexadecimal(left))
    return found


def kept_among(keys: Sequence[bytes], case: Case, splits: Sequence[Split]) -> Tensor:
    """Places of the keys of held-out samples that no request forgets, ascending; of copies as many as are kept."""
    hashes = {split: sample_keys(case.splits, split) for split in splits}
    there = Counter(hashes[split][row] for split in splits for row in case.kept(split))
    found = []
    for place, key in enumerate(keys):
        if there[key]:
            there[key] -= 1
            found.append(place)
    return torch.tensor(found, dtype=torch.int64)


def retained_copies(case: Case) -> int:
    """Number of samples to forget of which a copy is retained, where people, who are left out whole, are not known."""
    if case.splits.subjects is not None:
        return 0
    keys = sample_keys(case.splits, "train_eval")
    kept = {keys[row] for row in case.kept("train")}
    return sum(keys[row] in kept for row in case.requested.forget)


def _hexadecimal(number: int) -> str:
    return f"{number % 2**256:064x}"
