"""Estimate what trainings will take, less what the store holds already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unregress.methods.base import Method
from unregress.retraining.model_factory import ModelFactory, groups
from unregress.retraining.model_spec import ModelSpec, gold_spec, original_spec, unlearned_spec
from unregress.retraining.workload import Workload, plan_of

NOTHING = Workload(models=0, passes=0)


def missing_golds(factory: ModelFactory, seeds: Sequence[int], stack: int = 1) -> Workload:
    """What the golds of some seeds will take.

    Args:
        factory: makes them.
        seeds: one per gold.
        stack: how many are trained in one loop.
    """
    todo = NOTHING
    for group in groups(seeds, stack):
        stacked = factory.to_stack(group)
        for seed in group:
            spec = gold_spec(factory.case, factory.recipe, seed, stacked if seed in stacked else ())
            todo += _missing(factory, spec)
    return todo


def missing_chain(factory: ModelFactory, seed: int, methods: Iterable[Method], *, original: bool = True) -> Workload:
    """What the original of a seed and the models that methods make of it will take.

    Args:
        factory: makes them.
        seed: of all of them.
        methods: each starts from the original.
        original: False for methods that start from another model, which has no key: everything counts.
    """
    case = factory.case
    if not original:
        return sum((plan_of(method, len(case.rows("train"))) for method in methods), NOTHING)
    first = original_spec(case, factory.recipe, seed)
    # Without any stored original, no model made from one is stored: then the data need not be hashed for its key.
    key = factory.digest(first) if factory.store is not None and factory.store.may_hold(first.kind) else ""
    specs = (unlearned_spec(case, method, key, seed) for method in methods)
    return sum((_missing(factory, spec) for spec in specs), _missing(factory, first))


def _missing(factory: ModelFactory, spec: ModelSpec) -> Workload:
    return NOTHING if factory.holds(spec) else spec.workload
