"""The work of many trainings, counted, and how long it takes at a measured throughput."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

from unregress.methods.base import Method
from unregress.training.recipe import Recipe


class Throughput(NamedTuple):
    """How fast models are made here."""

    sample: float
    """Seconds per sample pass."""
    model: float = 0.0
    """Seconds per model besides: building, checking, writing and reading it."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What many trainings will take, before they are begun.

    >>> plan = Workload(models=2, passes=3_000_000)
    >>> plan.describe(Throughput(sample=0.001, model=30.0), workers=2)
    '2 models to train, 3,000,000 sample passes: about 26 minutes with 2 workers.'
    """

    models: int
    """Models to be trained."""
    passes: int
    """Samples × forward and backward passes, predictions included.  A plateau's validation and a teacher's forward
    passes are left out."""

    def __add__(self, other: Workload) -> Workload:
        return Workload(models=self.models + other.models, passes=self.passes + other.passes)

    def __mul__(self, times: int) -> Workload:
        return Workload(models=self.models * times, passes=self.passes * times)

    def seconds(self, pace: Throughput, workers: int = 1) -> float:
        """How long it will take.

        Args:
            pace: from `measure_throughput`, of as many workers side by side.
            workers: how many train at a time.
        """
        return (self.passes * pace.sample + self.models * pace.model) / workers

    def describe(self, pace: Throughput, workers: int = 1) -> str:
        """The workload in words; arguments as for `seconds`."""
        seconds = self.seconds(pace, workers)
        size, unit = next(
            (s, u) for s, u in ((3600, "hours"), (60, "minutes"), (1, "seconds")) if seconds >= 2 * s or s == 1
        )
        crew = "one worker" if workers == 1 else f"{workers} workers"
        return (
            f"{self.models} models to train, {self.passes:,} sample passes: about {seconds / size:.0f} {unit} "
            f"with {crew}."
        )


def plan_of(work: Recipe | Method, samples: int) -> Workload:
    """What one training or unlearning takes: each epoch of each of its recipes passes the samples there and back.

    A method without recipes is counted as one pass there and back.

    Args:
        work: a recipe, or a method, whose fields are searched for recipes.
        samples: number of training samples; what is forgotten is not taken off.

    >>> plan_of(Recipe(epochs=3), 100)
    Workload(models=1, passes=600)
    """
    values = [work] if isinstance(work, Recipe) else [getattr(work, field.name) for field in dataclasses.fields(work)]
    epochs = [value.epochs for value in values if isinstance(value, Recipe)]
    return Workload(models=1, passes=2 * samples * (sum(epochs) if epochs else 1))
