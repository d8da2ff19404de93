"""Many trainings of one case that differ by their seed: originals, golds, and what methods make of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.data import Dataset, Subset, TensorDataset

from unregress.case import Case
from unregress.cost import Cost
from unregress.errors import SettingError
from unregress.methods.base import Method, Unlearned, task_loss, train
from unregress.methods.retrain import Retrain
from unregress.parallel import one_thread, run_all
from unregress.processes import require_team
from unregress.recipe import Recipe
from unregress.runtime import Runtime
from unregress.store import Facts, Store, circumstances, fresh_of, method_of
from unregress.training import fit


class Made(NamedTuple):
    """A model, and its key in the store; empty where there is no store."""

    it: Unlearned
    key: str


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Makes the models of one case, or takes them from a store."""

    case: Case
    recipe: Recipe
    """How originals and golds are trained."""
    runtime: Runtime
    """Where; its seed is replaced by each model's own."""
    store: Store | None = None
    known: Facts | None = None
    """What decides the models beside method and seed, where it is known better than `circumstances` can tell."""
    code: tuple[str, ...] = ()
    """Our own modules whose code decides them too, see `Store.model`."""

    def __post_init__(self) -> None:
        if (found := require_team(self.runtime.devices)).size > 1:
            raise SettingError(
                f"Many trainings are asked of {found.size} processes that do one job together",
                expected="one process, which trains models side by side in processes of their own",
                remedy="Use `workers` in place of `devices`; on several devices train golds one by one (`Retrain`)",
            )

    def original(self, seed: int) -> Made:
        """A model trained on all of D."""
        runtime = self.seeded(seed)
        return self._kept(
            "original",
            {"method": f"train({self.recipe})", "seed": seed, "request": None, "alike": None},
            lambda: train(self.case, self.recipe, runtime),
        )

    def gold(self, seed: int) -> Made:
        """A model trained on D_r alone."""
        method, runtime = Retrain(recipe=self.recipe), self.seeded(seed)
        return self._kept(
            "gold",
            {"method": str(method), "seed": seed},
            lambda: method.unlearn(self.fresh, self.case, runtime),
        )

    def unlearned(self, method: Method, start: Made, seed: int) -> Made:
        """What a method makes of a model, under a seed of its own."""
        runtime = self.seeded(seed)
        return self._kept(
            type(method).__name__,
            {"method": method_of(method), "seed": seed, "from": start.key},
            lambda: method.unlearn(start.it.model, self.case, runtime),
        )

    @cached_property
    def fresh(self) -> nn.Module:
        """The architecture; untrained."""
        return fresh_of(self.case, replace(self.runtime))

    @cached_property
    def facts(self) -> Facts:
        """What all models of the case have in common; read through the data once, before jobs are sent out."""
        return circumstances(self.case, replace(self.runtime)) if self.known is None else self.known

    def for_jobs(self, workers: int) -> Maker:
        """One to send out with jobs: it knows what they would all find out again, and is quiet in other processes."""
        quiet = workers > 1
        store = None if self.store is None else Store(root=self.store.root, say=_silent if quiet else self.store.say)
        # A runtime of its own, without the device that this one may have opened: only that can be sent.
        sent = replace(self, store=store, runtime=replace(self.runtime, progress=self.runtime.progress and not quiet))
        _ = sent.fresh
        if store is not None:
            _ = sent.facts
        return sent

    def seeded(self, seed: int) -> Runtime:
        """The runtime of the model with that seed."""
        return replace(self.runtime, seed=seed)

    def _kept(self, kind: str, own: Facts, make: Callable[[], Unlearned]) -> Made:
        if self.store is None:
            return Made(make(), "")
        facts = {**self.facts, **own}
        key, made = self.store.model(kind, facts, self.code, self.case, self.seeded(own["seed"]), make)
        return Made(made, key)


def _silent(text: str) -> None:
    """Lines of several processes would run into one another."""


def retrain(
    case: Case,
    recipe: Recipe,
    runtime: Runtime,
    seeds: Sequence[int],
    *,
    workers: int = 1,
    store: Store | None = None,
) -> list[Unlearned]:
    """The golds of an audit: models trained on D_r from scratch, that differ by their seed only.

    Each is what `Retrain(recipe=recipe)` makes under its seed, computed on one CPU thread, so that the number of
    workers changes nothing; see `unregress.parallel.run_all` for workers and memory.

    Args:
        case: the request and the data.
        recipe: how the original was trained.
        runtime: where to train; its own seed is not used.
        seeds: one per gold, none twice.
        workers: how many to train at a time.
        store: where golds are kept, and found again by another run.  All workers must see its folder.

    Returns:
        The golds in the seeds' order.

    Raises:
        JobsError: a training failed; the others are done, and kept if there is a store.
        SettingError: a seed is named twice, or there is no worker.
    """
    if len(set(seeds)) < len(seeds):
        raise SettingError(f"The golds' seeds are {list(seeds)}", expected="each seed once: equal seeds, equal models")
    maker = Maker(case=case, recipe=recipe, runtime=runtime, store=store).for_jobs(workers)
    jobs = {f"retraining under seed {seed}": partial(maker.gold, seed) for seed in seeds}
    done = runtime.track(run_all(jobs, workers=workers), "retraining", len(jobs))
    return [made.it for _, made in done]


def subset(dataset: Dataset[Any], rows: Sequence[int]) -> Dataset[Any]:
    """Some rows of a dataset: a copy of resident tensors, which stay fast to read, or else a view."""
    if isinstance(dataset, TensorDataset) and type(dataset).__getitem__ is TensorDataset.__getitem__:
        chosen = torch.tensor(rows)
        return TensorDataset(*(tensor[chosen] for tensor in dataset.tensors))
    return Subset(dataset, rows)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What many trainings will take, before they are begun.

    >>> plan = Plan(models=2, passes=3_000_000)
    >>> plan.sentence(pace=0.001, workers=2)
    '2 models to train, 3,000,000 sample passes: about 25 minutes with 2 workers.'
    """

    models: int
    passes: int
    """Samples × forward and backward passes.  A plateau's validation and a teacher's forward passes are left out."""

    def __add__(self, other: Plan) -> Plan:
        return Plan(models=self.models + other.models, passes=self.passes + other.passes)

    def __mul__(self, times: int) -> Plan:
        return Plan(models=self.models * times, passes=self.passes * times)

    def seconds(self, pace: float, workers: int = 1) -> float:
        """How long it will take, workers not slowing each other down.

        Args:
            pace: seconds per sample pass, from `pace_of` or `trial`.
            workers: how many train at a time.
        """
        return self.passes * pace / workers

    def sentence(self, pace: float, workers: int = 1) -> str:
        """The plan in words; arguments as for `seconds`."""
        seconds = self.seconds(pace, workers)
        size, unit = next(
            (s, u) for s, u in ((3600, "hours"), (60, "minutes"), (1, "seconds")) if seconds >= 2 * s or s == 1
        )
        crew = "one worker" if workers == 1 else f"{workers} workers"
        return (
            f"{self.models} models to train, {self.passes:,} sample passes: about {seconds / size:.0f} {unit} "
            f"with {crew}."
        )


def plan_of(work: Recipe | Method, samples: int) -> Plan:
    """What one training or unlearning takes: each epoch of each of its recipes passes the samples there and back.

    A method without recipes is counted as one pass there and back.

    Args:
        work: a recipe, or a method, whose fields are searched for recipes.
        samples: number of training samples; what is forgotten is not taken off.

    >>> plan_of(Recipe(epochs=3), 100)
    Plan(models=1, passes=600)
    """
    values = [work] if isinstance(work, Recipe) else [getattr(work, field.name) for field in dataclasses.fields(work)]
    epochs = [value.epochs for value in values if isinstance(value, Recipe)]
    return Plan(models=1, passes=2 * samples * (sum(epochs) if epochs else 1))


def pace_of(costs: Iterable[Cost]) -> float | None:
    """Seconds per sample pass of jobs that were done; None if they say nothing.

    >>> pace_of([Cost(forward=10, backward=10, seconds=1.0), Cost(forward=5, backward=5, seconds=2.0)])
    0.1
    """
    total = sum(costs, Cost())
    return total.seconds / total.passes if total.passes and total.seconds else None


def trial(case: Case, recipe: Recipe, runtime: Runtime, *, samples: int = 2048) -> float:
    """Seconds per sample pass, from a short training that is thrown away.

    Args:
        case: task and data; only retained samples are read.
        recipe: its batches and optimiser.
        runtime: where.
        samples: how many to train on, once to warm up and once for the clock.
    """
    rows = torch.from_numpy(case.request.retain[:samples])
    short = replace(recipe, epochs=1, schedule="constant")
    with one_thread(), runtime.isolated("trial"):
        model = case.task.build_model()
        runs = [fit(model, case, short, rows, task_loss(case), runtime, stage="trial") for _ in range(2)]
    return runs[1].cost.seconds / runs[1].cost.passes
