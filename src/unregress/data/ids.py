"""Ids of samples: as a list, as the texts by which they are matched, and as the salted hashes that files hold."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable, Sequence

import numpy as np

from unregress.data.listed import listed
from unregress.errors import DataError

EXACT = 2.0**53
"""Below this number every whole number has a float of its own."""


def plain_ids(ids: object, name: str = "ids") -> list[Hashable] | None:
    """Convert ids to a list of hashable values; whole numbers that a table holds as 7.0 become 7.

    Args:
        ids: a list, array, tensor or column of a table; None for no ids.
        name: what messages call them.

    Raises:
        DataError: they are none of these, or an id is not hashable.
    """
    if ids is None:
        return None
    values = listed(ids)
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        found = f"the text {ids!r}" if isinstance(ids, (str, bytes)) else f"of type {type(ids).__name__}"
        raise DataError(f"`{name}` is {found}", expected="a list with one id per sample")
    if unhashable := [value for value in values if not isinstance(value, Hashable)]:
        raise DataError(f"An entry of `{name}` is {unhashable[0]!r}", expected="a text or a number for each sample")
    plain: list[Hashable] = [value.item() if isinstance(value, np.number | np.str_) else value for value in values]
    floats = [value for value in plain if isinstance(value, float)]
    if floats and all(value.is_integer() and abs(value) < EXACT for value in floats):
        return [int(value) if isinstance(value, float) else value for value in plain]
    return plain


def whole_text(text: str) -> str:
    """The text of an id without the zeros that a table adds to a whole number; other texts as they are.

    >>> [whole_text(text) for text in ("7.0", "7", "7.5", "v7.0")]
    ['7', '7', '7.5', 'v7.0']
    """
    return text.partition(".")[0] if re.fullmatch(r"-?\d{1,15}\.0+", text) else text


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
