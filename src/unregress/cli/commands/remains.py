"""The command `unregress remains`: list what may still hold a trace of forgotten samples, and delete it when told."""

from __future__ import annotations

import sys
from pathlib import Path

from unregress.cli.console import say
from unregress.datasets.cache import cache_folder
from unregress.errors import SettingError
from unregress.runs.deletion import delete as delete_found
from unregress.runs.deletion import log_of
from unregress.runs.remainder import Remainder
from unregress.runs.remains import Remains
from unregress.runs.remains import remains as find_remains

CONFIRMATION = "delete"
"""The word to type before something is deleted."""


def remains(
    folder: Path,
    *,
    among: list[Path] = [],  # noqa: B006 never changed
    delete: bool = False,
    yes: bool = False,
) -> None:
    """List what may still hold a trace of forgotten samples, and delete it when told.

    Looks for originals, earlier checkpoints, models of other methods, entries of a store of trained models, copies of
    their weights, and files of ids: in the folder's own parent, in the default store, and in `among`.  With `--delete`
    what lies in `among` is deleted, after a question: never the given folder, nor copies of its weights, nor a run
    folder with files that no run wrote.  A log of it is kept beside the given folder.

    Args:
        folder: run folder of the model that stays, which `unregress forget` wrote.
        among: folders to look in, with all below, such as a store of golds.  Only in these is anything deleted.
        delete: delete what is listed and lies in `among`.
        yes: do not ask before.
    """
    if delete and not among:
        raise SettingError(
            "`--delete` is given without `--among`",
            expected="the folders in which something may be deleted",
            remedy="Name them, as in `--among+ runs`",
        )
    if missing := [place for place in among if not place.is_dir()]:
        raise SettingError(f"There is no folder {missing[0]}", remedy="Correct `--among`")
    found = find_remains(folder, among, further=[cache_folder() / "store"])
    _show(found, folder)
    chosen = [each for each in found.found if not each.kept]
    if not delete:
        if chosen:
            say(f"`--delete` deletes {_count(chosen)}")
        return
    if not chosen:
        say("Nothing is to be deleted")
        return
    if not yes:
        _ask(chosen)
    log = log_of(folder)
    made = delete_found(chosen, log)
    say(f"Deleted {_count(chosen)}", *(f"  {entry.path}" for entry in made), f"Wrote {log}")


def _show(found: Remains, folder: Path) -> None:
    audited = "it passed an audit" if found.passed else "no audit in these folders passed it: audit it before deleting"
    say(f"{folder} stays; {audited}", "")
    if not found.found:
        say("Nothing else was found that may hold a trace of the forgotten samples")
    for each in found.found:
        say(
            f"{each.path}",
            f"  {each.kind}, {_size(each.size)}, {each.modified}, SHA-256 {each.sha256}",
            f"  {each.why}" + (f" Not deleted: {each.kept}." if each.kept else ""),
        )
    if found.unknown:
        say("", "Not known:", *(f"  {remark}" for remark in found.unknown[:_MOST]))
        if (more := len(found.unknown) - _MOST) > 0:
            say(f"  and {more} more")
    say("", "The data themselves, backups, and copies elsewhere are not looked at.")


_MOST = 20
"""Largest number of remarks that are shown."""


def _ask(chosen: list[Remainder]) -> None:
    """Ask for confirmation.

    Raises:
        SettingError: another word is typed, or there is no terminal.
    """
    if not sys.stdin.isatty():
        raise SettingError(
            f"{_count(chosen)} would be deleted, and standard input is no terminal to ask for confirmation",
            expected="`--yes` in scripts",
        )
    say(f"{_count(chosen)} will be deleted for good. Type {CONFIRMATION!r} to go on:")
    if input().strip() != CONFIRMATION:
        raise SettingError("Nothing was deleted", expected=f"the word {CONFIRMATION!r}")


def _count(chosen: list[Remainder]) -> str:
    size = _size(sum(each.size for each in chosen))
    return f"{len(chosen)} {'entry' if len(chosen) == 1 else 'entries'} of this list, {size}"


def _size(size: int) -> str:
    """A number of bytes in words.

    >>> _size(999), _size(1_234_567)
    ('999 bytes', '1.2 MB')
    """
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"
