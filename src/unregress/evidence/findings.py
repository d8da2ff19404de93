"""The findings of an audit as plain data: measurements, criteria, verdicts and figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import frexp, inf, sqrt
from typing import Literal, get_args

Part = Literal[
    "train-retain",
    "train-forget",
    "validation-retain",
    "validation-forget",
    "test-retain",
    "test-forget",
    "random",
]
"""A part of the data: a split, and its samples of the retained or of the forgotten kind.  In `train-forget` these are
the forgotten samples themselves.  `random`: training samples that a metric drew by itself."""
PARTS: tuple[Part, ...] = get_args(Part)


class Unit(StrEnum):
    """The unit of a measurement.  A metric of the user's own may name another one, as a text."""

    TARGET = "target units"
    """Unit of the targets; the audit puts `TARGET_SPREAD` in its place where there are several outputs."""
    TARGET_SPREAD = "target spreads"
    """Each output in units of its own spread: the mean distance of its retained targets to their median."""
    SHARE = "share"
    RATIO = "ratio"
    LOSS = "loss"
    STEPS = "steps"
    NATS = "nats"
    DISTANCE = "distance"
    DEVIATIONS = "standard deviations"
    NONE = "no unit"
    """Of an output whose unit is not named."""


Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE", "OUTPUTS ONLY"]
"""`OUTPUTS ONLY`: predictions do not tell the model from a gold, but the weights remember."""
Kind = Literal["distance", "error", "attack", "retain", "memory", "readout", "relearning", "revival"]
"""Kind of a criterion: distance to the golds, error gap, attack, error on what was to be kept, or memory kept, the one
test of a request with few samples; in the weights, what hidden layers tell, the loss while relearning, and memory that
is revived."""
IN_WEIGHTS: tuple[Kind, ...] = ("readout", "relearning", "revival")
"""The kinds of criteria about memory in the weights, which predictions do not show."""
LOW_IS_MEMORY: tuple[Kind, ...] = ("error", "readout", "relearning")
"""The kinds of criteria by which a low value shows memory; of the others a high one does."""
BY_CHANCE = "memory-by-chance"
"""Metric that says how often never-seen samples lean as far as few forgotten ones do."""
COMBINED = "memory-signs"
"""Metric of the criterion that combines several signs of memory in one number (`evidence.combined_memory`)."""
ERROR_OF = "mae of "
"""Start of the metrics of each output's own error, before the output's name."""
LESS_THAN_IN_PROPORTION = 1.2
"""By how much more must be kept than in proportion for the combined signs to reach their limit: with blends of golds
and originals it is reached with even odds at 1.1 to 1.2 times (docs/calibration.md)."""
CriterionOutcome = Literal["within", "differs", "remembers", "knows the kind", "overshoots", "damaged"]
"""`differs`: farther from the golds than one more gold; `remembers`: an error, or loss while relearning, below the
golds' limits, or an attack or memory above, of a model whose error on the forgotten samples, less that on similar
held-out ones, is below the golds' (not asked where the weights are looked at); `knows the kind`: the same of a model
that is better at similar ones too, as the original is, since golds never saw that kind;
`overshoots`: the other way, of a model whose error on the forgotten samples is above the golds' (both only if the
original is beyond a limit itself); `damaged`: at the expense of what was to be kept."""

Obstacle = Literal["golds", "spread", "samples", "measures", "original", "training", "kept", "far"]
"""Why there is no verdict: too few golds; golds that differ too much from each other; too few forgotten samples (in
reports of earlier versions); a kind of criterion that was not measured; an original without memory of the samples;
golds that learnt nothing; golds by which a model without skill on what was to be kept would not be noticed; an error on
few forgotten samples that is far above the golds', though not so far that it fails."""


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """The meaning of a metric, in words for a data-protection officer."""

    metric: str
    """Key, as in `Measurement.metric`."""
    title: str
    meaning: str
    """Meaning of the number, in a sentence or two."""
    ideal: str
    """The best value, and the reason."""
    unit: str
    """Unit of the value: one of `Unit`, or any other text."""
    source: str
    """Paper section or equation, or where the idea comes from."""
    distance: bool = False
    """Whether the value is a distance to the golds, so that a gold's own value is the noise floor."""

    @property
    def said_unit(self) -> str:
        """The unit as it is said after each value: the user's own, or spreads; empty for other units."""
        if self.unit == Unit.TARGET_SPREAD:
            return "spreads"
        return "" if self.unit in set(Unit) else self.unit

    def in_unit(self, number: str) -> str:
        """A value as text, followed by the unit that is said after it, if there is one."""
        return f"{number} {self.said_unit}" if self.said_unit else number


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number about one model on one part of the data."""

    metric: str
    split: str
    """Part of the data: one of `Part`, or any other text from a metric of the user's own."""
    model: str
    value: float | None
    """None where the number does not exist; `note` says why."""
    bound: Literal["=", "<=", ">="] = "="
    """`>=` and `<=` where the measurement was cut off and the value is only a bound."""
    note: str = ""
    interval: tuple[float, float] | None = None
    """95 % confidence interval, over what the metric says: samples, shuffles, or golds for distances to the golds."""
    p: float | None = None
    """P-value of the hypothesis that the model is one more gold.  Mostly a rank test of one more
    gold, so at least 1 / (golds + 1); for `klom` and `ulira` a permutation test of the models that they trained."""


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One criterion of a verdict, applied to one model."""

    kind: Kind
    metric: str
    split: str
    question: str
    """The quantity, as the subject of a sentence."""
    value: float
    """The model's value."""
    gold: float
    """The golds' mean value."""
    original: float
    """The original's value."""
    low: float | None
    """Lower limit of one more gold's value, at the rule's level; None if there is none."""
    high: float | None
    """Upper limit of one more gold's value; None if there is none."""
    outcome: CriterionOutcome
    p: float | None = field(default=None, metadata={"may_be_missing": True})
    """Of memory kept, the one-sided p-value: how often one more gold would keep as much."""
    power: float | None = field(default=None, metadata={"may_be_missing": True})
    """Of memory kept, the probability that a model which kept half of the original's would have been noticed."""

    @property
    def resolution(self) -> float:
        """Share of the original's difference from the golds that would go undetected; above 1, the whole of it would.

        Errors and memory grow in proportion to what a model kept.  A distance, which has no lower limit, grows by
        squares: a model with half of what sets the original apart is less than half of the way from the floor to it.
        A model without any memory may be nearer to the golds than they are to each other, if its predictions are
        smoother: at their very centre it is at the floor divided by √2, which is taken as the point of no memory.
        The combined signs of memory grow less than in proportion, since the best known samples of a gold are others.
        """
        gap = self.original - self.gold
        limit = self.high if gap > 0 else self.low
        if limit is None or gap == 0:
            return inf
        if self.kind in ("distance", "retain"):
            # The squares of very large numbers are infinite.  Dividing by a power of two is exact.
            unit = 2.0 ** min(frexp(max(abs(self.gold), abs(self.original), abs(limit)))[1], 1023)
            gold, original, limit = self.gold / unit, self.original / unit, limit / unit
            kept, whole = limit * limit - gold * gold / 2, original * original - gold * gold
            return sqrt(kept / whole) if kept >= 0 and whole > 0 else inf
        share = (limit - self.gold) / gap
        return LESS_THAN_IN_PROPORTION * share if self.metric == COMBINED else share

    @property
    def excess(self) -> float:
        """The value's distance from the golds' mean, divided by the limit's: above 1 if crossed; 0 without a limit."""
        limit = self.high if self.value > self.gold else self.low
        if limit is None or self.value == self.gold:
            return 0.0
        reach = abs(limit - self.gold)
        return abs(self.value - self.gold) / reach if reach else inf


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The conclusion of an audit about one model."""

    model: str
    outcome: Outcome
    reason: str
    """A few sentences."""
    criteria: tuple[Criterion, ...]
    obstacle: Obstacle | None = field(default=None, metadata={"may_be_missing": True})
    """Of an INCONCLUSIVE, why there is no verdict; None if it is not recorded."""
    golds_needed: int | None = field(default=None, metadata={"may_be_missing": True})
    """Of an INCONCLUSIVE, the number of golds that would suffice; None if unknown, or if more would not help."""

    @property
    def rejected(self) -> bool:
        """Whether the audit found against the model, in its predictions or in its weights."""
        return self.outcome in ("FAIL", "OUTPUTS ONLY")

    @property
    def decisive(self) -> Criterion | None:
        """The crossed criterion that says most about a model; None if none is crossed."""
        crossed = [each for each in self.criteria if each.outcome != "within"]
        # Predictions decide before the weights do.  A criterion with a direction says more than a distance, an error in
        # the reader's own units more than an attack, and a single measurement more than several together.
        return max(
            crossed,
            key=lambda c: (
                c.kind not in IN_WEIGHTS,
                c.outcome != "differs",
                c.metric != COMBINED,
                c.metric in ("mae", "memory"),
                c.excess,
            ),
            default=None,
        )


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Something besides the deployed model that was made from the training data."""

    what: str
    """What it is, in words: `original model`, `helper model`, `scaler`."""
    name: str
    """Name of the model, file or object, without a path."""
    why: str
    """Why it may remember, in a sentence."""
    sha256: str = ""
    """SHA-256 of its file; empty if there is none or it is unknown."""
    remembers: bool = True
    """Whether it may hold a trace of the forgotten samples; False if it was made from the retained ones only, so that
    it holds traces of the samples of later requests."""


@dataclass(frozen=True, kw_only=True)
class Recheck:
    """The verdicts about another request that was carried out on the same models."""

    reason: str
    """That request's."""
    request_digest: str
    samples: int
    """Number of its samples that are still in the training data."""
    verdicts: tuple[Verdict, ...]
    """One for each judged model that was made to forget it."""
    note: str = ""
    """Why nothing could be concluded, or what could not be compared with; empty if all was measured."""


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
    """How to read the figure, and how the ideal curve looks."""
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    threshold: float | None = None
    """A horizontal line to reach, if any, in the y axis's unit."""
