"""Standard streams that never fail: unencodable characters, closed pipes and full disks do not end a command."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO, cast

_READABLE = "unregress.readable"
_ASCII = {
    "×": "x", "−": "-", "–": "-", "—": "-", "·": ".", "…": "...", "≥": ">=", "≤": "<=", "±": "+/-", "≈": "~", "→": "->",
    "\u2018": "'", "’": "'", "“": '"', "”": '"', "²": "^2", "∞": "inf", "█": "#", "─": "-", "━": "-", "│": "|",
    "┃": "|", "λ": "lambda", "σ": "sigma", "ρ": "rho", "α": "alpha", "γ": "gamma", "ℓ": "l", "∪": "or", "∖": "without",
    "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\N{REPLACEMENT CHARACTER}": "?",
}  # fmt: skip
"""Replacements for the library's own characters where a console cannot show them; all others are escaped."""


def _readable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(_ASCII.get(c) or c.encode("ascii", "backslashreplace").decode() for c in characters), error.end


codecs.register_error(_READABLE, _readable)


class ResilientStream:
    """A text stream that discards text it cannot write, and remembers the reason."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost: OSError | ValueError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, or discard it."""
        if self._lost is None:
            try:
                self._stream.write(text)
            except (OSError, ValueError) as error:  # ValueError: the stream was closed
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Flush the stream, or discard its content."""
        if self._lost is None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:  # ValueError: the stream was closed
                self._lose(error)

    def write_error(self) -> str:
        """Why text was discarded, after a last attempt; empty if none was, or if the pipe was closed."""
        self.flush()
        if self._lost is None or isinstance(self._lost, BrokenPipeError):
            return ""
        reason = getattr(self._lost, "strerror", None) or str(self._lost).rstrip(".")
        return f"standard output cannot be written: {reason}. The work itself is done."

    def _lose(self, error: OSError | ValueError) -> None:
        self._lost = error
        # The rest of the buffer would fail again when Python ends, and change the exit code.
        with suppress(OSError, ValueError):
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, self._stream.fileno())
            os.close(sink)
            self._stream.flush()


@contextmanager
def resilient_streams() -> Iterator[ResilientStream]:
    """Make printing never raise within the block; yields standard output.

    Characters outside of its encoding are replaced by readable ones, on standard error too.
    """
    with _readable_stream(sys.stdout) as out, _readable_stream(sys.stderr) as err:
        output, errors = ResilientStream(out), ResilientStream(err)
        with redirect_stdout(cast(TextIO, output)), redirect_stderr(cast(TextIO, errors)):
            try:
                yield output
            finally:
                output.flush()
                errors.flush()


@contextmanager
def _readable_stream(stream: TextIO | None) -> Iterator[TextIO]:
    if stream is None:
        # The program was started with this stream closed.
        with open(os.devnull, "w", encoding="utf-8") as sink:
            yield sink
        return
    before, reconfigure = getattr(stream, "errors", None), getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors=_READABLE)
    try:
        yield stream
    finally:
        if reconfigure is not None and before is not None:
            with suppress(ValueError, OSError):
                reconfigure(errors=before)
