"""What an audit finds, as plain data: measures, criteria, verdicts and figures."""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp, inf, sqrt
from typing import Literal

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Kind = Literal["distance", "error", "attack", "retain"]
"""What a criterion looks at: distances to the golds, the error gap, an attack, or what was to be kept."""
Answer = Literal["within", "differs", "remembers", "overshoots", "damaged"]
"""`differs`: farther from the golds than one more gold; `remembers`: an error below the golds' limits or an attack
above; `overshoots`: the other way (both only if the original is beyond a limit itself); `damaged`: at the expense of
what was to be kept."""
Part = Literal["train-retain", "train-forget", "validation-retain", "validation-forget", "test-retain", "test-forget"]
"""Samples of one split that are retained, or forgotten; of held-out splits those that are like the forgotten ones."""


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """What one metric means, in words a data-protection officer can read."""

    metric: str
    """Key, as in `Measurement.metric`."""
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
class Measurement:
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
            # By a power of two, which changes no digit: the squares of very large numbers are infinite.
            unit = 2.0 ** min(frexp(max(abs(self.gold), abs(self.original), abs(limit)))[1], 1023)
            gold, original, limit = self.gold / unit, self.original / unit, limit / unit
            kept, whole = limit * limit - gold * gold / 2, original * original - gold * gold
            return sqrt(kept / whole) if kept >= 0 and whole > 0 else inf
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
