"""Sentences to word ids: a regular expression, a list of words, two reserved ids."""

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
"""Ids that are no word's: filler behind a sentence's end, and any word that the vocabulary lacks."""
_TOKEN = re.compile(r"\w+(?=n't\b)|n't\b|'(?:s|re|ve|ll|d|m)\b|\d+(?:[.,]\d+)*(?!\w)|\w+|[^\w\s]")


def tokens(sentence: str) -> list[str]:
    """A sentence in lower case, cut into words, numbers, single signs and English clitics, as GloVe's words are.

    GloVe 840B also has capitalised words; they are not used, so that one vocabulary serves every file.

    >>> tokens("Cuba doesn't see a 1,500.5 m “major role”.")
    ['cuba', 'does', "n't", 'see', 'a', '1,500.5', 'm', '“', 'major', 'role', '”', '.']
    """
    return _TOKEN.findall(sentence.lower().replace("’", "'"))


@dataclass(frozen=True)
class Vocabulary:
    """Words and their ids; 0 is padding, 1 any other word.

    An embedding that is learned needs the words of all training sentences, those to be forgotten among them: original
    and gold must have one architecture.  So that a forgotten sentence had a word remains visible in the vocabulary;
    the gold leaves that word's vector as it was drawn.  With fixed vectors (GloVe) nothing is learned of words, and
    the held-out sentences' may be among them.

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
        """The words that occur at least `minimum` times in some sentences, in alphabetical order.

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
        """Word ids, padded with 0 on the right; `(n, length)` int64.

        Args:
            sentences: each with a word or sign.
            length: words per sentence, the rest is cut off; None for the longest sentence's.

        Raises:
            DataError: a sentence has nothing but white space.
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
