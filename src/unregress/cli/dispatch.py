"""From words on the command line to a function call, and from errors to exit codes."""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from inspect import cleandoc, signature
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import SUPPRESS, ArgumentParser, Namespace, set_parsing_settings
from jsonargparse.typing import Path_fr
from torch import nn

from unregress.cli import configuration
from unregress.cli.commands.audit import audit, report
from unregress.cli.commands.reproduce import reproduce
from unregress.cli.commands.train_forget import forget, train
from unregress.cli.commands.verify import verify
from unregress.cli.error_messages import refusal
from unregress.cli.exit_codes import culprit, ending
from unregress.cli.help import DESCRIPTION, EVERYWHERE, EXIT_CODES, SUMMARIES, USAGE
from unregress.cli.interrupt import NOTHING_LEFT, WORDS, Stop, exit_code, stoppable
from unregress.cli.launch import launch, require_room
from unregress.cli.values import unusable
from unregress.data.case import Case
from unregress.data.splits import Splits
from unregress.demo import demo
from unregress.distributed.process_group import part, team
from unregress.errors import SettingError, raise_all
from unregress.errors.user_code import described, message_of
from unregress.errors.wording import printable
from unregress.methods import Method, Unlearned
from unregress.metrics import default_metrics
from unregress.tasks.base import Task
from unregress.training.runtime import Runtime

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


def dispatch(words: Sequence[str], *, debug: bool = False) -> int:
    """Run one command.

    Args:
        words: those after `unregress`.
        debug: show the whole traceback of an error.

    Returns:
        The exit code, see `unregress.cli.exit_codes`.
    """
    stop: Stop | None = None
    try:
        with stoppable() as stop, nullcontext() if team().size == 1 else _one_of_many():
            return _run(words, debug)
    except BaseException as error:
        if isinstance(error, SystemExit) and culprit(error) is None:
            # The parser's, after help, version or `--print_config`.
            return int(error.code or 0)
        code, message = _stopped(stop, error) or ending(error)
        if debug:
            traceback.print_exception(error)
    # Of very long words, as paths of thousands of letters, the beginning is enough.
    short = re.sub(r"\S{400,}", lambda word: f"{word[0][:200]}…", message)
    print(f"error: {printable(short)}", file=sys.stderr)
    return code


def _stopped(stop: Stop | None, error: BaseException) -> tuple[int, str] | None:
    """Exit code and message of a command that was told to end; None if it was not."""
    heard = None if stop is None else stop.number
    if heard is None and not isinstance(error, KeyboardInterrupt):
        return None
    number = signal.Signals(signal.SIGINT if heard is None else heard)
    return exit_code(number), " ".join([f"{WORDS[number]}; {NOTHING_LEFT}", *getattr(error, "__notes__", [])])


@contextmanager
def _one_of_many() -> Iterator[None]:
    """One of the processes of a job: the first one prints for all."""
    with ExitStack() as stack:
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
        """Refuse the words; parsers within parsers pass their complaint on instead."""
        if (known := culprit(ex)) is not None:
            # Raised while a module of the user's was imported, or refused in words of ours already.
            raise known
        if not self.exit_on_error:
            super().error(message, ex)
        name = getattr(getattr(ex, "subcommand_parser", self), "command", "")
        # Of options that are missing, the program's own parser complains.
        name = name or next((each for each in COMMANDS if f": {each}." in message), "")
        raise refusal(message, COMMANDS.get(name), f"unregress {name}".rstrip()) from ex

    def format_help(self, *arguments: Any) -> str:
        """The help, without lists of all of PyTorch's classes."""
        return re.sub(r",\s+known\s+subclasses:[^()]{600,}\)", ")", super().format_help(*arguments))

    def parse_path(self, path: Any, *arguments: Any, **options: Any) -> Namespace:
        """A configuration file, which the library would read in the encoding of the system."""
        text = configuration.read(Path(path))
        with Path_fr(path).relative_path_context():
            found: Namespace = self.parse_string(text, os.path.basename(path), *arguments, **options)
        return found

    def parse_string(self, content: str, path: Any = "", *arguments: Any, **options: Any) -> Namespace:
        """A configuration as text."""
        if not path:
            configuration.require_mapping(content, "the configuration")
        found: Namespace = super().parse_string(content, path, *arguments, **options)
        return found


def _run(words: Sequence[str], debug: bool) -> int:
    # Tasks and data functions are named by import path, as in `my_model.task`.
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    # With `Splits` among them, `data` takes any function that returns one, although it is a dataclass.
    set_parsing_settings(subclasses_enabled=[Splits], docstring_parse_attribute_docstrings=True)
    parser = _Parser(usage=USAGE, description=DESCRIPTION, epilog=EXIT_CODES, version=version("unregress"))
    subcommands = parser.add_subcommands(required=True, metavar="COMMAND", title="commands", prog="unregress")
    parsers = {name: _parser(name, command) for name, command in COMMANDS.items()}
    for name, own in parsers.items():
        subcommands.add_subcommand(name, own, help=SUMMARIES[name])
    try:
        parsed = parser.parse_args(_afresh(words))
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        # What the parser does not catch of what it raises itself.
        parser.error(message_of(error), error)
    name = parsed.subcommand
    # The configuration is filled in below.
    raise_all(list(unusable(COMMANDS[name], {**parsed[name].as_dict(), "config": ""})))
    devices = parsed[name].get("runtime.devices", 1)
    if (wanted := devices if isinstance(devices, int) else len(devices)) > 1 and team().size == 1:
        require_room(wanted)
        return launch([*words, "--debug"] if debug else words, wanted)
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
    parser = _Parser(usage=f"unregress {name} {options}", description=_text(command), epilog=EVERYWHERE)
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
        if (known := culprit(error)) is not None:
            raise known from None
        raise SettingError(f"What the configuration names cannot be made: {described(error)}") from error
    values = made[parsed.subcommand]
    for key, kind in (("task", Task), ("data", Splits)):
        if key in values and not isinstance(values[key], kind):
            raise SettingError(
                f"`{key}` returned a {type(values[key]).__name__}",
                expected=f"a function that returns a {kind.__name__}",
            )
    values.pop("config", None)
    return made
