"""Parse JSON into dataclasses; check every type, and name the field in every complaint."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from datetime import date
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")

_MAX_DEPTH = 32
"""Deepest nesting allowed in a field of type `Any`."""
_INTEGER_LIMIT = 2**63
"""Bound of integers: larger ones overflow in arithmetic, and are no counts."""
_TYPE_NAMES: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


class Misfit(ValueError):
    """Data that do not match the expected types.

    Attributes:
        complaints: one for each field, such as `verdicts[2].criteria[0].value is 'text', expected a number`.
    """

    def __init__(self, complaints: Sequence[str]) -> None:
        self.complaints = tuple(complaints)
        further = len(self.complaints) - 8
        listed = "; ".join(self.complaints[:8])
        super().__init__(f"{listed}; and {further} more" if further > 0 else listed)


def parse(text: bytes) -> Any:
    """Parse JSON strictly, without Python's extensions of the standard.

    Raises:
        Misfit: it is not UTF-8 or not JSON, is nested too deep, or has NaN, an infinity or a duplicate field.
    """
    try:
        return json.loads(
            text.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_without_duplicates,
        )
    except UnicodeDecodeError as error:
        raise Misfit([f"byte {error.start} is not UTF-8"]) from error
    except Misfit:
        raise
    except ValueError as error:
        raise Misfit([f"it is not JSON: {error}"]) from error
    except RecursionError as error:
        raise Misfit(["it is nested too deep"]) from error


def build(kind: type[T], value: Any, where: str = "") -> T:
    """Convert parsed JSON into a value of a type: the inverse of `dataclasses.asdict`.

    Lists become tuples and objects become dataclasses, all of whose fields must be present, except those with
    `metadata={"may_be_missing": True}`, which files of earlier versions do not have.  Supported types:
    dataclasses, `tuple[X, ...]`, `tuple[X, Y]`, `list[X]`, `dict[str, X]`, `Literal`, unions, `None`, `bool`, `int`,
    `float` (which accepts whole numbers, unconverted), `str` and `Any`.

    Args:
        kind: the type.
        value: parsed JSON, from `parse`.
        where: path of the value, a prefix of its fields' paths in complaints.

    Raises:
        Misfit: a field is missing, unknown or of another type; all complaints together.
    """
    complaints: list[str] = []
    built = _built(kind, value, where, complaints)
    if complaints:
        raise Misfit(complaints)
    return cast(T, built)


def _built(kind: Any, value: Any, where: str, complaints: list[str]) -> Any:
    origin, inside = get_origin(kind), get_args(kind)
    if kind is Any:
        return _any(value, where, complaints)
    if is_dataclass(kind):
        return _record(kind, value, where, complaints)
    if origin in (Union, UnionType):
        return _one_of(inside, value, where, complaints)
    if origin in (tuple, list) and isinstance(value, list):
        return origin(_items(kind, value, where, complaints))
    if origin is dict and isinstance(value, dict):
        return {name: _built(inside[1], part, f"{where}[{_clipped(name)}]", complaints) for name, part in value.items()}
    if origin is Literal and isinstance(value, str) and value in inside:
        return value
    if kind in (None, NoneType) and value is None:
        return value
    if kind in _TYPE_NAMES and _is_scalar_of(kind, value):
        return value
    complaints.append(f"{where or 'it'} is {_shown(value)}, expected {_expected(kind)}")
    return value


def _is_scalar_of(kind: Any, value: Any) -> bool:
    """Whether a scalar is of a type; true and false do not count as whole numbers."""
    if type(value) is int and kind in (int, float):
        return abs(value) < _INTEGER_LIMIT
    if type(value) is float and kind is float:
        return math.isfinite(value)
    return type(value) is kind


def _record(kind: Any, value: Any, where: str, complaints: list[str]) -> Any:
    if not isinstance(value, dict):
        complaints.append(f"{where or 'it'} is {_shown(value)}, expected an object")
        return value
    before, start = len(complaints), f"{where}." if where else ""
    hints = _hints(kind)
    optional = {field.name for field in fields(kind) if field.metadata.get("may_be_missing")}
    complaints += [f"{start}{name} is missing" for name in hints if name not in value and name not in optional]
    complaints += [f"{start}{_bare(name)} is not a known field" for name in value if name not in hints]
    parts = {name: _built(hint, value[name], start + name, complaints) for name, hint in hints.items() if name in value}
    return kind(**parts) if len(complaints) == before else value


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind) if field.init}


def _one_of(kinds: Sequence[Any], value: Any, where: str, complaints: list[str]) -> Any:
    """The value as the first type of a union that fits; of `X | None`, the complaints are those of `X`."""
    if value is None and NoneType in kinds:
        return None
    others = [kind for kind in kinds if kind is not NoneType]
    for kind in others:
        own: list[str] = []
        built = _built(kind, value, where, own)
        if not own:
            return built
    if len(others) > 1:
        own = [f"{where or 'it'} is {_shown(value)}, expected {' or '.join(map(_expected, kinds))}"]
    complaints += own
    return value


def _items(kind: Any, value: list[Any], where: str, complaints: list[str]) -> list[Any]:
    inside = get_args(kind)
    kinds = inside if get_origin(kind) is tuple and inside[-1] is not Ellipsis else [inside[0]] * len(value)
    if len(kinds) != len(value):
        complaints.append(f"{where or 'it'} has {len(value)} entries, expected {len(kinds)}")
        return value
    return [
        _built(each, part, f"{where}[{n}]", complaints) for n, (each, part) in enumerate(zip(kinds, value, strict=True))
    ]


def _any(value: Any, where: str, complaints: list[str], depth: int = 0) -> Any:
    """Any parsed JSON whose nesting is not too deep for recursive code."""
    if isinstance(value, dict | list) and depth == _MAX_DEPTH:
        complaints.append(f"{where or 'it'} is nested more than {_MAX_DEPTH} deep")
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            _any(part, where, complaints, depth + 1)
    return value


def _expected(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is Literal:
        return f"one of {', '.join(map(repr, get_args(kind)))}"
    if origin in (tuple, list):
        return "a list"
    if origin is dict or is_dataclass(kind):
        return "an object"
    return "null" if kind in (None, NoneType) else _TYPE_NAMES[kind]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int) and abs(value) >= _INTEGER_LIMIT:
        return "a whole number of more than 18 digits"
    return _clipped(value)


def _clipped(value: Any) -> str:
    """The `repr` of a text or number, shortened for quoting; control characters are escaped."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}…"


def _bare(name: str) -> str:
    return _clipped(name).strip("'\"")


def is_day(text: str) -> bool:
    """Whether a text is a day, as 2026-01-31."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _refuse_constant(text: str) -> NoReturn:
    raise Misfit([f"it holds {text}, expected a finite number"])


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Misfit([f"it holds {text[:40]}, which is beyond the range of numbers"])
    return number


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Misfit([f"it holds the field {_clipped(twice)} twice in one object"])
    return built
