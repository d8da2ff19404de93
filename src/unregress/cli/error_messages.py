"""What the parser complains about, in a line for whoever typed it: what was found, what is expected, what is near."""

from __future__ import annotations

import difflib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any

from unregress import methods, metrics
from unregress.cli.values import WORDS, hints_of, options_of
from unregress.errors import SettingError, UnregressError
from unregress.methods import Method
from unregress.metrics import Metric


def _names(room: Any, kind: type) -> tuple[str, ...]:
    """The classes of a kind that a package hands out."""
    found = ((name, getattr(room, name)) for name in room.__all__)
    return tuple(name for name, made in found if isinstance(made, type) and issubclass(made, kind)
                 and not inspect.isabstract(made))  # fmt: skip


METHODS, METRICS = _names(methods, Method), _names(metrics, Metric)
_KEY = re.compile(r'(?:Parser key "([^"]+)":|Problem with given class_path \'([^\']+)\':)\s*(.*)', re.DOTALL)
_UNION = re.compile(
    r"Does not validate against any of the Union subtypes\n.*?\n *Errors:\n(?P<branches>.*)\n *Given value type:.*?"
    r"\n *Given value: (?:NestedArg\(key='[^']*', val=)?(?P<given>.*?)\)?$",
    re.DOTALL,
)


def nearest(word: str, known: Iterable[str]) -> str:
    """A remedy that names the known word that is nearest, or nearest behind its last dot; empty if none is near.

    >>> nearest("Blindspott", ["Blindspot", "Retrain"]), nearest("seed", ["golds", "runtime.seed"])
    ("Did you mean 'Blindspot'?", "Did you mean 'runtime.seed'?")
    """
    whole = {name.lower(): name for name in known}
    for words in (whole, {name.rpartition(".")[2]: name for name in whole.values()}):
        if near := difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.7):
            return f"Did you mean {words[near[0]]!r}?"
    return ""


@dataclass(frozen=True)
class _Complaint:
    """The heart of a message that the parser wraps in several layers."""

    key: str
    """Which setting, dotted; empty where it is about none."""
    owner: str
    """Import path of the class or function whose setting it is; empty for a command's own."""
    text: str
    given: str | None
    """The value that does not fit."""


def refusal(message: str, command: Callable[..., None] | None, name: str) -> UnregressError:
    """The error that says what a parser's message says.

    Args:
        message: the parser's.
        command: the command that was called, whose signature says what there is; None before one is known.
        name: the command's, or the program's.
    """
    help_ = f"`{name} --help` lists all options"
    found = _heart(message)
    for pattern, explain in _EXPLANATIONS:
        if match := re.search(pattern, found.text, re.DOTALL):
            return explain(found, match, command, help_)
    # Some of the parser's words quote objects with their addresses.
    text = re.sub(r"<([^<>]*?)(?: of type object)?(?: at 0x[0-9a-f]+)?>", r"\1", " ".join(found.text.split())).rstrip(
        "."
    )
    return SettingError(f"`{found.key}`: {text}" if found.key else text, remedy=help_)


def _heart(message: str) -> _Complaint:
    """Take off keys, class paths, and all but the most telling branch of unions."""
    keys: list[str] = []
    owner, given, text = "", None, message.strip()
    while True:
        if match := _KEY.match(text):
            key, path, text = match[1], match[2], match[3].strip()
            keys += [key] if key else []
            # Of options that one class groups, the whole dotted name is the command's own.
            owner = path if path and not path.startswith("unregress.cli.") else owner
        elif match := _UNION.match(text):
            text, given = _telling(match["branches"]), match["given"].strip("'\"")
        else:
            break
    if value := re.search(r"\. Got value: (.*)$", text, re.DOTALL):
        given = value[1].strip()
    if nested := re.fullmatch(r"NestedArg\(key='([^']*)', val=(.*)\)", given or "", re.DOTALL):
        keys, given = [*keys, nested[1]], nested[2].strip("'\"")
    return _Complaint(".".join(keys), owner, text, given)


def _telling(branches: str) -> str:
    """The first branch of a union that is not about `None`."""
    indent = re.match(r" *", branches)[0]  # type: ignore[index] # it always matches
    texts = [text.strip() for text in f"\n{branches}".split(f"\n{indent}- ")[1:]]
    return next((text for text in texts if "NoneType" not in text.split("\n")[0]), branches)


Explanation = Callable[[_Complaint, "re.Match[str]", "Callable[..., None] | None", str], UnregressError]


def _wrong_value(found: _Complaint, match: re.Match[str], command: Any, help_: str) -> UnregressError:
    choices = [word.strip("' ") for word in (match["choices"] or "").split(",")] if match["choices"] else []
    expected = f"one of {', '.join(choices)}" if len(choices) > 1 else "".join(choices) or WORDS.get(
        match["type"], f"a {match['type']}"
    )  # fmt: skip
    return SettingError(
        f"`{found.key}` is {found.given!r}", expected=expected, remedy=nearest(found.given or "", choices) or help_
    )


def _no_such_class(found: _Complaint, match: re.Match[str], command: Any, help_: str) -> UnregressError:
    word, last = match[1], found.key.split(".")
    known = METRICS if "metrics" in last else METHODS if {"method", "methods"} & set(last) else ()
    if not found.key:
        return SettingError(f"There is no class {word!r}", expected="an import path, as in `my_model.MyTask`")
    if not known:
        return SettingError(
            f"`{found.key}` is {word!r}", expected=f"an import path, as in `--{found.key} my_model.make_{found.key}`"
        )
    kind = "metric" if known is METRICS else "method"
    return SettingError(
        f"There is no {kind} {word!r}",
        expected=f"one of the {kind}s {', '.join(known)}, or the import path of your own",
        remedy=nearest(word, known),
    )


def _unknown(found: _Complaint, match: re.Match[str], command: Any, help_: str) -> UnregressError:
    """An option that does not exist."""
    option = match["option"].split()[0].split("=")[0]
    inner = ".".join(part for part in ((match.groupdict().get("group") or ""), option.removeprefix("--")) if part)
    full = f"{found.key}.{inner}" if found.key else inner
    if found.owner:
        known = [f"{found.key}.{each}" for each in _settings(pkgutil.resolve_name(found.owner))]
    else:
        known = [] if command is None else list(_settings(command))
    if not option.startswith("--") and " does not accept" not in found.text and " not accepted" not in found.text:
        return SettingError(f"There is no place for {option!r}", remedy=help_)
    return SettingError(f"There is no option `{full}`", remedy=nearest(full, known) or help_)


def _missing(found: _Complaint, match: re.Match[str], command: Any, help_: str) -> UnregressError:
    names = [f"`{name.strip().rpartition('.')[2]}`" for name in match[1].split(",")]
    return SettingError(
        f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing",
        expected=""
        if command is not None and "config" not in inspect.signature(command).parameters
        else "a value as an option or in a `--config` file",
        remedy=help_,
    )


def _no_command(found: _Complaint, match: re.Match[str], command: Any, help_: str) -> UnregressError:
    known = re.findall(r"'(\w+)'", match[2])
    return SettingError(
        f"There is no command {match[1]!r}", expected=f"one of {', '.join(known)}", remedy=nearest(match[1], known)
    )


def _no_command_at_all(found: _Complaint, match: re.Match[str], command: Any, help_: str) -> UnregressError:
    return SettingError("No command is named", remedy="`unregress --help` lists them; start with `unregress demo`")


def _no_attribute(found: _Complaint, match: re.Match[str], command: Any, help_: str) -> UnregressError:
    module = pkgutil.resolve_name(match[1])
    return SettingError(
        f"`{found.key}`: the module {match[1]!r} has no {match[2]!r}",
        expected="the import path of a function, as in `my_model.make_task`",
        remedy=nearest(match[2], [name for name, value in vars(module).items() if callable(value)]),
    )


def _untyped(found: _Complaint, match: re.Match[str], command: Any, help_: str) -> UnregressError:
    return SettingError(
        f"`{found.key}`: {match[1]} is no {match[2]} and does not say that it returns one",
        expected="a function that must say what it returns, as in `def make_task() -> unregress.TensorTask` and "
        "`def load_data() -> unregress.Splits`",
    )


def _no_path(found: _Complaint, match: re.Match[str], command: Any, help_: str) -> UnregressError:
    return SettingError(
        f"`{found.key}` is {match[1]}", expected=f"an import path, as in `--{found.key} my_model.make_{found.key}`"
    )


def _untyped_parameter(found: _Complaint, match: re.Match[str], command: Any, help_: str) -> UnregressError:
    return SettingError(
        f"The parameter {match[1]!r} of {match[2].removesuffix('.__init__')} does not say of what type it is",
        expected=f"an annotation, as in `{match[1]}: float`",
    )


def _no_value(found: _Complaint, match: re.Match[str], command: Any, help_: str) -> UnregressError:
    return SettingError(f"`{match[1]}` has no value", expected="one value", remedy=help_)


_EXPLANATIONS: tuple[tuple[str, Explanation], ...] = (
    (r"Expected (?:an? )?(?:<class '(?P<type>[\w.]+)'>|typing\.Literal\[(?P<choices>[^\]]*)\])", _wrong_value),
    (r"Expected a dot import path string: (\S+)", _no_such_class),
    (r"[Uu]nrecognized arguments: (?P<option>.+)", _unknown),
    (r"Option '(?P<option>[^']+)' is not accepted", _unknown),
    (r"Group '(?P<group>[^']+)' does not accept option '(?P<option>[^']+)'", _unknown),
    (r"Subcommand '[^']+' does not accept option '(?P<option>[^']+)'", _unknown),
    (r"arguments are required: (.+)", _missing),
    (r"invalid choice: '([^']*)' \(choose from (.*)\)", _no_command),
    (r'expected "subcommand"', _no_command_at_all),
    (r"argument (\S+): expected one argument", _no_value),
    (r"module '([^']+)' has no attribute '([^']+)'", _no_attribute),
    (r"Not a valid subclass of \w+\. Got value: (.{1,80}?)\s+Subclass types expect", _no_path),
    (r"Parameter '([^']+)' from '([^']+)' does not specify a type", _untyped_parameter),
    (r"Import path (\S+) does not correspond to a subclass of (\w+)", _untyped),
)
"""From the parser's words to ours; what is not among them is passed on as it is."""


def _settings(made: Callable[..., Any], before: str = "") -> Iterator[str]:
    """The dotted names of what a class or function takes, those within dataclasses too."""
    hints = hints_of(made)
    for name in inspect.signature(made).parameters:
        yield f"{before}{name}"
        for option in options_of(hints.get(name)):
            if is_dataclass(option) and isinstance(option, type) and before.count(".") < 3:
                yield from _settings(option, f"{before}{name}.")
