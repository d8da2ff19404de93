"""Check that a run folder's model was made for the present data and request."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from unregress.data.case import Case
from unregress.errors import StaleError
from unregress.runs.provenance import Record, record_of
from unregress.runs.record_matching import TrainingRecords
from unregress.runs.request_chain import Chain

FEWEST = 0.5
"""Smallest share of a model's training samples that must still exist for the data to count as the same dataset."""


def require_same_data(path: Path, record: Record, data: TrainingRecords) -> float:
    """Refuse data that differ from those a model was made with by more than deleted, added or reordered samples.

    Args:
        path: the run folder.
        record: the model's record.
        data: the present data.

    Returns:
        The share of the model's training samples that still exist unchanged; 1 for identical data.

    Raises:
        StaleError: it is another dataset, or the data differ and have no ids.
    """
    digest = record.data_digest
    if digest == data.digest:
        return 1.0
    found = (
        f"{path} was made with other data: its data digest is {digest[:12]}… and the present one {data.digest[:12]}…"
    )
    if record.records is None or data.ids is None:
        raise StaleError(
            found,
            expected="the training set that it was made with: without sample ids (`Splits.ids`), samples must not be "
            "deleted, added or reordered",
            remedy="Use that training set, or make the model again",
        )
    share = record.records.present(data)
    if share < FEWEST:
        raise StaleError(
            f"{found}; about {share:.0%} of its samples still exist, with the same id and content",
            expected=f"at least {FEWEST:.0%} of the training set that it was made with",
            remedy="Use that training set, or make the model again",
        )
    return share


def changed_data(models: Mapping[str, Path], data: TrainingRecords) -> list[str]:
    """Notes for the report on models whose training data differed from the present data.

    Args:
        models: weights files and run folders by name.
        data: the present data.
    """
    notes = []
    for name, path in models.items():
        record = record_of(path) if path.is_dir() else None
        if record is not None and record.records is not None and record.data_digest != data.digest:
            share = require_same_data(path, record, data)
            notes.append(
                f"{name} was made with other training data than today's: {record.records.samples} samples then, "
                f"{data.size} now, and about {share:.0%} of its samples still there"
            )
    return notes


def require_request(path: Path, digest: str, requests: Chain, case: Case) -> None:
    """Refuse a model that was made for another request.

    Args:
        path: the run folder.
        digest: digest of the request that its model has forgotten.
        requests: the requests of the folder.
        case: the present request.

    Raises:
        StaleError: its requests do not hold all samples of the present one.
    """
    wanted = set(case.requested.forget)
    # Entries of the store have no file of the request, and are found by their digest.
    if not (wanted <= requests.positions if requests.records else digest == case.requested.digest):
        raise StaleError(
            f"{path} was made for another request: its digest is {digest[:12]}… and the present one "
            f"{case.requested.digest[:12]}…",
            expected="models that forgot what the audit is about",
            remedy=f"Take the request over with `--request.from_run {path}`, or make the model again",
        )
