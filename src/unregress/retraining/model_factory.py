"""Many trainings of one case that differ by their seed: originals, golds, and what methods make of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import NamedTuple

from torch import nn

from unregress.data.case import Case
from unregress.distributed.process_group import require_team
from unregress.errors import DivergenceError, SettingError
from unregress.methods.base import Method, Unlearned, train
from unregress.methods.retrain import Retrain
from unregress.parallel.jobs import run_all
from unregress.retraining.fingerprint import fresh_of, method_fingerprint, task_fingerprint
from unregress.retraining.model_store import Facts, Store
from unregress.retraining.stacked_training import require_stackable, retrain_stacked
from unregress.retraining.workload import Workload, plan_of
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


class ModelSpec(NamedTuple):
    """A model before it is made: what the store knows it by, and what making it will take."""

    kind: str
    own: Facts
    """What decides it beside the facts that all models of a case have in common."""
    title: str
    plan: Workload
    code: tuple[str, ...] = ()
    """Our own modules whose code decides it, beside those of the others."""


class StoredModel(NamedTuple):
    """A model, and its key in the store; empty where there is no store."""

    unlearned: Unlearned
    key: str


@dataclass(frozen=True, kw_only=True)
class ModelFactory:
    """Makes the models of one case, or takes them from a store.

    Raises:
        RequestError: the case has no request.
        SettingError: several processes do this job together.
    """

    case: Case
    recipe: Recipe
    """How originals and golds are trained."""
    runtime: Runtime
    """Where; its seed is replaced by each model's own."""
    store: Store | None = None
    known: Facts | None = None
    """What decides the models beside method and seed, where it is known better than `task_fingerprint` can tell."""
    code: tuple[str, ...] = ()
    """Our own modules whose code decides them too, see `Store.model`."""

    def __post_init__(self) -> None:
        _ = self.case.requested  # without a request there is neither a gold nor an unlearned model
        if (found := require_team(self.runtime.devices)).size > 1:
            raise SettingError(
                f"Many trainings are asked of {found.size} processes that do one job together",
                expected="one process, which trains models side by side in processes of their own",
                remedy="Use `workers` in place of `devices`; on several devices train golds one by one (`Retrain`)",
            )

    def original(self, seed: int) -> StoredModel:
        """A model trained on all of D."""
        return self._kept(self.original_entry(seed), lambda: train(self.case, self.recipe, self.runtime_for(seed)))

    def gold(self, seed: int) -> StoredModel:
        """A model trained on D_r alone."""
        method = Retrain(recipe=self.recipe)
        return self._kept(self.gold_entry(seed), lambda: method.unlearn(self.fresh, self.case, self.runtime_for(seed)))

    def golds(self, seeds: Sequence[int], *, workers: int = 1, stack: int = 1) -> list[StoredModel]:
        """Golds of several seeds, side by side, see `retrain`."""
        if len(set(seeds)) < len(seeds):
            raise SettingError(
                f"The golds' seeds are {list(seeds)}", expected="each seed once: equal seeds, equal models"
            )
        groups = _cut(seeds, stack)
        if any(len(group) > 1 for group in groups):
            require_stackable(self.case, self.recipe, self.runtime)
        sent = self.for_workers(workers)
        jobs = {f"retraining under {_seeds(group)}": partial(sent.together, group) for group in groups}
        with self.runtime.bar("retraining", len(jobs)) as advance:
            return [made for _, group in run_all(jobs, workers=workers, ended=advance) for made in group]

    def together(self, seeds: Sequence[int]) -> list[StoredModel]:
        """Golds that are trained as one, if they are more than one; those that can be made are kept."""
        if len(seeds) == 1:
            return [self.gold(seeds[0])]
        stacked = self._stacked(seeds)

        @cache
        def trained() -> dict[int, Unlearned | DivergenceError]:
            models = retrain_stacked(self.case, self.recipe, self.runtime, stacked, self.fresh)
            return dict(zip(stacked, models, strict=True))

        def one(seed: int) -> Unlearned:
            if isinstance(found := trained()[seed], DivergenceError):
                raise DivergenceError(f"Under seed {seed}: {found.found}", remedy=found.remedy)
            return found

        made, failed = [], []
        for seed in seeds:
            alone = len(stacked) < 2 or seed not in stacked
            try:
                made.append(
                    self.gold(seed) if alone else self._kept(self.gold_entry(seed, stacked), partial(one, seed))
                )
            except DivergenceError as error:
                failed.append(error)
        if failed:
            raise DivergenceError("; ".join(each.found for each in failed), remedy=failed[0].remedy)
        return made

    def _stacked(self, seeds: Sequence[int]) -> Sequence[int]:
        """Of golds that are to be trained as one, those that the store does not hold as they are trained alone."""
        alone = [seed for seed in seeds if self._holds(self.gold_entry(seed))] if len(seeds) > 1 else []
        # Of a stack that is there already, any is as good as one alone.
        return [seed for seed in seeds if seed not in alone or self._holds(self.gold_entry(seed, seeds))]

    def unlearned(self, method: Method, start: StoredModel, seed: int) -> StoredModel:
        """What a method makes of a model, under a seed of its own."""
        entry = self.unlearned_entry(method, start.key, seed)
        return self._kept(entry, lambda: method.unlearn(start.unlearned.model, self.case, self.runtime_for(seed)))

    def original_entry(self, seed: int) -> ModelSpec:
        """What decides an original."""
        own: Facts = {"method": f"train({self.recipe})", "seed": seed, "request": None, "alike": None}
        if len(excluded := self.case.requested.excluded):
            own["excluded"] = hashlib.sha256(excluded.tobytes()).hexdigest()
        return ModelSpec("original", own, "an original", plan_of(self.recipe, len(self.case.rows("train"))))

    def gold_entry(self, seed: int, group: Sequence[int] = ()) -> ModelSpec:
        """What decides a gold; in a stack also the seeds of the whole group, on whom it depends how it rounds."""
        own: Facts = {"method": str(Retrain(recipe=self.recipe)), "seed": seed}
        plan = plan_of(self.recipe, len(self.case.requested.retain))
        if len(group) <= 1:
            return ModelSpec("gold", own, "a gold", plan)
        return ModelSpec(
            "gold",
            {**own, "stacked": list(group)},
            "a gold",
            plan,
            code=("retraining/stack", "retraining/stacked_training"),
        )

    def gold_entries(self, seeds: Sequence[int], stack: int = 1) -> list[ModelSpec]:
        """What decides golds of which so many are trained as one."""
        entries = []
        for group in _cut(seeds, stack):
            stacked = self._stacked(group)
            entries += [self.gold_entry(seed, stacked if seed in stacked else ()) for seed in group]
        return entries

    def unlearned_entry(self, method: Method, start: str, seed: int) -> ModelSpec:
        """What decides an unlearned model; `start` is the key of the model that it comes from."""
        own, kind = {"method": method_fingerprint(method), "seed": seed, "from": start}, type(method).__name__
        return ModelSpec(kind, own, f"{kind}'s model", plan_of(method, len(self.case.rows("train"))))

    def missing(self, entry: ModelSpec) -> Workload:
        """What an entry will take: nothing if the store holds it."""
        return entry.plan * (not self._holds(entry))

    def _holds(self, entry: ModelSpec) -> bool:
        return self.store is not None and self.store.may_hold(entry.kind) and self.store.holds(*self._facts(entry))

    def lacking_chain(self, seed: int, methods: Iterable[Method], *, original: bool = True) -> Workload:
        """What the original of a seed and the methods' models of it will take, less what the store holds.

        Args:
            seed: of all of them.
            methods: what unlearns it.
            original: False for methods that start from another model, of which nothing is known: all counts.
        """
        if not original:
            return sum(
                (plan_of(method, len(self.case.rows("train"))) for method in methods), Workload(models=0, passes=0)
            )
        first = self.original_entry(seed)
        todo = self.missing(first)
        # Without an original nothing of the store can come of it, whose key takes a look through the data.
        started = self.store is not None and self.store.may_hold(first.kind)
        key = self.store.key(*self._facts(first)) if self.store is not None and started else ""
        return sum((self.missing(self.unlearned_entry(method, key, seed)) for method in methods), todo)

    @cached_property
    def fresh(self) -> nn.Module:
        """The architecture; untrained."""
        return fresh_of(self.case, replace(self.runtime))

    @cached_property
    def facts(self) -> Facts:
        """What all models of the case have in common; read through the data once, before jobs are sent out."""
        return task_fingerprint(self.case, replace(self.runtime)) if self.known is None else self.known

    def for_workers(self, workers: int) -> ModelFactory:
        """One to send out with jobs: it knows what they would all find out again, and is quiet in other processes.

        And where a progress bar says what it would say.
        """
        quiet = workers > 1 or self.runtime.progress
        store = None
        if self.store is not None:
            # A worker may have been started in another folder.
            store = Store(root=self.store.root.absolute(), say=silent if quiet else self.store.say)
        # A runtime of its own, without the device that this one may have opened: only that can be sent.
        runtime = replace(self.runtime, progress=self.runtime.progress and workers == 1)
        sent = replace(self, case=self.case.without_ids(), store=store, runtime=runtime)
        _ = sent.fresh
        if store is not None:
            _ = sent.facts
        return sent

    def runtime_for(self, seed: int) -> Runtime:
        """The runtime of the model with that seed."""
        return replace(self.runtime, seed=seed)

    def _facts(self, entry: ModelSpec) -> tuple[str, Facts, tuple[str, ...]]:
        return entry.kind, {**self.facts, **entry.own}, (*self.code, *entry.code)

    def _kept(self, entry: ModelSpec, make: Callable[[], Unlearned]) -> StoredModel:
        if self.store is None:
            return StoredModel(make(), "")
        seed = entry.own["seed"]
        title = f"{entry.title} under seed {seed}"
        key, made = self.store.model(*self._facts(entry), self.case, self.runtime_for(seed), make, title=title)
        return StoredModel(made, key)


def silent(text: str) -> None:
    """Lines of several processes would run into one another, and into a progress bar."""


def retrain(
    case: Case,
    recipe: Recipe,
    runtime: Runtime,
    seeds: Sequence[int],
    *,
    workers: int = 1,
    stack: int = 1,
    store: Store | None = None,
) -> list[Unlearned]:
    """The golds of an audit: models trained on D_r from scratch, that differ by their seed only.

    Each is what `Retrain(recipe=recipe)` makes under its seed, computed on one CPU thread, so that the number of
    workers changes nothing; see `unregress.parallel.jobs.run_all` for workers and memory.  A stack of small models is
    several times as fast as one after the other, and rounds differently; refused there are plateau schedules, whose
    rates would differ between models, networks that draw (dropout), LSTMs, precisions other than `32-true`, `augment`
    and `collate`.

    Args:
        case: the request and the data.
        recipe: how the original was trained.
        runtime: where to train; its own seed is not used.
        seeds: one per gold, none twice.
        workers: how many to train at a time; with stacks, how many stacks.
        stack: how many to train as one, in one process.
        store: where golds are kept, and found again by another run.  All workers must see its folder.

    Returns:
        The golds in the seeds' order.

    Raises:
        RequestError: the case has no request.
        JobsError: a training failed; the others are done, and kept if there is a store.
        SettingError: a seed is named twice, or there is no worker or stack of none; or recipe, runtime or data do not
            allow a stack.
    """
    factory = ModelFactory(case=case, recipe=recipe, runtime=runtime, store=store)
    return [made.unlearned for made in factory.golds(seeds, workers=workers, stack=stack)]


def _cut(seeds: Sequence[int], stack: int) -> list[Sequence[int]]:
    """Seeds in groups of models that are trained as one."""
    if type(stack) is not int or stack < 1:
        raise SettingError(f"stack is {stack!r}", expected="a whole number, 1 or more: how many models to train as one")
    return [seeds[start : start + stack] for start in range(0, len(seeds), stack)]


def _seeds(group: Sequence[int]) -> str:
    return f"seed {group[0]}" if len(group) == 1 else f"seeds {', '.join(map(str, group))}"
