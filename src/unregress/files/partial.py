"""Files and folders that are being written: hidden beside their place, and removed once no process writes them."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

_LOCK = re.compile(r"\..+\.[0-9a-f]{8}\.partial\.lock", re.DOTALL)
_PATIENCE = 10
"""Seconds in which a lock of a new name is had; another process holds it for an instant at most, while it looks."""


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A hidden path beside `path` at which to write; what is still there when the block ends is removed.

    A lock file beside it is held as long as this process lives.  What a process leaves that is killed is removed by
    the next one that writes in the same folder, see `sweep`.

    Args:
        path: where the finished file or folder belongs; its folder must exist.

    Yields:
        A path at which there is nothing yet.

    Raises:
        OSError: nothing can be written there, or a device or pipe is there, which must not be replaced.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "it is neither a file nor a folder", str(path))
    sweep(path.parent)
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    lock = hidden.with_name(f"{hidden.name}.lock")
    try:
        with FileLock(lock, timeout=_PATIENCE):
            try:
                yield hidden
            finally:
                _settle(hidden)
    finally:
        _unlock(hidden)


def put(hidden: Path, target: Path) -> None:
    """Move a finished folder to its place.  A folder that is there is set aside, and removed when the block ends.

    Args:
        hidden: what `unfinished(target)` yielded.
        target: the place.

    Raises:
        OSError: it cannot be moved; what was there is put back when the block ends.
    """
    if target.exists():
        os.rename(target, _aside(hidden))
    os.rename(hidden, target)


def sweep(folder: Path) -> None:
    """Remove what processes left unfinished in a folder that have ended, and put back what they had set aside.

    What living processes write stays: they hold a lock, which also those on other hosts see that share the disk.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for lock in (folder / name for name in names if _LOCK.fullmatch(name)):
        # OSError: another process holds the lock, or the folder is not writable for this user.
        with suppress(OSError):
            with FileLock(lock, timeout=0):
                _settle(lock.with_suffix(""))
            _unlock(lock.with_suffix(""))


def _settle(hidden: Path) -> None:
    """Put back a folder that was set aside and not replaced; remove what is not needed any more."""
    target, aside = hidden.with_name(hidden.name[1:].rsplit(".", 2)[0]), _aside(hidden)
    if aside.exists() and not os.path.lexists(target):
        with suppress(OSError):
            os.rename(aside, target)
    if aside.exists() and (hidden.exists() or not os.path.lexists(target)):
        # Nothing has replaced it, and another process has taken its place: all stays.
        return
    if aside.exists():
        shutil.rmtree(aside, ignore_errors=True)
    if hidden.is_dir():
        shutil.rmtree(hidden, ignore_errors=True)
    else:
        hidden.unlink(missing_ok=True)


def _unlock(hidden: Path) -> None:
    """Remove the lock file, by which the next process finds what is left, if nothing is."""
    if not hidden.exists() and not _aside(hidden).exists():
        # Where none could be made, that error is the one to tell.
        with suppress(OSError):
            hidden.with_name(f"{hidden.name}.lock").unlink()


def _aside(hidden: Path) -> Path:
    return hidden.with_suffix(".replaced")
