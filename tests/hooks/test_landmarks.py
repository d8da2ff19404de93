"""Features of samples by way of landmarks: their inner products against those of gradients by autograd."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from unregress import Case, Runtime, Splits, TensorTask
from unregress.errors import ModelError
from unregress.hooks import gram_passes, landmarks
from unregress.hooks.landmarks import gradient_features

CPU = Runtime(accelerator="cpu")
X = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))


def case_of(outputs: int) -> Case:
    return Case(
        task=TensorTask(lambda: nn.Linear(3, outputs), loss="mse"),
        splits=Splits(train=TensorDataset(X, torch.zeros(20, outputs).squeeze(1))),
    )


def products(model: nn.Module, rows: Tensor) -> Tensor:
    """Products of the gradients of all predictions by all weights, `(n k, n k)`, one by one."""
    found = []
    for value in model(X[rows]).flatten():
        gradients = torch.autograd.grad(value, list(model.parameters()), retain_graph=True)
        found.append(torch.cat([each.flatten() for each in gradients]))
    stacked = torch.stack(found)
    return (stacked @ stacked.T).double()


def test_products_are_exact_with_as_many_landmarks_as_directions() -> None:
    """A linear layer of three inputs has four directions for each output; five landmarks span them."""
    model, rows = nn.Linear(3, 2), torch.arange(20)
    features = gradient_features(model, case_of(2), rows, torch.tensor([4, 0, 7, 12, 19]), 2, CPU)
    assert features.shape == (20, 2, 8) and features.dtype == torch.float32
    flat = features.flatten(0, 1).double()
    torch.testing.assert_close(flat @ flat.T, products(model, rows), rtol=1e-4, atol=1e-4)


def test_products_of_landmarks_are_exact_and_others_are_no_longer_than_they_are() -> None:
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    case = replace(case_of(1), task=TensorTask(lambda: model, loss="mse"))
    rows, chosen = torch.arange(3, 20), torch.tensor([5, 9, 3, 14])
    flat = gradient_features(model, case, rows, chosen, 1, CPU)[:, 0].double()
    own = chosen - 3
    torch.testing.assert_close(flat[own] @ flat[own].T, products(model, chosen), rtol=1e-4, atol=1e-4)
    assert bool((flat.square().sum(1) <= products(model, rows).diagonal() * (1 + 1e-5)).all())


def test_as_many_landmarks_are_taken_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs of three values and gradients of one are held of each sample: sixteen bytes, for twice the landmarks."""
    model, case, rows = nn.Linear(3, 1), case_of(1), torch.arange(20)
    monkeypatch.setattr(landmarks, "FEWEST", 2)
    monkeypatch.setattr(gram_passes, "HELD", 2 * 2 * 16)
    few = gradient_features(model, case, rows, torch.tensor([3, 8, 1, 0]), 1, CPU)
    torch.testing.assert_close(few, gradient_features(model, case, rows, torch.tensor([3, 8]), 1, CPU))
    assert few.shape == (20, 1, 2)
    monkeypatch.setattr(gram_passes, "HELD", 2 * 2 * 16 - 1)
    with pytest.raises(ModelError):
        gradient_features(model, case, rows, torch.tensor([3, 8, 1, 0]), 1, CPU)
