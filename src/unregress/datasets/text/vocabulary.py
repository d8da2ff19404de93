"""Convert sentences to word ids: tokens by a regular expression, a list of words, two reserved ids."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from unregress.errors import DataError, SettingError

PADDING, UNKNOWN = 0, 1
"""Reserved ids: padding behind a sentence's end, and words that are not in the vocabulary."""
_TOKEN = re.compile(r"\w+(?=n't\b)|n't\b|'(?:s|re|ve|ll|d|m)\b|\d+(?:[.,]\d+)*(?!\w)|\w+|[^\w\s]")


def tokens(sentence: str) -> list[str]:
    """Split a sentence in lower case into words, numbers, punctuation and English clitics, as GloVe's tokens are.

    GloVe 840B also has capitalised words; they are not used, so that one vocabulary suits every file.

    >>> tokens("Cuba doesn't see a 1,500.5 m “major role”.")
    ['cuba', 'does', "n't", 'see', 'a', '1,500.5', 'm', '“', 'major', 'role', '”', '.']
    """
    return _TOKEN.findall(sentence.lower().replace("’", "'"))


@dataclass(frozen=True)
class Vocabulary:
    """Words and their ids; 0 is padding, 1 an unknown word.

    A learned embedding needs the words of all training sentences, those to be forgotten included, since original and
    gold must have the same architecture.  So the vocabulary reveals that some forgotten sentence had a word; in a gold
    that word's vector keeps its initial value.  With fixed vectors (GloVe) nothing is learned about words, and the
    vocabulary may contain those of held-out sentences.

    Raises:
        DataError: a word occurs twice.
    """

    words: tuple[str, ...]
    """Word i has the id i + 2."""

    def __post_init__(self) -> None:
        if len(self._ids) != len(self.words):
            raise DataError(f"{len(self.words) - len(self._ids)} words of the vocabulary occur twice")

    @classmethod
    def of(cls, sentences: Iterable[str], minimum: int = 1) -> Vocabulary:
        """Build a vocabulary of the words that occur at least `minimum` times, in alphabetical order.

        >>> Vocabulary.of(["A man eats.", "A man."], minimum=2).words
        ('.', 'a', 'man')
        """
        counts: dict[str, int] = {}
        for sentence in sentences:
            for word in tokens(sentence):
                counts[word] = counts.get(word, 0) + 1
        return cls(tuple(sorted(word for word, count in counts.items() if count >= minimum)))

    def __len__(self) -> int:
        """Number of ids, the two reserved ones included: rows of an embedding."""
        return len(self.words) + 2

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words, UNKNOWN + 1)}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the words in order."""
        return hashlib.sha256("\n".join(self.words).encode()).hexdigest()

    def encode(self, sentences: Sequence[str], length: int | None = None) -> Tensor:
        """Convert sentences to word ids, padded with 0 on the right; `(n, length)` int64.

        Args:
            sentences: each with at least one word or punctuation mark.
            length: words per sentence, the rest is cut off; None for the longest sentence's number.

        Raises:
            DataError: a sentence is empty or has only white space.
            SettingError: `length` is less than 1.

        >>> Vocabulary(("a", "man")).encode(["A man!", "man"])
        tensor([[2, 3, 1],
                [3, 0, 0]])
        """
        if length is not None and length < 1:
            raise SettingError(f"length is {length}", expected="1 or more")
        rows = [[self._ids.get(word, UNKNOWN) for word in tokens(sentence)] for sentence in sentences]
        if empty := [place for place, row in enumerate(rows) if not row]:
            raise DataError(f"{len(empty)} of {len(rows)} sentences have no word, the first at position {empty[0]}")
        ids = torch.full((len(rows), length or max(map(len, rows), default=1)), PADDING)
        for row, known in zip(ids, rows, strict=True):
            cut = known[: len(row)]
            row[: len(cut)] = torch.tensor(cut)
        return ids
