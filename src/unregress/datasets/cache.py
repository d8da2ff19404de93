"""The user's cache folder, and files that appear in it whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unregress.errors import SettingError


def cache_folder(given: str | None = None) -> Path:
    """The folder that was given, or else `unregress` in the user's cache folder."""
    if given is not None:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unregress"


@contextmanager
def written(path: Path) -> Iterator[str]:
    """A file to fill, which takes its place at `path` when the block ends without an error.

    Raises:
        SettingError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    except OSError as error:
        raise SettingError(
            f"The cache folder {path.parent} cannot be written: {error.strerror}", remedy="Name another with `cache`"
        ) from error
    os.close(handle)
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        Path(unfinished).unlink(missing_ok=True)
