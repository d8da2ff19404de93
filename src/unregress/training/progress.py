"""Progress bars on the terminal; nested bars are shown below each other in one live display."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.progress import Progress

_display: ContextVar[Progress | None] = ContextVar("display", default=None)


@contextmanager
def bar(description: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar; the function that the block receives advances it by one."""
    with _shared_display() as display:
        task = display.add_task(description, total=total)
        try:
            yield lambda: display.advance(task)
        finally:
            display.remove_task(task)


@contextmanager
def _shared_display() -> Iterator[Progress]:
    """The live display shared by nested bars; the outermost bar opens and closes it."""
    if (outer := _display.get()) is not None:
        yield outer
        return
    with Progress(transient=True) as display:
        token = _display.set(display)
        try:
            yield display
        finally:
            _display.reset(token)
