"""Retrained models on a GPU: one by one, in worker processes, and trained as one stack."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from support.device_jobs import held_out_case, require_close, runtime_on
from support.small_cases import mlp
from unregress import Case, Recipe, TensorTask, retrain

pytestmark = pytest.mark.gpu
SEEDS = (3, 1, 4)
RECIPES = {
    "constant": Recipe(epochs=3, lr=0.01, batch_size=8),
    "plateau": Recipe(epochs=4, lr=0.01, batch_size=8, schedule="plateau", patience=1),
}


def doubled() -> nn.Module:
    return mlp().double()


def case_in_double_precision() -> Case:
    """A case with data in double precision: a stack is trained in the precision that the model has."""
    case = held_out_case(TensorTask(build_model=doubled, loss="l1"))
    for part in (case.splits.train, case.splits.validation, case.splits.test):
        assert isinstance(part, TensorDataset)
        part.tensors = tuple(tensor.double() for tensor in part.tensors)
    return case


def states(case: Case, recipe: Recipe, device: str, **more: Any) -> list[dict[str, Any]]:
    golds = retrain(case, recipe, runtime_on(device, "32-true"), SEEDS, **more)
    return [
        {name: value.cpu().numpy() for name, value in gold.model.state_dict().items()} | {"cost": gold.cost.backward}
        for gold in golds
    ]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_stack_gives_the_models_that_are_trained_alone(device: str, recipe: Recipe) -> None:
    case = case_in_double_precision()
    stacked, alone, on_cpu = (
        states(case, recipe, device, stack=3),
        states(case, recipe, device),
        states(case, recipe, "cpu"),
    )
    require_close(stacked, alone, 1e-6)
    require_close(alone, on_cpu, 1e-6)


def test_worker_processes_use_the_device(device: str) -> None:
    case, recipe = held_out_case(TensorTask(build_model=mlp, loss="l1")), RECIPES["constant"]
    require_close(states(case, recipe, device, workers=2), states(case, recipe, device), 1e-6)


def test_results_can_be_used_without_the_device(device: str) -> None:
    gold, *_ = retrain(held_out_case(TensorTask(build_model=mlp)), RECIPES["constant"], runtime_on(device), [0])
    assert {parameter.device for parameter in gold.model.parameters()} == {torch.device("cpu")}
