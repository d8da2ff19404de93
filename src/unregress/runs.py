"""Run folders: written whole or not at all, and never over another run."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unregress.differences import differences
from unregress.errors import RunFolderError

CONFIG = "config.yaml"
"""The file that makes a folder a run folder: the run's resolved configuration."""


@contextmanager
def new_run(path: str | Path, config: str) -> Iterator[Path]:
    """A folder to fill, which takes its place at `path` when the block ends without an error.

    Until then it is a hidden sibling of `path`; after an error it is removed and nothing is left.
    A folder of an earlier run with the same configuration is replaced as a whole.

    Args:
        path: where the run folder belongs; missing parents are made.
        config: the resolved configuration, written as `config.yaml`.

    Yields:
        The hidden folder, with `config.yaml` in it.

    Raises:
        RunFolderError: something else is at `path`, which stays as it is, or nothing can be written there.
    """
    target = Path(path).resolve()
    check_run(target, config)
    hidden = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    made = [parent for parent in target.parents if not parent.exists()]
    try:
        try:
            hidden.mkdir(parents=True)
            (hidden / CONFIG).write_text(config, encoding="utf-8")
        except OSError as error:
            raise _unwritable(target, error) from error
        yield hidden
        # Again, for the time that the run took.
        check_run(target, config)
        try:
            _put(hidden, target)
        except OSError as error:
            raise _unwritable(target, error) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        for parent in made:
            # Not empty after success, or where somebody else has written meanwhile.
            with suppress(OSError):
                parent.rmdir()


def check_run(path: str | Path, config: str) -> None:
    """Refuse a place where a run must not be written: look before a long computation.

    Args:
        path: where the run folder belongs.
        config: the resolved configuration.

    Raises:
        RunFolderError: `path` is a file, or a folder with anything but a run of the same configuration.
    """
    path = Path(path)
    remedy = "Choose another `--output`, or remove the folder yourself"
    try:
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
                remedy=remedy,
            )
        found = written.read_bytes()
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror}", remedy="Choose another `--output`") from error
    if found != config.encode():
        which = differences(found.decode(errors="replace"), config)
        raise RunFolderError(
            f"{path} holds another run: its {CONFIG} differs from this run's" + (f" in {which}" if which else ""),
            expected="a new or an empty folder, or one of a run with the same configuration",
            remedy=remedy,
        )


def _put(hidden: Path, target: Path) -> None:
    """Move a finished folder into place; a run already there is removed after the new one has taken its place."""
    if not target.exists():
        os.rename(hidden, target)
        return
    earlier = hidden.with_suffix(".replaced")
    os.rename(target, earlier)
    try:
        os.rename(hidden, target)
    except BaseException:
        os.rename(earlier, target)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


def _unwritable(path: Path, error: OSError) -> RunFolderError:
    return RunFolderError(
        f"{path} cannot be written: {error.strerror}",
        expected="a place where folders can be made",
        remedy="Choose another `--output`",
    )
