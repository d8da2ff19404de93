"""The user's cache folder, and atomic writing of files in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path
from safetensors import SafetensorError

from unregress.errors import SettingError
from unregress.files.partial import unfinished


def cache_folder(given: str | None = None) -> Path:
    """The given folder; by default `unregress` in the user's cache folder (Linux: `~/.cache` or `XDG_CACHE_HOME`)."""
    return user_cache_path("unregress", appauthor=False) if given is None else Path(given)


@contextmanager
def written(path: Path) -> Iterator[str]:
    """Write a file atomically: yield a temporary name, which is renamed to `path` if the block succeeds.

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
