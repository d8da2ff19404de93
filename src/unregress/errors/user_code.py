"""Describe an exception from the user's own code (dataset, task, model, method, metric) in one line."""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

_OURS = str(Path(__file__).resolve().parents[1]) + os.sep
_TASKS = f"{_OURS}tasks{os.sep}"
_PYTHON = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib"))
_INSTALLED = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
_BORDERS = {
    "build_model": "making the model",
    "predict": "predicting with the model",
    "loss": "computing the loss",
    "checked_loss": "computing the loss",
    "imitation_loss": "computing the loss",
}
"""Operation in progress while a function of this name in `tasks/` runs the user's model or loss."""
_LONGEST = 600
"""Characters of an exception's message that are shown: some quote whole tensors."""


def is_users(error: BaseException) -> bool:
    """Whether an exception came out of the user's own code, or out of what the user has given to this library.

    It did if a frame of its traceback is the user's, if the user's file does not compile, if a sample could not be
    read (which a note says), or if a model or loss of another library was running.
    """
    return bool(frames_of_user(error) or _uncompiled(error) or getattr(error, "__notes__", None) or _doing(error))


def frames_of_user(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames of an exception's traceback that lie in neither this library, Python nor an installed package."""
    return [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users_file(frame.filename)]


def chain(error: BaseException) -> Iterator[BaseException]:
    """An exception, and those that it was raised from or while handling, from the last to the first."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def described(error: BaseException) -> str:
    """An exception in one line: its type, its message, the user's function and line where it was raised.

    Notes that were added to the exception, such as the position of the sample being read, are appended.

    >>> described(KeyError("age"))
    "KeyError: 'age'"
    """
    message = message_of(error)
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return "; ".join([text + _place(error), *getattr(error, "__notes__", [])])


def message_of(error: BaseException) -> str:
    """An exception's message in one line, whatever its class makes of it."""
    if isinstance(error, SyntaxError):
        # Its text ends with the file's name, which the place says better.
        return error.msg
    try:
        lines = [" ".join(line.split()) for line in str(error).splitlines()]
    except Exception:
        return "(its message cannot be made: `__str__` of the exception raises)"
    if lines and lines[0].startswith("Caught ") and "DataLoader worker" in lines[0]:
        # PyTorch puts the traceback of another process into the message; its last line is the exception.
        lines = [line.partition(": ")[2] or line for line in lines if line][-1:]
    text = " ".join(line for line in lines if line)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    # What a generator or a library raises instead may have lost the user's frames; its cause has not.
    source = next((each for each in chain(error) if frames_of_user(each)), error)
    if own := frames_of_user(source):
        last = own[-1]
        entry = own[_last_of_ours(source, own)]
        via = "" if entry is last or entry.name.startswith("<") else f", called by {entry.name}"
        return f" ({last.filename}:{last.lineno}, in {last.name}{via})"
    return f", while {doing}" if (doing := _doing(error)) else ""


def _uncompiled(error: BaseException) -> bool:
    return isinstance(error, SyntaxError) and (error.filename is None or _is_users_file(error.filename))


def _is_users_file(name: str) -> bool:
    return not (name.startswith((_OURS, *_PYTHON, "<")) or any(folder in name for folder in _INSTALLED))


def _last_of_ours(error: BaseException, own: list[traceback.FrameSummary]) -> int:
    """Which of the user's frames is the first that this library has called last."""
    count = start = 0
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith(_OURS):
            start = count
        elif _is_users_file(frame.filename):
            count += 1
    return min(start, len(own) - 1)


def _doing(error: BaseException) -> str:
    """What was going on where this library called a model or a loss of another library; empty if it did not."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(_OURS)]
    return _BORDERS.get(ours[-1].name, "") if ours and ours[-1].filename.startswith(_TASKS) else ""
