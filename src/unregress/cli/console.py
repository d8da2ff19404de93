"""What all commands share in talking to whoever sits in front of them."""

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
    """Print lines as they are; what would act on a terminal is shown escaped."""
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for line in lines:
        console.print(printable(line))


def shown(runtime: Runtime) -> Runtime:
    """With progress bars wherever somebody can see them."""
    return replace(runtime, progress=runtime.progress or sys.stdout.isatty())


@contextmanager
def kept_in(store: Path | None) -> Iterator[None]:
    """Let whoever interrupts the block know what is not lost.

    Args:
        store: the folder of finished trainings; None where none are kept.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        if store is not None:
            stop.add_note(f"Trainings that were finished are kept in {store}; the same command goes on from there.")
        raise


def written(output: Path, file: str, replaced: str) -> list[str]:
    """What a command says of the run folder that it wrote.

    Args:
        output: the folder, from which the next command starts.
        file: the one in it that matters most.
        replaced: the digest of the folder that was there before; empty if there was none.
    """
    lines = [f"Wrote {output}/{file}", f"The next command takes the folder: {output}"]
    if replaced:
        lines.append(
            f"It replaced a run of the same configuration, whose digest was {replaced}: what was made from that one "
            "names that digest"
        )
    return lines
