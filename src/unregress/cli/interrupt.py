"""Ctrl-C before there is anything to clear up: while PyTorch and the other libraries are being imported."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

INTERRUPTED = "interrupted; no unfinished run folder is left behind."
EXIT_CODE = 130
"""What shells make of a program that was ended by Ctrl-C."""


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """Within the block Ctrl-C ends the process with a line, not with a traceback of somebody's imports.

    A `KeyboardInterrupt` would not do: libraries' C code turns one that is raised in its imports into an ImportError,
    and prints it besides.  Where Ctrl-C is ignored, or is somebody else's business, that stays so.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(*_: object) -> NoReturn:
    # Not `print`: the interrupt may have come in the middle of another one.
    os.write(2, f"error: {INTERRUPTED}\n".encode())
    os._exit(EXIT_CODE)
