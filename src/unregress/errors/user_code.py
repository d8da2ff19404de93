"""Describe an exception from the user's own code (dataset, task, model, method, metric) in one line."""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

_LIBRARY = str(Path(__file__).resolve().parents[1]) + os.sep
_TASKS = f"{_LIBRARY}tasks{os.sep}"
_PYTHON = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib"))
_INSTALLED = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
_CALLS = {
    "build_model": "making the model",
    "predict": "predicting with the model",
    "loss": "computing the loss",
    "checked_loss": "computing the loss",
    "imitation_loss": "computing the loss",
}
"""Functions of `tasks/` that call the user's models and losses, with a description for messages."""
_MAX_LENGTH = 600
"""Longest message of an exception that is shown in full, in characters: some quote whole tensors."""


def is_users(error: BaseException) -> bool:
    """Whether an exception was raised by the user's code, or by a dataset, model or loss that the user supplied.

    This is so if a frame of its traceback is the user's, if the user's file does not compile, if a sample could not be
    read (recorded as a note on the exception), or if a model or loss of another library was running.
    """
    return bool(
        frames_of_user(error) or _uncompiled(error) or getattr(error, "__notes__", None) or _running_call(error)
    )


def frames_of_user(error: BaseException) -> list[traceback.FrameSummary]:
    """The traceback frames outside this library, Python itself and installed packages."""
    return [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users_file(frame.filename)]


def chain(error: BaseException) -> Iterator[BaseException]:
    """An exception, its cause or context, and so on to the first exception of the chain."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def described(error: BaseException) -> str:
    """Describe an exception in one line: type, message, and the user's function and line that raised it.

    Notes added to the exception, such as the position of the sample being read, are appended.

    >>> described(KeyError("age"))
    "KeyError: 'age'"
    """
    message = message_of(error)
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return "; ".join([text + _place(error), *getattr(error, "__notes__", [])])


def message_of(error: BaseException) -> str:
    """An exception's message in one line, also where its `__str__` raises."""
    if isinstance(error, SyntaxError):
        # `str(error)` ends with the file's name, which `_place` adds in full.
        return error.msg
    try:
        lines = [" ".join(line.split()) for line in str(error).splitlines()]
    except Exception:
        return "(no message: `__str__` of the exception raises)"
    if lines and lines[0].startswith("Caught ") and "DataLoader worker" in lines[0]:
        # PyTorch puts a worker's traceback into the message; its last line is the exception.
        lines = [line.partition(": ")[2] or line for line in lines if line][-1:]
    text = " ".join(line for line in lines if line)
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}…"


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    # An exception raised in place of the user's may lack the user's frames; its cause has them.
    source = next((each for each in chain(error) if frames_of_user(each)), error)
    if own := frames_of_user(source):
        last = own[-1]
        entry = own[_entry_index(source, own)]
        via = "" if entry is last or entry.name.startswith("<") else f", called by {entry.name}"
        return f" ({last.filename}:{last.lineno}, in {last.name}{via})"
    return f", while {call}" if (call := _running_call(error)) else ""


def _uncompiled(error: BaseException) -> bool:
    return isinstance(error, SyntaxError) and (error.filename is None or _is_users_file(error.filename))


def _is_users_file(name: str) -> bool:
    return not (name.startswith((_LIBRARY, *_PYTHON, "<")) or any(folder in name for folder in _INSTALLED))


def _entry_index(error: BaseException, own: list[traceback.FrameSummary]) -> int:
    """The index of the user's frame through which this library's last call entered the user's code."""
    count = start = 0
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith(_LIBRARY):
            start = count
        elif _is_users_file(frame.filename):
            count += 1
    return min(start, len(own) - 1)


def _running_call(error: BaseException) -> str:
    """Name the call of a model or loss from another library that raised; empty if there was none."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(_LIBRARY)]
    return _CALLS.get(frames[-1].name, "") if frames and frames[-1].filename.startswith(_TASKS) else ""
