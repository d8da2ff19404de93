"""Find records in today's training data by salted hashes of their ids, whatever their positions are now."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

from unregress.data.ids import id_texts, salt_of, salted
from unregress.data.splits import Splits

KEPT = 256
"""Hashes in a sketch: its estimate of a share is off by three percentage points (standard error) at most."""


@dataclass(frozen=True)
class TrainingRecords:
    """Today's training data, as records are looked up in them."""

    data: Splits

    @property
    def ids(self) -> Sequence[Hashable] | None:
        """The id of each sample, if the data have any."""
        return self.data.ids

    @property
    def size(self) -> int:
        """Number of samples."""
        return self.data.size

    @property
    def hashes(self) -> list[bytes]:
        """SHA-256 of each sample's content."""
        return self.data.row_hashes("train_eval")

    @property
    def digest(self) -> str:
        """SHA-256 of the training data."""
        return self.data.data_digest

    def by_hash(self, salt: str) -> dict[str, list[int]]:
        """Positions of the samples by the salted hash of their id."""
        if salt not in self._known:
            places: dict[str, list[int]] = {}
            for position, text in enumerate(id_texts(self.data.ids or ())):
                places.setdefault(salted(salt, text), []).append(position)
            self._known[salt] = places
        return self._known[salt]

    def samples_by_hash(self, salt: str) -> set[str]:
        """The salted hash of each sample: of its id and its content."""
        return {
            salted(salt, f"{text} {content.hex()}")
            for text, content in zip(id_texts(self.data.ids or ()), self.hashes, strict=True)
        }

    @cached_property
    def _known(self) -> dict[str, dict[str, list[int]]]:
        return {}


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """Which samples a model was trained on, by the lowest of their salted hashes.

    The hashes are as good as random numbers, so that the lowest are a random draw of all samples, and the same one
    each time.  How many of them are found again estimates the share of all samples that are still there, unchanged; see
    Bar-Yossef et al. (2002) and Cohen (1997) for such bottom-k sketches.
    """

    samples: int
    """Training samples."""
    salt: str
    lowest: tuple[str, ...]
    """Salted hashes of samples, id and content together, ascending; all of them where there are fewer than 256."""

    @classmethod
    def of(cls, data: TrainingRecords) -> Sketch | None:
        """The sketch of today's training data; None where samples have no ids."""
        if data.ids is None:
            return None
        salt = salt_of(data.digest)
        return cls(samples=data.size, salt=salt, lowest=tuple(heapq.nsmallest(KEPT, data.samples_by_hash(salt))))

    def present(self, data: TrainingRecords) -> float:
        """The share of the samples that are in today's training data, unchanged; an estimate."""
        there = data.samples_by_hash(self.salt)
        return sum(each in there for each in self.lowest) / max(1, len(self.lowest))
