"""What is noted of a run folder's model: its request, making and ancestors; and whether its files are still those."""

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
"""Version of the fields of a `history.json`; raised when a reader of the old one would misread the new one."""
HISTORY = "history.json"
"""The record of how a run folder's model was made."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """How a run folder's model was made: the content of its `history.json`."""

    layout: int
    """Version of the record's fields."""
    weights: str
    """Name of the weights file in the folder."""
    helper: str | None
    """Name of the file of the model that taught this one, if any."""
    request_digest: str | None
    """Digest of the request that it forgot; None for an original."""
    data_digest: str
    """Digest of the training set."""
    records: Sketch | None
    """Which records it was trained on, by which today's data are compared."""
    made: ModelRecord
    """Method, settings, recipe and parents."""
    notes: tuple[str, ...]
    deviations: tuple[str, ...]
    warnings: tuple[str, ...]
    cost: Cost
    history: tuple[Epoch, ...]


def write_record(folder: Path, record: Record) -> None:
    """Write how a model was made.

    Raises:
        DivergenceError: a number in its history is not finite, which JSON cannot hold.
        RunFolderError: the file cannot be written.
    """
    try:
        text = json.dumps(asdict(record), indent=1, allow_nan=False)
    except ValueError as error:
        raise DivergenceError(
            f"{record.made.method} returned a history or cost that holds a number that is not finite",
            expected="finite losses and learning rates",
            remedy="Lower its learning rate, or correct what it records",
        ) from error
    write_text(folder / HISTORY, f"{text}\n")


def record_of(path: Path) -> Record:
    """How a run folder's model was made.

    Raises:
        CheckpointError: the folder holds no model, or its record is not of the form that was written.
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
            remedy="Take the folder once more from where it is whole, or make the model again",
        ) from error
    for field in ("weights", "helper"):
        if (name := getattr(record, field)) is not None and not is_bare(name):
            raise CheckpointError(
                f"{path / HISTORY} is not the record of a model: {field} is {name!r}",
                expected="the name of a file in the same folder",
                remedy="Take the folder once more from where it is whole, or make the model again",
            )
    return record


def _require_layout(path: Path, found: Any) -> None:
    """Refuse the record of another version, which noted other things."""
    if not isinstance(found, dict) or "weights" not in found or (layout := found.get("layout", 1)) == LAYOUT:
        return
    raise StaleError(
        f"{path / HISTORY} was written in layout {layout!r}, by another version of unregress",
        expected=f"layout {LAYOUT}",
        remedy="Make the model again with this version, or name the weights file in the folder instead of the folder",
    )


def weights_file(path: Path) -> Path:
    """The file that is to be deployed: the one given, or the weights in a run folder.

    Raises:
        CheckpointError: the folder holds no model.
    """
    return path / record_of(path).weights if path.is_dir() else path


def unverified(path: Path) -> bool:
    """Whether a folder has no manifest, so that nothing says whether its files are as they were written."""
    return path.is_dir() and not (path / MANIFEST).is_file()


def require_remembering(path: Path, case: Case) -> None:
    """Refuse as an original what was already made to forget the present request, lately or earlier.

    Raises:
        SettingError: it was, by the record in its run folder.
        StaleError: its requests cannot be read, or were made with other data.
    """
    forgotten = Chain.of([path], TrainingRecords(case.splits)).positions
    if forgotten.issuperset(case.requested.forget):
        raise SettingError(
            f"{path} is given as the original, and has already been made to forget this request",
            expected="a model that was trained on the samples to forget, and that no earlier request made forget them",
            remedy="Name that one; to judge this one, list it among the models of an audit",
        )


def require_whole(path: Path, request: str | None) -> None:
    """Refuse a folder of which a file was changed, removed or added since it was written.

    Of a folder without manifest, which an earlier version wrote, only the request can be checked; see `unverified`.

    Args:
        path: a run folder.
        request: the digest of the request that its model is said to have forgotten.

    Raises:
        StaleError: the folder is not as it was written.
    """
    expected, remedy = "the files of one run, as it left them", "Take the folder once more from where it is whole, "
    remedy += "or make it again; `unregress verify` looks at what it was made from, too"
    manifest = read_manifest(path)
    if found := [] if manifest is None else list(departures(path, manifest)):
        raise StaleError(f"{path} is not as it was written: {'; '.join(found)}", expected=expected, remedy=remedy)
    if (path / REQUEST).exists() and read_request(path).digest != request:
        raise StaleError(
            f"{path / REQUEST} is not the request that {path / HISTORY} is about", expected=expected, remedy=remedy
        )
