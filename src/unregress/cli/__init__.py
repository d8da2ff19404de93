"""The command line, `unregress COMMAND`: the commands are those of `unregress.cli.help.SUMMARIES`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext

from unregress.cli.interrupt import ignore_signals, leaving_at_once
from unregress.cli.streams import resilient_streams

__all__ = ["main", "program"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, see `unregress.cli.dispatch`; `--help` and `--version` need no imports of PyTorch.

    Args:
        arguments: the arguments; by default those of the program, whose signals are then handled here.

    Returns:
        The exit code, see `unregress.cli.exit_codes`.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = [word for word in given if word != "--debug"]
    debug = words != given or os.environ.get("UNREGRESS_DEBUG", "") not in ("", "0")
    with leaving_at_once() if arguments is None else nullcontext(), resilient_streams() as output:
        from unregress.cli.help import answer

        if (text := answer(words)) is not None:
            print(text, end="")
            code = 0
        else:
            from unregress.cli.dispatch import dispatch  # imports PyTorch

            code = dispatch(words, debug=debug)
        if (problem := output.write_error()) and not code:
            print(f"error: {problem}", file=sys.stderr)
            code = 2
    return code


def program() -> int:
    """Run the command of the program's arguments; the entry point of `unregress`."""
    code = main()
    ignore_signals()
    return code
