"""Parse the command line, call the command's function, and turn errors into exit codes."""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from importlib.metadata import version
from inspect import cleandoc, signature
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import SUPPRESS, ArgumentParser, Namespace, set_parsing_settings
from jsonargparse.typing import Path_fr

from unregress.cli import configuration
from unregress.cli.commands.audit import audit, report
from unregress.cli.commands.audit_predictions import COMMAND, audit_predictions, routed
from unregress.cli.commands.leave_out import table
from unregress.cli.commands.method import listed, method
from unregress.cli.commands.remains import remains
from unregress.cli.commands.reproduce import reproduce
from unregress.cli.commands.train_forget import forget, train
from unregress.cli.commands.verify import verify
from unregress.cli.error_messages import nearest, reword
from unregress.cli.exit_codes import culprit, ending
from unregress.cli.help import DESCRIPTION, EVERYWHERE, EXIT_CODES, SUMMARIES, USAGE
from unregress.cli.interrupt import NOTHING_LEFT, WORDS, Stop, exit_code, stoppable
from unregress.cli.launch import launch, require_room
from unregress.cli.project_file import NAME, is_project_file, take_scalers, translated
from unregress.cli.values import unusable
from unregress.data.splits import Splits
from unregress.demo import demo
from unregress.distributed.process_group import current_process_group, destroy_process_group
from unregress.errors import SettingError, raise_all
from unregress.errors.user_code import described, message_of
from unregress.errors.wording import printable
from unregress.metrics import default_metrics
from unregress.tasks.base import Task

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "train": train,
    "forget": forget,
    "table": table,
    "audit": audit,
    COMMAND: audit_predictions,
    "method": method,
    "report": report,
    "verify": verify,
    "remains": remains,
    "reproduce": reproduce,
}
"""The commands.  A signature gives the options, its docstring the help; the argument `config` is filled in here."""


def dispatch(words: Sequence[str], *, debug: bool = False) -> int:
    """Run one command.

    Args:
        words: the arguments after `unregress`.
        debug: show the whole traceback of an error.

    Returns:
        The exit code, see `unregress.cli.exit_codes`.
    """
    stop: Stop | None = None
    try:
        with stoppable() as stop, _main_process_prints():
            return _run(words, debug)
    except BaseException as error:
        if isinstance(error, SystemExit) and culprit(error) is None:
            # Raised by the parser after help, version or `--print_config`.
            return int(error.code or 0)
        code, message = _stopped(stop, error) or ending(error)
        if debug:
            traceback.print_exception(error)
    # Very long words, such as paths of thousands of letters, are cut.
    short = re.sub(r"\S{400,}", lambda word: f"{word[0][:200]}…", message)
    print(f"error: {printable(short)}", file=sys.stderr)
    return code


def _stopped(stop: Stop | None, error: BaseException) -> tuple[int, str] | None:
    """Exit code and message of a command that was interrupted or terminated; None if it was not."""
    received = None if stop is None else stop.number
    if received is None and not isinstance(error, KeyboardInterrupt):
        return None
    number = signal.Signals(signal.SIGINT if received is None else received)
    return exit_code(number), " ".join([f"{WORDS[number]}; {NOTHING_LEFT}", *getattr(error, "__notes__", [])])


@contextmanager
def _main_process_prints() -> Iterator[None]:
    """Let only the main process of a job print, and end the process group at the end of the block."""
    with ExitStack() as stack:
        if not current_process_group().is_main:
            stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w", encoding="utf-8"))))
        yield
        destroy_process_group()


class _Parser(ArgumentParser):
    """A parser without abbreviated options, whose error messages are reworded."""

    command: str = ""
    """The name of the command whose options these are; empty for the program's own."""
    replaced: frozenset[str] = frozenset()
    """Settings of configuration files that the command line replaces as a whole."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # With abbreviations `--method.recipe.epoch` would mean `epochs`: a typing error would become a setting.
        # jsonargparse also creates parsers for the help of single options; `prog` is set for these too.
        super().__init__(*arguments, allow_abbrev=False, **{"prog": "unregress", **options})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the reworded error; a parser within another one passes its message on instead."""
        if (known := culprit(ex)) is not None:
            # Raised by an import of the user's module, or already reworded.
            raise known
        if not self.exit_on_error:
            super().error(message, ex)
        name = getattr(getattr(ex, "subcommand_parser", self), "command", "")
        # Missing options are reported by the program's own parser.
        name = name or next((each for each in COMMANDS if f": {each}." in message), "")
        raise reword(message, COMMANDS.get(name), f"unregress {name}".rstrip()) from ex

    def format_help(self, *arguments: Any) -> str:
        """The help without lists of all subclasses that PyTorch has."""
        return re.sub(r",\s+known\s+subclasses:[^()]{600,}\)", ")", super().format_help(*arguments))

    def parse_path(self, path: Any, *arguments: Any, **options: Any) -> Namespace:
        """Read a configuration file in its own encoding, without the settings that the command line replaces.

        Otherwise the parser would keep the settings of a method that a file names for the method that replaces it,
        where their names are the same: Retrain would train with Blindspot's `recipe`.
        """
        text = configuration.without(configuration.read(Path(path)), self.replaced)
        if is_project_file(Path(path)):
            text = translated(text, self.command, COMMANDS)
        with Path_fr(path).relative_path_context():
            found: Namespace = self.parse_string(text, os.path.basename(path), *arguments, **options)
        return found

    def parse_string(self, content: str, path: Any = "", *arguments: Any, **options: Any) -> Namespace:
        """Parse a configuration."""
        if not path:
            configuration.require_mapping(content, "the configuration")
        found: Namespace = super().parse_string(content, path, *arguments, **options)
        return found


def _run(words: Sequence[str], debug: bool) -> int:
    # Tasks and data functions are named by import path, as in `my_model.task`.
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    # `Splits` is a dataclass; with this setting `data` takes any function that returns one.
    set_parsing_settings(subclasses_enabled=[Splits], docstring_parse_attribute_docstrings=True)
    words = listed(routed(words))
    parser = _Parser(usage=USAGE, description=DESCRIPTION, epilog=EXIT_CODES, version=version("unregress"))
    subcommands = parser.add_subcommands(required=True, metavar="COMMAND", title="commands", prog="unregress")
    _require_command(words)
    # To build the parsers of all commands takes several times as long as to parse; only the program's help shows all.
    parsers = {name: _parser(name, COMMANDS[name]) for name in (words[:1] if words[0] in COMMANDS else COMMANDS)}
    for name, own in parsers.items():
        subcommands.add_subcommand(name, own, help=SUMMARIES[name])
    if _names_method(words):
        parsers["forget"].replaced = frozenset({"method"})
    try:
        parsed = parser.parse_args([_underscored(word) for word in _with_project_file(words)])
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        # Errors that the parser raises and does not catch.
        parser.error(message_of(error), error)
    name = parsed.subcommand
    # `config` is required by the signature, and filled in below.
    raise_all(list(unusable(COMMANDS[name], {**parsed[name].as_dict(), "config": ""})))
    devices = parsed[name].get("runtime.devices", 1)
    wanted = devices if isinstance(devices, int) else len(devices)
    if wanted > 1 and current_process_group().world_size == 1:
        require_room(wanted)
        return launch([*words, "--debug"] if debug else words, wanted)
    take_scalers(parsed[name])
    values = _instantiate(parser, parsed)[name].as_dict()
    if "config" in signature(COMMANDS[name]).parameters:
        values["config"] = parsers[name].dump(parsed[name])
    COMMANDS[name](**values)
    return 0


def _with_project_file(words: Sequence[str]) -> list[str]:
    """The words, preceded by the settings of `unregress.yaml` in the current folder if the command is about a task."""
    command = COMMANDS.get(words[0])
    asks_for_help = {"-h", "--help"} & set(words)
    if command is None or asks_for_help or "task" not in signature(command).parameters or not Path(NAME).is_file():
        return list(words)
    return [words[0], "--config", NAME, *words[1:]]


def _require_command(words: Sequence[str]) -> None:
    """Refuse words that do not begin with a command or an option.

    Raises:
        SettingError: no command is named, or one that does not exist.
    """
    if not words:
        raise SettingError("No command is named", remedy="`unregress --help` lists them; start with `unregress demo`")
    if not words[0].startswith("-") and words[0] not in COMMANDS:
        raise SettingError(
            f"There is no command {words[0]!r}",
            expected=f"one of {', '.join(COMMANDS)}",
            remedy=nearest(words[0], COMMANDS),
        )


def _names_method(words: Sequence[str]) -> bool:
    """Whether the command line names a method after the last configuration file, whose method it replaces."""
    options = [word.split("=")[0] for word in words]
    named = [place for place, option in enumerate(options) if option in ("--method", "--method.class_path")]
    files = [place for place, option in enumerate(options) if option == "--config"]
    return max(named, default=-1) > max(files, default=-1)


def _underscored(word: str) -> str:
    """Spell an option as the signatures do: `--data-root` becomes `--data_root`; dotted names are unchanged.

    >>> _underscored("--data-root=a-b"), _underscored("--models.two-stage"), _underscored("agedb-0-30")
    ('--data_root=a-b', '--models.two-stage', 'agedb-0-30')
    """
    option, equals, value = word.partition("=")
    if not option.startswith("--") or "." in option:
        return word
    return f"--{option[2:].replace('-', '_')}{equals}{value}"


_POSITIONAL = {
    "method": "AUDIT AUDIT ... [--model NAME] [--measures '[METRIC@PART, ...]'] [--require pass]",
    "report": "FOLDER [--everything] [--output AUDIT_HTML] [--card CARD_MD]",
    "verify": "FOLDER [--digest HEX] [--among+ FOLDER ...]",
    "remains": "FOLDER [--among+ FOLDER ...] [--delete [--yes]]",
}
"""Usage of the commands that write no run folder."""


def _parser(name: str, command: Callable[..., None]) -> _Parser:
    configured = _configured(command)
    options = "[--config job.yaml] [--OPTION VALUE ...]" if configured else _POSITIONAL[name]
    parser = _Parser(usage=f"unregress {name} {options}", description=_text(command), epilog=EVERYWHERE)
    parser.command = name
    if configured:
        parser.add_argument("--config", action="config", help="YAML file with any of the options below")
    own: set[str | int] = set()
    if command is reproduce:
        own = {"name", "list", "download"}
        # No default, so that the value of a configuration file remains.
        parser.add_argument("name", nargs="?", default=SUPPRESS, help="the experiment, as `--list` shows them")
        parser.add_argument("--list", action="store_true", help="show all experiments, their data and rough cost")
        parser.add_argument(
            "--download", action="store_true", help="download the data first, if their licence allows it"
        )
    if command is remains:
        own = {"delete", "yes"}
        parser.add_argument("--delete", action="store_true", help="delete what is listed and lies in `among`")
        parser.add_argument("--yes", action="store_true", help="with `--delete`: do not ask before")
    parser.add_function_arguments(command, skip={"config", *own}, as_positional=not configured)
    if name == "audit":
        parser.set_defaults(metrics=[{"class_path": type(metric).__name__} for metric in default_metrics()])
    return parser


def _configured(command: Callable[..., None]) -> bool:
    """Whether a command takes its options from a configuration file: one about a task, or with a `config` to write."""
    return not {"config", "task"}.isdisjoint(signature(command).parameters)


def _text(command: Callable[..., None]) -> str:
    """The part of a docstring before its list of arguments."""
    return cleandoc(command.__doc__ or "").split("\n\nArgs:")[0]


def _instantiate(parser: ArgumentParser, parsed: Namespace) -> Namespace:
    """Call the user's functions, and create methods and metrics."""
    try:
        made: Namespace = parser.instantiate(parsed)
    except Exception as error:
        if (known := culprit(error)) is not None:
            raise known from None
        raise SettingError(f"An object that the configuration names cannot be created: {described(error)}") from error
    values = made[parsed.subcommand]
    for key, kind in (("task", Task), ("data", Splits)):
        if "task" in values and not isinstance(values[key], kind):
            raise SettingError(
                f"`{key}` returned a {type(values[key]).__name__}",
                expected=f"a function that returns a {kind.__name__}",
            )
    values.pop("config", None)
    return made
