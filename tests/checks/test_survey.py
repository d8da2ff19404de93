"""Weights of samples in their batches are checked before any training, as those of the splits are."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from unregress import Case, MappingTask, Recipe, Runtime, Splits, TensorTask, preflight
from unregress.errors import DataError, PreflightError

CPU = Runtime(accelerator="cpu")
X = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
Y = X[:, 0]
LINEAR = partial(nn.Linear, 2, 1)


def weights_with(value: float, shape: tuple[int, ...] = (8,)) -> Tensor:
    weights = torch.ones(shape)
    weights[2:4] = value
    return weights


class Dicts(Dataset[Any]):
    def __init__(self, weights: Tensor) -> None:
        self.weights = weights

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return {"input": X[row], "weight": self.weights[row], "labels": Y[row]}


class Inverse(TensorTask):
    """Weights that the task makes of the inputs."""

    def weights(self, batch: Any) -> Tensor:
        return 1 / batch[2]


def found(case: Case) -> list[str]:
    with pytest.raises(DataError) as caught:
        preflight(case, CPU, recipe=Recipe(epochs=1))
    return [caught.value.found, caught.value.expected]


@pytest.mark.parametrize("shape", [(8,), (8, 1)])
def test_negative_weights_in_a_batch_are_refused(shape: tuple[int, ...]) -> None:
    splits = Splits(train=TensorDataset(X, Y, weights_with(-1.0, shape)))
    said = found(Case(task=TensorTask(LINEAR, "mse", weights=True), splits=splits))
    assert said[0].startswith("2 train samples have a weight that is negative") and said[0].endswith("position 2")
    assert said[1] == "numbers, 0 or more"


def test_negative_weights_of_a_mapping_are_refused() -> None:
    case = Case(task=MappingTask(LINEAR, "mse", weights="weight"), splits=Splits(train=Dicts(weights_with(-0.5))))
    assert found(case)[0].startswith("2 train samples have a weight")


def test_weights_that_the_task_makes_are_refused_too() -> None:
    task = Inverse(LINEAR, "mse", inputs=1)
    said = found(Case(task=task, splits=Splits(train=TensorDataset(X, Y, weights_with(0.0)))))
    assert said[0].startswith("2 train samples have a weight")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_complained_about_once(value: float) -> None:
    splits = Splits(train=TensorDataset(X, Y, weights_with(value)))
    assert found(Case(task=TensorTask(LINEAR, "mse", weights=True), splits=splits))[0].startswith("2 train samples")


def test_weights_of_0_and_those_of_held_out_samples_are_not_complained_about() -> None:
    splits = Splits(
        train=TensorDataset(X, Y, weights_with(0.0)), test=TensorDataset(X + 1, Y, weights_with(-1.0))
    )  # fmt: skip
    case = Case(task=TensorTask(LINEAR, "mse", weights=True), splits=splits)
    assert preflight(case, CPU, recipe=Recipe(epochs=1)).warnings == ()


def test_several_kinds_of_bad_values_come_at_once() -> None:
    x = X.clone()
    x[5] = float("nan")
    splits = Splits(train=TensorDataset(x, Y, weights_with(-1.0)))
    with pytest.raises(PreflightError) as caught:
        preflight(Case(task=TensorTask(LINEAR, "mse", weights=True), splits=splits), CPU, recipe=Recipe(epochs=1))
    assert len(caught.value.complaints) == 2
