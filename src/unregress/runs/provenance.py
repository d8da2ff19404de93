"""The record of how a run folder's model was made, and checks that the folder is unchanged."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unregress.cost import Cost
from unregress.data.case import Case
from unregress.errors import CheckpointError, DivergenceError, SettingError, StaleError
from unregress.evidence.model_record import ModelRecord
from unregress.files.typed_json import Misfit, build, parse
from unregress.files.writing import content_of, write_text
from unregress.runs.manifest import MANIFEST, departures, is_bare, read_manifest
from unregress.runs.manifest import digest_of_folder as digest_of_folder
from unregress.runs.record_matching import Sketch, TrainingRecords
from unregress.runs.request_chain import Chain
from unregress.runs.request_record import REQUEST, read_request
from unregress.training.loop import Epoch

LAYOUT = 2
"""Version of the fields of `history.json`; to be raised when code for the old fields would misread new ones."""
HISTORY = "history.json"
"""Name of the file with the record of how a run folder's model was made."""
_COPY_AGAIN = "Copy the folder again from an intact source, or make the model again"


@dataclass(frozen=True, kw_only=True)
class Record:
    """How a run folder's model was made: the content of its `history.json`."""

    layout: int
    """Version of the record's fields."""
    weights: str
    """Name of the weights file in the folder."""
    helper: str | None
    """Name of the weights file of its helper (teacher), if it had one."""
    request_digest: str | None
    """Digest of the request that it forgot; None for an original."""
    data_digest: str
    """Digest of the training set."""
    records: Sketch | None
    """Sketch of the training samples, for comparison with later data."""
    made: ModelRecord
    """Method, settings, recipe and parents."""
    notes: tuple[str, ...]
    deviations: tuple[str, ...]
    warnings: tuple[str, ...]
    cost: Cost
    history: tuple[Epoch, ...]


def write_record(folder: Path, record: Record) -> None:
    """Write the record of how a model was made.

    Raises:
        DivergenceError: a number in its history is not finite, which JSON cannot represent.
        RunFolderError: the file cannot be written.
    """
    try:
        text = json.dumps(asdict(record), indent=1, allow_nan=False)
    except ValueError as error:
        raise DivergenceError(
            f"{record.made.method} returned a history or cost with a number that is not finite",
            expected="finite losses and learning rates",
            remedy="Lower its learning rate, or correct what it records",
        ) from error
    write_text(folder / HISTORY, f"{text}\n")


def record_of(path: Path) -> Record:
    """Read the record of how a run folder's model was made.

    Raises:
        CheckpointError: the folder has no model, or its record is malformed.
        StaleError: another version of unregress wrote the record.
    """
    try:
        found = parse(content_of(path / HISTORY))
        _require_layout(path, found)
        record = build(Record, found)
    except OSError as error:
        raise CheckpointError(
            f"{path} is not a folder of one model: its {HISTORY} is missing or unreadable",
            expected="a folder that `unregress train` or `unregress forget` wrote, or a weights file",
        ) from error
    except Misfit as error:
        raise CheckpointError(
            f"{path / HISTORY} is not the record of a model: {error}",
            expected=f"the {HISTORY} that `unregress train` or `unregress forget` wrote",
            remedy=_COPY_AGAIN,
        ) from error
    for field in ("weights", "helper"):
        if (name := getattr(record, field)) is not None and not is_bare(name):
            raise CheckpointError(
                f"{path / HISTORY} is not the record of a model: {field} is {name!r}",
                expected="the name of a file in the same folder",
                remedy=_COPY_AGAIN,
            )
    return record


def _require_layout(path: Path, found: Any) -> None:
    """Refuse a record in the layout of another version."""
    if not isinstance(found, dict) or "weights" not in found or (layout := found.get("layout", 1)) == LAYOUT:
        return
    raise StaleError(
        f"{path / HISTORY} was written in layout {layout!r}, by another version of unregress",
        expected=f"layout {LAYOUT}",
        remedy="Make the model again with this version, or name the weights file in the folder instead of the folder",
    )


def weights_file(path: Path) -> Path:
    """The weights file to deploy: the given file itself, or the weights in a run folder.

    Raises:
        CheckpointError: the folder has no model.
    """
    return path / record_of(path).weights if path.is_dir() else path


def unverified(path: Path) -> bool:
    """Whether a folder has no manifest, so that changes of its files cannot be noticed."""
    return path.is_dir() and not (path / MANIFEST).is_file()


def require_not_forgotten(path: Path, case: Case) -> None:
    """Refuse an original that has already forgotten the present request.

    Raises:
        SettingError: the requests in its run folder, or in those before it, contain all samples to forget.
        StaleError: its requests cannot be read, or were made with other data.
    """
    forgotten = Chain.of([path], TrainingRecords(case.splits)).positions
    if forgotten.issuperset(case.requested.forget):
        raise SettingError(
            f"{path} is given as the original, but it has already forgotten this request",
            expected="a model that was trained on the samples to forget and has not forgotten them",
            remedy="Name the model before unlearning; to audit this one, list it among the models of an audit",
        )


def require_whole(path: Path, request: str | None) -> None:
    """Refuse a folder in which a file was changed, removed or added since it was written.

    In a folder without manifest, from an earlier version, only the request can be checked; see `unverified`.

    Args:
        path: a run folder.
        request: digest of the request that its model has forgotten, from its record.

    Raises:
        StaleError: the folder was changed.
    """
    expected, remedy = "the unchanged files of one run", "Copy the folder again from an intact source, or make it again"
    remedy += "; `unregress verify` also checks the folders that it was made from"
    manifest = read_manifest(path)
    if found := [] if manifest is None else list(departures(path, manifest)):
        raise StaleError(f"{path} was changed: {'; '.join(found)}", expected=expected, remedy=remedy)
    if (path / REQUEST).exists() and read_request(path).digest != request:
        raise StaleError(
            f"{path / REQUEST} and {path / HISTORY} are about different requests", expected=expected, remedy=remedy
        )
