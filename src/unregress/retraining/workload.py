"""The number of models and sample passes of planned trainings, and their duration at a measured throughput."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

from unregress.methods.base import Method
from unregress.training.from_scratch import Training
from unregress.training.recipe import Recipe


class Throughput(NamedTuple):
    """Measured speed of making models on this machine."""

    sample: float
    """Seconds per sample pass."""
    model: float = 0.0
    """Further seconds per model, for building, checking, writing and reading it."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The work of planned trainings.

    >>> plan = Workload(models=2, passes=3_000_000)
    >>> plan.describe(Throughput(sample=0.001, model=30.0), workers=2)
    '2 models to train, 3,000,000 sample passes: about 26 minutes with 2 workers.'
    """

    models: int
    """Number of models to be trained."""
    passes: int
    """Number of samples times forward and backward passes, predictions included; without validation during training
    and the forward passes of teachers."""

    counted: bool = True
    """Whether the passes are known.  A training function counts as one epoch, at a pace that was measured with it."""
    at_most: bool = False
    """Whether trainings may stop early, so that passes and seconds are upper bounds."""

    def __add__(self, other: Workload) -> Workload:
        counted = self.counted and other.counted
        return Workload(
            models=self.models + other.models,
            passes=self.passes + other.passes,
            counted=counted,
            at_most=self.at_most or other.at_most,
        )

    def __mul__(self, times: int) -> Workload:
        return dataclasses.replace(self, models=self.models * times, passes=self.passes * times)

    def seconds(self, pace: Throughput, workers: int = 1) -> float:
        """Estimated duration.

        Args:
            pace: from `measure_throughput` with the same number of workers.
            workers: number of trainings in parallel.
        """
        return (self.passes * pace.sample + self.models * pace.model) / workers

    def describe(self, pace: Throughput, workers: int = 1) -> str:
        """Describe workload and duration in a sentence; arguments as for `seconds`."""
        count = "one worker" if workers == 1 else f"{workers} workers"
        bound = "at most " if self.at_most else ""
        passes = f", {bound}{self.passes:,} sample passes" if self.counted else ""
        return (
            f"{self.models} models to train{passes}: {bound}about {duration(self.seconds(pace, workers))} with {count}."
        )


def duration(seconds: float) -> str:
    """A duration in words, in the largest unit of which there are two.

    >>> duration(90), duration(7200)
    ('90 seconds', '2 hours')
    """
    size, unit = next(
        (s, u) for s, u in ((3600, "hours"), (60, "minutes"), (1, "seconds")) if seconds >= 2 * s or s == 1
    )
    return f"{seconds / size:.0f} {unit}"


def plan_of(work: Training | Method, samples: int) -> Workload:
    """Count the work of one training or unlearning: a forward and a backward pass per sample and epoch.

    The epochs of all recipes of a method are added; a method without recipes counts as one epoch, and so does a
    training function.  A recipe that stops early counts with all of its epochs.

    Args:
        work: a recipe, a training function, or a method, whose fields are searched for recipes.
        samples: number of training samples; forgotten ones are not subtracted.

    >>> plan_of(Recipe(epochs=3), 100)
    Workload(models=1, passes=600, counted=True, at_most=False)
    """
    if not isinstance(work, Recipe | Method):
        return Workload(models=1, passes=2 * samples, counted=False)
    values = [work] if isinstance(work, Recipe) else [getattr(work, field.name) for field in dataclasses.fields(work)]
    recipes = [value for value in values if isinstance(value, Recipe)]
    epochs = sum(recipe.epochs for recipe in recipes) if recipes else 1
    at_most = any(recipe.stop_after is not None for recipe in recipes)
    return Workload(models=1, passes=2 * samples * epochs, at_most=at_most)
