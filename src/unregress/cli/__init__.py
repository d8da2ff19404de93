"""The command line: `unregress demo | train | forget | audit | report | reproduce`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext

from unregress.cli.interrupt import leaving_at_once

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, see `unregress.cli.dispatch`; what needs no command is answered at once.

    Args:
        arguments: the words; by default those that the program was called with, which then is ours to end.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    with leaving_at_once() if arguments is None else nullcontext():
        from unregress.cli.overview import answer

        if (text := answer(words)) is not None:
            print(text, end="")
            return 0
        from unregress.cli.dispatch import dispatch  # and with it PyTorch
    return dispatch(words)
