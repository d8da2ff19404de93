"""Store forget requests in run folders by hashed sample ids, together with the earlier requests.

A request names training samples by position.  Positions change when rows are deleted, as they are after a request; so
a run folder also stores hashes of the samples' ids, by which the samples are found in later data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from unregress.data.case import Case
from unregress.data.ids import id_texts, salt_of, salted
from unregress.data.request import ForgetRequest
from unregress.data.splits import HELD_OUT, Split
from unregress.errors import RequestError, StaleError
from unregress.files.typed_json import Misfit, build, is_day, parse
from unregress.files.writing import content_of, write_json
from unregress.runs.manifest import MANIFEST, read_manifest
from unregress.runs.record_matching import By, TrainingRecords, held_out_hashes

REQUEST = "request.json"
"""Name of the file with a run folder's request and the earlier ones."""
ADDED = {"may_be_missing": True}
"""Of fields that files of earlier versions lack."""


@dataclass(frozen=True, kw_only=True)
class RequestRecord:
    """A forget request that identifies samples by hashed ids, so that it stays valid when positions change.

    Each id is stored as a salted SHA-256 of its text.  The salt is derived from the content of the data, so that the
    same request on the same data gives the same bytes.  It prevents comparing hashes of different datasets; it does
    not hide an id from a reader of this file who can try a list of all ids.
    """

    size: int
    """Number of training samples when the request was made."""
    forget: tuple[int, ...]
    """Positions of the samples to forget at that time, ascending."""
    excluded: tuple[int, ...]
    """Positions, at that time, of the samples that earlier requests had forgotten."""
    reason: str
    target_band: tuple[float | None, float | None] | None
    digest: str
    """`ForgetRequest.digest` at that time."""
    data_digest: str
    """SHA-256 of the training data at that time, see `Splits.data_digest`."""
    salt: str
    """Salt of the hashes; empty if the samples have no ids."""
    ids: tuple[str, ...]
    """Salted hashes of the ids whose samples are all to be forgotten, ascending."""
    samples: dict[str, tuple[str, ...]] = field(hash=False)
    """For ids with only some samples to forget: salted hashes of these samples' contents, by hashed id."""
    by: By = field(default="samples", metadata=ADDED)
    """Whether the ids are those of samples or of people."""
    validation: tuple[int, ...] = field(default=(), metadata=ADDED)
    test: tuple[int, ...] = field(default=(), metadata=ADDED)
    """Positions of the people's validation and test samples at that time."""
    excluded_held_out: dict[str, tuple[int, ...]] = field(default_factory=dict, hash=False, metadata=ADDED)
    """Positions of held-out samples, by split, of people whom earlier requests had forgotten."""
    held_out_ids: dict[str, tuple[str, ...]] = field(default_factory=dict, hash=False, metadata=ADDED)
    """For a request by samples: salted hashes of the ids of its held-out samples, by split, where these are known."""
    requested_by: str = field(default="", metadata=ADDED)
    """Who asked; empty if not recorded."""
    requested_on: str = field(default="", metadata=ADDED)
    """Day on which it was asked, as 2026-01-31; empty if not recorded."""
    not_found: tuple[str, ...] = field(default=(), metadata=ADDED)
    """Remarks on what was named and the data did not hold at that time."""

    @classmethod
    def of(cls, case: Case, before: Sequence[RequestRecord] = ()) -> RequestRecord:
        """Build the record of a case's request.

        Args:
            case: the request and the training data.
            before: the earlier requests, whose salt is reused.
        """
        request, salt = case.requested, ""
        whole: list[str] = []
        some: dict[str, tuple[str, ...]] = {}
        names = case.splits.subjects if request.by == "subjects" else case.splits.ids
        if names is not None:
            salt = next((each.salt for each in before if each.salt), None) or salt_of(case.splits.data_digest)
            texts = id_texts(names)
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
            by=request.by,
            validation=request.validation,
            test=request.test,
            excluded_held_out={
                split: tuple(gone.tolist()) for split in HELD_OUT if len(gone := request.excluded_from(split))
            },
            held_out_ids=held_out_hashes(case, salt),
            requested_by=request.requested_by,
            requested_on=request.requested_on,
            not_found=request.not_found,
        )

    def __post_init__(self) -> None:
        gone = self.excluded_held_out
        held: dict[str, tuple[int, ...]] = {split: gone.get(split, ()) for split in HELD_OUT}
        others = (self.request_at(self.size, self.excluded, held),) if self.excluded or gone else ()
        # Building the request checks that positions are in range and distinct.
        own = replace(self.request_at(self.size, self.forget, self.held_out), others=others)
        if own.digest != self.digest:
            raise Misfit([f"digest is {self.digest[:12]}…, expected {own.digest[:12]}… by its positions"])
        if self.requested_on and not is_day(self.requested_on):
            raise Misfit([f"requested_on is {self.requested_on[:40]!r}, expected a day as 2026-01-31"])
        if bool(self.salt) != bool(self.ids or self.samples):
            raise Misfit(["salt and ids do not belong together"])

    def find(self, data: TrainingRecords) -> Found:
        """Find the request's samples in the present training data.

        Raises:
            StaleError: there are no ids, and the data differ from those that the request was made with.
        """
        if not self.salt or data.named(self.by) is None:
            if data.digest != self.data_digest:
                raise StaleError(
                    f"The request {self.reason!r} was made with other data: their digest is {self.data_digest[:12]}…, "
                    f"the present one {data.digest[:12]}…",
                    expected="the training set that the request was made with: it names samples by position only",
                    remedy="Use that training set; for later requests give each sample an id (`Splits.ids`)",
                )
            return Found(self, self.forget, absent=0, held_out=self.held_out)
        places = data.by_hash(self.salt, self.by)
        positions = [i for hashed in self.ids for i in places.get(hashed, [])]
        absent = sum(hashed not in places for hashed in self.ids)
        for hashed, contents in self.samples.items():
            # Samples with the same id and content cannot be told apart: all of them are forgotten.
            rows = {i: salted(self.salt, data.hashes[i].hex()) for i in places.get(hashed, [])}
            named = set(contents)
            positions += [i for i, content in rows.items() if content in named]
            absent += len(named.difference(rows.values()))
        held_out: dict[str, tuple[int, ...]] = {split: self._held_out_in(split, data) for split in HELD_OUT}
        return Found(self, tuple(sorted(positions)), absent=absent, held_out=held_out)

    @property
    def held_out(self) -> dict[str, tuple[int, ...]]:
        """`validation` and `test`, by split."""
        return {"validation": self.validation, "test": self.test}

    def request_at(self, size: int, forget: tuple[int, ...], held_out: Mapping[str, tuple[int, ...]]) -> ForgetRequest:
        """The request with other positions.

        Args:
            size: number of training samples.
            forget: positions of the training samples to forget.
            held_out: positions of the people's held-out samples, by split.
        """
        return ForgetRequest(
            size=size,
            forget=forget,
            reason=self.reason,
            target_band=self.target_band,
            by=self.by,
            validation=held_out["validation"],
            test=held_out["test"],
            requested_by=self.requested_by,
            requested_on=self.requested_on,
            not_found=self.not_found,
        )

    def _held_out_in(self, split: Split, data: TrainingRecords) -> tuple[int, ...]:
        """Positions of the people's samples in a held-out split of the present data."""
        if data.named(self.by, split) is None:
            return ()
        places = data.by_hash(self.salt, self.by, split)
        named = self.ids if self.by == "subjects" else self.held_out_ids.get(split, ())
        return tuple(sorted(place for hashed in named for place in places.get(hashed, [])))


@dataclass(frozen=True)
class Found:
    """The samples of a recorded request in the present training data."""

    record: RequestRecord
    positions: tuple[int, ...]
    held_out: Mapping[str, tuple[int, ...]]
    """Present positions of the people's held-out samples, by split."""
    absent: int
    """Number of the request's ids (or samples of partly forgotten ids) that no longer have a sample."""

    @property
    def notes(self) -> Iterator[str]:
        """Notes for the report on samples that no longer exist or were added."""
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
        """The request with present positions.

        Raises:
            RequestError: none of its samples exists any more.
        """
        if not self.positions:
            raise RequestError(
                f"None of the records of the request {self.record.reason!r} is still in the training data",
                expected="at least one of its samples, to forget and to measure on",
                remedy="Name its run folder with `request.after`, so that later requests take account of it",
            )
        return self.record.request_at(size, self.positions, self.held_out)


def write_request(folder: Path, case: Case, before: Sequence[RequestRecord] = ()) -> None:
    """Write a run folder's request and the earlier requests.

    Args:
        folder: the run folder.
        case: the request and the data.
        before: the earlier requests, in order.
    """
    earlier = [asdict(each) for each in before]
    write_json(folder / REQUEST, {**asdict(RequestRecord.of(case, before)), "before": earlier})


def read_requests(path: Path) -> tuple[RequestRecord, ...]:
    """Read the requests that a model has forgotten, the latest last; none for originals and other files.

    For a weights file that is still in its run folder, these are the folder's requests.

    Raises:
        StaleError: the request cannot be read, or was changed after it was written.
    """
    folder = path if path.is_dir() else path.parent
    if not (folder / REQUEST).is_file():
        return ()
    listed = path == folder or ((manifest := read_manifest(folder)) is not None and path.name in manifest.files)
    return _read(folder / REQUEST) if listed else ()


def read_request(folder: Path) -> RequestRecord:
    """Read a run folder's own request.

    Raises:
        StaleError: there is none, it cannot be read, or it was changed after it was written.
    """
    return _read(folder / REQUEST)[-1]


def _read(path: Path) -> tuple[RequestRecord, ...]:
    again = "Copy the folder again from an intact source, or make the model again"
    try:
        written = content_of(path)
        content: Any = parse(written)
        if not isinstance(content, dict) or not isinstance(content.get("before"), list):
            raise Misfit(["`before` is missing, expected a list of the earlier requests"])
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
            f"{path} was changed after it was written",
            expected=f"the file whose digest is in {MANIFEST}",
            remedy=again,
        )
    return requests
