"""The trainings of an audit: golds, and the models of deep tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from torch import nn

from unregress.data.case import Case
from unregress.errors import SettingError, UnregressError, raise_all
from unregress.evidence import OTHER_START
from unregress.methods.base import Method
from unregress.methods.unlearned import Unlearned
from unregress.metrics.deep.base import DeepMetric
from unregress.metrics.deep.klom import KLoM
from unregress.metrics.deep.ulira import ULiRA
from unregress.retraining.missing_work import missing_golds
from unregress.retraining.model_factory import ModelFactory, silent
from unregress.retraining.model_store import Store
from unregress.retraining.stacked_training import require_stackable
from unregress.retraining.throughput import measure_throughput
from unregress.training.fresh_model import initial_model
from unregress.training.from_scratch import Training, require_possible
from unregress.training.runtime import Runtime

FIRST_SEED = 1001
"""Added to the runtime's seed for the first gold: users number the golds that they train themselves from 1."""
Log = Callable[[str], None]
"""Receives one line of progress."""


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """Settings for golds that an audit trains.  With a store, an interrupted audit continues with finished golds.

    Raises:
        SettingError: a number is out of range.
    """

    recipe: Training | None = None
    """How the original was trained: a recipe, or a function `(data, start, seed) -> model`; required."""
    golds: int = 5
    """Number of golds; their seeds begin 1001 above the runtime's."""
    workers: int = 1
    """Number of trainings at a time, each on one CPU thread: on a CPU, its cores; on one GPU, what its memory holds."""
    stack: int = 1
    """Number of golds of a small model to train as one stack: several times as fast, and rounded differently.  Not with
    a plateau schedule, whose rates would differ between models.  With more golds later, a stack that was not full is
    trained again."""
    coupled: bool = True
    """Whether golds start from the original's own initial weights, where these are known: they then show what would
    have become of this very model, and one more gold is trained from other initial weights, to measure how much the
    initial weights decide.  If false, each gold has new initial weights by its seed."""
    start: nn.Module | None = field(default=None, repr=False)
    """A model with the initial weights of all golds; None for the original's, see `coupled`."""
    store: Path | None = None
    """Folder in which trained models are kept; None keeps none."""

    def __post_init__(self) -> None:
        if self.golds < 0 or self.workers < 1 or self.stack < 1:
            raise SettingError(
                f"Retraining has golds={self.golds}, workers={self.workers} and stack={self.stack}",
                expected="golds 0 or more, workers and stack 1 or more",
            )
        if self.start is not None and not self.coupled:
            raise SettingError(
                "Retraining has coupled=False, and `start` names the golds' initial weights",
                expected="one of them",
                remedy="Leave `start` out for new initial weights by each gold's seed",
            )

    def seeds(self, runtime: Runtime) -> range:
        """The golds' seeds."""
        return range(runtime.seed + FIRST_SEED, runtime.seed + FIRST_SEED + self.golds)

    def require_possible(self, case: Case, runtime: Runtime) -> None:
        """Refuse golds that cannot be trained in this way, before anything is trained.

        Raises:
            SettingError: the recipe is not named; the job has several processes; or recipe, runtime or data need
                separate trainings, and a stack is asked for.
            ModelError: the initial weights are of another architecture.
        """
        recipe = self.require_recipe()
        # Its constructor refuses several processes.
        ModelFactory(case=case, recipe=recipe, runtime=runtime)
        require_possible(recipe, runtime)
        if min(self.stack, self.golds) > 1:
            require_stackable(case, recipe, runtime)
        if self.start is not None:
            with runtime.isolated_rng("start"):
                initial_model(case, start=self.start)

    def require_recipe(self) -> Training:
        """How to train.

        Raises:
            SettingError: it is not named.
        """
        if self.recipe is None:
            raise SettingError(
                "How the original was trained is not known",
                expected="golds trained with the original's recipe, or else the audit measures that difference",
                remedy="Name it: `Retraining(recipe=...)`",
            )
        return self.recipe


@dataclass(frozen=True, kw_only=True)
class DeepTests:
    """Tests of the methods that made the audited models, with many trainings of their own: U-LiRA and KLoM.

    Raises:
        SettingError: a number is out of range; both of them at once.
    """

    methods: Mapping[str, Method] = field(default_factory=dict)
    """The method of each audited model, by the model's name; by default the method that its run folder records."""
    halves: int = 16
    """U-LiRA: originals trained on random halves of the training set; an even number, 6 or more."""
    seeds: int = 10
    """KLoM: seeds of originals, and as many golds; 4 or more."""

    def __post_init__(self) -> None:
        # The metrics refuse the same values, but one after the other and under the metrics' own names.
        errors: list[UnregressError] = []
        if self.halves < 6 or self.halves % 2:
            errors.append(SettingError(f"`deep.halves` is {self.halves}", expected="an even number, 6 or more"))
        if self.seeds < 4:
            errors.append(SettingError(f"`deep.seeds` is {self.seeds}", expected="4 or more"))
        raise_all(errors)

    def metrics(self, retraining: Retraining) -> tuple[ULiRA, KLoM]:
        """Create the two metrics, with recipe, workers and store of `retraining`.

        Raises:
            SettingError: no method is named, or no recipe.
        """
        recipe, workers, store = retraining.require_recipe(), retraining.workers, retraining.store
        return (
            ULiRA(recipe=recipe, methods=self.methods, workers=workers, store=store, models=self.halves),
            KLoM(recipe=recipe, methods=self.methods, workers=workers, store=store, models=self.seeds),
        )


class TrainedGold(NamedTuple):
    """A gold that an audit trained, or its model of other initial weights."""

    name: str
    """In the report."""
    seed: int
    model: Unlearned
    folder: Path | None
    """Its run folder in the store; None without a store."""


def announce_deep_tests(
    metrics: tuple[DeepMetric, ...], retraining: Retraining, case: Case, runtime: Runtime, log: Log | None
) -> None:
    """Log an estimate of how long each deep test will take, before anything is trained."""
    if log is None or not metrics:
        return
    workers = retraining.workers
    pace = measure_throughput(case, retraining.require_recipe(), runtime, workers=workers)
    for metric in metrics:
        plan = metric.plan(case, runtime).describe(pace, workers)
        log(f"{type(metric).__name__}{_store_note(retraining)}: {plan}")


def train_golds(
    names: list[str],
    retraining: Retraining,
    case: Case,
    runtime: Runtime,
    log: Log | None,
    *,
    other_start: bool = False,
) -> list[TrainedGold]:
    """Train the golds that the store does not hold, after logging how long that will take.

    Args:
        names: the golds' names in the report.
        retraining: how to train.
        case: the request and the data.
        runtime: where to train.
        log: receives progress; None leaves out the estimate, which takes short trainings.
        other_start: whether to train one more model, with initial weights of its own, which comes last; its seed is the
            one before the golds'.

    Raises:
        JobsError: a training failed; the others are done, and kept if there is a store.
    """
    if not retraining.golds:
        return []
    seeds, recipe, stack = retraining.seeds(runtime), retraining.require_recipe(), retraining.stack
    store = None if retraining.store is None else Store(root=retraining.store, log=log or silent)
    factory = ModelFactory(case=case, recipe=recipe, runtime=runtime, start=retraining.start, store=store)
    others = [seeds[0] - 1] if other_start else []
    if log is not None:
        missing = missing_golds(factory, seeds, stack) + missing_golds(factory.uncoupled(), others)
        if missing.models:
            workers = retraining.workers
            pace = measure_throughput(case, recipe, runtime, workers=workers, stack=min(stack, retraining.golds))
            asked = f"Golds of seeds {seeds[0]} to {seeds[-1]}{_start_note(retraining, other_start)}"
            log(f"{asked}{_store_note(retraining)}: {missing.describe(pace, workers)}")
    made = factory.golds(seeds, workers=retraining.workers, stack=stack, others=others)
    listed = zip([*names, *[OTHER_START] * len(others)], [*seeds, *others], made, strict=True)
    return [
        TrainedGold(name, seed, each.unlearned, None if store is None else store.folder("gold", each.key))
        for name, seed, each in listed
    ]


def _start_note(retraining: Retraining, other_start: bool) -> str:
    if retraining.start is None:
        return ""
    return " from the original's initial weights" + (", and one of other initial weights" if other_start else "")


def _store_note(retraining: Retraining) -> str:
    return "" if retraining.store is None else f", not counting models in {retraining.store}"
