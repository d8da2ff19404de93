"""Session fixtures: the case of `bump_case`, an original and six golds."""

from __future__ import annotations

from dataclasses import replace

import pytest

import unregress
from support.bump_case import RECIPE, RUNTIME, small_case


@pytest.fixture(scope="session")
def case() -> unregress.Case:
    return small_case()


@pytest.fixture(scope="session")
def original(case: unregress.Case) -> unregress.Unlearned:
    return unregress.train(case, RECIPE, RUNTIME)


@pytest.fixture(scope="session")
def golds(case: unregress.Case, original: unregress.Unlearned) -> list[unregress.Unlearned]:
    """Six golds that differ only in their seed: five for a verdict, and one to be judged."""
    retrain = unregress.Retrain(recipe=RECIPE)
    return [retrain.unlearn(original.model, case, replace(RUNTIME, seed=seed)) for seed in range(1, 7)]
