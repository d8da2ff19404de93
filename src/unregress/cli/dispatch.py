"""From words on the command line to a function call, and from errors to exit codes."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from inspect import cleandoc, signature
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import SUPPRESS, ArgumentParser, Namespace, set_parsing_settings
from torch import nn

from unregress.auditing import default_metrics
from unregress.case import Case, Splits
from unregress.cli.audit import audit, report
from unregress.cli.commands import forget, train
from unregress.cli.interrupt import EXIT_CODE, INTERRUPTED
from unregress.cli.launch import LEFT_ALONE, launch, terminable
from unregress.cli.overview import DESCRIPTION, SUMMARIES, USAGE
from unregress.cli.refusals import refusal
from unregress.cli.reproduce import reproduce
from unregress.cli.verify import verify
from unregress.demo import demo
from unregress.errors import DivergenceError, SettingError, UnregressError, VerdictError
from unregress.methods import Method, Unlearned
from unregress.processes import left_alone, part, team
from unregress.runtime import Runtime
from unregress.task import Task

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "train": train,
    "forget": forget,
    "audit": audit,
    "report": report,
    "verify": verify,
    "reproduce": reproduce,
}
"""A command's signature is its schema and its docstring the help.  `config` is filled in here."""


def dispatch(words: Sequence[str]) -> int:
    """Run one command.

    Args:
        words: those after `unregress`.

    Returns:
        Exit code: 0 done, 1 training diverged, 2 the input was refused, 3 a model did not pass that was required to,
        4 another process of the same job has ended, 130 interrupted.

    Raises:
        SystemExit: 0 after help, version or `--print_config`.
    """
    try:
        with nullcontext() if team().size == 1 else _one_of_many():
            return _run(words)
    except DivergenceError as error:
        return _fail(str(error), 1)
    except VerdictError as error:
        return _fail(str(error), 3)
    except UnregressError as error:
        return _fail(str(error), 2)
    except (ImportError, OSError) as error:
        # From the user's own code: a missing package, a data file that is not there.
        return _fail(_told(error), 2)
    except KeyboardInterrupt as stop:
        kept = " ".join(getattr(stop, "__notes__", []))
        return _fail(f"{INTERRUPTED} {kept}".rstrip(), EXIT_CODE)
    except RuntimeError as error:
        if not left_alone(error):
            raise
        return _fail("another process of this job has ended, which says why; nothing was written", LEFT_ALONE)


@contextmanager
def _one_of_many() -> Iterator[None]:
    """One of the processes of a job: the first one prints for all."""
    with ExitStack() as stack:
        stack.enter_context(terminable())
        if not team().first:
            stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w", encoding="utf-8"))))
        yield
        part()


class _Parser(ArgumentParser):
    """Takes no abbreviated options, and refuses words in words of ours."""

    command: str = ""
    """The name of the command whose options these are; empty for the program's own."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # `--method.recipe.epoch` would mean `epochs`: a slip must not become a setting.
        # Parsers that the library makes for the help of one option are called as the program, not as the file it is in.
        super().__init__(*arguments, allow_abbrev=False, **{"prog": "unregress", **options})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Refuse the words; parsers within parsers hand their complaint on instead."""
        if not self.exit_on_error:
            super().error(message, ex)
        name = getattr(getattr(ex, "subcommand_parser", self), "command", "")
        # Of options that are missing, the program's own parser complains.
        name = name or next((each for each in COMMANDS if f": {each}." in message), "")
        raise refusal(message, COMMANDS.get(name), f"unregress {name}".rstrip()) from ex


def _run(words: Sequence[str]) -> int:
    # Tasks and data functions are named by import path, as in `my_model.task`.
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    # With `Splits` among them, `data` takes any function that returns one, although it is a dataclass.
    set_parsing_settings(subclasses_enabled=[Splits], docstring_parse_attribute_docstrings=True)
    parser = _Parser(usage=USAGE, description=DESCRIPTION, version=version("unregress"))
    subcommands = parser.add_subcommands(required=True, metavar="COMMAND", title="commands", prog="unregress")
    parsers = {name: _parser(name, command) for name, command in COMMANDS.items()}
    for name, own in parsers.items():
        subcommands.add_subcommand(name, own, help=SUMMARIES[name])
    parsed = parser.parse_args(_afresh(words))
    name = parsed.subcommand
    devices = parsed[name].get("runtime.devices", 1)
    if (wanted := devices if isinstance(devices, int) else len(devices)) > 1 and team().size == 1:
        return launch(words, wanted)
    values = _instantiate(parser, parsed)[name].as_dict()
    if _configured(COMMANDS[name]):
        values["config"] = parsers[name].dump(parsed[name])
    COMMANDS[name](**values)
    return 0


@dataclass(frozen=True, kw_only=True)
class _Unset(Method):
    """No method yet, and no settings."""

    def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        raise SettingError("No method is named", remedy="Name one with `--method`")


def _afresh(words: Sequence[str]) -> list[str]:
    """Let each `--method NAME` start from that method's own defaults.

    The parser would hand the settings of a method that a config file names on to the one that replaces
    it, wherever names agree: Retrain would train with Blindspot's `recipe`.  `_Unset` has none to hand on.
    """
    out: list[str] = []
    for word in words:
        if word.split("=")[0] in ("--method", "--method.class_path"):
            out.append(f"--method={_Unset.__module__}.{_Unset.__qualname__}")
        out.append(_underscored(word))
    return out


def _underscored(word: str) -> str:
    """An option as the signatures spell it: `--data-root` means `--data_root`.  Names within it stay as they are.

    >>> _underscored("--data-root=a-b"), _underscored("--models.two-stage"), _underscored("agedb-0-30")
    ('--data_root=a-b', '--models.two-stage', 'agedb-0-30')
    """
    option, equals, value = word.partition("=")
    if not option.startswith("--") or "." in option:
        return word
    return f"--{option[2:].replace('-', '_')}{equals}{value}"


_POSITIONAL = {"report": "FOLDER [--output AUDIT_HTML]", "verify": "FOLDER [--digest HEX] [--among+ FOLDER ...]"}
"""The words of commands that write no run folder."""


def _parser(name: str, command: Callable[..., None]) -> ArgumentParser:
    configured = _configured(command)
    options = "[--config job.yaml] [--OPTION VALUE ...]" if configured else _POSITIONAL[name]
    parser = _Parser(usage=f"unregress {name} {options}", description=_text(command))
    parser.command = name
    if configured:
        parser.add_argument("--config", action="config", help="YAML file with any of the options below")
    own: set[str | int] = set()
    if command is reproduce:
        own = {"name", "list", "download"}
        # Suppressed where it is not given, so that a config file's stands.
        parser.add_argument("name", nargs="?", default=SUPPRESS, help="the experiment, as `--list` shows them")
        parser.add_argument("--list", action="store_true", help="show all experiments, their data and rough cost")
        parser.add_argument("--download", action="store_true", help="fetch the data first, where the licence lets us")
    parser.add_function_arguments(command, skip={"config", *own}, as_positional=not configured)
    if name == "audit":
        parser.set_defaults(metrics=[{"class_path": type(metric).__name__} for metric in default_metrics()])
    return parser


def _configured(command: Callable[..., None]) -> bool:
    """Whether a command writes a run folder, with its configuration in it."""
    return "config" in signature(command).parameters


def _text(command: Callable[..., None]) -> str:
    """What a docstring says before its list of arguments."""
    return cleandoc(command.__doc__ or "").split("\n\nArgs:")[0]


def _instantiate(parser: ArgumentParser, parsed: Namespace) -> Namespace:
    """Call the user's functions, make methods and metrics."""
    try:
        made: Namespace = parser.instantiate(parsed)
    except Exception as error:
        if (own := _own(error)) is not None:
            raise own from error
        raise SettingError(
            f"What the configuration names cannot be made: {_told(error)}",
            remedy="Call the function in Python to see the whole traceback",
        ) from error
    values = made[parsed.subcommand]
    for key, kind in (("task", Task), ("data", Splits)):
        if key in values and not isinstance(values[key], kind):
            raise SettingError(
                f"`{key}` returned a {type(values[key]).__name__}",
                expected=f"a function that returns a {kind.__name__}",
            )
    values.pop("config", None)
    return made


def _own(error: BaseException | None) -> UnregressError | None:
    """The error of ours that the parser has wrapped in its own."""
    while error is not None and not isinstance(error, UnregressError):
        error = error.__cause__
    return error


def _told(error: BaseException) -> str:
    """An error from the user's code in one line, with the place where it was raised."""
    # The parser passes on an ImportError inside a function as a ValueError about the function.
    if isinstance(error, ValueError) and isinstance(error.__cause__, ImportError):
        error = error.__cause__
    package = str(Path(__file__).resolve().parents[1])
    libraries = (package, sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    own = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((*libraries, "<"))]
    place = f" ({own[-1].filename}:{own[-1].lineno}, in {own[-1].name})" if own else ""
    return f"{type(error).__name__}: {error}{place}"


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code
