"""What a metric is, and what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from unregress.case import Case
from unregress.evidence import About, Figure, Measure, Role
from unregress.predictions import Predictions
from unregress.request import Index
from unregress.runtime import Runtime

Finding = Measure | Figure


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One audited model with what it predicts."""

    name: str
    role: Role
    model: nn.Module
    parts: Mapping[str, Predictions]
    """Predictions per part of the data: `train-retain`, `train-forget`, `test-retain`, `test-forget`.
    A part without samples is absent."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """All models of one audit side by side, their predictions about the same samples."""

    case: Case
    runtime: Runtime
    subjects: tuple[Subject, ...]
    validation_group: Index
    """Validation samples of the kind that is forgotten; may be empty."""

    @property
    def original(self) -> Subject:
        """The model before unlearning."""
        return next(subject for subject in self.subjects if subject.role == "original")

    @property
    def gold(self) -> Subject:
        """The retrained reference."""
        return next(subject for subject in self.subjects if subject.role == "gold")

    @property
    def parts(self) -> list[str]:
        """The parts of the data that have samples."""
        return list(self.gold.parts)


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

    @abstractmethod
    def measure(self, panel: Panel) -> Iterator[Finding]:
        """The findings about every model of the panel."""
