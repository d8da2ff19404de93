"""Describe an exception from the user's own code (dataset, task, model, method, metric) in one line."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

_OURS = str(Path(__file__).resolve().parent)
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def frames_of_user(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames of an exception's traceback that lie in neither this library, Python nor an installed package."""
    found = traceback.extract_tb(error.__traceback__)
    return [frame for frame in found if not frame.filename.startswith((_OURS, *_LIBRARIES, "<"))]


def described(error: BaseException) -> str:
    """An exception in one line: its type, its message, the user's function and line where it was raised.

    Notes that were added to the exception, such as the position of the sample being read, are appended.

    >>> described(KeyError("age"))
    "KeyError: 'age'"
    """
    message = " ".join(str(error).split())
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if own := frames_of_user(error):
        text += f" ({own[-1].filename}:{own[-1].lineno}, in {own[-1].name})"
    return "; ".join([text, *getattr(error, "__notes__", [])])
