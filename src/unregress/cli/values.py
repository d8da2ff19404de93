"""Find values that the parser accepts but no command can use, such as null for a required number."""

from __future__ import annotations

import inspect
import pkgutil
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from jsonargparse import Namespace

from unregress.errors import SettingError

WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "list": "a list, as in '[A, B]'",
    "tuple": "a list, as in '[60, null]'",
    "dict": "names with values, as in `--models.NAME FOLDER`",
}
"""Names of types in messages."""


def unusable(made: Callable[..., Any], values: Mapping[str, Any], before: str = "") -> Iterator[SettingError]:
    """Yield errors for parsed values that would raise a TypeError in the function.

    Args:
        made: a command, or the class or function that takes the settings.
        values: the settings by name.
        before: the dotted prefix of their names, with its dot.
    """
    hints, parameters = hints_of(made), inspect.signature(made).parameters
    for name, value in values.items():
        if name in hints and name in parameters:
            optional = parameters[name].default is None
            yield from _unusable(hints[name], value, f"{before}{name}", optional=optional)


def hints_of(made: Callable[..., Any]) -> dict[str, Any]:
    """Type hints of a class or function; empty if some name exists for type checkers only."""
    try:
        # Hints of a dataclass itself: those of its `__init__` are looked up in the wrong module for inherited fields.
        initialised = isinstance(made, type) and not is_dataclass(made)
        return get_type_hints(getattr(made, "__init__") if initialised else made)  # noqa: B009 for the type checker
    except Exception:
        return {}


def options_of(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _unusable(hint: Any, value: Any, key: str, *, optional: bool) -> Iterator[SettingError]:
    options = options_of(hint)
    group = next((each for each in options if isinstance(each, type) and is_dataclass(each)), None)
    if value is None:
        if not (optional or type(None) in options or Any in options):
            yield SettingError(
                f"`{key}` is null", expected=_expected(options[0], key), remedy="Leave it out, or give one"
            )
    elif isinstance(value, (str, Path)):
        if "\0" in str(value):
            yield SettingError(f"`{key}` contains a NUL character", expected="a text without it")
    elif isinstance(value, list) and group is None:
        for number, each in enumerate(value):
            yield from _unusable(Any, each, f"{key}.{number}", optional=True)
    elif isinstance(value, (Namespace, dict)):
        content = value.as_dict() if isinstance(value, Namespace) else value
        if isinstance(path := content.get("class_path"), str):
            yield from unusable(pkgutil.resolve_name(path), content.get("init_args") or {}, f"{key}.")
        elif group is not None:
            yield from unusable(group, content, f"{key}.")
        elif other := [each for each in content if not isinstance(each, str)]:
            yield SettingError(f"`{key}` has the name {other[0]!r}", expected="text as a name; put it into quotes")
    elif group is not None and not isinstance(value, group):
        yield SettingError(f"`{key}` is {value!r}", expected=_expected(group, key))


def _expected(kind: Any, key: str) -> str:
    if isinstance(kind, type) and is_dataclass(kind):
        field = next(iter(inspect.signature(kind).parameters))
        return f"names with values, as in `--{key}.{field} VALUE`"
    name = getattr(get_origin(kind) or kind, "__name__", "")
    return WORDS.get(name, "a value")
