"""Find samples in the present training data by salted hashes of their ids, independent of their positions."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from unregress.data.case import Case
from unregress.data.ids import id_texts, salt_of, salted, whole_text
from unregress.data.splits import HELD_OUT, Split, Splits

By = Literal["samples", "subjects"]
"""Whether a request names samples or people."""
KEPT = 256
"""Number of hashes in a sketch; the standard error of its estimated share is at most three percentage points."""


@dataclass(frozen=True)
class TrainingRecords:
    """The present training data, indexed by hashes of ids and contents."""

    data: Splits

    @property
    def ids(self) -> Sequence[Hashable] | None:
        """The id of each sample, or else whose record it is; None if the data have neither."""
        return self.data.subjects if self.data.ids is None else self.data.ids

    def named(self, by: By, split: Split = "train") -> Sequence[Hashable] | None:
        """The ids, or the people, of a split's samples; None if the data have none."""
        return self.data.subjects_of(split) if by == "subjects" else self.data.ids_of(split)

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

    def by_hash(self, salt: str, by: By = "samples", split: Split = "train") -> dict[str, list[int]]:
        """Positions of a split's samples for each salted hash of an id, or of a person."""
        key = (salt, by, split)
        if key not in self._known:
            places: dict[str, list[int]] = {}
            texts = id_texts(self.named(by, split) or ())
            known = set(texts)
            for position, text in enumerate(texts):
                places.setdefault(salted(salt, text), []).append(position)
                # Earlier versions recorded the whole numbers of a table as 7.0.
                if (earlier := f"{text}.0") not in known and whole_text(earlier) == text:
                    places.setdefault(salted(salt, earlier), []).append(position)
            self._known[key] = places
        return self._known[key]

    def samples_by_hash(self, salt: str) -> set[str]:
        """Salted hashes of all samples, each of id and content."""
        return {
            salted(salt, f"{text} {content.hex()}")
            for text, content in zip(id_texts(self.ids or ()), self.hashes, strict=True)
        }

    @cached_property
    def _known(self) -> dict[tuple[str, By, Split], dict[str, list[int]]]:
        return {}


def held_out_hashes(case: Case, salt: str) -> dict[str, tuple[str, ...]]:
    """Salted hashes of the ids of the held-out samples of a request by samples, by split."""
    request, found = case.requested, dict[str, tuple[str, ...]]()
    for split in HELD_OUT:
        ids, rows = case.splits.ids_of(split), request.held_out(split)
        if salt and rows and ids is not None and request.by == "samples":
            found[split] = tuple(sorted({salted(salt, text) for text in id_texts([ids[row] for row in rows])}))
    return found


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """Bottom-k sketch of a training set: the lowest salted hashes of its samples.

    The lowest hashes are a pseudo-random, reproducible sample of all hashes.  So the share of them that is found in
    other data estimates the share of all samples that these data still contain, unchanged; see Bar-Yossef et al. (2002)
    and Cohen (1997).
    """

    samples: int
    """Number of training samples."""
    salt: str
    lowest: tuple[str, ...]
    """The 256 lowest salted hashes of samples, each of id and content, ascending; all if there are fewer."""

    @classmethod
    def of(cls, data: TrainingRecords) -> Sketch | None:
        """Sketch the present training data; None if samples have no ids."""
        if data.ids is None:
            return None
        salt = salt_of(data.digest)
        return cls(samples=data.size, salt=salt, lowest=tuple(heapq.nsmallest(KEPT, data.samples_by_hash(salt))))

    def present(self, data: TrainingRecords) -> float:
        """Estimate the share of the sketched samples that the present training data contain, unchanged."""
        present = data.samples_by_hash(self.salt)
        return sum(each in present for each in self.lowest) / max(1, len(self.lowest))
