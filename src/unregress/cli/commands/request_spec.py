"""The options of a forget request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from unregress.cli.commands.ids_file import read_ids
from unregress.data.bands import about_limits
from unregress.data.conditions import named_by_content
from unregress.data.ids import whole_text
from unregress.data.records_file import read_column
from unregress.data.request import ForgetRequest
from unregress.data.samples_by_name import Names
from unregress.data.splits import Splits
from unregress.errors import DataError, RequestError, UnregressError, raise_all
from unregress.files.typed_json import is_day
from unregress.runs.provenance import HISTORY, record_of
from unregress.runs.record_matching import TrainingRecords
from unregress.runs.request_chain import Chain
from unregress.runs.request_record import Found, RequestRecord, read_request, read_requests
from unregress.runs.staleness import require_same_data
from unregress.tasks.base import Task


@dataclass(frozen=True, kw_only=True)
class RequestSpec:
    """The samples to forget: `reason`, and exactly one way to name them.

    Raises:
        RequestError: no or several ways, or values that make no sense; all of them at once.
    """

    reason: str = ""
    """A reference to the deletion request, or the experiment's name.  Reports quote it."""
    requested_by: str = ""
    """Who asked: a role or a reference, such as `the customer, by letter`.  Reports quote it."""
    requested_on: str = ""
    """Day on which it was asked, such as 2026-01-31.  Reports quote it."""
    ids_file: Path | None = None
    """Text file with one id per line, matched as text against the ids that `data` gives, or against
    positions from 0 where it gives none.  Blank lines and lines that begin with # are skipped."""
    band: tuple[float | None, float | None] | None = None
    """Forget all samples with a target from LOW to HIGH, both included: '[60, 100]', '[60, null]'."""
    random: int | None = None
    """Number of samples to forget, drawn at random."""
    seed: int = 0
    """Seed of that draw."""
    subjects: list[int | str] | None = None
    """People to forget, as in the `subjects` that `data` gives, matched as text: all of their samples, in every split.
    """
    where: dict[str, Any] | None = None
    """Conditions on the columns that `data` gives: '{city: Basel, year: [2015, 2016], age: {min: 60}}'."""
    times: dict[str, Any] | None = None
    """Windows that touch a stretch of time, by the columns of `data` with their first and last moment:
    '{start: first, end: last, from: 100, to: 267, where: {client: 7}}'; `where` is optional."""
    file: Path | None = None
    """CSV, Parquet or JSON-lines file with the people, or ids, to forget."""
    column: str | None = None
    """Column of that file with the people or ids."""
    by: Literal["subjects", "ids"] = "subjects"
    """What that column holds."""
    missing: Literal["error", "report"] = "error"
    """With `report`, people and ids that are not in the data, and samples that lack a value which `where` or `times`
    needs, are counted in the report and no error."""
    from_run: Path | None = None
    """Run folder whose request to use again, with its reason; may also be the folder of an ancestor of the models."""
    after: list[Path] = field(default_factory=list)
    """Run folders of earlier requests on the model, if `checkpoint` is a bare weights file."""

    def __post_init__(self) -> None:
        ways = ("subjects", "ids_file", "file", "where", "times", "band", "random", "from_run")
        given = [way for way in ways if getattr(self, way) is not None]
        complaints: list[UnregressError] = []
        if len(given) != 1:
            complaints.append(
                RequestError(
                    f"The request names its samples by {' and '.join(given) or 'nothing'}",
                    expected=f"exactly one of {', '.join(f'`request.{way}`' for way in ways)}",
                )
            )
        if not self.reason.strip() and self.from_run is None:
            complaints.append(
                RequestError(
                    "The request has no reason",
                    remedy="Give a reason with `request.reason`, which reports quote",
                )
            )
        if self.requested_on and not is_day(self.requested_on):
            found = f"`request.requested_on` is {self.requested_on[:40]!r}"
            complaints.append(RequestError(found, expected="a day, such as 2026-01-31"))
        if self.band is not None:
            complaints += about_limits(*self.band)
        if self.random is not None and self.random < 1:
            complaints.append(RequestError(f"{self.random} samples are to be drawn", expected="1 or more"))
        if self.seed < 0:
            complaints.append(RequestError(f"`request.seed` is {self.seed}", expected="0 or more"))
        raise_all(complaints)

    def resolve(self, splits: Splits, task: Task[Any], models: Iterable[Path] = ()) -> ResolvedRequest:
        """Resolve the request to positions in a training set, with the requests that were carried out before.

        Args:
            splits: the training set, and its ids.
            task: finds the targets of a band.
            models: run folders of models, whose requests count as carried out; weights files have none.

        Raises:
            RequestError: the ids file cannot be read, names samples that do not exist, or all named samples are
                already forgotten.
            DataError: there is not one id per sample.
            StaleError: a run's request is unreadable, or was made for other data.
        """
        records = TrainingRecords(splits)
        own = None if self.from_run is None else _found(self.from_run, records)
        if empty := [path for path in self.after if not read_requests(path)]:
            # If a misspelt folder counted as one without requests, forgotten samples would be trained on again.
            raise RequestError(
                f"`request.after` names {empty[0]}, which holds no request",
                expected="run folders that `unregress forget` wrote",
            )
        folders = [*models, *self.after, *([] if self.from_run is None else [self.from_run])]
        chain = Chain.of(folders, records)
        gone, told = list[str](), list[str]()
        request = self._named(splits, task, chain, gone, told) if own is None else own.request(splits.size)
        who: dict[str, Any] = {"requested_by": self.requested_by, "requested_on": self.requested_on}
        request = replace(request, **{name: text for name, text in who.items() if text})
        asked = request.beside(*chain.requests(but=request.forget))
        if gone:
            told.append(f"{len(gone)} {self._called} were forgotten by an earlier request, and their samples are gone")
        asked = replace(asked, not_found=(*asked.not_found, *told))
        notes = (*chain.notes, *(() if own is None else own.notes), *asked.not_found)
        told_once = tuple(dict.fromkeys(notes))
        return ResolvedRequest(request=asked, chain=chain, before=chain.before(request.forget), notes=told_once)

    @property
    def _called(self) -> str:
        """What the request names, for messages."""
        people = self.subjects is not None or (self.file is not None and self.by == "subjects")
        return "people" if people else "ids"

    def _named(self, splits: Splits, task: Task[Any], chain: Chain, gone: list[str], notes: list[str]) -> ForgetRequest:
        """The request for the named samples.

        Args:
            splits: the data.
            task: finds the targets of a band.
            chain: the earlier requests.
            gone: extended by the ids and people whose samples an earlier request removed.
            notes: extended by what is not in the data or could not be decided, if this is only reported.
        """
        if self._called == "people":
            names = Names.of(splits, "people")
            people = self._entries(_KnownNames(names, chain)) if self.subjects is None else self.subjects
            return self._by_name(names, people, chain, gone, notes)
        if found := named_by_content(
            splits,
            task,
            band=self.band,
            where=self.where,
            times=self.times,
            reason=self.reason,
            missing=self.missing,
            notes=notes,
        ):
            return found
        if self.random is not None:
            return ForgetRequest.random(splits.size, self.random, seed=self.seed, reason=self.reason)
        if splits.ids is not None:
            names = Names.of(splits, "ids")
        elif chain.by_id or self.file is not None:
            # A line such as 3 would be mistaken for a position.
            by_id = "The request names" if self.file is not None else "The earlier requests of this model name"
            raise DataError(
                f"{by_id} samples by their ids, and `data` gives no ids",
                expected="one id per sample",
                remedy="Return `Splits(..., ids=...)`",
            )
        else:
            names = Names(called="ids", train=range(splits.size), held_out={}, complete=False)
        known = _KnownNames(names, chain)
        wanted = self._entries(known) if self.ids_file is None else read_ids(self.ids_file, known)
        return self._by_name(names, wanted, chain, gone, notes)

    def _entries(self, known: _KnownNames) -> list[str]:
        """The entries of the named column of `file`."""
        return read_column(cast(Path, self.file), self.column, known)

    def _by_name(
        self, names: Names, wanted: Iterable[int | str], chain: Chain, gone: list[str], notes: list[str]
    ) -> ForgetRequest:
        """The request for people or ids, without those whose samples an earlier request has removed."""
        texts, trained = list(map(str, wanted)), set(names.train)
        found = names.matching(texts)
        for text in texts:
            if found[text] not in trained and any(chain.names(each, names.by) for each in (text, whole_text(text))):
                gone.append(text)
        left = [text for text in texts if text not in gone]
        if not left:
            where = self.ids_file or self.file or "the request"
            raise RequestError(
                f"All {len(texts)} {names.called} in {where} were forgotten by earlier requests, and their samples are "
                "gone",
                expected=f"{names.called} that no earlier request has named",
                remedy="Nothing is left to be done for them",
            )
        told = notes if self.missing == "report" else None
        return ForgetRequest.named(names, left, reason=self.reason, as_text=True, notes=told)


@dataclass(frozen=True, kw_only=True)
class ResolvedRequest:
    """A request as positions in the present data, with the earlier requests on the same models."""

    request: ForgetRequest
    chain: Chain
    """All requests that were carried out on the models, and the data."""
    before: tuple[RequestRecord, ...]
    """The other requests that were carried out on the models, in order, including those whose samples are gone."""
    notes: tuple[str, ...]
    """Notes for the evidence: samples that are gone, or that were already forgotten."""


@dataclass(frozen=True)
class _KnownNames:
    """The ids or people of the data, and those that earlier requests named."""

    names: Names
    chain: Chain

    def __contains__(self, text: object) -> bool:
        return text in self.names or self.chain.names(str(text), self.names.by)


def _found(folder: Path, records: TrainingRecords) -> Found:
    request = read_request(folder)
    if (folder / HISTORY).is_file():
        require_same_data(folder, record_of(folder), records)
    return request.find(records)
