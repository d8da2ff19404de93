"""Write files so that a failure names the path; compute the digest of a file."""

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
    """Turn a failure to write `path` inside the block into an error that names it.

    Args:
        path: the file or folder that is being written.

    Raises:
        RunFolderError: the disk is full, or the file system refuses to write there.
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
        RunFolderError: it cannot be written.
    """
    with writing(path):
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            # A device or a pipe, which cannot be replaced.
            target.write_text(text, encoding="utf-8", newline="\n")
            return
        with unfinished(target) as hidden:
            hidden.write_text(text, encoding="utf-8", newline="\n")
            os.replace(hidden, target)


def write_json(path: Path, content: Any) -> None:
    """Write plain data as JSON; the same data give the same bytes.

    Raises:
        RunFolderError: the file cannot be written.
    """
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def content_of(path: Path) -> bytes:
    """The bytes of a file of unknown origin.

    Raises:
        OSError: it cannot be read, or is not a regular file: reading a pipe might never end.
    """
    # Not before it is opened: what is looked at is what is read.
    with open(path, "rb", opener=_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return file.read()


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for a pipe's writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal: what `sha256sum` prints."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
