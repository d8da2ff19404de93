"""Gradients by weights of any kind, against autograd sample by sample."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from unregress import Case, ForgetRequest, MappingTask, Runtime, Splits, TensorTask
from unregress.hooks import gram_passes, layer_gradients
from unregress.hooks.gram_passes import footprint
from unregress.hooks.live_weights import live_weights
from unregress.hooks.other_layers import OtherLayers, other_layers, other_products

CPU = Runtime(accelerator="cpu", precision="64-true")
TWO, ROWS = torch.arange(2), torch.arange(6)
SAMPLES = torch.randn(8, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Mixed(nn.Module):
    """A recurrent layer or attention, a normalisation, a matrix of the model's own and a head of two outputs."""

    def __init__(self, *, recurrent: bool) -> None:
        super().__init__()
        self.cells = nn.GRU(3, 4, batch_first=True) if recurrent else nn.MultiheadAttention(3, 1, batch_first=True)
        width = 4 if recurrent else 3
        self.scale, self.own = nn.LayerNorm(width), nn.Parameter(torch.randn(width, 2))
        self.head, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        steps = self.cells(x)[0] if isinstance(self.cells, nn.GRU) else self.cells(x, x, x)[0]
        return self.head(torch.tanh(self.scale(steps[:, -1]) @ self.own))


def case_of(data: TensorDataset) -> Case:
    request = ForgetRequest(size=8, forget=(0, 1), reason="test")
    return Case(
        task=TensorTask(build_model=nn.Identity, loss="mse"), splits=Splits(train=data, test=data), request=request
    )


class Named(nn.Module):
    """A linear layer that is given its inputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1).double()

    def forward(self, x: Tensor, **_: object) -> Tensor:
        return self.layer(x).squeeze(1)


CASE = case_of(TensorDataset(SAMPLES, torch.zeros(8, 2)))


def mixed(*, recurrent: bool) -> nn.Module:
    torch.manual_seed(1)
    return Mixed(recurrent=recurrent).double().eval()


def live(model: nn.Module, case: Case) -> set[int]:
    return live_weights(model, case, TWO, 2, CPU)[0]


def expected(model: nn.Module, weights: list[nn.Parameter]) -> Tensor:
    rows = []
    for value in model(SAMPLES[:6]).flatten():
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(value, weights, retain_graph=True)]))
    gradients = torch.stack(rows)
    return gradients @ gradients.T


@pytest.mark.parametrize("recurrent", [True, False])
@pytest.mark.parametrize("held", [10**9, 5 * 12 * 8])
def test_products_equal_those_of_autograd(recurrent: bool, held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gram_passes, "HELD", held)
    monkeypatch.setattr(layer_gradients, "BLOCK", 36)
    model = mixed(recurrent=recurrent)
    known = {"head": model.head}
    others = other_layers(model, known, CASE, TWO, live(model, CASE), CPU)
    names = {"own", "cells", "scale"} | (set() if recurrent else {"cells.out_proj"})
    assert set(others.layers) == names
    assert others.vectorised or recurrent  # a GRU has no batching rule on some processors
    size = footprint(model, known, CASE, TWO, CPU)
    made = other_products(model, others, names, CASE, ROWS, size, CPU)
    torch.testing.assert_close(made.outputs, model(SAMPLES[:6]))
    for name in names:
        torch.testing.assert_close(made.by_layer[name], expected(model, list(others.layers[name].parameters())))
    weights = sum(weight.numel() for layer in others.layers.values() for weight in layer.parameters())
    assert made.passes == (1 if held == 10**9 else -(-weights // 5))
    # A pass for each sample gives the same as torch.func.
    slow = other_products(model, OtherLayers(others.layers, False), names, CASE, ROWS, size, CPU)
    for name in names:
        torch.testing.assert_close(slow.by_layer[name], made.by_layer[name])


def test_a_pytorch_layer_is_one_and_parameters_of_ones_own_are_single() -> None:
    model = mixed(recurrent=True)
    model.cells.weight_ih_l0.requires_grad_(False)
    found = other_layers(model, {}, CASE, TWO, live(model, CASE), CPU).layers
    assert {name: len(list(layer.parameters())) for name, layer in found.items()} == {
        "own": 1,
        "cells": 3,
        "scale": 2,
        "head": 2,
    }
    assert next(found["own"].parameters()) is model.own


class Texts(TensorDataset):
    """Samples with a text each, which `torch.func` cannot take apart."""

    def __getitem__(self, row: int) -> dict[str, object]:
        return {"x": SAMPLES[row, 0], "y": torch.zeros((), dtype=torch.float64), "text": "a text"}


def test_data_that_cannot_be_taken_apart_are_read_one_by_one() -> None:
    data = Texts(SAMPLES)
    case = Case(
        task=MappingTask(build_model=Named, loss="mse", target="y", ignore=("text",)),
        splits=Splits(train=data, test=data),
        request=ForgetRequest(size=8, forget=(0, 1), reason="test"),
    )
    model = Named()
    found = other_layers(model, {}, case, TWO, live(model, case), CPU)
    assert not found.vectorised and set(found.layers) == {"layer"}
