"""Write files atomically, with errors that name the path; read files safely; compute SHA-256 of files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unregress.errors import RunFolderError
from unregress.files.partial import unfinished


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Convert an `OSError` inside the block into an error that names `path`.

    Args:
        path: the file or folder being written.

    Raises:
        RunFolderError: the disk is full, or the path is not writable.
    """
    try:
        yield
    except OSError as error:
        raise RunFolderError(
            f"{path} cannot be written: {error.strerror or error}",
            expected="a folder that can be written, with space left on its disk",
            remedy="Free some space, or choose another place",
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically; an existing file is replaced.

    Raises:
        RunFolderError: the file cannot be written.
    """
    with writing(path):
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            # Write into a device or pipe directly: it must not be replaced.
            target.write_text(text, encoding="utf-8", newline="\n")
            return
        with unfinished(target) as hidden:
            hidden.write_text(text, encoding="utf-8", newline="\n")
            os.replace(hidden, target)


def write_json(path: Path, content: Any) -> None:
    """Write plain data as JSON; equal data give equal bytes.

    Raises:
        RunFolderError: the file cannot be written.
    """
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def content_of(path: Path) -> bytes:
    """Read a regular file; refuse pipes and devices, whose reading might never end.

    Raises:
        OSError: it cannot be read, or is not a regular file.
    """
    # Checked on the open file, so that it cannot be exchanged between check and reading.
    with open(path, "rb", opener=_open_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return file.read()


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; if it is a pipe, do not wait for its writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal digits, as `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
