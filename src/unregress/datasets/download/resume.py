"""Partly downloaded files, and the version on the server that each is a part of."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from unregress.errors import DataError


@dataclass(frozen=True)
class Version:
    """HTTP headers that identify a version of a file, so that a change is noticed."""

    url: str
    etag: str
    modified: str
    length: int | None

    @property
    def condition(self) -> str:
        """Value of the If-Range header, which does not accept weak ETags."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def fits(self, part: Version) -> bool:
        """Whether a partial answer may be of this version; a server may leave out some of the headers."""
        pairs = ((self.etag, part.etag), (self.modified, part.modified), (self.length, part.length))
        return all(mine == other for mine, other in pairs if mine and other)


class Partial:
    """A file that is being downloaded.

    Attributes:
        path: `TARGET.partial`.
        side: `TARGET.partial.json`, its version.
        version: the version that `path` is a part of; None if unknown.

    Args:
        url: its address; a part from another address is discarded.
        target: its path when it is complete.
    """

    def __init__(self, url: str, target: Path) -> None:
        self.url, self.target = url, target
        self.path = target.with_name(f"{target.name}.partial")
        self.side = target.with_name(f"{target.name}.partial.json")
        self.version = self._noted()

    def _noted(self) -> Version | None:
        try:
            version = Version(**json.loads(self.side.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # missing or half-written
            return None
        return version if version.url == self.url else None

    @property
    def have(self) -> int:
        """Bytes after which the download can be resumed; 0 if no header identifies the version."""
        known = self.version is not None and self.version.condition and self.path.exists()
        return self.path.stat().st_size if known else 0

    @property
    def whole(self) -> bool:
        """Whether the file is complete."""
        return self.version is not None and 0 < self.have == self.version.length

    def begin(self, version: Version) -> None:
        """Start over, with this version."""
        with writing_to(self.target):
            self.drop()
            self.side.write_text(json.dumps(asdict(version)), encoding="utf-8")
            self.path.touch()
        self.version = version

    def drop(self) -> None:
        """Delete the part and its note."""
        self.version = None
        for each in (self.side, self.path):
            each.unlink(missing_ok=True)


@contextlib.contextmanager
def writing_to(target: Path) -> Iterator[None]:
    """Convert an `OSError` inside the block into a `DataError` with a remedy."""
    try:
        yield
    except OSError as error:
        free = ""
        with contextlib.suppress(OSError):
            free = f"; {size(shutil.disk_usage(target.parent).free)} are free there"
        raise DataError(
            f"{target} cannot be written: {error.strerror or error}{free}",
            remedy="Free some space or name another folder; what was downloaded so far is kept",
        ) from error


def size(count: int) -> str:
    """A number of bytes with its unit."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count:,} bytes"
