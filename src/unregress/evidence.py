"""The evidence an audit leaves: plain data, written to and read from JSON without loss.

Tables, figures and HTML read an `AuditReport` and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from unregress.cost import Cost
from unregress.errors import StaleError

SCHEMA = 1
"""Version of the JSON layout; raised when a reader of the old one would misread the new one."""

Role = Literal["original", "gold", "floor", "unlearned"]


@dataclass(frozen=True, kw_only=True)
class About:
    """What one metric means, in words a data-protection officer can read."""

    metric: str
    """Key, as in `Measure.metric`."""
    title: str
    meaning: str
    """What the number says, in a sentence or two."""
    ideal: str
    """Which value is best, and why."""
    unit: str
    """Unit of the value: `target units`, `share`, `ratio`, `loss`, `steps`."""
    source: str
    """Paper section or equation, or where the idea comes from."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number about one model on one part of the data."""

    metric: str
    split: str
    """Part of the data: `train-retain`, `train-forget`, `test-retain`, `test-forget`, …"""
    model: str
    value: float | None
    """None where the number does not exist; `note` says why."""
    bound: Literal["=", "<=", ">="] = "="
    """`>=` and `<=` where the measurement was cut off and the value is only a bound."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One model's line in a figure."""

    model: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A line plot, as data."""

    key: str
    title: str
    caption: str
    """What to look for, and what an ideal curve looks like."""
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    threshold: float | None = None
    """A horizontal line to reach, if any, in the y axis's unit."""


@dataclass(frozen=True, kw_only=True)
class AuditedModel:
    """One of the audited models and where it comes from."""

    name: str
    role: Role
    """`gold` is the retrained reference, `floor` a further gold that differs only by seed."""
    method: str = ""
    """How the model was made: method and settings; empty if unknown."""
    notes: tuple[str, ...] = ()
    """What the method decided by itself."""
    deviations: tuple[str, ...] = ()
    """Where the method departs from the paper."""
    cost: Cost | None = None


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """Everything an audit found, and what it was about."""

    version: str
    """Version of unregress that measured."""
    reason: str
    request_digest: str
    target_band: tuple[float | None, float | None] | None
    samples: dict[str, int]
    """Number of samples per part of the data: `train-retain`, `train-forget`, `test-retain`, …"""
    data_digest: str
    """SHA-256 over the training set's content, to tell datasets apart."""
    settings: dict[str, Any]
    """Task, loss, seed, device, precision and library versions."""
    models: tuple[AuditedModel, ...]
    about: tuple[About, ...]
    measures: tuple[Measure, ...]
    figures: tuple[Figure, ...]
    caveats: tuple[str, ...] = ()
    """What a reader must know before believing a number, found while measuring."""
    schema: int = field(default=SCHEMA)

    def value(self, metric: str, split: str, model: str) -> float | None:
        """The value of one measure.

        Raises:
            KeyError: nothing of that name was measured.
        """
        return self.measure(metric, split, model).value

    def measure(self, metric: str, split: str, model: str) -> Measure:
        """One measure, with its bound and note.

        Raises:
            KeyError: nothing of that name was measured.
        """
        for measure in self.measures:
            if (measure.metric, measure.split, measure.model) == (metric, split, model):
                return measure
        raise KeyError(f"no measure {metric!r} on {split!r} for model {model!r}")

    def rows(self) -> Iterator[tuple[About, str]]:
        """The distinct (metric, split) pairs in the order in which they were measured."""
        known = {about.metric: about for about in self.about}
        for metric, split in dict.fromkeys((m.metric, m.split) for m in self.measures):
            yield known[metric], split

    def floor(self, metric: str, split: str) -> list[float]:
        """The noise floor: the same measure taken of each further gold; empty without further golds."""
        further = [model.name for model in self.models if model.role == "floor"]
        values = [self.value(metric, split, name) for name in further]
        return [value for value in values if value is not None]

    @property
    def gold(self) -> AuditedModel:
        """The retrained reference model."""
        return next(model for model in self.models if model.role == "gold")

    def to_json(self, path: str | Path) -> None:
        """Write the report; the same report gives the same bytes."""
        Path(path).write_text(json.dumps(asdict(self), indent=1, allow_nan=False) + "\n", encoding="utf8")

    @classmethod
    def from_json(cls, path: str | Path) -> AuditReport:
        """Read what `to_json` wrote; equal to the report that was written.

        Raises:
            StaleError: the file is no audit report, or one of another layout.
        """
        remedy = "Point to an `audit.json` that this version of unregress wrote, or audit again"
        try:
            data = json.loads(Path(path).read_text(encoding="utf8"))
            schema = data["schema"]
        except OSError as error:
            raise StaleError(f"{path} cannot be read: {error.strerror}", remedy=remedy) from error
        except (ValueError, KeyError, TypeError) as error:
            raise StaleError(f"{path} is not an audit report", remedy=remedy) from error
        if schema != SCHEMA:
            raise StaleError(f"{path} has layout {schema}", expected=f"layout {SCHEMA}", remedy=remedy)
        try:
            return cls(**{name: _read(name, value) for name, value in data.items()})
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise StaleError(f"{path} is not a complete audit report: {error}", remedy=remedy) from error


def _read(name: str, value: Any) -> Any:
    """One field of `AuditReport` from its JSON form: lists back to tuples, objects back to dataclasses."""
    match name:
        case "models":
            return tuple(_model(item) for item in value)
        case "about":
            return tuple(About(**item) for item in value)
        case "measures":
            return tuple(Measure(**item) for item in value)
        case "figures":
            return tuple(_figure(item) for item in value)
        case "caveats":
            return tuple(value)
        case "target_band":
            return None if value is None else (value[0], value[1])
        case _:
            return value


def _model(item: dict[str, Any]) -> AuditedModel:
    cost = None if item["cost"] is None else Cost(**item["cost"])
    texts = {name: tuple(item[name]) for name in ("notes", "deviations")}
    return AuditedModel(**{**item, **texts, "cost": cost})


def _figure(item: dict[str, Any]) -> Figure:
    curves = tuple(Curve(model=curve["model"], x=tuple(curve["x"]), y=tuple(curve["y"])) for curve in item["curves"])
    return Figure(**{**item, "curves": curves})
