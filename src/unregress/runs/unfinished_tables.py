"""Predictions of the finished trainings of an interrupted leave-out table, in a folder beside the table's.

Each set of trainings has a folder of its own in it, named by a digest of all that they depend on.  A set that no call
continues has predictions of people who are forgotten since, and is deleted; what is not recognised as one never is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open

from unregress.errors import RunFolderError
from unregress.files.partial import sweep
from unregress.runs.lenient import is_plain_file

TENSORS = frozenset({"own", "unseen"})
"""Names of the tensors in each file."""
_ENDING = ".unfinished"
_KEY, _PART = re.compile(r"[0-9a-f]{16}"), re.compile(r"[0-9]+\.safetensors")


def unfinished_of(table: Path) -> Path:
    """The folder for the unfinished tables of a folder of tables."""
    real = Path(os.path.realpath(table))
    return real.with_name(f"{real.name}{_ENDING}")


def parts_in(folder: Path) -> tuple[Path, ...]:
    """The files of one set of trainings; empty if a folder is no such set, or a running process writes to it."""
    if folder.is_symlink() or not (_KEY.fullmatch(folder.name) and folder.parent.name.endswith(_ENDING)):
        return ()
    sweep(folder)
    try:
        files = sorted(folder.iterdir())
    except OSError:
        return ()
    return tuple(files) if all(map(_is_part, files)) else ()


def discard(table: Path, but: Collection[str] = ()) -> int:
    """Delete the unfinished tables of a folder of tables, and return how many there were.

    Args:
        table: the folder of tables.
        but: digests of those that are kept.

    Raises:
        RunFolderError: they cannot be deleted.
    """
    place, count = unfinished_of(table), 0
    try:
        for folder in sorted(place.iterdir()) if place.is_dir() else ():
            if folder.name not in but and (files := parts_in(folder)):
                for file in files:
                    file.unlink(missing_ok=True)
                remove_empty(folder)
                count += 1
    except OSError as error:
        raise RunFolderError(
            f"{place} cannot be emptied of unfinished leave-out tables: {error.strerror}",
            expected="files that this user may delete",
            remedy="Delete it yourself",
        ) from error
    remove_empty(place)
    return count


def remove_empty(folder: Path) -> None:
    """Remove the folder of a set of trainings if nothing is in it any longer, and then the one around it."""
    for each in (folder, folder.parent):
        if each.name.endswith(_ENDING) or (_KEY.fullmatch(each.name) and each.parent.name.endswith(_ENDING)):
            with suppress(OSError):  # something is in it
                each.rmdir()


def _is_part(path: Path) -> bool:
    """Whether a file has a name, and tensors, as those that are written here."""
    if not (_PART.fullmatch(path.name) and is_plain_file(path)):
        return False
    try:
        with safe_open(path, framework="pt") as tensors:
            return set(tensors.keys()) == TENSORS
    except (OSError, SafetensorError):
        return False
