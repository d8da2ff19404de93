"""The evidence an audit leaves: plain data, written to and read from JSON without loss.

Tables, figures and HTML read an `AuditReport` and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, is_dataclass
from math import frexp, inf, sqrt
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from unregress.cost import Cost
from unregress.errors import StaleError

SCHEMA = 3
"""Version of the JSON layout; raised when a reader of the old one would misread the new one."""

Role = Literal["original", "gold", "reference", "unlearned"]
"""`gold`: retrained without the forgotten samples, one of several that differ by their seed only; `reference`: what
no one would deploy, shown for scale, such as a constant or a helper by itself."""
CONSTANT = "constant"
"""The name of the reference row that answers with the median of the retained targets."""
RETRAINED = "retrained"
"""What the golds are called: `retrained`, `retrained #2`, …; together, `retrained`."""
Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Kind = Literal["distance", "error", "attack", "retain"]
"""What a criterion looks at: distances to the golds, the error gap, an attack, or what was to be kept."""
Answer = Literal["within", "differs", "remembers", "overshoots", "damaged"]
"""`differs`: farther from the golds than one more gold; `remembers`: an error below the golds' limits or an attack
above; `overshoots`: the other way (both only if the original is beyond a limit itself); `damaged`: at the expense of
what was to be kept."""


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
    distance: bool = False
    """Whether the value is a distance to the golds, so that a gold's own value is the noise floor."""


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
    interval: tuple[float, float] | None = None
    """Where the value would lie in 95 of 100 repetitions; the metric says of what: samples, shuffles, or, of distances
    to the golds, golds."""
    p: float | None = None
    """How often chance alone would give a value this far from the golds' or farther.  Mostly a rank test of one more
    gold, so at least 1 / (golds + 1); for `klom` and `ulira` a permutation test of the models that they trained."""


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One of the questions that a verdict rests on, and its answer for one model."""

    kind: Kind
    metric: str
    split: str
    question: str
    """What is asked, in words."""
    value: float
    """The model's own value of the measure."""
    gold: float
    """The golds' mean value."""
    original: float
    """The original's value."""
    low: float | None
    """Where one more gold would not lie below, at the rule's level; None if there is no such limit."""
    high: float | None
    """Where one more gold would not lie above."""
    outcome: Answer

    @property
    def resolution(self) -> float:
        """Share of what sets the original apart that would pass unnoticed; above 1 the original itself would.

        What a model kept adds to an error in proportion.  To a distance, which has no lower limit, it adds by squares:
        half of what sets the original apart takes a model less than half of the way from the floor to the original.
        Without any memory it may be nearer to the golds than they are to each other, if its predictions are smoother;
        a model at their very centre is at the floor divided by √2, and is taken as where memory starts from.
        """
        gap = self.original - self.gold
        limit = self.high if gap > 0 else self.low
        if limit is None or gap == 0:
            return inf
        if self.low is None:
            # By a power of two, which changes no digit: what is very large or small could not be squared.
            scale = 2.0 ** min(frexp(self.original)[1], 1023)
            high, gold, original = limit / scale, self.gold / scale, self.original / scale
            return sqrt((high * high - gold * gold / 2) / (original * original - gold * gold))
        return (limit - self.gold) / gap

    @property
    def excess(self) -> float:
        """Distance from the golds in units of the limit's: above 1 a limit is crossed, 0 where there is none."""
        limit = self.high if self.value > self.gold else self.low
        if limit is None or self.value == self.gold:
            return 0.0
        reach = abs(limit - self.gold)
        return abs(self.value - self.gold) / reach if reach else inf


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What an audit concludes about one model."""

    model: str
    outcome: Outcome
    reason: str
    """One sentence."""
    criteria: tuple[Criterion, ...]


@dataclass(frozen=True, kw_only=True)
class Recheck:
    """What an audit found about another request that was carried out on the same models, looked at again."""

    reason: str
    """That request's."""
    request_digest: str
    samples: int
    """How many of its samples are still in the training data."""
    verdicts: tuple[Verdict, ...]
    """One for each judged model that was made to forget it."""
    note: str = ""
    """Why nothing could be concluded, if nothing was."""


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
    verdicts: tuple[Verdict, ...] = ()
    """One for each model but golds."""
    earlier: tuple[Recheck, ...] = ()
    """Other requests that the models were made to forget, in order, each looked at again."""
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

    def over_golds(self, metric: str, split: str) -> list[float]:
        """A measure's values for the golds: of a distance to the golds, the noise floor; empty without any."""
        found = (m for m in self.measures if (m.metric, m.split) == (metric, split) and m.model in self.golds)
        return [m.value for m in found if m.value is not None]

    def named(self, *roles: Role) -> list[str]:
        """The names of the models of some roles, in order."""
        return [model.name for model in self.models if model.role in roles]

    @property
    def golds(self) -> list[str]:
        """The names of the golds."""
        return self.named("gold")

    def verdict(self, model: str) -> Verdict:
        """What the audit concludes about a model.

        Raises:
            KeyError: nothing was concluded about a model of that name.
        """
        for verdict in self.verdicts:
            if verdict.model == model:
                return verdict
        raise KeyError(f"no verdict on model {model!r}")

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
            report: AuditReport = _built(cls, data)
            return report
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StaleError(f"{path} is not a complete audit report: {error}", remedy=remedy) from error


def _built(kind: Any, value: Any) -> Any:
    """A value of a type from its JSON form: lists back to tuples, objects back to dataclasses."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return cast(Any, kind)(**{name: _built(hints[name], part) for name, part in value.items()})
    inside = get_args(kind)
    if get_origin(kind) is UnionType:
        return None if value is None else _built(next(each for each in inside if each is not NoneType), value)
    if get_origin(kind) is not tuple:
        return value
    if inside[-1] is Ellipsis:
        return tuple(_built(inside[0], part) for part in value)
    return tuple(_built(each, part) for each, part in zip(inside, value, strict=True))
