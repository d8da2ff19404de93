"""Create run folders atomically, and never over another run or over the user's files."""

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
"""The run's resolved configuration, which every run folder has."""
_BESIDE_CONFIG = (MANIFEST, "digests.json", "history.json", "audit.json")
"""Files that tell a run folder from a user's project with a `config.yaml`: a run folder has at least one.  Folders of
earlier versions have no manifest."""
_REMEDY = "Choose another `--output`, or remove the folder yourself"


@contextmanager
def new_run(path: str | Path, config: str, made_from: Mapping[str, Path] | None = None) -> Iterator[Path]:
    """Create a run folder atomically: yield a hidden folder, which is moved to `path` if the block succeeds.

    After an error the hidden folder, a sibling of `path`, is removed.  The folder of an earlier run with the same
    configuration is replaced as a whole.

    Args:
        path: the run folder; missing parents are made.
        config: the resolved configuration, written as `config.yaml`.
        made_from: run folders and weights files that the run starts from, by their roles.  The manifest, which is
            written at the end, records their digests from the beginning of the block.

    Yields:
        The hidden folder, with `config.yaml` in it.

    Raises:
        RunFolderError: there are other files at `path`, which are kept, or the path cannot be written.
    """
    target = Path(os.path.realpath(path))
    # First restore an earlier run that a killed process had moved away.
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
        # Check again: the path may have changed during the run.
        check_run(target, config)
        with _writing(target):
            write_manifest(hidden, found)
            put(hidden, target)


def check_run(path: str | Path, config: str) -> None:
    """Refuse a path where a run must not be written; call it before a long computation.

    Args:
        path: the run folder.
        config: the resolved configuration.

    Raises:
        RunFolderError: `path` is a file, is inside another run's folder, or is a folder whose content is not an
            unchanged run of the same configuration.
    """
    path = Path(path)
    try:
        if outer := next((each for each in Path(os.path.realpath(path)).parents if _is_run(each)), None):
            raise RunFolderError(
                f"{path} is inside {outer}, the folder of another run, and would change it",
                expected="a path outside all run folders",
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
                f"{path} contains files and is not a run folder: it has no {CONFIG}",
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
        _require_only_run_files(path)
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror}", remedy="Choose another `--output`") from error


def _require_only_run_files(path: Path) -> None:
    """Refuse to replace a run folder with files that the run did not write or that were changed since."""
    try:
        manifest = read_manifest(path)
    except StaleError as error:
        raise RunFolderError(error.found, expected="the manifest of a run", remedy=_REMEDY) from error
    if manifest is None:
        raise RunFolderError(
            f"{path} has no {MANIFEST}, so that the run's files cannot be told from others",
            expected="a new or an empty folder, or one of a run with the same configuration and its manifest",
            remedy=_REMEDY,
        )
    found = departures(path, manifest)
    if found.changed or found.foreign:
        raise RunFolderError(
            f"{path} contains files that no run wrote or that were changed, and this run would delete them: "
            + ", ".join([*(f"{name} (changed)" for name in found.changed), *found.foreign]),
            expected="a new or an empty folder, or an unchanged one of a run with the same configuration",
            remedy="Move these files elsewhere, choose another `--output`, or remove the folder yourself",
        )


def _is_run(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and any((folder / name).is_file() for name in _BESIDE_CONFIG)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        # The folder is not empty after success, or if another process has written to it.
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunFolderError(
            f"{path} cannot be written: {error.strerror or error}",
            expected="a path where folders can be created, on a disk with free space",
            remedy="Choose another `--output`",
        ) from error
