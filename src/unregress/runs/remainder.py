"""Something that may still hold a trace of forgotten samples: a run folder or a file, with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from unregress.runs.manifest import digest_of_folder

Kind = Literal[
    "original",
    "retrained model",
    "unlearned model",
    "helper",
    "weights file",
    "ids file",
    "leave-out table",
    "unfinished leave-out table",
]


@dataclass(frozen=True, kw_only=True)
class Remainder:
    """A run folder or file that may hold a trace of forgotten samples."""

    path: Path
    kind: Kind
    why: str
    """Why it may remember, in a sentence."""
    size: int
    """Bytes of the file, or of all files in the folder."""
    modified: str
    """Day of the last change, in UTC."""
    sha256: str
    """Of the file, or of the run folder's manifest."""
    kept: str = ""
    """Why it is never deleted; empty if it may be."""

    @classmethod
    def at(cls, path: Path, kind: Kind, why: str) -> Remainder:
        """Describe what lies at a path: its size, day and digest."""
        files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
        last = max((each.stat().st_mtime for each in files), default=0.0)
        return cls(
            path=path,
            kind=kind,
            why=why,
            size=sum(each.stat().st_size for each in files),
            modified=datetime.fromtimestamp(last, UTC).date().isoformat(),
            sha256=digest_of_folder(path),
        )
