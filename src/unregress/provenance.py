"""What is noted of a run folder's model: its request, making and ancestors; and whether its files are still those."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from unregress.case import Case
from unregress.errors import CheckpointError, SettingError, StaleError
from unregress.lineage import REQUEST, Chain, read_request
from unregress.records import TrainingRecords

HISTORY = "history.json"
"""The record of how a run folder's model was made."""
DIGESTS = "digests.json"
"""SHA-256 of a run folder's weights and request, as they were written; folders of earlier versions have none."""


def record_of(path: Path) -> dict[str, Any]:
    """How a run folder's model was made.

    Raises:
        CheckpointError: the folder holds no model.
    """
    try:
        record = json.loads((path / HISTORY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise unreadable(path) from error
    if not isinstance(record, dict):
        raise unreadable(path)
    return record


def unreadable(path: Path) -> CheckpointError:
    """The complaint about a folder whose record cannot be read."""
    return CheckpointError(
        f"{path} is not a folder of one model: its {HISTORY} is missing or unreadable",
        expected="a folder that `unregress train` or `unregress forget` wrote, or a weights file",
    )


def ancestors(path: Path) -> list[str]:
    """Digests of the weights that a run folder's were made from, back to the first; empty where nobody noted them.

    Raises:
        CheckpointError: the folder holds no model.
    """
    noted = record_of(path).get("ancestors") if path.is_dir() else None
    return [str(digest) for digest in noted] if isinstance(noted, list) else []


def require_remembering(path: Path, case: Case) -> None:
    """Refuse as an original what was already made to forget the present request, lately or earlier.

    Raises:
        SettingError: it was, by the record in its run folder.
        StaleError: its requests cannot be read, or were made with other data.
    """
    forgotten = Chain.of([path], TrainingRecords(case)).positions
    if forgotten.issuperset(case.request.forget):
        raise SettingError(
            f"{path} is given as the original, and has already been made to forget this request",
            expected="a model that was trained on the samples to forget, and that no earlier request made forget them",
            remedy="Name that one; to judge this one, list it among the models of an audit",
        )


def digests_of(folder: Path) -> dict[str, str]:
    """SHA-256 of a run folder's weights and request, by file name."""
    return {file.name: sha256_of(file) for file in sorted((*folder.glob("*.safetensors"), *folder.glob(REQUEST)))}


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def require_whole(path: Path, request: str | None) -> None:
    """Refuse a folder of which files were damaged, removed or swapped with another's.

    Raises:
        StaleError: a file is not the one that was written.
    """
    remedy = "Take the folder once more from where it is whole, or make the model anew"
    try:
        written = json.loads((path / DIGESTS).read_text(encoding="utf-8"))
        found = digests_of(path)
        gone = [f"{name} is missing" for name in written if name not in found]
        changed = [f"{name} is not the one that was written" for name in found if found[name] != written.get(name)]
    except FileNotFoundError:
        gone, changed = [], []
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise StaleError(f"{path / DIGESTS} cannot be read: {error}", remedy=remedy) from error
    if gone or changed:
        raise StaleError(
            f"{path} is not as it was written: {'; '.join(gone + changed)}",
            expected="the files of one run, as it left them",
            remedy=remedy,
        )
    # All that is known of folders without digests.
    if (path / REQUEST).exists() and read_request(path).digest != request:
        raise StaleError(
            f"{path / REQUEST} is not the request that {path / HISTORY} is about",
            expected="the files of one run, as it left them",
            remedy=remedy,
        )


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write one of a run folder's notes."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
