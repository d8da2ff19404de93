"""Handle Ctrl-C (SIGINT) and SIGTERM: clean up, print one line, and exit with a code of its own."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
"""The word for each signal that ends a command."""
NOTHING_LEFT = "no unfinished run folder is left behind."
GRACE = 5.0
"""Seconds of cleaning up during which further signals are ignored."""
LATER = 0.01
"""Seconds after which a signal is raised again whose exception Python dropped."""


class Terminated(KeyboardInterrupt):
    """SIGTERM was received; code that cleans up after Ctrl-C cleans up after this as well."""


def exit_code(number: int) -> int:
    """The exit code by which shells denote a program that was ended by a signal."""
    return 128 + number


class Stop:
    """Signal handler that raises an exception and records the signal.

    Further signals are ignored for a few seconds, during clean-up: an impatient second Ctrl-C would leave half-removed
    folders.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        """The last signal received; None if there was none.

        C code of libraries may turn the exception into an error of its own, which does not show the signal.
        """
        self._since = 0.0
        self._process = os.getpid()

    def __call__(self, number: int, *_: object) -> None:
        """Handle a signal."""
        # Forked processes have nothing to clean up, and stop at once.
        if self.number is not None and time.monotonic() - self._since < GRACE and os.getpid() == self._process:
            return
        self.number, self._since = number, time.monotonic()
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    @contextmanager
    def again_where_lost(self) -> Iterator[None]:
        """Raise the exception once more where Python drops it.

        Python prints and drops exceptions in callbacks of weak references and in `__del__`, which run between any two
        instructions (importlib's locks have such a callback); the command would go on as if no signal had come.
        """
        usual = sys.unraisablehook

        def hook(unraisable: sys.UnraisableHookArgs) -> None:
            if self.number is None or not isinstance(unraisable.exc_value, KeyboardInterrupt):
                usual(unraisable)
                return
            # From another thread and a moment later: raised within this hook, it would be dropped again.
            number, self.number = self.number, None
            main = threading.main_thread().ident
            threading.Timer(LATER, signal.pthread_kill, (main, number)).start()

        sys.unraisablehook = hook
        try:
            yield
        finally:
            sys.unraisablehook = usual


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Let both signals raise a `KeyboardInterrupt` within the block."""
    stop = Stop()
    with _handled(stop), stop.again_where_lost():
        yield stop


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """Exit cleanly on Ctrl-C or SIGTERM in the block, such as during imports, before any resource exists.

    During imports of PyTorch and other libraries, their C code would print a `KeyboardInterrupt` and turn it into an
    ImportError.
    """
    with _handled(_leave):
        yield


def ignore_signals() -> None:
    """Ignore signals at the end of a program, when libraries would print tracebacks."""
    if threading.current_thread() is threading.main_thread():
        for number in WORDS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def _handled(handler: Callable[[int, Any], object]) -> Iterator[None]:
    """Install a handler for both signals within the block; signals ignored or handled elsewhere are left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = (signal.SIG_DFL, signal.default_int_handler, _leave)
    before = {number: found for number in WORDS if (found := signal.getsignal(number)) in usual}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, found in before.items():
            signal.signal(number, found)


def _leave(number: int, *_: object) -> NoReturn:
    # Not `print`: the signal may have interrupted another `print`.
    os.write(2, f"error: {WORDS[signal.Signals(number)]}; {NOTHING_LEFT}\n".encode())
    os._exit(exit_code(number))
