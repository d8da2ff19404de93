"""The requests that a project's model has forgotten before: kept out of the next one, or named if that undoes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unregress.data.request import ForgetRequest
from unregress.data.splits import Splits
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
    """Those in the run folder of the model."""
    source: Path | None
    """The model's file or run folder; None for a model in memory, and where a result is continued."""
    after: Forgotten | None
    known: ForgetRequest | None
    """That of a model in memory."""

    @classmethod
    def of(
        cls, splits: Splits, model: Candidate | None, source: Path | None, after: Forgotten | None
    ) -> EarlierRequests:
        """Collect the requests.

        Args:
            splits: the present data.
            model: the project's model.
            source: its file or run folder, if it has one.
            after: the result to continue in place of the model.

        Raises:
            StaleError: a folder's request cannot be read, or was made with other data.
        """
        place = source if after is None else None
        known = model.request if isinstance(model, Unlearned) and source is None and after is None else None
        return cls(Chain.of([] if place is None else [place], TrainingRecords(splits)), place, after, known)

    def requests(self, *, but: Sequence[int] = ()) -> list[ForgetRequest]:
        """The requests, except the one with these positions."""
        if self.after is not None:
            return [self.after.case.requested]
        return [*self.chain.requests(but=but), *([] if self.known is None else [self.known])]

    def records(self, request: ForgetRequest) -> tuple[RequestRecord, ...]:
        """The records of the requests before a new one, which its run folder keeps."""
        before = (
            () if self.after is None else (*self.after.before, RequestRecord.of(self.after.case, self.after.before))
        )
        return (*self.chain.before(request.forget), *before)

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
        return [*here, *retained_elsewhere_forgotten([] if self.source is None else [self.source], self.chain, request)]

    @property
    def unknown(self) -> list[str]:
        """A warning if it is unknown which requests the model has forgotten."""
        return unknown_past(self.source)
