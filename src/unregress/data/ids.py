"""Ids of samples: as a list, as texts by which they are matched, and as salted hashes that files may hold."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence

from unregress.errors import DataError


def plain_ids(ids: object) -> list[Hashable] | None:
    """Ids as a list of values that can be compared, from a list, array, tensor or column of a table; None for none.

    Raises:
        DataError: they are of another kind.
    """
    if ids is None:
        return None
    values = ids.tolist() if hasattr(ids, "tolist") else ids
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        what = f"a single text, {ids!r}" if isinstance(ids, (str, bytes)) else f"of type {type(ids).__name__}"
        raise DataError(f"`ids` is {what}", expected="a list with one id per training sample")
    if odd := [value for value in values if not isinstance(value, Hashable)]:
        raise DataError(f"An id is {odd[0]!r}", expected="a text or a number for each sample")
    return list(values)


def wrong_number_of_ids(ids: int, samples: int) -> DataError:
    """The complaint about more or fewer ids than samples."""
    return DataError(f"There are {ids} ids for {samples} training samples", expected="one id per sample")


def id_texts(ids: Sequence[Hashable]) -> list[str]:
    """Ids as texts, by which they are matched.

    Raises:
        DataError: two ids that differ have the same text, as 1 and "1".
    """
    texts = [str(identity) for identity in ids]
    if (found := len(set(texts))) < (different := len(set(ids))):
        raise DataError(
            f"{different} different ids have {found} different texts",
            expected="ids that differ as texts too, unlike 1 and '1'",
            remedy="Use ids of one type",
        )
    return texts


def salt_of(data_digest: str) -> str:
    """A salt made from the content of the data: the same request on the same data gives the same bytes."""
    return hashlib.sha256(f"unregress record {data_digest}".encode()).hexdigest()[:32]


def salted(salt: str, text: str) -> str:
    """The first half of the SHA-256 of a text behind a salt, in hexadecimal."""
    return hashlib.sha256(f"{salt} {text}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
