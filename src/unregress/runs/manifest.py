"""The manifest of a run folder: SHA-256 of each file, and of the folders and files that the run started from.

The digest of a folder is that of its manifest.  Since a manifest contains the digests of the run's sources, which are
digests of manifests too, a single digest identifies a folder and all its ancestors.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PureWindowsPath

from unregress.errors import StaleError
from unregress.errors.wording import printable
from unregress.files.typed_json import Misfit, build, parse
from unregress.files.writing import content_of, sha256_of, write_json

MANIFEST = "manifest.json"
_LAYOUT = 1
_SYSTEM_FILES = (".DS_Store", "Thumbs.db", "desktop.ini")
"""Files that file managers create in folders, which are ignored."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A run folder or weights file that a run started from."""

    role: str
    """Its role in the run: `checkpoint`, `original`, `gold 1`."""
    name: str
    """Name of the file or folder, without its path."""
    digest: str
    """SHA-256 of a folder's manifest or of a file; empty for a folder without manifest."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Digests of a run folder's files and sources."""

    layout: int
    made_from: tuple[Source, ...]
    files: dict[str, str]
    """SHA-256 of every file except the manifest, by path relative to the folder."""


@dataclass(frozen=True, kw_only=True)
class Departures:
    """Differences between a folder and its manifest."""

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    foreign: tuple[str, ...]
    """Files that the manifest does not list."""

    def __iter__(self) -> Iterator[str]:
        """One complaint for each file."""
        yield from (f"{printable(name)} is missing" for name in self.missing)
        yield from (f"{printable(name)} was changed after it was written" for name in self.changed)
        yield from (f"{printable(name)} was added" for name in self.foreign)


def sources(made_from: Mapping[str, Path]) -> tuple[Source, ...]:
    """Names and current digests of the folders and files that a run starts from.

    Args:
        made_from: run folders and weights files by their roles.
    """
    return tuple(
        Source(role=role, name=os.path.basename(os.path.realpath(path)), digest=digest_of_folder(path))
        for role, path in made_from.items()
    )


def digest_of_folder(path: Path) -> str:
    """SHA-256 of a run folder's manifest, as `sha256sum FOLDER/manifest.json` prints it, or of a weights file.

    Returns:
        64 hexadecimal digits; empty if there is no such file, as in folders of earlier versions.
    """
    file = path / MANIFEST if path.is_dir() else path
    return sha256_of(file) if file.is_file() else ""


def write_manifest(folder: Path, made_from: Sequence[Source]) -> None:
    """Write the manifest of a finished folder.

    Raises:
        RunFolderError: it cannot be written.
    """
    files = {name: sha256_of(folder / name) for name in _files(folder)}
    write_json(folder / MANIFEST, asdict(Manifest(layout=_LAYOUT, made_from=tuple(made_from), files=files)))


def read_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of a folder; None if there is none, as in folders of earlier versions.

    Raises:
        StaleError: it cannot be read.
    """
    path, remedy = folder / MANIFEST, "Copy the folder again from an intact source, or make it again"
    try:
        manifest = build(Manifest, parse(content_of(path)))
    except FileNotFoundError:
        return None
    except (OSError, Misfit) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StaleError(f"{path} cannot be read: {reason}", remedy=remedy) from error
    if manifest.layout != _LAYOUT:
        raise StaleError(
            f"{path} has layout {manifest.layout}, of another version of unregress",
            expected=f"layout {_LAYOUT}",
            remedy=remedy,
        )
    if paths := [source.name for source in manifest.made_from if not is_bare(source.name)]:
        raise StaleError(
            f"{path} cannot be read: made_from names {paths[0]!r}",
            expected="names of folders and files, without a path",
            remedy=remedy,
        )
    return manifest


def is_bare(name: str) -> bool:
    """Whether a text is the name of a file or folder, not a path."""
    return name not in ("", ".", "..") and "\0" not in name and name == PureWindowsPath(name).name


def departures(folder: Path, manifest: Manifest) -> Departures:
    """Compare a folder with its manifest; the result is empty if they agree.

    Only files that exist in the folder are opened, so that paths in the manifest cannot lead out of it.
    """
    found, listed = set(_files(folder)), manifest.files
    return Departures(
        missing=tuple(sorted(listed.keys() - found)),
        changed=tuple(name for name in sorted(listed.keys() & found) if not _has_digest(folder / name, listed[name])),
        foreign=tuple(sorted(found - listed.keys())),
    )


def _has_digest(file: Path, digest: str) -> bool:
    try:
        # Reading a pipe might never end.
        return stat.S_ISREG(file.stat().st_mode) and sha256_of(file) == digest
    except OSError:
        return False


def _files(folder: Path) -> Iterator[str]:
    """Relative paths of all files in a folder and its subfolders, except the manifest; links are not followed."""
    for place, below, names in os.walk(folder):
        below.sort()
        inside = Path(place)
        links = [name for name in below if (inside / name).is_symlink()]
        for name in sorted([*names, *links]):
            path = (inside / name).relative_to(folder).as_posix()
            if path != MANIFEST and name not in _SYSTEM_FILES:
                yield path
