"""The chain of forget requests that were carried out on models, and where their samples are in today's data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from unregress.data.ids import salted
from unregress.data.request import ForgetRequest
from unregress.runs.record_matching import TrainingRecords
from unregress.runs.request_record import Found, RequestRecord, read_requests, request_of


@dataclass(frozen=True)
class Chain:
    """The requests that were carried out on some models, in order, each once; and where they are in today's data."""

    data: TrainingRecords
    records: tuple[RequestRecord, ...] = field(default=())

    @classmethod
    def of(cls, folders: Iterable[Path], data: TrainingRecords) -> Chain:
        """The requests of some run folders.  Weights files and folders of originals bring none.

        Raises:
            StaleError: a folder's request cannot be read, or was made with other data.
        """
        return cls(data, tuple(dict.fromkeys(each for folder in folders for each in read_requests(folder))))

    @cached_property
    def found(self) -> tuple[Found, ...]:
        """Where each request's samples are."""
        return tuple(record.find(self.data) for record in self.records)

    @cached_property
    def positions(self) -> frozenset[int]:
        """Positions of all samples that the requests forgot."""
        return frozenset(i for found in self.found for i in found.positions)

    def requests(self, *, but: Iterable[int] = ()) -> list[ForgetRequest]:
        """The requests in today's positions, without those whose samples are gone, and without the one named.

        Args:
            but: positions of the request to leave out.
        """
        own, seen = self._place_of(but), set[int]()
        made = []
        for place, found in enumerate(self.found):
            # A sample that two requests name counts for the first.
            positions = tuple(i for i in found.positions if i not in seen)
            seen |= set(positions)
            if positions and place != own:
                made.append(request_of(self.data.size, positions, found.record.reason, found.record.target_band))
        return made

    def last(self) -> ForgetRequest | None:
        """The last request beside all others; None without any, or if none of its samples is left."""
        if not self.found or not self.found[-1].positions:
            return None
        own = self.found[-1].request(self.data.size)
        return own.beside(*self.requests(but=own.forget))

    def before(self, request: Iterable[int]) -> tuple[RequestRecord, ...]:
        """The records of all requests but one, also of those whose samples are gone.

        Args:
            request: positions of that one.
        """
        own = self._place_of(request)
        return tuple(record for place, record in enumerate(self.records) if place != own)

    def _place_of(self, request: Iterable[int]) -> int | None:
        """Which request of the chain names the same samples, but for those that earlier ones had forgotten already."""
        asked, seen = set(request), set[int]()
        for place, found in enumerate(self.found):
            if asked - seen and asked - seen == set(found.positions) - seen:
                return place
            seen |= set(found.positions)
        return None

    def names(self, text: str) -> bool:
        """Whether a request has named an id, whose samples may be gone since."""
        return any(
            (hashed := salted(each.salt, text)) in each.ids or hashed in each.samples
            for each in self.records
            if each.salt
        )

    @property
    def by_id(self) -> bool:
        """Whether some request is known by ids."""
        return any(each.salt for each in self.records)

    @property
    def notes(self) -> list[str]:
        """What a reader of the evidence must know."""
        return [note for found in self.found for note in found.notes]
