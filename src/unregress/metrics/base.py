"""The interface of metrics, the data that they read, and helpers that compare every model with the golds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import isfinite
from typing import ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
from torch import nn

from unregress.data.case import Case
from unregress.data.request import Index
from unregress.errors import DataError, ModelError, UnregressError
from unregress.evidence import Figure, Measurement, MetricInfo, Part, Role, Unit
from unregress.evidence.noise_floor import mean_confidence_interval, rank_test
from unregress.metrics.predictions import Predictions, Values, require_aligned
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime

NEVER_SEEN: tuple[Part, ...] = ("test-retain", "test-forget")
"""The parts that no model of an audit was trained on."""
MetricResult = Measurement | Figure
T = TypeVar("T")
NOT_FINITE = "the number is too large for the computer, or undefined"
"""Note of a measurement whose value is infinite or NaN."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One audited model and its predictions."""

    name: str
    role: Role
    model: nn.Module | None
    """None for a predictor without a network, such as a constant, and where only predictions are known."""
    parts: Mapping[Part, Predictions]
    """Predictions per part of the data: `train-retain`, `train-forget`, `test-retain`, `test-forget`.
    A part without samples is absent."""

    def answers(self, parts: Sequence[Part]) -> Values:
        """The predictions of some parts, one after the other."""
        found: Values = np.concatenate([self.parts[part].prediction for part in parts])
        return found


@dataclass(frozen=True, kw_only=True)
class Panel:
    """All models of one audit, with their predictions for the same samples.

    Raises:
        DataError: two models' predictions are about different samples, or parts of the data.
    """

    case: Case | None
    """The job that models were made for; None where nothing but predictions is known."""
    runtime: Runtime
    subjects: tuple[Subject, ...]
    validation_forget_like: Index
    """Validation samples of the forgotten kind; may be empty."""
    units: Values = field(default_factory=lambda: np.ones(()))
    """Divisors of predictions and targets, `(*out)`: several outputs are each in units of their own spread."""

    def __post_init__(self) -> None:
        first, *others = self.subjects
        for subject in others:
            if subject.parts.keys() != first.parts.keys():
                raise DataError(
                    f"Models {first.name!r} and {subject.name!r} have predictions for different parts of the data"
                )
            for part, seen in subject.parts.items():
                require_aligned(seen, first.parts[part])

    @property
    def required_case(self) -> Case:
        """The panel's case, for metrics that ask the models themselves (`Metric.needs_model`).

        Raises:
            ModelError: only predictions are known.
        """
        if self.case is None:
            raise ModelError(
                "The metric needs models, and only their predictions are known",
                remedy="Leave it out, or override `needs_model` in a metric of your own",
            )
        return self.case

    @property
    def original(self) -> Subject:
        """The model before unlearning."""
        return next(subject for subject in self.subjects if subject.role == "original")

    @property
    def golds(self) -> tuple[Subject, ...]:
        """The retrained models, which differ by their seed only; may be none."""
        return tuple(subject for subject in self.subjects if subject.role == "gold")

    def others(self, subject: Subject) -> tuple[Subject, ...]:
        """The golds to compare a subject with: all of them, or for a gold all the others.

        A gold's number thus shows what is expected of one more gold.
        """
        return tuple(gold for gold in self.golds if gold is not subject)

    @property
    def unit(self) -> str:
        """The unit of predictions and targets: the output's own if the task names it."""
        if self.units.size > 1:
            return Unit.TARGET_SPREAD
        outputs = () if self.case is None else self.case.task.outputs
        return outputs[0].unit if outputs and outputs[0].unit else Unit.TARGET

    @property
    def parts(self) -> list[Part]:
        """The parts of the data that have samples, in the order of the report."""
        return list(self.original.parts)


class Metric(ABC):
    """One metric, measured for all models of an audit.

    An implementation is a frozen dataclass whose fields are its options.  It never changes a model; one that must
    train works on copies.  The mathematics is in functions of arrays beside it.
    """

    about: ClassVar[tuple[MetricInfo, ...]]
    """The meaning of each number that the metric yields."""

    @property
    def needs_features(self) -> bool:
        """Whether predictions must carry the final layer's activations and gradients."""
        return False

    @property
    def needs_model(self) -> bool:
        """Whether the metric asks the models themselves (trains or runs them), or what is inside them."""
        return self.needs_features

    def for_predictions(self) -> Metric | None:
        """The metric as far as predictions and targets suffice; None if nothing of it can be measured then."""
        return None if self.needs_model else self

    def objections(self, case: Case, names: Collection[str]) -> list[UnregressError]:
        """List the errors in the options before anything is trained or measured; empty if there are none.

        Args:
            case: the request and the data.
            names: the unlearned models' and the golds' names.
        """
        return []

    def trainings(self, case: Case) -> Sequence[tuple[Recipe, int]]:
        """The trainings that measuring one model takes, for an estimate: recipe, and largest number of sample passes.

        None by default, as of a metric that reads predictions.

        Args:
            case: the request and the data.
        """
        return ()

    @abstractmethod
    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """Yield the measurements and figures of every model of the panel."""


def measured(
    *,
    metric: str,
    split: Part,
    model: str,
    value: float,
    bound: Literal["=", "<=", ">="] = "=",
    note: str = "",
    interval: tuple[float, float] | None = None,
    p: float | None = None,
) -> Measurement:
    """Create a measurement; a value that is not finite is left out, with a note that says so."""
    if not isfinite(value):
        note = "; ".join(text for text in (note, NOT_FINITE) if text)
        return Measurement(metric=metric, split=split, model=model, value=None, note=note)
    closed = interval if interval is not None and all(map(isfinite, interval)) else None
    return Measurement(
        metric=metric, split=split, model=model, value=value, bound=bound, note=note, interval=closed, p=p
    )


def distance_measurements(
    panel: Panel,
    metric: str,
    part: Part,
    values: Mapping[str, T],
    distance: Callable[[T, T], float],
    *,
    note: str = "",
) -> Iterator[Measurement]:
    """Measure every model's mean distance to the golds, with confidence interval and rank test.

    Args:
        panel: the models; nothing is measured without golds.
        metric: key of the measurement.
        part: the part of the data that the distance is about.
        values: what is compared, by the model's name: predictions, features, or numbers made of them.
        distance: between two models' values, symmetric.
        note: of every measurement.
    """
    for model, found in against_golds(panel, values, distance).items():
        yield measured(
            metric=metric, split=part, model=model, value=found.value, note=note, interval=found.interval, p=found.p
        )


def value_measurements(
    panel: Panel, metric: str, part: Part, values: Mapping[str, float], *, note: str = ""
) -> Iterator[Measurement]:
    """Measure one number of each model, with the rank test of its difference from the golds' numbers.

    Args:
        panel: the models.
        metric: key of the measurement.
        part: the part of the data that the number is about.
        values: the numbers by the model's name; a model without one is absent.
        note: of every measurement.
    """
    ranks = rank_among_golds(panel, values)
    for model, value in values.items():
        yield measured(metric=metric, split=part, model=model, value=value, note=note, p=ranks.get(model))


def without_value(metrics: Sequence[str], part: Part, models: Collection[str], note: str) -> Iterator[Measurement]:
    """Measurements without a value, for models that cannot be measured; the note says why."""
    for metric in metrics:
        for model in models:
            yield Measurement(metric=metric, split=part, model=model, value=None, note=note)


class DistanceToGolds(NamedTuple):
    """The distance of one model to the golds."""

    value: float
    """The mean distance."""
    interval: tuple[float, float] | None = None
    """95 % confidence interval of the mean distance to all possible golds, see
    `unregress.evidence.noise_floor.mean_confidence_interval`; None for a gold, whose distances to the others depend on
    each other, and with fewer than two golds."""
    p: float | None = None
    """P-value: how often one more gold would be as far (`unregress.evidence.noise_floor.rank_test`); None in the same
    cases as the interval."""


def against_golds(
    panel: Panel, values: Mapping[str, T], distance: Callable[[T, T], float]
) -> dict[str, DistanceToGolds]:
    """Mean distance of every model to the golds, and of every gold to the other golds; by the model's name.

    Args:
        panel: the models; the result is empty without golds, and a single gold has no distance.
        values: what is compared, by the model's name.
        distance: between two models' values, symmetric.
    """
    golds = panel.golds
    between = np.zeros((len(golds), len(golds)))
    for (i, a), (j, b) in combinations(enumerate(golds), 2):
        between[i, j] = between[j, i] = distance(values[a.name], values[b.name])
    found: dict[str, DistanceToGolds] = {}
    for subject in panel.subjects:
        if subject.role != "gold" and golds:
            toward = np.array([distance(values[subject.name], values[gold.name]) for gold in golds])
            found[subject.name] = DistanceToGolds(
                float(toward.mean()), mean_confidence_interval(toward), rank_test(between, toward)
            )
    if len(golds) > 1:
        own = between.sum(axis=1) / (len(golds) - 1)
        found |= {gold.name: DistanceToGolds(float(value)) for gold, value in zip(golds, own, strict=True)}
    return found


def rank_among_golds(panel: Panel, values: Mapping[str, float]) -> dict[str, float | None]:
    """P-value of each model's number: how often one more gold's number would be as far from the golds' numbers.

    Args:
        panel: the models.
        values: the numbers by the model's name; a model without one is absent.
    """
    values = {name: value for name, value in values.items() if isfinite(value)}
    golds = np.array([values[gold.name] for gold in panel.golds if gold.name in values])
    between = np.abs(golds[:, None] - golds[None, :])
    names = {subject.name for subject in panel.subjects if subject.role != "gold"}
    return {name: rank_test(between, np.abs(golds - values[name])) for name in values if name in names}
