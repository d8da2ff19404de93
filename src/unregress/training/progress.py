"""Progress bars on the terminal: one live display, in which a bar within a bar stands below it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.progress import Progress

_display: ContextVar[Progress | None] = ContextVar("display", default=None)


@contextmanager
def bar(description: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar, to be advanced by a call."""
    with _shared_display() as display:
        task = display.add_task(description, total=total)
        try:
            yield lambda: display.advance(task)
        finally:
            display.remove_task(task)


@contextmanager
def _shared_display() -> Iterator[Progress]:
    """The one live display of the terminal: the outermost bar opens and closes it."""
    if (outer := _display.get()) is not None:
        yield outer
        return
    with Progress(transient=True) as display:
        token = _display.set(display)
        try:
            yield display
        finally:
            _display.reset(token)
