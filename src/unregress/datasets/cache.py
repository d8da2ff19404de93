"""The user's cache folder, and files that appear in it whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from unregress.errors import SettingError
from unregress.files.partial import unfinished


def cache_folder(given: str | None = None) -> Path:
    """The folder that was given, or else `unregress` in the user's cache folder."""
    if given is not None:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unregress"


@contextmanager
def written(path: Path) -> Iterator[str]:
    """A file to fill, which takes its place at `path` when the block ends without an error.

    Raises:
        SettingError: the folder cannot be written, or its disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished(path) as hidden:
            hidden.touch()
            yield str(hidden)
            os.replace(hidden, path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingError(
            f"The cache folder {path.parent} cannot be written: {reason}",
            remedy="Free some space, or name another with `cache`",
        ) from error
