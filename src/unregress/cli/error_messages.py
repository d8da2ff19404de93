"""Reword the parser's error messages in one line each: found, expected, and the probable intention.

Four kinds are reworded: unknown options, missing options, classes and values.  Any other message is passed on
unchanged, so that a new wording in the parser makes messages less clear, but breaks nothing.
"""

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


def _names(package: Any, kind: type) -> tuple[str, ...]:
    """Names of the concrete subclasses of a class that a package exports."""
    found = ((name, getattr(package, name)) for name in package.__all__)
    return tuple(name for name, made in found if isinstance(made, type) and issubclass(made, kind)
                 and not inspect.isabstract(made))  # fmt: skip


METHODS, METRICS = _names(methods, Method), _names(metrics, Metric)
_CONTEXT = re.compile(r"(?:Parser key \"([^\"]+)\":|Problem with given class_path '([^']+)':)\s*(.*)", re.DOTALL)
_UNION = re.compile(
    r"Does not validate against any of the Union subtypes\n.*?\n *Errors:\n(?P<branches>.*)\n *Given value type:.*?"
    r"\n *Given value: (?:NestedArg\(key='[^']*', val=)?(?P<given>.*?)\)?$",
    re.DOTALL,
)
_UNKNOWN = re.compile(
    r"nrecognized arguments: (?P<option>\S+)|(?:Group '(?P<group>[^']+)' does not accept o|does not accept o|O)ption "
    r"'(?P<name>[^']+)'"
)
_MISSING = re.compile(r"arguments are required: (.+)")
_VALUE = re.compile(r"Expected (?:an? )?(?:<class '(?P<type>[\w.]+)'>|typing\.Literal\[(?P<choices>[^\]]*)\])")
_CLASS = re.compile(r"Expected a dot import path string: (\S+)|Not a valid subclass of \w+\. Got value: (.{1,80}?)\s")


def nearest(word: str, known: Iterable[str]) -> str:
    """A remedy that names the known word most similar, as a whole or in its last part; empty if none is similar.

    >>> nearest("Blindspott", ["Blindspot", "Retrain"]), nearest("seed", ["golds", "runtime.seed"])
    ("Did you mean 'Blindspot'?", "Did you mean 'runtime.seed'?")
    """
    whole = {name.lower(): name for name in known}
    for words in (whole, {name.rpartition(".")[2]: name for name in whole.values()}):
        if near := difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.7):
            return f"Did you mean {words[near[0]]!r}?"
    return ""


@dataclass(frozen=True)
class _ParserError:
    """The innermost message, without the layers that the parser wraps around it."""

    key: str
    """Dotted name of the setting; empty if the message is about none."""
    owner: str
    """Import path of the class or function that has the setting; empty for a command's own option."""
    text: str
    given: str | None
    """The value that was refused."""


def reword(message: str, command: Callable[..., None] | None, name: str) -> UnregressError:
    """Create the error for a parser's message.

    Args:
        message: the parser's message.
        command: the called command, whose signature has the options; None before it is known.
        name: name of the command or the program, as the user types it.
    """
    help_ = f"`{name} --help` lists all options"
    found = _innermost(message)
    if match := _UNKNOWN.search(found.text):
        return _unknown(found, match, command, help_)
    if match := _MISSING.search(found.text):
        return _missing(match, command, help_)
    if match := _VALUE.search(found.text):
        return _wrong_value(found, match, help_)
    if match := _CLASS.search(found.text):
        return _no_such_class(found, match[1] or match[2])
    # The parser quotes some objects with their memory addresses.
    text = re.sub(r"<([^<>]*?)(?: of type object)?(?: at 0x[0-9a-f]+)?>", r"\1", " ".join(found.text.split()))
    text = re.sub(r"^Type \S*Callable\[.*?\] expects a function or a callable class: ", "", text).rstrip(".")
    return SettingError(
        f"`{found.key}`: {text}" if found.key else text, expected=_IMPORTED.get(found.key, ""), remedy=help_
    )


_RETURNING = (
    "the import path of a function that must say what it returns, as in `def make_task() -> unregress.TensorTask` and "
    "`def load_data() -> unregress.Splits`"
)
_IMPORTED = {
    "task": _RETURNING,
    "data": _RETURNING,
    "training": "the import path of a function `(data, start, seed) -> model`, or of a class of such functions",
}
"""What the options that name the user's own code expect."""


def _innermost(message: str) -> _ParserError:
    """Strip keys, class paths, and all but the most informative branch of unions."""
    keys: list[str] = []
    owner, given, text = "", None, message.strip()
    while True:
        if match := _CONTEXT.match(text):
            key, path, text = match[1], match[2], match[3].strip()
            keys += [key] if key else []
            # Options grouped in a class of `unregress.cli` count as the command's own.
            owner = path if path and not path.startswith("unregress.cli.") else owner
        elif match := _UNION.match(text):
            text, given = _informative_branch(match["branches"]), match["given"].strip("'\"")
        else:
            break
    if value := re.search(r"\. Got value: (.*)$", text, re.DOTALL):
        given = value[1].strip()
    if nested := re.fullmatch(r"NestedArg\(key='([^']*)', val=(.*)\)", given or "", re.DOTALL):
        keys, given = [*keys, nested[1]], nested[2].strip("'\"")
    return _ParserError(".".join(keys), owner, text, given)


def _informative_branch(branches: str) -> str:
    """The first branch of a union that is not about `None`."""
    indent = re.match(r" *", branches)[0]  # type: ignore[index] # it always matches
    texts = [text.strip() for text in f"\n{branches}".split(f"\n{indent}- ")[1:]]
    return next((text for text in texts if "NoneType" not in text.split("\n")[0]), branches)


def _unknown(
    found: _ParserError, match: re.Match[str], command: Callable[..., None] | None, help_: str
) -> UnregressError:
    option = (match["option"] or match["name"]).split("=")[0]
    if match["option"] and not option.startswith("--"):
        return SettingError(f"Unexpected argument {option!r}", remedy=help_)
    full = ".".join(part for part in (found.key, match["group"], option.removeprefix("--")) if part)
    if found.owner:
        known = [f"{found.key}.{each}" for each in _settings(pkgutil.resolve_name(found.owner))]
    else:
        known = [] if command is None else list(_settings(command))
    if full == "model" and "checkpoint" in known:
        remedy = "Name the model with `--checkpoint`; `model` is its name in unregress.yaml"
        return SettingError("There is no option `model`", remedy=remedy)
    return SettingError(f"There is no option `{full}`", remedy=nearest(full, known) or help_)


def _missing(match: re.Match[str], command: Callable[..., None] | None, help_: str) -> UnregressError:
    names = [f"`{name.strip().rpartition('.')[2]}`" for name in match[1].split(",")]
    positional = command is not None and "config" not in inspect.signature(command).parameters
    return SettingError(
        f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing",
        expected="" if positional else "a value as an option or in a `--config` file",
        remedy=help_,
    )


def _wrong_value(found: _ParserError, match: re.Match[str], help_: str) -> UnregressError:
    choices = [word.strip("' ") for word in (match["choices"] or "").split(",") if word]
    expected = "".join(choices) or WORDS.get(match["type"], f"a {match['type']}")
    return SettingError(
        f"`{found.key}` is {found.given!r}",
        expected=f"one of {', '.join(choices)}" if len(choices) > 1 else expected,
        remedy=nearest(found.given or "", choices) or help_,
    )


def _no_such_class(found: _ParserError, word: str) -> UnregressError:
    last = found.key.split(".")
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


def _settings(made: Callable[..., Any], before: str = "") -> Iterator[str]:
    """The dotted names of the parameters of a class or function, with those within dataclasses."""
    hints = hints_of(made)
    for name in inspect.signature(made).parameters:
        yield f"{before}{name}"
        for option in options_of(hints.get(name)):
            if is_dataclass(option) and isinstance(option, type) and before.count(".") < 3:
                yield from _settings(option, f"{before}{name}.")
