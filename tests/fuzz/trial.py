"""One trial of the command line: what is tried, and what must be true whatever it is."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

DONE, DIVERGED, REFUSED, NOT_PASSED = 0, 1, 2, 3
EXIT_CODES = {0, 1, 2, 3, 4, 130, 143}
"""All that are documented, but for 70: a fault of unregress."""
MOST_LINES = 20
"""Lines of a refusal that somebody reads."""
MARKER = "MARKER"
"""The file that hostile code in run folders and configurations would write."""

_WARNING = re.compile(r"^\S+:\d+: \w*Warning: .*\n(?:  .*\n)?", re.MULTILINE)
"""What Python's `warnings` print: the place, the warning, and a line of code."""

Prepare = Callable[[Path], object]


def nothing(folder: Path) -> None:
    """Leave the folder as it is."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A command, called in a folder of its own that holds `runs/`, and what is expected of it."""

    name: str
    words: tuple[str, ...]
    prepare: Prepare = nothing
    """Changes the folder first."""
    codes: frozenset[int] = frozenset({DONE, REFUSED})
    """The exit codes that are right."""
    says: str = ""
    """What standard error must say: a regular expression."""
    never: str = ""
    """What neither standard output nor standard error may say: a regular expression."""
    writes: tuple[str, ...] = ("out", "out/*")
    """What a command that is done may write or replace: patterns of paths."""
    output: str = ""
    """Where standard output goes: a path, or `closed` for a pipe that nobody reads; a file by default."""
    encoding: str = "utf-8"
    """Of the console."""
    largest: int | None = None
    """Bytes after which a file cannot grow any more, as if the disk were full."""
    draw: int = 0
    """Its number among trials of one kind that differ only by what was drawn at random; 0 for those made by hand."""
    hostile: bool = False
    """Whether the user's own code may write files, so that only its exit code and messages are looked at."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a command ended."""

    code: int
    """Exit code; below 0 the signal that killed it."""
    out: str
    err: str
    seconds: float
    before: dict[str, str]
    """What each path of the folder held, by digest."""
    after: dict[str, str]


def snapshot(folder: Path) -> dict[str, str]:
    """The content of every path in a folder: links by their target, files by their digest."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            if os.path.islink(path):
                content = f"link to {os.readlink(path)}"
            elif not os.path.isfile(path):
                content = "folder" if os.path.isdir(path) else "other"
            else:
                with open(path, "rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            found[os.path.relpath(path, folder)] = content
    return found


def faults(trial: Trial, ending: Ending) -> list[str]:
    """Everything that is wrong with how a command ended; empty if nothing is."""
    return [*_of_code(trial, ending), *_of_words(trial, ending), *_of_files(trial, ending)]


def _of_code(trial: Trial, ending: Ending) -> Iterator[str]:
    if ending.code < 0:
        yield f"killed by signal {-ending.code}"
    elif ending.code not in EXIT_CODES:
        yield f"exit code {ending.code}, which is not a user's to see"
    elif ending.code not in trial.codes:
        yield f"exit code {ending.code}, expected {' or '.join(map(str, sorted(trial.codes)))}"


def _of_words(trial: Trial, ending: Ending) -> Iterator[str]:
    # The parser's way to bind an option's value to its name.
    shown = (ending.out + ending.err).replace("\b[=flags]", "[=flags]")
    if "Traceback (most recent" in shown:
        yield "a traceback is shown"
    if " at 0x" in shown:
        yield "the address of an object is shown"
    if found := re.search(r"[^\S \n\t]|[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e]", shown.replace("\u00a0", " ")):
        yield f"the control character {found[0]!r} is shown"
    if "/unregress/" in (warned := " ".join(_WARNING.findall(ending.err))):
        yield f"a warning about the library's own code is shown: {warned[:200]}"
    # What the user's own code and other libraries warn of is theirs to say.
    told = _WARNING.sub("", ending.err)
    lines = told.splitlines()
    if ending.code not in (DONE, *range(-64, 0)):
        if not told.startswith("error"):
            yield f"standard error begins with {told[:60]!r}"
        if len(lines) > MOST_LINES:
            yield f"standard error has {len(lines)} lines"
    if trial.says and not re.search(trial.says, " ".join(ending.err.split())):
        yield f"standard error does not say {trial.says!r}"
    if trial.never and (told := re.search(trial.never, shown)):
        yield f"it says {told[0]!r}"


def _of_files(trial: Trial, ending: Ending) -> Iterator[str]:
    paths = {*ending.before, *ending.after}
    changed = sorted(path for path in paths if ending.before.get(path) != ending.after.get(path))
    if MARKER in changed:
        yield "code that was given as data has run"
    if trial.hostile:
        return
    # Where only the messages could not be shown, the work is done.
    done = ending.code in (DONE, NOT_PASSED) or trial.output == "/dev/full"
    allowed = trial.writes if done else ()
    foreign = [path for path in changed if not any(fnmatch(path, pattern) for pattern in allowed)]
    if foreign:
        yield f"written, changed or removed: {', '.join(foreign[:5])}"
    unfinished = [path for path in changed if re.search(r"\.(partial|replaced|lock|tmp)\b", path)]
    if unfinished:
        yield f"left behind: {', '.join(unfinished[:3])}"
