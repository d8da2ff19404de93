"""Train or load the originals, golds and unlearned models of one case under several seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import NamedTuple

from torch import nn

from unregress.data.case import Case
from unregress.distributed.process_group import require_process_group
from unregress.errors import DivergenceError, SettingError
from unregress.methods.base import Method
from unregress.methods.original import train
from unregress.methods.retrain import Retrain
from unregress.methods.unlearned import Unlearned
from unregress.parallel.jobs import run_all
from unregress.retraining.fingerprint import fresh_of, task_fingerprint
from unregress.retraining.model_spec import ModelSpec, gold_spec, original_spec, unlearned_spec
from unregress.retraining.model_store import CacheKey, Store
from unregress.retraining.stacked_training import require_stackable, retrain_stacked
from unregress.training.from_scratch import Training, require_possible
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime
from unregress.training.term_batches import sample_weights


class StoredModel(NamedTuple):
    """A model and the digest of its key in the store."""

    unlearned: Unlearned
    key: str
    """Digest of its key; empty without a store."""


@dataclass(frozen=True, kw_only=True)
class ModelFactory:
    """Makes the models of one case, or loads them from a store.

    Raises:
        RequestError: the case has no request.
        SettingError: several processes do this job together.
        DataError: the recipe uses weights of samples, and the data have none.
    """

    case: Case
    recipe: Training
    """How originals and golds are trained."""
    runtime: Runtime
    """Device and precision; its seed is replaced by each model's own."""
    start: nn.Module | None = None
    """A model with the initial weights of all golds; None for weights of each gold's own seed."""
    store: Store | None = None
    known: CacheKey | None = None
    """The key that all models have in common, if it is known; by default `task_fingerprint` computes it."""
    code_modules: tuple[str, ...] = ()
    """Further modules of unregress whose code determines the models, see `Store.model`."""

    def __post_init__(self) -> None:
        _ = self.case.requested  # without a request there is neither a gold nor an unlearned model
        if isinstance(self.recipe, Recipe):
            sample_weights(self.case, self.recipe)
        if (count := require_process_group(self.runtime.devices).world_size) > 1:
            raise SettingError(
                f"Many trainings are asked of {count} processes that do one job together",
                expected="one process, which trains models side by side in processes of their own",
                remedy="Use `workers` in place of `devices`; on several devices train golds one by one (`Retrain`)",
            )

    def original(self, seed: int) -> StoredModel:
        """Train, or load, a model on all of D."""
        spec = original_spec(self.case, self.recipe, seed)
        return self._stored(spec, lambda: train(self.case, self.recipe, self.runtime_for(seed)))

    def gold(self, seed: int) -> StoredModel:
        """Train, or load, a model on D_r alone."""
        method = Retrain(recipe=self.recipe, start=self.start)
        return self._stored(
            self.gold_spec(seed),
            # Nobody starts from a gold's initial weights: keeping them would double the memory of many golds.
            lambda: replace(method.unlearn(self.fresh, self.case, self.runtime_for(seed)), start=None),
        )

    def golds(
        self, seeds: Sequence[int], *, workers: int = 1, stack: int = 1, others: Sequence[int] = ()
    ) -> list[StoredModel]:
        """Train, or load, the golds of several seeds in parallel, see `retrain`.

        Args:
            seeds: one per gold.
            workers: number of trainings in parallel.
            stack: number of golds trained in one loop.
            others: seeds of further golds, trained beside them and listed after them, whose initial weights are new
                ones by their seeds also where the factory has a `start`.
        """
        if len({*seeds, *others}) < len(seeds) + len(others):
            raise SettingError(
                f"The golds' seeds are {[*seeds, *others]}", expected="distinct seeds: equal ones give equal models"
            )
        stacks = groups(seeds, stack)
        if any(len(group) > 1 for group in stacks):
            require_stackable(self.case, self.recipe, self.runtime)
        require_possible(self.recipe, self.runtime)
        sent = self.for_workers(workers)
        jobs = {f"retraining under {_seeds(group)}": partial(sent.train_stacked, group) for group in stacks}
        apart = sent.uncoupled()
        jobs |= {f"retraining under seed {seed}": partial(apart.train_stacked, [seed]) for seed in others}
        with self.runtime.bar("retraining", len(jobs)) as advance:
            return [made for _, group in run_all(jobs, workers=workers, ended=advance) for made in group]

    def train_stacked(self, seeds: Sequence[int]) -> list[StoredModel]:
        """Train, or load, the golds of several seeds in one loop, and store those that do not diverge.

        Raises:
            DivergenceError: some trainings diverged; the golds of the other seeds are stored.
        """
        stacked = self.to_stack(seeds)

        @cache
        def trained() -> dict[int, Unlearned | DivergenceError]:
            recipe = require_stackable(self.case, self.recipe, self.runtime)
            models = retrain_stacked(self.case, recipe, self.runtime, stacked, self.fresh, start=self.start)
            return dict(zip(stacked, models, strict=True))

        def gold_of(seed: int) -> Unlearned:
            if isinstance(found := trained()[seed], DivergenceError):
                raise DivergenceError(f"Under seed {seed}: {found.found}", remedy=found.remedy)
            return found

        made, failed = [], []
        for seed in seeds:
            try:
                if len(stacked) > 1 and seed in stacked:
                    made.append(self._stored(self.gold_spec(seed, stacked), partial(gold_of, seed)))
                else:
                    made.append(self.gold(seed))
            except DivergenceError as error:
                failed.append(error)
        if len(seeds) == 1 and failed:
            raise failed[0]
        if failed:
            raise DivergenceError("; ".join(each.found for each in failed), remedy=failed[0].remedy)
        return made

    def to_stack(self, seeds: Sequence[int]) -> Sequence[int]:
        """Select the seeds to train in one loop: those whose golds are not stored as separate trainings."""
        if len(seeds) <= 1:
            return seeds
        separate = [seed for seed in seeds if self.holds(self.gold_spec(seed))]
        # Keep a seed whose gold is also stored as part of this stack.
        return [seed for seed in seeds if seed not in separate or self.holds(self.gold_spec(seed, seeds))]

    def gold_spec(self, seed: int, stack: Sequence[int] = ()) -> ModelSpec:
        """Specify the gold of a seed; arguments as for `model_spec.gold_spec`."""
        return gold_spec(self.case, self.recipe, seed, stack, self.start)

    def unlearned(self, method: Method, start: StoredModel, seed: int) -> StoredModel:
        """Unlearn with a method, starting from the given model, or load the result."""
        spec = unlearned_spec(self.case, method, start.key, seed)
        return self._stored(spec, lambda: method.unlearn(start.unlearned, self.case, self.runtime_for(seed)))

    def holds(self, spec: ModelSpec) -> bool:
        """Whether a model is stored."""
        return self.store is not None and self.store.may_hold(spec.kind) and self.store.holds(*self._key(spec))

    def digest(self, spec: ModelSpec) -> str:
        """The digest of a model's key in the store; empty without a store."""
        return "" if self.store is None else self.store.digest(*self._key(spec))

    @cached_property
    def fresh(self) -> nn.Module:
        """An untrained model, which stands for the architecture."""
        return fresh_of(self.case, self.runtime)

    @cached_property
    def common_key(self) -> CacheKey:
        """The part of the key that all models of the case share; computing it reads all data once."""
        return task_fingerprint(self.case, self.runtime) if self.known is None else self.known

    def uncoupled(self) -> ModelFactory:
        """A factory whose golds have new initial weights by their seeds; what was computed for this one is kept."""
        apart = replace(self, start=None)
        for name in ("fresh", "common_key"):
            if name in self.__dict__:
                apart.__dict__[name] = self.__dict__[name]
        return apart

    def for_workers(self, workers: int) -> ModelFactory:
        """Prepare a factory for jobs in workers: compute here what all of them need.

        It logs neither from other processes nor beside a progress bar.

        Args:
            workers: number of worker processes.
        """
        store = None
        if self.store is not None:
            # The working directory of a worker may be another one.
            log = silent if workers > 1 or self.runtime.progress else self.store.log
            store = Store(root=self.store.root.absolute(), log=log)
        runtime = replace(self.runtime, progress=self.runtime.progress and workers == 1)
        sent = replace(self, case=self.case.without_ids(), store=store, runtime=runtime)
        _ = sent.fresh
        if store is not None:
            _ = sent.common_key
        return sent

    def runtime_for(self, seed: int) -> Runtime:
        """The runtime with another seed."""
        return replace(self.runtime, seed=seed)

    def _key(self, spec: ModelSpec) -> tuple[str, CacheKey, tuple[str, ...]]:
        return spec.kind, {**self.common_key, **spec.key}, (*self.code_modules, *spec.code_modules)

    def _stored(self, spec: ModelSpec, make: Callable[[], Unlearned]) -> StoredModel:
        """Load the model from the store, or make and store it."""
        if self.store is None:
            return StoredModel(make(), "")
        seed = spec.key["seed"]
        title = f"{spec.title} under seed {seed}"
        digest, made = self.store.model(*self._key(spec), self.case, self.runtime_for(seed), make, title=title)
        return StoredModel(made, digest)


def silent(text: str) -> None:
    """Discard a log line: lines of several processes would disturb each other and the progress bar."""


def retrain(
    case: Case,
    recipe: Training,
    runtime: Runtime,
    seeds: Sequence[int],
    *,
    workers: int = 1,
    stack: int = 1,
    start: nn.Module | None = None,
    store: Store | None = None,
) -> list[Unlearned]:
    """Train the golds of an audit: models trained on D_r from scratch that differ only in their seed.

    Each equals the result of `Retrain(recipe=recipe)` under its seed on one CPU thread, whatever the number of
    workers; see `unregress.parallel.jobs.run_all` for workers and memory.  Training small models as a stack, in one
    vectorised loop, is several times as fast as one after the other, and rounds differently.  A stack allows no plateau
    schedule (learning rates would differ between models), no random layers (dropout), no LSTM, no precision other than
    `32-true`, no `augment`, no `collate`, no weights of samples, no moving average and no early stopping.

    Args:
        case: the request and the data.
        recipe: how the original was trained: a recipe, or a function `(data, start, seed) -> model`.
        runtime: device and precision; its own seed is not used.
        seeds: distinct seeds, one per gold.
        workers: number of trainings in parallel; with stacks, number of stacks.
        stack: number of golds trained in one loop, in one process.
        start: a model with the initial weights of all golds, which then differ in batch order and other random draws
            only; None for new weights by each seed.
        store: cache of golds across runs; its folder must be visible to all workers.

    Returns:
        The golds in the order of the seeds.

    Raises:
        RequestError: the case has no request.
        JobsError: a training failed; the others have ended, and their golds are in the store if there is one.
        SettingError: a seed occurs twice, `workers` or `stack` is below 1, or recipe, runtime or data do not allow a
            stack.
    """
    factory = ModelFactory(case=case, recipe=recipe, runtime=runtime, start=start, store=store)
    return [made.unlearned for made in factory.golds(seeds, workers=workers, stack=stack)]


def groups(seeds: Sequence[int], stack: int) -> list[Sequence[int]]:
    """Divide seeds into groups of models that are trained in one loop."""
    if type(stack) is not int or stack < 1:
        raise SettingError(f"stack is {stack!r}", expected="a whole number, 1 or more: models to train in one loop")
    return [seeds[start : start + stack] for start in range(0, len(seeds), stack)]


def _seeds(group: Sequence[int]) -> str:
    return f"seed {group[0]}" if len(group) == 1 else f"seeds {', '.join(map(str, group))}"
