"""Console output shared by all commands."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from unregress.errors.wording import printable
from unregress.training.runtime import Runtime


def say(*lines: str) -> None:
    """Print lines without interpreting markup; control characters are escaped."""
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for line in lines:
        console.print(printable(line))


def with_progress(runtime: Runtime) -> Runtime:
    """The runtime, with progress bars if standard output is a terminal."""
    return replace(runtime, progress=runtime.progress or sys.stdout.isatty())


@contextmanager
def store_noted(store: Path | None) -> Iterator[None]:
    """Within the block, add a note to an interruption that says where finished trainings are kept.

    Args:
        store: the folder of finished trainings; None if none are kept.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        if store is not None:
            stop.add_note(f"Finished trainings are kept in {store}; the same command resumes from there.")
        raise


def run_summary(output: Path, file: str, replaced: str) -> list[str]:
    """Lines that report the run folder that a command wrote.

    Args:
        output: the folder, which the next command takes.
        file: its main file.
        replaced: the digest of the folder that it replaced; empty if it replaced none.
    """
    lines = [f"Wrote {output}/{file}", f"The next command takes the folder: {output}"]
    if replaced:
        lines.append(
            f"It replaced a run of the same configuration, whose digest was {replaced}, by which "
            "later folders refer to it"
        )
    return lines
