"""The command line: `unregress demo | train | forget | audit | report | reproduce`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from unregress.cli.overview import answer

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, see `unregress.cli.dispatch`; what needs no command is answered at once."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if (text := answer(words)) is not None:
        print(text, end="")
        return 0
    from unregress.cli.dispatch import dispatch  # and with it PyTorch

    return dispatch(words)
