"""Models before they are made: the part of their key in the store that is their own, and the work they take."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from unregress.data.case import Case
from unregress.methods.base import Method, record_of_method, record_of_training
from unregress.methods.retrain import Retrain
from unregress.retraining.fingerprint import method_fingerprint
from unregress.retraining.model_store import CacheKey
from unregress.retraining.workload import Workload, plan_of
from unregress.training.recipe import Recipe


class ModelSpec(NamedTuple):
    """A model before it is made."""

    kind: str
    """Begins the name of its entry in the store."""
    key: CacheKey
    """What decides it beside what all models of a case have in common; its `seed` among it."""
    title: str
    workload: Workload
    code_modules: tuple[str, ...] = ()
    """Modules of unregress whose code decides it, beside those of all models."""


def original_spec(case: Case, recipe: Recipe, seed: int) -> ModelSpec:
    """An original, trained on all samples that no earlier request has removed.

    Args:
        case: only what earlier requests exclude matters.
        recipe: how it is trained.
        seed: of the training.
    """
    key: CacheKey = {"method": record_of_training(recipe).as_config(), "seed": seed, "request": None, "alike": None}
    if len(excluded := case.requested.excluded):
        key["excluded"] = hashlib.sha256(excluded.tobytes()).hexdigest()
    return ModelSpec("original", key, "an original", plan_of(recipe, len(case.rows("train"))))


def gold_spec(case: Case, recipe: Recipe, seed: int, stack: Sequence[int] = ()) -> ModelSpec:
    """A gold.

    Args:
        case: the request and the data.
        recipe: how it is trained.
        seed: of the training.
        stack: the seeds of all golds that are trained in one loop with it, on which its rounding depends.
    """
    key: CacheKey = {"method": record_of_method(Retrain(recipe=recipe)).as_config(), "seed": seed}
    workload = plan_of(recipe, len(case.requested.retain))
    if len(stack) <= 1:
        return ModelSpec("gold", key, "a gold", workload)
    code = ("retraining/stack", "retraining/stacked_training")
    return ModelSpec("gold", {**key, "stacked": list(stack)}, "a gold", workload, code)


def unlearned_spec(case: Case, method: Method, start: str, seed: int) -> ModelSpec:
    """A model that a method makes of another one.

    Args:
        case: the request and the data.
        method: makes it.
        start: digest of the key of the model that it comes from.
        seed: of the method.
    """
    key, kind = {"method": method_fingerprint(method), "seed": seed, "from": start}, type(method).__name__
    return ModelSpec(kind, key, f"{kind}'s model", plan_of(method, len(case.rows("train"))))
