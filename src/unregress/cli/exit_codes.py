"""Exit code and message of the exception that ended a command.

| code | meaning |
|---|---|
| 0 | done |
| 1 | training diverged |
| 2 | bad input, or the user's own code raised |
| 3 | a model did not pass that was required to (`--require pass`) |
| 4 | another process of the same job failed; its message says why |
| 70 | a fault of unregress |
| 130 | interrupted (Ctrl-C) |
| 143 | terminated (SIGTERM) |
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from unregress.distributed.process_group import peer_failed
from unregress.errors import DivergenceError, UnregressError, VerdictError
from unregress.errors.user_code import chain, described, frames_of_user, is_users

DIVERGED, REFUSED, NOT_PASSED, PEER_FAILED, FAULT = 1, 2, 3, 4, 70
_DEBUG = "`--debug` shows the whole traceback"


def ending(error: BaseException) -> tuple[int, str]:
    """Exit code and message of any exception but an interruption.

    Args:
        error: what a command raised.
    """
    if (known := culprit(error)) is not None:
        return (
            (_code(known), str(known)) if isinstance(known, UnregressError) else (REFUSED, _user_error_message(known))
        )
    if peer_failed(error):
        return PEER_FAILED, "another process of this job failed (see its message); nothing was written"
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error):
        return REFUSED, f"memory ran out: {described(error)}. Use smaller batches, fewer workers or less data"
    if isinstance(error, (ImportError, OSError)):
        # A package that is not installed, a disk that is full.
        return REFUSED, described(error)
    if isinstance(error, RecursionError):
        return REFUSED, f"an argument or object is nested too deeply, or contains itself: {described(error)}"
    return FAULT, (
        f"this is a fault of unregress and not of yours: {described(error)}. Please report it, with what {_DEBUG[:9]} "
        "shows"
    )


def culprit(error: BaseException | None) -> BaseException | None:
    """The error of this library or the exception of the user's code from which others were raised."""
    found: Iterator[BaseException] = iter(()) if error is None else chain(error)
    return next((each for each in found if isinstance(each, UnregressError) or is_users(each)), None)


def _code(error: UnregressError) -> int:
    if isinstance(error, DivergenceError):
        return DIVERGED
    return NOT_PASSED if isinstance(error, VerdictError) else REFUSED


def _user_error_message(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"your code ended the program with `sys.exit`: {described(error)}. {_DEBUG}."
    whose = "your code" if frames_of_user(error) or isinstance(error, SyntaxError) else "your data, model or loss"
    return f"{whose} raised {described(error)}. {_DEBUG}."
