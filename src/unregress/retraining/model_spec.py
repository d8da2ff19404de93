"""Specifications of models to make: their own part of the store's key, and the work of making them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from unregress.data.case import Case
from unregress.methods.base import Method, record_of_method
from unregress.methods.original import record_of_training
from unregress.methods.retrain import Retrain
from unregress.retraining.fingerprint import method_fingerprint, source_of
from unregress.retraining.model_store import STACKING, CacheKey
from unregress.retraining.workload import Workload, plan_of
from unregress.tasks.weights import weights_of
from unregress.training.from_scratch import Training, parts_of
from unregress.training.recipe import Recipe


class ModelSpec(NamedTuple):
    """The specification of a model to make."""

    kind: str
    """Prefix of its entry's name in the store."""
    key: CacheKey
    """The part of its key that differs between models of a case, including its `seed`."""
    title: str
    workload: Workload
    code_modules: tuple[str, ...] = ()
    """Modules of unregress whose code determines it, besides those of all models."""


def original_spec(case: Case, recipe: Training, seed: int) -> ModelSpec:
    """Specify an original, trained on all samples except those that earlier requests removed.

    Args:
        case: the data; of its request only the samples that earlier requests exclude matter.
        recipe: how it is trained.
        seed: the training's seed.
    """
    config = record_of_training(recipe).as_config()
    key: CacheKey = {"method": config, "seed": seed, "request": None, "forget_like": None, **code_of(recipe)}
    if len(excluded := case.requested.excluded):
        key["excluded"] = hashlib.sha256(excluded.tobytes()).hexdigest()
    return ModelSpec("original", key, "an original", plan_of(recipe, len(case.rows("train"))))


def gold_spec(
    case: Case, recipe: Training, seed: int, stack: Sequence[int] = (), start: nn.Module | None = None
) -> ModelSpec:
    """Specify a gold.

    Args:
        case: the request and the data.
        recipe: how it is trained.
        seed: the training's seed.
        stack: the seeds of all golds trained in the same loop, on which its rounding depends.
        start: a model with the initial weights; None for those of the gold's own seed.
    """
    config = record_of_method(Retrain(recipe=recipe)).as_config()
    key: CacheKey = {"method": config, "seed": seed, **code_of(recipe)}
    if start is not None:
        key["start"] = weights_of(start)
    workload = plan_of(recipe, len(case.requested.retain))
    if len(stack) <= 1:
        return ModelSpec("gold", key, "a gold", workload)
    return ModelSpec("gold", {**key, "stacked": list(stack)}, "a gold", workload, STACKING)


def code_of(training: Training) -> CacheKey:
    """The part of a key that stands for the code of a training function; empty for a recipe."""
    return {} if isinstance(training, Recipe) else {"training source": source_of(parts_of(training))}


def unlearned_spec(case: Case, method: Method, start: str, seed: int) -> ModelSpec:
    """Specify the result of an unlearning method.

    Args:
        case: the request and the data.
        method: the method.
        start: digest of the key of the model that the method starts from.
        seed: the method's seed.
    """
    key, kind = {"method": method_fingerprint(method), "seed": seed, "from": start}, type(method).__name__
    return ModelSpec(kind, key, f"{kind}'s model", plan_of(method, len(case.rows("train"))))
