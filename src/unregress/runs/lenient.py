"""Read run folders and configurations of any origin without raising: what cannot be read is left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from unregress.errors import StaleError, UnregressError
from unregress.files.typed_json import Misfit
from unregress.files.writing import content_of
from unregress.runs.manifest import Manifest, read_manifest
from unregress.runs.provenance import Record, record_of


def record_or_none(folder: Path) -> Record | None:
    """The record of a run folder's model; None if there is none that can be read."""
    try:
        return record_of(folder)
    except UnregressError:
        return None


def manifest_or_none(folder: Path) -> Manifest | None:
    """A folder's manifest; None if there is none that can be read."""
    try:
        return read_manifest(folder)
    except StaleError:
        return None


def weights_in(folder: Path) -> set[str]:
    """The digest of the weights of a run folder's model; empty if it holds none."""
    manifest, record = manifest_or_none(folder), record_or_none(folder)
    if manifest is None or record is None:
        return set()
    return {digest for name, digest in manifest.files.items() if name == record.weights}


def text_of(path: Path) -> str:
    """The text of a file; empty if it cannot be read."""
    try:
        return content_of(path).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def mapping_of(path: Path) -> dict[str, Any]:
    """A YAML or JSON file's mapping; empty if there is none."""
    try:
        found = yaml.safe_load(text_of(path))
    except (yaml.YAMLError, RecursionError, Misfit):
        return {}
    return found if isinstance(found, dict) else {}


def is_plain_file(path: Path) -> bool:
    """Whether a path is a file and no link."""
    try:
        return path.is_file() and not path.is_symlink()
    except OSError:  # the text is too long for a path
        return False


def texts_in(value: Any) -> Iterator[str]:
    """All texts in nested plain data."""
    if isinstance(value, str) and value and "\0" not in value:
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from texts_in(each)
