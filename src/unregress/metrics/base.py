"""What a metric is, and what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from math import isfinite
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from torch import nn

from unregress.data.case import Case
from unregress.data.request import Index
from unregress.errors import DataError, UnregressError
from unregress.evidence import Figure, Measurement, MetricInfo, Role
from unregress.evidence.noise_floor import mean_confidence_interval, rank_test
from unregress.metrics.predictions import Predictions, Values, require_aligned
from unregress.training.runtime import Runtime

MetricResult = Measurement | Figure


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One audited model with what it predicts."""

    name: str
    role: Role
    model: nn.Module | None
    """None for what predicts without a network, such as a constant."""
    parts: Mapping[str, Predictions]
    """Predictions per part of the data: `train-retain`, `train-forget`, `test-retain`, `test-forget`.
    A part without samples is absent."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """All models of one audit side by side, their predictions about the same samples.

    Raises:
        DataError: two models' predictions are about different samples, or parts of the data.
    """

    case: Case
    runtime: Runtime
    subjects: tuple[Subject, ...]
    validation_forget_like: Index
    """Validation samples of the kind that is forgotten; may be empty."""
    units: Values = field(default_factory=lambda: np.ones(()))
    """What predictions and targets were divided by, `(*out)`: several outputs are each in units of their own spread."""

    def __post_init__(self) -> None:
        first, *others = self.subjects
        for subject in others:
            if subject.parts.keys() != first.parts.keys():
                raise DataError(f"Models {first.name!r} and {subject.name!r} speak of different parts of the data")
            for part, seen in subject.parts.items():
                require_aligned(seen, first.parts[part])

    @property
    def original(self) -> Subject:
        """The model before unlearning."""
        return next(subject for subject in self.subjects if subject.role == "original")

    @property
    def golds(self) -> tuple[Subject, ...]:
        """The retrained references, which differ by their seed only; may be none."""
        return tuple(subject for subject in self.subjects if subject.role == "gold")

    def others(self, subject: Subject) -> tuple[Subject, ...]:
        """The golds to compare a subject with: all of them, or all others where it is a gold itself.

        So that a gold's number says what is expected of one more gold.
        """
        return tuple(gold for gold in self.golds if gold is not subject)

    @property
    def unit(self) -> str:
        """The unit of predictions and targets in words."""
        return "target units" if self.units.size == 1 else "target spreads"

    @property
    def parts(self) -> list[str]:
        """The parts of the data that have samples, in the order of the report."""
        return list(self.original.parts)


class Metric(ABC):
    """One question asked of all models of an audit.

    An implementation is a frozen dataclass whose fields are its options.  It never changes a model;
    one that must train works on copies.  The mathematics stands beside it in functions of arrays.
    """

    about: ClassVar[tuple[MetricInfo, ...]]
    """What each of the metric's measures means."""

    @property
    def needs_features(self) -> bool:
        """Whether predictions must carry the final layer's activations and gradients."""
        return False

    def objections(self, case: Case, names: Collection[str]) -> list[UnregressError]:
        """What is wrong with the options, asked before anything is trained or measured.

        Args:
            case: the request and the data.
            names: the unlearned models' and the golds' names.
        """
        return []

    @abstractmethod
    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """The findings about every model of the panel."""


def measured(
    *,
    metric: str,
    split: str,
    model: str,
    value: float,
    bound: Literal["=", "<=", ">="] = "=",
    note: str = "",
    interval: tuple[float, float] | None = None,
    p: float | None = None,
) -> Measurement:
    """A measure; without a value, and with a note that says why, where it is beyond the numbers that there are."""
    if not isfinite(value):
        note = "; ".join(text for text in (note, BEYOND) if text)
        return Measurement(metric=metric, split=split, model=model, value=None, note=note)
    closed = interval if interval is not None and all(map(isfinite, interval)) else None
    return Measurement(
        metric=metric, split=split, model=model, value=value, bound=bound, note=note, interval=closed, p=p
    )


BEYOND = "beyond the numbers that a computer can hold"


class DistanceToGolds(NamedTuple):
    """How far a subject is from the golds."""

    value: float
    """The mean distance."""
    interval: tuple[float, float] | None = None
    """95 % confidence interval of the mean distance to all golds there could be, see
    `unregress.evidence.noise_floor.mean_confidence_interval`; None for a gold, whose distances to the others depend on
    each other, and with fewer than two golds."""
    p: float | None = None
    """How often one more gold would be as far (`unregress.evidence.noise_floor.rank_test`); None likewise."""


def against_golds(panel: Panel, distance: Callable[[Subject, Subject], float]) -> dict[str, DistanceToGolds]:
    """Every subject's mean distance to the golds, to the other golds for a gold; by the subject's name.

    Args:
        panel: the subjects; nothing comes of one without golds, and no value of a gold without others.
        distance: between two subjects, symmetric.
    """
    golds = panel.golds
    between = np.zeros((len(golds), len(golds)))
    for (i, a), (j, b) in combinations(enumerate(golds), 2):
        between[i, j] = between[j, i] = distance(a, b)
    found: dict[str, DistanceToGolds] = {}
    for subject in panel.subjects:
        if subject.role != "gold" and golds:
            toward = np.array([distance(subject, gold) for gold in golds])
            found[subject.name] = DistanceToGolds(
                float(toward.mean()), mean_confidence_interval(toward), rank_test(between, toward)
            )
    if len(golds) > 1:
        own = between.sum(axis=1) / (len(golds) - 1)
        found |= {gold.name: DistanceToGolds(float(value)) for gold, value in zip(golds, own, strict=True)}
    return found


def rank_among_golds(panel: Panel, values: Mapping[str, float]) -> dict[str, float | None]:
    """For a measure that is a number of each subject, how often one more gold's would be as far from the golds'.

    Args:
        panel: says who is a gold.
        values: by the subject's name; those that exist.
    """
    values = {name: value for name, value in values.items() if isfinite(value)}
    golds = np.array([values[gold.name] for gold in panel.golds if gold.name in values])
    between = np.abs(golds[:, None] - golds[None, :])
    names = {subject.name for subject in panel.subjects if subject.role != "gold"}
    return {name: rank_test(between, np.abs(golds - values[name])) for name in values if name in names}
