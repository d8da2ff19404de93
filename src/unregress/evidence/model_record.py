"""The record of how a model was made, as plain data: method, settings, recipe, seed and parent weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from math import isfinite
from numbers import Integral, Real
from typing import Any, Literal

from unregress.errors.wording import without_addresses
from unregress.evidence.long_values import array_of, numbers_of, table_of

Kind = Literal["trained", "retrained", "unlearned", "computed"]
"""`trained`: from scratch on all training samples; `retrained`: from scratch on the retain set; `unlearned`: from a
trained model; `computed`: from the data alone, without any training."""
_MAX_DEPTH = 8
"""Largest depth of nested settings; deeper ones are recorded as text."""


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """Record of the making of one model: method, settings, recipe, seed and ancestors.

    It is created together with the model, stored in run folders and reports, and never parsed from text.

    >>> print(ModelRecord(method="FineTune", settings={"recipe": {"epochs": 3, "lr": 0.01}}))
    FineTune(recipe=(epochs=3, lr=0.01))
    """

    method: str
    """Name of the method's class; `train` for an original."""
    module: str = ""
    """The module that defines the method; empty for a method of unregress."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The method's settings, by name, as plain data; see `plain`."""
    kind: Kind = "unlearned"
    """The kind of training: starting weights and training samples."""
    recipe: dict[str, Any] | None = None
    """The recipe of the training from scratch that the model comes from, its own or its first ancestor's; None if
    unknown.  Golds and original are compared by it."""
    seed: int | None = None
    """The runtime's seed; None if unknown."""
    start: str = field(default="", metadata={"may_be_missing": True})
    """SHA-256 of the initial weights of the training from scratch that the model comes from, its own or its first
    ancestor's; empty if unknown."""
    trained_on: str = field(default="", metadata={"may_be_missing": True})
    """Digest of the samples that this training from scratch read, see `data.sample_keys.digest_of_samples`; empty
    if it is not recorded, as of originals and of golds."""
    parents: tuple[str, ...] = ()
    """SHA-256 of the weights that the model was made from, the latest first, as far back as is known."""
    taught_before: tuple[dict[str, Any], ...] = field(default=(), metadata={"may_be_missing": True})
    """Summaries of the leave-out tables that taught the models that it was made from, see `LeaveOutTable.summary`."""

    @property
    def taught_by(self) -> tuple[dict[str, Any], ...]:
        """Summaries of the leave-out tables that taught the model, or one that it was made from."""
        own = self.settings.get("table")
        tables = own if isinstance(own, list) else [own]
        return (*(each for each in tables if isinstance(each, dict)), *self.taught_before)

    def following(self, parent: ModelRecord | None) -> ModelRecord:
        """A copy of this record with training, ancestors and leave-out tables of the model that it started from.

        Args:
            parent: the record of that model; None if unknown.
        """
        if parent is None or self.kind != "unlearned":
            return self
        return replace(
            self,
            recipe=parent.recipe,
            start=parent.start,
            trained_on=parent.trained_on,
            parents=(*self.parents, *parent.parents),
            taught_before=parent.taught_by,
        )

    def made_like(self, other: ModelRecord) -> bool:
        """Whether two models were made by the same method with the same settings, whatever their seeds."""
        return (self.method, self.module, self.settings) == (other.method, other.module, other.settings)

    def as_config(self) -> dict[str, Any]:
        """Method and settings as configuration files name them: `class_path` and `init_args`."""
        return {"class_path": class_path(self.module, self.method), "init_args": self.settings}

    def lines(self) -> tuple[str, ...]:
        """The settings as text, `name=value` each."""
        return tuple(f"{name}={_text(value)}" for name, value in self.settings.items())

    @property
    def short(self) -> str:
        """The method on one line of a terminal: settings that have settings themselves are left out.

        >>> ModelRecord(method="FineTune", settings={"recipe": {"epochs": 3}, "layers": "all"}).short
        "FineTune(recipe=…, layers='all')"
        """
        brief = [
            f"{name}=…" if isinstance(value, dict | list) else f"{name}={_text(value)}"
            for name, value in self.settings.items()
        ]
        return f"{self.method}({', '.join(brief)})" if brief and self.kind != "computed" else self.method

    def __str__(self) -> str:
        if self.kind == "computed" or not self.settings:
            return self.method
        return f"{self.method}({', '.join(self.lines())})"


def settings_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass instance, by name, as plain data."""
    return {each.name: plain(getattr(value, each.name, None)) for each in fields(value)}


def plain(value: Any, depth: int = 0) -> Any:
    """A setting as JSON holds it: exact where JSON can, else as text without memory addresses.

    Dataclasses of unregress become objects of their fields, other dataclasses objects with `class_path` and
    `init_args`, arrays lists, of large ones type, shape and SHA-256, data frames objects of their columns; numbers
    that are not finite become text.

    >>> plain({"layers": (1, "conv*"), "clip": float("inf")})
    {'layers': [1, 'conv*'], 'clip': 'inf'}
    """
    if isinstance(value, Enum):
        return without_addresses(repr(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if isfinite(number) else repr(number)
    if depth < _MAX_DEPTH:
        if is_dataclass(value) and not isinstance(value, type):
            return _dataclass(value, depth + 1)
        if isinstance(value, Mapping):
            return {str(name): plain(each, depth + 1) for name, each in value.items()}
        if isinstance(value, Set):
            return [plain(each, depth + 1) for each in sorted(value, key=repr)]
        if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
            return [plain(each, depth + 1) for each in value]
        if (table := table_of(value)) is not None:
            return plain(table, depth + 1)
        if (array := array_of(value)) is not None:
            return plain(numbers_of(array), depth + 1)
    return without_addresses(repr(value))


def _dataclass(value: Any, depth: int) -> dict[str, Any]:
    kind = type(value)
    found = {each.name: plain(getattr(value, each.name, None), depth) for each in fields(value)}
    module = module_of(kind)
    return {"class_path": class_path(module, kind.__qualname__), "init_args": found} if module else found


def module_of(kind: type) -> str:
    """The module that defines a class; empty for a class of unregress."""
    return "" if kind.__module__.partition(".")[0] == "unregress" else kind.__module__


def class_path(module: str, name: str) -> str:
    """A class's import path; the bare name for a class of unregress."""
    return f"{module}.{name}" if module else name


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the settings that both sides have and that differ: dotted name, our value, their value.

    Args:
        ours: settings as plain data.
        theirs: the other side's settings.
        prefix: put before each name.

    >>> list(differences({"recipe": {"epochs": 3, "lr": 0.1}}, {"recipe": {"epochs": 5, "lr": 0.1}}))
    [('recipe.epochs', 3, 5)]
    """
    for name, value in ours.items():
        if name not in theirs:
            continue
        mine, other = without_classes(value), without_classes(theirs[name])
        if isinstance(mine, dict) and isinstance(other, dict):
            yield from differences(mine, other, f"{prefix}{name}.")
        elif mine != other:
            yield f"{prefix}{name}", mine, other


def without_classes(value: Any) -> Any:
    """Settings in which objects with `class_path` and `init_args` are replaced by their `init_args`."""
    if isinstance(value, Mapping) and "class_path" in value:
        return without_classes(value.get("init_args") or {})
    if isinstance(value, Mapping):
        return {name: without_classes(each) for name, each in value.items()}
    return [without_classes(each) for each in value] if isinstance(value, list | tuple) else value


def _text(value: Any) -> str:
    """A plain setting as one line of text."""
    if isinstance(value, dict) and value.keys() == {"class_path", "init_args"}:
        return f"{value['class_path']}{_text(value['init_args'])}"
    if isinstance(value, dict):
        return f"({', '.join(f'{name}={_text(each)}' for name, each in value.items())})"
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return repr(value)
