"""Atomic writing of files and folders: written under a hidden name, then renamed; leftovers are removed.

Each is written beside its final path under a hidden name and protected by a lock file, so that other processes can
tell one in progress from the leftovers of a process that was killed.
"""

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
_LOCK_TIMEOUT = 10
"""Seconds to wait for the lock of a new name; `sweep` of another process may hold it for a moment."""


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Provide a hidden path beside `path` to write to; remove what is left there when the block ends.

    The block has to rename the finished file, or call `put` for a folder.  A lock file is held during the block.  If
    the process is killed, the next one that writes in the same folder removes the leftovers, see `sweep`.

    Args:
        path: final path of the file or folder; its parent folder must exist.

    Yields:
        A path that does not exist yet.

    Raises:
        OSError: the folder is not writable, or `path` is a device or pipe, which must not be replaced.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "it is neither a file nor a folder", str(path))
    sweep(path.parent)
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    lock = hidden.with_name(f"{hidden.name}.lock")
    try:
        with FileLock(lock, timeout=_LOCK_TIMEOUT):
            try:
                yield hidden
            finally:
                _clean_up(hidden)
    finally:
        _remove_lock(hidden)


def put(hidden: Path, target: Path) -> None:
    """Move a finished folder to its final path; an existing folder is replaced when the block ends.

    Args:
        hidden: the path that `unfinished(target)` yielded.
        target: the final path.

    Raises:
        OSError: it cannot be moved; the existing folder is restored when the block ends.
    """
    if target.exists():
        os.rename(target, _backup(hidden))
    os.rename(hidden, target)


def sweep(folder: Path) -> None:
    """Remove unfinished files that ended processes left in a folder, and restore folders that they had moved away.

    Files of running processes are kept: those hold a lock, which is visible to other hosts that share the disk.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for lock in (folder / name for name in names if _LOCK.fullmatch(name)):
        # OSError: another process holds the lock, or the folder is not writable for this user.
        with suppress(OSError):
            with FileLock(lock, timeout=0):
                _clean_up(lock.with_suffix(""))
            _remove_lock(lock.with_suffix(""))


def _clean_up(hidden: Path) -> None:
    """Restore the backup of a folder that was not replaced; remove the unfinished one and a backup no longer needed."""
    target, backup = hidden.with_name(hidden.name[1:].rsplit(".", 2)[0]), _backup(hidden)
    if backup.exists() and not os.path.lexists(target):
        with suppress(OSError):
            os.rename(backup, target)
    if backup.exists() and (hidden.exists() or not os.path.lexists(target)):
        # Another process has written to the path, or the backup could not be restored: keep everything.
        return
    if backup.exists():
        shutil.rmtree(backup, ignore_errors=True)
    if hidden.is_dir():
        shutil.rmtree(hidden, ignore_errors=True)
    else:
        hidden.unlink(missing_ok=True)


def _remove_lock(hidden: Path) -> None:
    """Remove the lock file, unless there are leftovers that the next process has to find by it."""
    if not hidden.exists() and not _backup(hidden).exists():
        # If the lock file could not be made, that error is raised already.
        with suppress(OSError):
            hidden.with_name(f"{hidden.name}.lock").unlink()


def _backup(hidden: Path) -> Path:
    """Path to which an existing folder is moved while it is being replaced."""
    return hidden.with_suffix(".replaced")
