"""The part of a file that has come so far, and beside it which version of the file it is a part of."""

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
    """What a server says of a file, by which another version of it is told."""

    url: str
    etag: str
    modified: str
    length: int | None

    @property
    def condition(self) -> str:
        """For If-Range, which takes no weak ETag."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def fits(self, part: Version) -> bool:
        """Whether a part may be of this version; with a part, not everything need be said."""
        pairs = ((self.etag, part.etag), (self.modified, part.modified), (self.length, part.length))
        return all(mine == other for mine, other in pairs if mine and other)


class Partial:
    """A file that is being fetched.

    Attributes:
        path: `TARGET.partial`.
        side: `TARGET.partial.json`, its version.
        version: the version that `path` is a part of; None where that is not known.

    Args:
        url: where it is fetched from; a part from elsewhere does not count.
        target: the path that it will have.
    """

    def __init__(self, url: str, target: Path) -> None:
        self.url, self.target = url, target
        self.path = target.with_name(f"{target.name}.partial")
        self.side = target.with_name(f"{target.name}.partial.json")
        self.version = self._noted()

    def _noted(self) -> Version | None:
        try:
            version = Version(**json.loads(self.side.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # none, or half-written
            return None
        return version if version.url == self.url else None

    @property
    def have(self) -> int:
        """Bytes that can be gone on from: none if nothing tells this version from another."""
        known = self.version is not None and self.version.condition and self.path.exists()
        return self.path.stat().st_size if known else 0

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return self.version is not None and 0 < self.have == self.version.length

    def begin(self, version: Version) -> None:
        """Start over, with this version."""
        with disk(self.target):
            self.drop()
            self.side.write_text(json.dumps(asdict(version)), encoding="utf-8")
            self.path.touch()
        self.version = version

    def drop(self) -> None:
        """Forget and delete all of it."""
        self.version = None
        for each in (self.side, self.path):
            each.unlink(missing_ok=True)


@contextlib.contextmanager
def disk(target: Path) -> Iterator[None]:
    """Raise `DataError`, which says what to do, if files cannot be written."""
    try:
        yield
    except OSError as error:
        free = ""
        with contextlib.suppress(OSError):
            free = f"; {size(shutil.disk_usage(target.parent).free)} are free there"
        raise DataError(
            f"{target} cannot be written: {error.strerror or error}{free}",
            remedy="Make room or name another folder; what has come so far is kept",
        ) from error


def size(count: int) -> str:
    """A number of bytes in words."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count:,} bytes"
