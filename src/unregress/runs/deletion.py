"""Delete run folders and files that were found to remember, and keep a log of what was deleted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from unregress.errors import RunFolderError, StaleError
from unregress.files.typed_json import Misfit, build, parse
from unregress.files.writing import content_of, sha256_of, write_json
from unregress.runs.folder import CONFIG
from unregress.runs.manifest import MANIFEST, departures, digest_of_folder, read_manifest
from unregress.runs.provenance import HISTORY
from unregress.runs.remainder import Remainder
from unregress.runs.unfinished_tables import remove_empty

_LAST = (CONFIG, HISTORY, MANIFEST)
"""Files of a run folder that are deleted last, so that an interrupted deletion can be repeated."""


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """One entry of the log."""

    path: str
    kind: str
    why: str
    size: int
    sha256: str
    """Of the file, or of the run folder's manifest."""
    files: dict[str, str]
    """SHA-256 of each file of a run folder, from its manifest; empty for a file."""
    begun: str
    """Moment when the deletion began, in UTC."""
    done: str
    """Moment when it ended; empty if it was interrupted."""


@dataclass(frozen=True, kw_only=True)
class DeletionLog:
    """The content of a log: deletions in the order in which they were made."""

    layout: int
    deletions: tuple[Deletion, ...]


def log_of(folder: Path) -> Path:
    """The log beside a run folder, whose own files are never changed."""
    real = Path(os.path.realpath(folder))
    return real.with_name(f"{real.name}.deletions.json")


def read_log(path: Path) -> tuple[Deletion, ...]:
    """Read a log; empty if there is none.

    Raises:
        StaleError: the file is not a log of this version.
    """
    if not os.path.lexists(path):
        return ()
    try:
        log = build(DeletionLog, parse(content_of(path)))
    except (OSError, Misfit) as error:
        raise StaleError(
            f"{path} is not a log of deletions: {error}",
            expected="no file, or one that `unregress remains` wrote",
            remedy="Move it elsewhere",
        ) from error
    return log.deletions


def delete(found: Sequence[Remainder], log: Path) -> tuple[Deletion, ...]:
    """Delete run folders and files, and add each of them to a log.

    Of a run folder only the files are deleted that its manifest lists and that are unchanged; a folder that holds
    others is refused.  The log is written before and after each deletion.

    Args:
        found: what to delete, from `remains`.  Entries that are to be kept (`Remainder.kept`) are left out.
        log: the log, see `log_of`.

    Returns:
        The new entries of the log.

    Raises:
        StaleError: a folder or file changed since it was found, or the log is not one; the earlier ones are deleted.
        RunFolderError: something cannot be deleted, or the log cannot be written.
    """
    before, made = read_log(log), list[Deletion]()
    for each in found:
        if each.kept:
            continue
        entry = _begun(each)
        _write(log, (*before, *made, entry))
        with _deleting(each.path):
            if each.path.is_dir():
                _delete_folder(each.path, entry.files)
            else:
                each.path.unlink()
                remove_empty(each.path.parent)
        made.append(Deletion(**{**asdict(entry), "done": _now()}))
        _write(log, (*before, *made))
    return tuple(made)


def _begun(each: Remainder) -> Deletion:
    """The entry of something to delete, which must be as it was found."""
    path, files = each.path, dict[str, str]()
    if path.is_symlink() or not path.exists() or digest_of_folder(path) != each.sha256:
        raise StaleError(f"{path} was changed since it was listed, and is not deleted", remedy="List again")
    if path.is_dir():
        manifest = read_manifest(path)
        odd = None if manifest is None else departures(path, manifest)
        if manifest is None or odd is None or odd.changed or odd.foreign:
            raise StaleError(f"{path} holds files that no run wrote, and is not deleted", remedy="Move them elsewhere")
        files = manifest.files
    return Deletion(
        path=str(path),
        kind=each.kind,
        why=each.why,
        size=each.size,
        sha256=each.sha256,
        files=files,
        begun=_now(),
        done="",
    )


def _delete_folder(folder: Path, files: dict[str, str]) -> None:
    """Delete the files that a manifest lists, and then the folders that are empty."""
    names = sorted(files, key=lambda name: (_LAST.index(name) if name in _LAST else -1, name))
    for name in [*names, MANIFEST]:
        # A file whose content changed in this moment is not the run's any more.
        if name == MANIFEST or ((folder / name).is_file() and sha256_of(folder / name) == files[name]):
            (folder / name).unlink()
    for place, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            os.rmdir(place)


@contextmanager
def _deleting(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunFolderError(
            f"{path} cannot be deleted: {error.strerror or error}",
            expected="files that this user may delete",
            remedy="Delete it yourself; the log says what was deleted",
        ) from error


def _write(log: Path, deletions: Sequence[Deletion]) -> None:
    write_json(log, asdict(DeletionLog(layout=1, deletions=tuple(deletions))))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
