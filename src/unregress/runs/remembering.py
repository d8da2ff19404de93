"""Tell from its record which of some requests' samples a model may have been trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from unregress.runs.provenance import Record
from unregress.runs.request_record import RequestRecord


def remembered(
    wanted: Sequence[RequestRecord],
    record: Record,
    requests: Sequence[RequestRecord],
    excluded: str | None = None,
) -> list[RequestRecord]:
    """The requests among some whose samples a model was trained on and was not made to forget.

    Where a record does not say enough, the request counts as one that the model may remember.

    Args:
        wanted: requests that were carried out one after the other, in order.
        record: the record of how the model was made.
        requests: the requests in the model's own run folder; entries of a store have none, and are known by the digest
            in their record.
        excluded: for an original in a store, the digest of the samples that it was trained without.
    """
    if requests:
        return [each for each in wanted if not _covered(each, requests)]
    if record.request_digest is None:
        return list(wanted[_first_included(wanted, excluded) :])
    own = [n for n, each in enumerate(wanted) if _same(each, record.request_digest, record.data_digest)]
    # A request leaves out the samples of those before it.
    return list(wanted[own[-1] + 1 :]) if own else list(wanted)


def _same(request: RequestRecord, digest: str, data: str) -> bool:
    return request.digest == digest and request.data_digest == data


def _covered(wanted: RequestRecord, requests: Sequence[RequestRecord]) -> bool:
    """Whether some requests name all samples of another one, by position in the same data or by hashed id."""
    if any(_same(each, wanted.digest, wanted.data_digest) for each in requests):
        return True
    alike = [each for each in requests if each.data_digest == wanted.data_digest]
    if {i for each in alike for i in (*each.forget, *each.excluded)}.issuperset(wanted.forget):
        return True
    if not wanted.salt:
        return False
    # An id and a person may have the same text.
    salted = [each for each in requests if (each.salt, each.by) == (wanted.salt, wanted.by)]
    whole = {hashed for each in salted for hashed in each.ids}
    some = {(hashed, content) for each in salted for hashed, found in each.samples.items() for content in found}
    return whole.issuperset(wanted.ids) and all(
        hashed in whole or some.issuperset((hashed, content) for content in contents)
        for hashed, contents in wanted.samples.items()
    )


def _first_included(wanted: Sequence[RequestRecord], excluded: str | None) -> int:
    """Index of the first request whose samples an original of a store was trained on."""
    for n, each in enumerate(wanted):
        positions = np.asarray(each.excluded, dtype=np.int64)
        if each.excluded and hashlib.sha256(positions.tobytes()).hexdigest() == excluded:
            return n
    return 0
