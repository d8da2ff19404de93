"""Count the work of trainings whose models are not in the store yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unregress.methods.base import Method
from unregress.retraining.model_factory import ModelFactory, groups
from unregress.retraining.model_spec import ModelSpec, original_spec, unlearned_spec
from unregress.retraining.workload import Workload, plan_of

NOTHING = Workload(models=0, passes=0)


def missing_golds(factory: ModelFactory, seeds: Sequence[int], stack: int = 1) -> Workload:
    """Count the work of training the golds of some seeds that are not stored.

    Args:
        factory: the factory that makes them.
        seeds: one per gold.
        stack: number of golds trained in one loop.
    """
    todo = NOTHING
    for group in groups(seeds, stack):
        stacked = factory.to_stack(group)
        for seed in group:
            todo += _missing(factory, factory.gold_spec(seed, stacked if seed in stacked else ()))
    return todo


def missing_chain(factory: ModelFactory, seed: int, methods: Iterable[Method], *, original: bool = True) -> Workload:
    """Count the work of training the original of a seed, and of the methods that start from it.

    Args:
        factory: the factory that makes the models.
        seed: the seed of all trainings.
        methods: unlearning methods, each of which starts from the original.
        original: False for methods that start from a given model, which has no key: their work always counts.
    """
    case = factory.case
    if not original:
        return sum((plan_of(method, len(case.rows("train"))) for method in methods), NOTHING)
    first = original_spec(case, factory.recipe, seed)
    # If no original is stored, no model made from one is: then the key, for which data are hashed, is not needed.
    key = factory.digest(first) if factory.store is not None and factory.store.may_hold(first.kind) else ""
    specs = (unlearned_spec(case, method, key, seed) for method in methods)
    return sum((_missing(factory, spec) for spec in specs), _missing(factory, first))


def _missing(factory: ModelFactory, spec: ModelSpec) -> Workload:
    return NOTHING if factory.holds(spec) else spec.workload
