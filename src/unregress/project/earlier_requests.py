"""The requests that a project's model has forgotten before: kept out of the next one, or named if that undoes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unregress.data.case import Case
from unregress.data.request import ForgetRequest
from unregress.methods.unlearned import Candidate, Unlearned
from unregress.project.forgotten import Forgotten
from unregress.runs.record_matching import TrainingRecords
from unregress.runs.request_chain import Chain
from unregress.runs.request_record import RequestRecord
from unregress.runs.requests_nearby import retained_elsewhere_forgotten, unknown_past


@dataclass(frozen=True)
class EarlierRequests:
    """The requests before a new one: those of the result that it continues, or else of the project's model."""

    chain: Chain
    """Their records, and their samples in the present data."""
    source: Path | None
    """The model's file or run folder; None for a model in memory, and where a result is continued."""

    @classmethod
    def of(cls, data: Case, model: Candidate | None, source: Path | None, after: Forgotten | None) -> EarlierRequests:
        """Collect the requests.

        Args:
            data: the task and the present data.
            model: the project's model.
            source: its file or run folder, if it has one.
            after: the result to continue in place of the model.

        Raises:
            StaleError: a folder's request cannot be read; or a request was made with other data, and names samples by
                their positions.
        """
        present = TrainingRecords(data.splits)
        if after is None and source is not None:
            return cls(Chain.of([source], present), source)
        made = model if after is None else after
        return cls(Chain(present, _records_of(data, made) if isinstance(made, Unlearned) else ()), None)

    def requests(self, *, but: Sequence[int] = ()) -> list[ForgetRequest]:
        """The requests with present positions, except the one with these, where it is in the model's run folder."""
        return self.chain.requests(but=() if self.source is None else but)

    def records(self, request: ForgetRequest) -> tuple[RequestRecord, ...]:
        """The records of the requests before a new one, which its run folder keeps."""
        return self.chain.before(() if self.source is None else request.forget)

    def undone(self, request: ForgetRequest, carried_out: Sequence[ForgetRequest]) -> list[str]:
        """Warnings on requests that a new one undoes.

        Args:
            request: the new one.
            carried_out: those that the project has carried out.
        """
        left = {each.reason: len(each.left_out - request.left_out) for each in carried_out}
        here = [
            f"{samples} samples that the request {reason!r} made a model forget are retained here; to keep them "
            "forgotten, pass its result as `after`"
            for reason, samples in left.items()
            if samples
        ]
        return [*here, *self.undone_nearby(request.left_out)]

    def undone_nearby(self, left_out: Collection[int]) -> list[str]:
        """A warning if a training without some samples undoes requests in folders beside that of the model."""
        return retained_elsewhere_forgotten([] if self.source is None else [self.source], self.chain, left_out)

    @property
    def unknown(self) -> list[str]:
        """A warning if it is unknown which requests the model has forgotten."""
        return unknown_past(self.source)


def _records_of(data: Case, made: Unlearned) -> tuple[RequestRecord, ...]:
    """The records of the requests that a model in memory has forgotten."""
    if isinstance(made, Forgotten):
        return (*made.before, RequestRecord.of(made.case, made.before))
    found: tuple[RequestRecord, ...] = ()
    if made.request is not None:
        # Which data a method was given outside of a project is not known: they are taken for the present ones.
        every = [*made.request.others, replace(made.request, others=())]
        for number, request in enumerate(every):
            case = replace(data, request=request.beside(*every[:number]))
            found = (*found, RequestRecord.of(case, found))
    return found
