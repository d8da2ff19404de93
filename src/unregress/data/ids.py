"""Ids of samples: as a list, as the texts by which they are matched, and as the salted hashes that files hold."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence

from unregress.errors import DataError


def plain_ids(ids: object, name: str = "ids") -> list[Hashable] | None:
    """Convert ids to a list of hashable values.

    Args:
        ids: a list, array, tensor or column of a table; None for no ids.
        name: what messages call them.

    Raises:
        DataError: they are none of these, or an id is not hashable.
    """
    if ids is None:
        return None
    values = ids.tolist() if hasattr(ids, "tolist") else ids
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        found = f"the text {ids!r}" if isinstance(ids, (str, bytes)) else f"of type {type(ids).__name__}"
        raise DataError(f"`{name}` is {found}", expected="a list with one id per sample")
    if unhashable := [value for value in values if not isinstance(value, Hashable)]:
        raise DataError(f"An entry of `{name}` is {unhashable[0]!r}", expected="a text or a number for each sample")
    return list(values)


def id_texts(ids: Sequence[Hashable]) -> list[str]:
    """Convert ids to texts, by which they are matched.

    Raises:
        DataError: two different ids have the same text, such as 1 and "1".
    """
    texts = [str(identity) for identity in ids]
    if (different_texts := len(set(texts))) < (different_ids := len(set(ids))):
        raise DataError(
            f"{different_ids} different ids have {different_texts} different texts",
            expected="ids that differ as texts too, unlike 1 and '1'",
            remedy="Use ids of one type",
        )
    return texts


def by_text(ids: Sequence[Hashable]) -> dict[str, Hashable]:
    """The distinct ids by the texts by which they are matched.

    >>> by_text([3, 1, 3])
    {'3': 3, '1': 1}

    Raises:
        DataError: as `id_texts` raises.
    """
    return dict(zip(id_texts(ids), ids, strict=True))


def salt_of(data_digest: str) -> str:
    """A salt derived from the content of the data, so that the same request on the same data gives the same bytes."""
    return hashlib.sha256(f"unregress record {data_digest}".encode()).hexdigest()[:32]


def salted(salt: str, text: str) -> str:
    """The first half of the SHA-256 of salt and text, as hexadecimal digits."""
    return hashlib.sha256(f"{salt} {text}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
