"""The chain of forget requests that some models have forgotten, and their samples in the present data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from unregress.data.ids import salted
from unregress.data.request import ForgetRequest
from unregress.runs.record_matching import By, TrainingRecords
from unregress.runs.request_record import Found, RequestRecord, read_requests


@dataclass(frozen=True)
class Chain:
    """The requests that some models have forgotten, in order and without repetition, with the present data."""

    data: TrainingRecords
    records: tuple[RequestRecord, ...] = field(default=())

    @classmethod
    def of(cls, folders: Iterable[Path], data: TrainingRecords) -> Chain:
        """Collect the requests of some run folders; weights files and folders of originals have none.

        Raises:
            StaleError: a folder's request cannot be read, or was made with other data.
        """
        return cls(data, tuple(dict.fromkeys(each for folder in folders for each in read_requests(folder))))

    @cached_property
    def found(self) -> tuple[Found, ...]:
        """Each request's samples in the present data."""
        return tuple(record.find(self.data) for record in self.records)

    @cached_property
    def positions(self) -> frozenset[int]:
        """Present positions of all samples that the requests name."""
        return frozenset(i for found in self.found for i in found.positions)

    def requests(self, *, but: Iterable[int] = ()) -> list[ForgetRequest]:
        """The requests with present positions, except those whose samples no longer exist and the request `but`.

        Args:
            but: positions of the request to leave out.
        """
        own, seen = self._index_of(but), set[int]()
        made = []
        for index, found in enumerate(self.found):
            # A sample that two requests name belongs to the first.
            positions = tuple(i for i in found.positions if i not in seen)
            seen |= set(positions)
            # Held-out samples may remain where the training samples are gone: they stay out too.
            if (positions or any(found.held_out.values())) and index != own:
                made.append(found.record.request_at(self.data.size, positions, found.held_out))
        return made

    def last(self) -> ForgetRequest | None:
        """The last request beside all others; None if there is none, or none of its samples exists."""
        if not self.found or not self.found[-1].positions:
            return None
        own = self.found[-1].request(self.data.size)
        return own.beside(*self.requests(but=own.forget))

    def before(self, request: Iterable[int]) -> tuple[RequestRecord, ...]:
        """The records of all requests except one, including those whose samples no longer exist.

        Args:
            request: positions of the request to leave out.
        """
        own = self._index_of(request)
        return tuple(record for index, record in enumerate(self.records) if index != own)

    def _index_of(self, request: Iterable[int]) -> int | None:
        """Index of the request with these samples, not counting samples that earlier requests name; None if none."""
        asked, seen = set(request), set[int]()
        for index, found in enumerate(self.found):
            if asked - seen and asked - seen == set(found.positions) - seen:
                return index
            seen |= set(found.positions)
        return None

    def names(self, text: str, by: By) -> bool:
        """Whether a request names an id, or a person, also if its samples no longer exist."""
        return any(
            (hashed := salted(each.salt, text)) in each.ids or hashed in each.samples
            for each in self.records
            if each.salt and each.by == by
        )

    @property
    def by_id(self) -> bool:
        """Whether some request names its samples by ids."""
        return any(each.salt and each.by == "samples" for each in self.records)

    @property
    def notes(self) -> list[str]:
        """Notes for the report on samples that no longer exist or were added."""
        return [note for found in self.found for note in found.notes]
