"""The text of `unregress --help`, without the imports that commands need: PyTorch alone takes seconds."""

from __future__ import annotations

from argparse import ArgumentParser
from importlib.metadata import version

USAGE = "unregress COMMAND [--config job.yaml] [--OPTION VALUE ...]"
DESCRIPTION = (
    "Make a trained PyTorch regression model forget chosen training examples, and show how well it forgot.  "
    "Start with `unregress demo`."
)
EVERYWHERE = "With any command --debug, or UNREGRESS_DEBUG=1, shows the whole traceback of an error."
EXIT_CODES = (
    "Exit codes: 0 done; 1 training diverged; 2 bad input, or your own code raised; 3 a model did not pass that was "
    "required to; 4 another process of the job failed; 70 a fault of unregress; 130 interrupted; 143 terminated.  "
    + EVERYWHERE
)
SUMMARIES = {
    "demo": "Forget some people, or a band of targets, and audit it, on real data.",
    "train": "Train the original model.",
    "forget": "Make a trained model forget.",
    "table": "Make a model's leave-out tables, or bring them up to date.",
    "audit": "Measure how well models forgot, and judge it.",
    "audit-predictions": "Judge models of which nothing but predictions is known.",
    "method": "Judge a method by audits of its models of several seeds.",
    "report": "Print an audit's table and render its page again.",
    "verify": "Check whether a run folder is as it was written.",
    "remains": "List what may still hold a trace of forgotten samples, and delete it when told.",
    "reproduce": "Run an experiment of the paper and show its published numbers beside ours.",
}
"""Each command with the first sentence of its docstring."""


def answer(words: list[str]) -> str | None:
    """The output of `--help` and `--version`; None for other arguments.

    Args:
        words: the arguments after `unregress`.
    """
    if words == ["--version"]:
        return f"unregress {version('unregress')}\n"
    if words not in (["--help"], ["-h"]):
        return None
    parser = ArgumentParser(prog="unregress", usage=USAGE, description=DESCRIPTION, epilog=EXIT_CODES)
    parser.add_argument("--version", action="store_true", help="Print version and exit.")
    parser.add_argument("--debug", action="store_true", help="Show the whole traceback of an error; with any command.")
    listed = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, summary in SUMMARIES.items():
        listed.add_parser(name, help=summary)
    return parser.format_help()
