"""What a metric is, and what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from unregress.case import Case
from unregress.errors import DataError, UnregressError
from unregress.evidence import About, Figure, Measure, Role
from unregress.floor import rank_test
from unregress.predictions import Predictions, require_aligned
from unregress.request import Index
from unregress.runtime import Runtime

Finding = Measure | Figure


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
    validation_group: Index
    """Validation samples of the kind that is forgotten; may be empty."""

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
    def parts(self) -> list[str]:
        """The parts of the data that have samples, in the order of the report."""
        return list(self.original.parts)


class Metric(ABC):
    """One question asked of all models of an audit.

    An implementation is a frozen dataclass whose fields are its options.  It never changes a model;
    one that must train works on copies.  The mathematics stands beside it in functions of arrays.
    """

    about: ClassVar[tuple[About, ...]]
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
    def measure(self, panel: Panel) -> Iterator[Finding]:
        """The findings about every model of the panel."""


def against_golds(panel: Panel, distance: Callable[[Subject, Subject], float]) -> dict[str, tuple[float, float | None]]:
    """Every subject's mean distance to the golds (to the other golds for a gold), and its rank among them.

    Args:
        panel: the subjects; nothing comes of one without golds, and no value of a gold without others.
        distance: between two subjects, symmetric.

    Returns:
        By the subject's name: the mean distance, and how often one more gold would be as far
        (`unregress.floor.rank_test`; None for golds).
    """
    golds = panel.golds
    between = np.array([[0.0 if a is b else distance(a, b) for b in golds] for a in golds])
    found: dict[str, tuple[float, float | None]] = {}
    for subject in panel.subjects:
        if subject.role != "gold" and golds:
            toward = np.array([distance(subject, gold) for gold in golds])
            found[subject.name] = float(toward.mean()), rank_test(between, toward)
    if len(golds) > 1:
        own = between.sum(axis=1) / (len(golds) - 1)
        found |= {gold.name: (float(value), None) for gold, value in zip(golds, own, strict=True)}
    return found


def rank_among_golds(panel: Panel, values: Mapping[str, float]) -> dict[str, float | None]:
    """For a measure that is a number of each subject, how often one more gold's would be as far from the golds'.

    Args:
        panel: says who is a gold.
        values: by the subject's name; those that exist.
    """
    golds = np.array([values[gold.name] for gold in panel.golds if gold.name in values])
    between = np.abs(golds[:, None] - golds[None, :])
    names = {subject.name for subject in panel.subjects if subject.role != "gold"}
    return {name: rank_test(between, np.abs(golds - values[name])) for name in values if name in names}
