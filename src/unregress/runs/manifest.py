"""The manifest of a run folder: SHA-256 of each of its files, and of what the run was made from.

The digest of a folder is that of its manifest, which holds the digests of the folders it was made from, which are
those of their manifests: so one digest stands for a folder and all its ancestors.
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
_OF_THE_SYSTEM = (".DS_Store", "Thumbs.db", "desktop.ini")
"""Files that operating systems put into folders which people look at."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A run folder or a file of weights that a run was made from."""

    role: str
    """What it was for the run: `checkpoint`, `original`, `gold 1`."""
    name: str
    """Its own name, without the folders that it lies in."""
    digest: str
    """Of a run folder, that of its manifest; of a file, its own; empty for a folder without manifest."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a run folder holds, and what it was made from."""

    layout: int
    made_from: tuple[Source, ...]
    files: dict[str, str]
    """SHA-256 of every file but the manifest, by its path in the folder."""


@dataclass(frozen=True, kw_only=True)
class Departures:
    """In what a folder is not as its manifest says."""

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    foreign: tuple[str, ...]
    """Files that the manifest does not list."""

    def __iter__(self) -> Iterator[str]:
        """One complaint for each file."""
        yield from (f"{printable(name)} is missing" for name in self.missing)
        yield from (f"{printable(name)} is not the one that was written" for name in self.changed)
        yield from (f"{printable(name)} was added" for name in self.foreign)


def sources(made_from: Mapping[str, Path]) -> tuple[Source, ...]:
    """What a run is made from, as it is now.

    Args:
        made_from: run folders and weights files by their roles.
    """
    return tuple(
        Source(role=role, name=os.path.basename(os.path.realpath(path)), digest=digest_of_folder(path))
        for role, path in made_from.items()
    )


def digest_of_folder(path: Path) -> str:
    """The digest of a run folder, as `sha256sum FOLDER/manifest.json` prints it, or of a weights file.

    Returns:
        64 hexadecimal digits; empty where there is no such file, as in a folder that an earlier version wrote.
    """
    file = path / MANIFEST if path.is_dir() else path
    return sha256_of(file) if file.is_file() else ""


def write_manifest(folder: Path, made_from: Sequence[Source]) -> None:
    """Write the manifest of a folder that is finished.

    Raises:
        RunFolderError: it cannot be written.
    """
    files = {name: sha256_of(folder / name) for name in _files(folder)}
    write_json(folder / MANIFEST, asdict(Manifest(layout=_LAYOUT, made_from=tuple(made_from), files=files)))


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder; None where there is none, as in a folder that an earlier version wrote.

    Raises:
        StaleError: it cannot be read.
    """
    path, remedy = folder / MANIFEST, "Take the folder once more from where it is whole, or make it again"
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
            expected="names of folders and files, without the folders that they lie in",
            remedy=remedy,
        )
    return manifest


def is_bare(name: str) -> bool:
    """Whether a text is the name of a file or folder, and no path that leads elsewhere."""
    return name not in ("", ".", "..") and "\0" not in name and name == PureWindowsPath(name).name


def departures(folder: Path, manifest: Manifest) -> Departures:
    """In what a folder is not as its manifest says; empty if it is whole.

    Only files that are found in the folder are opened, whatever names the manifest lists.
    """
    found, listed = set(_files(folder)), manifest.files
    return Departures(
        missing=tuple(sorted(listed.keys() - found)),
        changed=tuple(name for name in sorted(listed.keys() & found) if not _is(folder / name, listed[name])),
        foreign=tuple(sorted(found - listed.keys())),
    )


def _is(file: Path, digest: str) -> bool:
    try:
        # A pipe that somebody has put there would never end.
        return stat.S_ISREG(file.stat().st_mode) and sha256_of(file) == digest
    except OSError:
        return False


def _files(folder: Path) -> Iterator[str]:
    """Everything in a folder but its own manifest and folders, which are gone through; links are not followed."""
    for place, below, names in os.walk(folder):
        below.sort()
        inside = Path(place)
        links = [name for name in below if (inside / name).is_symlink()]
        for name in sorted([*names, *links]):
            path = (inside / name).relative_to(folder).as_posix()
            if path != MANIFEST and name not in _OF_THE_SYSTEM:
                yield path
