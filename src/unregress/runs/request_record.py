"""Forget requests as run folders keep them: by record, together with those carried out before.

A request names training samples by position.  Positions change as soon as rows are deleted, which is what happens after
a request; so a run folder keeps hashes of the records' ids beside them, and finds the samples again in today's data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from unregress.data.case import Case
from unregress.data.ids import id_texts, salt_of, salted
from unregress.data.request import ForgetRequest
from unregress.errors import RequestError, StaleError
from unregress.files.typed_json import Misfit, build, parse
from unregress.files.writing import content_of, write_json
from unregress.runs.manifest import MANIFEST, read_manifest
from unregress.runs.record_matching import TrainingRecords

REQUEST = "request.json"
"""The file in a run folder that holds its request and those before it."""


@dataclass(frozen=True, kw_only=True)
class RequestRecord:
    """One forget request, in a form that outlives the positions of its samples.

    A record is known by a salted SHA-256 of its id as text.  The salt is made from the content of the data, so that the
    same request on the same data gives the same bytes; it keeps hashes of different data from being compared, and does
    not hide an id from somebody who has this file and a list of all ids to try.
    """

    size: int
    """Training samples when the request was made."""
    forget: tuple[int, ...]
    """Positions of the samples to forget at that time, ascending."""
    excluded: tuple[int, ...]
    """Positions, at that time, of the samples that requests before it had forgotten."""
    reason: str
    target_band: tuple[float | None, float | None] | None
    digest: str
    """`ForgetRequest.digest` at that time."""
    data_digest: str
    """SHA-256 of the training data at that time, see `Splits.data_digest`."""
    salt: str
    """Put before each id; empty where the samples have no ids."""
    ids: tuple[str, ...]
    """Salted hashes of the ids of which every sample is to be forgotten, ascending."""
    samples: dict[str, tuple[str, ...]] = field(hash=False)
    """For ids of which only some samples are to be forgotten: salted hashes of these samples' content."""

    @classmethod
    def of(cls, case: Case, before: Sequence[RequestRecord] = ()) -> RequestRecord:
        """The record of a case's request.

        Args:
            case: its request and the training data.
            before: the requests carried out before, whose salt is used again.
        """
        request, salt = case.requested, ""
        whole: list[str] = []
        some: dict[str, tuple[str, ...]] = {}
        if case.splits.ids is not None:
            salt = next((each.salt for each in before if each.salt), None) or salt_of(case.splits.data_digest)
            texts = id_texts(case.splits.ids)
            total, forgotten = Counter(texts), Counter(texts[i] for i in request.forget)
            whole = sorted(salted(salt, text) for text, count in forgotten.items() if count == total[text])
            partial = [i for i in request.forget if forgotten[texts[i]] < total[texts[i]]]
            contents = case.splits.row_hashes("train_eval") if partial else []
            for i in partial:
                known = some.get(salted(salt, texts[i]), ())
                some[salted(salt, texts[i])] = (*known, salted(salt, contents[i].hex()))
        return cls(
            size=request.size,
            forget=request.forget,
            excluded=tuple(request.excluded.tolist()),
            reason=request.reason,
            target_band=request.target_band,
            digest=request.digest,
            data_digest=case.splits.data_digest,
            salt=salt,
            ids=tuple(whole),
            samples=dict(sorted(some.items())),
        )

    def __post_init__(self) -> None:
        others = () if not self.excluded else (request_of(self.size, self.excluded, "before", None),)
        # Refuses positions out of range or repeated.
        own = request_of(self.size, self.forget, self.reason, self.target_band, others)
        if own.digest != self.digest:
            raise Misfit([f"digest is {self.digest[:12]}…, expected {own.digest[:12]}… by its positions"])
        if bool(self.salt) != bool(self.ids or self.samples):
            raise Misfit(["salt and ids do not belong together"])

    def find(self, data: TrainingRecords) -> Found:
        """The request's samples in today's training data.

        Raises:
            StaleError: without ids the request holds only for the data that it was made with, and these are others.
        """
        if not self.salt or data.ids is None:
            if data.digest != self.data_digest:
                raise StaleError(
                    f"The request {self.reason!r} was made with other data: their digest is {self.data_digest[:12]}…, "
                    f"the present one {data.digest[:12]}…",
                    expected="the training set that the request was made with: its samples are known by position only",
                    remedy="Name that data, or give each sample an id (`Splits.ids`) before the next request is made",
                )
            return Found(self, self.forget, absent=0)
        places = data.by_hash(self.salt)
        positions = [i for hashed in self.ids for i in places.get(hashed, [])]
        absent = sum(hashed not in places for hashed in self.ids)
        for hashed, contents in self.samples.items():
            # Samples of one id and one content cannot be told apart: all of them are meant.
            rows = {i: salted(self.salt, data.hashes[i].hex()) for i in places.get(hashed, [])}
            named = set(contents)
            positions += [i for i, content in rows.items() if content in named]
            absent += len(named.difference(rows.values()))
        return Found(self, tuple(sorted(positions)), absent=absent)


@dataclass(frozen=True)
class Found:
    """Where the samples of a recorded request are in today's training data."""

    record: RequestRecord
    positions: tuple[int, ...]
    absent: int
    """How many of the records (ids, or samples of partly forgotten ids) have no sample any more."""

    @property
    def notes(self) -> Iterator[str]:
        """What a reader of the evidence must know about samples that are gone or were added."""
        records = len(self.record.ids) + sum(map(len, self.record.samples.values()))
        if self.absent:
            yield (
                f"Of the request {self.record.reason!r}, {self.absent} of {records} ids are no longer in the training "
                "data" + ("" if self.positions else ": what the model answers about them cannot be looked at again")
            )
        elif (more := len(self.positions) - len(self.record.forget)) > 0:
            yield (
                f"Of the request {self.record.reason!r}, {more} samples were added under ids that it forgot: they are "
                "forgotten too"
            )

    def request(self, size: int) -> ForgetRequest:
        """The request in today's positions.

        Raises:
            RequestError: none of its samples is there any more.
        """
        if not self.positions:
            raise RequestError(
                f"None of the records of the request {self.record.reason!r} is still in the training data",
                expected="at least one of its samples: what is gone can be neither forgotten nor measured",
                remedy="Name its run folder with `request.after`, so that later work takes account of it",
            )
        return request_of(size, self.positions, self.record.reason, self.record.target_band)


def write_request(folder: Path, case: Case, before: Sequence[RequestRecord] = ()) -> None:
    """Write a run folder's request, and after it those that were carried out before.

    Args:
        folder: the run folder.
        case: the request and the data.
        before: the requests before it, in order.
    """
    own = RequestRecord.of(case, before)
    write_json(folder / REQUEST, {**asdict(own), "before": [asdict(each) for each in before]})


def read_requests(path: Path) -> tuple[RequestRecord, ...]:
    """The requests that a run folder's model has forgotten, its own last; none for other files and originals.

    Of a weights file that lies in the run folder that it was written to, these are the folder's.

    Raises:
        StaleError: the request cannot be read, or was changed after it was written.
    """
    folder = path if path.is_dir() else path.parent
    if not (folder / REQUEST).is_file():
        return ()
    if path != folder and ((manifest := read_manifest(folder)) is None or path.name not in manifest.files):
        return ()
    return _read(folder / REQUEST)


def read_request(folder: Path) -> RequestRecord:
    """A run folder's own request.

    Raises:
        StaleError: there is none, it cannot be read, or it was changed after it was written.
    """
    return _read(folder / REQUEST)[-1]


def _read(path: Path) -> tuple[RequestRecord, ...]:
    again = "Take the folder once more from where it is whole, or make the model again"
    try:
        written = content_of(path)
        content: Any = parse(written)
        if not isinstance(content, dict) or not isinstance(content.get("before"), list):
            raise Misfit(["`before` is missing, expected a list of the requests carried out before"])
        before = content.pop("before")
        read = [build(RequestRecord, each, f"before[{n}]") for n, each in enumerate(before)]
        requests = (*read, build(RequestRecord, content))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StaleError(
            f"{path} cannot be read: {reason}", remedy="Name a folder that `unregress forget` wrote"
        ) from error
    except (Misfit, RequestError) as error:
        raise StaleError(
            f"{path} is not a request as it was written: {error}",
            expected="the file as `unregress forget` of this version wrote it",
            remedy=again,
        ) from error
    manifest = read_manifest(path.parent)
    if manifest is not None and manifest.files.get(path.name) != sha256(written).hexdigest():
        raise StaleError(
            f"{path} is not the one that was written",
            expected=f"the file whose digest is in {MANIFEST}",
            remedy=again,
        )
    return requests


def request_of(
    size: int,
    forget: tuple[int, ...],
    reason: str,
    band: tuple[float | None, float | None] | None,
    others: tuple[ForgetRequest, ...] = (),
) -> ForgetRequest:
    """A request from what records hold."""
    return ForgetRequest(size=size, forget=forget, reason=reason, target_band=band, others=others)
