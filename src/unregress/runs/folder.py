"""Run folders: written whole or not at all, and never over another run or what a user has put there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from unregress.errors import RunFolderError, StaleError
from unregress.files.partial import put, sweep, unfinished
from unregress.files.writing import write_text
from unregress.runs.config_diff import differences
from unregress.runs.manifest import MANIFEST, departures, read_manifest, sources, write_manifest

CONFIG = "config.yaml"
"""The file that makes a folder a run folder: the run's resolved configuration."""
_BESIDE_CONFIG = (MANIFEST, "digests.json", "history.json", "audit.json")
"""Files of which one lies beside the `config.yaml` of a run, and hardly beside that of a user's own project; the
first is missing from folders that earlier versions wrote."""
_REMEDY = "Choose another `--output`, or remove the folder yourself"


@contextmanager
def new_run(path: str | Path, config: str, made_from: Mapping[str, Path] | None = None) -> Iterator[Path]:
    """A folder to fill, which takes its place at `path` when the block ends without an error.

    Until then it is a hidden sibling of `path`; after an error it is removed and nothing is left.
    A folder of an earlier run with the same configuration is replaced as a whole.

    Args:
        path: where the run folder belongs; missing parents are made.
        config: the resolved configuration, written as `config.yaml`.
        made_from: run folders and weights files that the run starts from, by their roles.  The manifest, which is
            written at the end, holds their digests as they are now.

    Yields:
        The hidden folder, with `config.yaml` in it.

    Raises:
        RunFolderError: something else is at `path`, which stays as it is, or nothing can be written there.
    """
    target = Path(os.path.realpath(path))
    # Before anything else: a run that was set aside by a process that was killed is put back.
    sweep(target.parent)
    check_run(target, config)
    found = sources(made_from or {})
    made = [parent for parent in target.parents if not parent.exists()]
    with ExitStack() as stack:
        stack.callback(_remove_empty, made)
        with _writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            hidden = stack.enter_context(unfinished(target))
            hidden.mkdir()
        write_text(hidden / CONFIG, config)
        yield hidden
        # Again, for the time that the run took.
        check_run(target, config)
        with _writing(target):
            write_manifest(hidden, found)
            put(hidden, target)


def check_run(path: str | Path, config: str) -> None:
    """Refuse a place where a run must not be written: look before a long computation.

    Args:
        path: where the run folder belongs.
        config: the resolved configuration.

    Raises:
        RunFolderError: `path` is a file, lies in another run's folder, or is a folder with anything but an unchanged
            run of the same configuration.
    """
    path = Path(path)
    try:
        if outer := next((each for each in Path(os.path.realpath(path)).parents if _is_run(each)), None):
            raise RunFolderError(
                f"{path} lies in {outer}, the folder of another run, which would no longer be as it was written",
                expected="a place outside all run folders",
                remedy="Choose an `--output` beside it",
            )
        if not os.path.lexists(path):
            return
        if not path.is_dir():
            raise RunFolderError(
                f"{path} is not a folder", expected="a folder to write", remedy="Choose another `--output`"
            )
        if not any(path.iterdir()):
            return
        written = path / CONFIG
        if not written.is_file():
            raise RunFolderError(
                f"{path} holds files and is not a run folder: it has no {CONFIG}",
                expected="a new or an empty folder",
                remedy=_REMEDY,
            )
        found = written.read_bytes()
        if found != config.encode():
            which = differences(found.decode(errors="replace"), config)
            raise RunFolderError(
                f"{path} holds another run: its {CONFIG} differs from this run's" + (f" in {which}" if which else ""),
                expected="a new or an empty folder, or one of a run with the same configuration",
                remedy=_REMEDY,
            )
        _require_nothing_else(path)
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror}", remedy="Choose another `--output`") from error


def _require_nothing_else(path: Path) -> None:
    """Refuse to replace a run folder that holds more than what the run wrote."""
    try:
        manifest = read_manifest(path)
    except StaleError as error:
        raise RunFolderError(error.found, expected="the manifest of a run", remedy=_REMEDY) from error
    if manifest is None:
        raise RunFolderError(
            f"{path} has no {MANIFEST}, so that which of its files a run wrote is not known",
            expected="a new or an empty folder, or one of a run with the same configuration and its manifest",
            remedy=_REMEDY,
        )
    found = departures(path, manifest)
    if found.changed or found.foreign:
        raise RunFolderError(
            f"{path} holds what this run would delete and did not write: "
            + ", ".join([*(f"{name} (changed)" for name in found.changed), *found.foreign]),
            expected="a new or an empty folder, or one of a run with the same configuration, as it was written",
            remedy="Move these files elsewhere, choose another `--output`, or remove the folder yourself",
        )


def _is_run(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and any((folder / name).is_file() for name in _BESIDE_CONFIG)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        # Not empty after success, or where somebody else has written meanwhile.
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunFolderError(
            f"{path} cannot be written: {error.strerror}",
            expected="a place where folders can be made, with space left on its disk",
            remedy="Choose another `--output`",
        ) from error
