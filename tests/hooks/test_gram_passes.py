"""Gram matrices in chunks and passes of bounded memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from unregress import Case, ForgetRequest, Runtime, Splits, TensorTask
from unregress.hooks import gram_passes
from unregress.hooks.gram import supported_layers
from unregress.hooks.gram_passes import Footprint, footprint, gram_matrices, within_memory

CPU = Runtime(accelerator="cpu")
TWO = torch.arange(2)


def case_of(*shape: int) -> Case:
    x = torch.randn(20, *shape, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(x, torch.zeros(20))
    request = ForgetRequest(size=20, forget=(0, 1), reason="test")
    return Case(
        task=TensorTask(build_model=nn.Identity, loss="mse"), splits=Splits(train=data, test=data), request=request
    )


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 8, 3, stride=2, groups=2),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(72, 6),
        nn.Tanh(),
        nn.Linear(6, 2),
    ).eval()


def test_the_footprint_of_a_small_network_by_hand() -> None:
    model = nn.Sequential(nn.Linear(3, 7), nn.Tanh(), nn.Linear(7, 1))
    size = footprint(model, supported_layers(model), case_of(3), TWO, CPU)
    # The graph has the 3 inputs and the 7 outputs of tanh; the traces 3 + 7 values, and 7 + 1 (as many as weights).
    assert size == Footprint(graph=40.0, layers={"0": 40.0, "2": 32.0}) and list(size.layers) == ["0", "2"]
    assert size.chunk == gram_passes.CHUNK


def test_chunks_shrink_with_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gram_passes, "WORKING", 1000)
    assert [Footprint(graph=size, layers={}).chunk for size in (0.0, 5.0, 100.0, 9000.0)] == [64, 64, 5, 1]


def test_layers_share_a_pass_as_long_as_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gram_passes, "HELD", 100)
    size = Footprint(graph=1.0, layers={"a": 4.0, "b": 6.0, "c": 1.0, "d": 50.0, "e": 2.0, "f": 2.0})
    assert size.passes(set("abcdef"), 10) == [["a", "b"], ["c"], ["d"], ["e", "f"]]
    assert size.passes(set("fca"), 10) == [["a", "c", "f"]]
    assert size.passes(set("abcdef"), 1) == [["a", "b", "c", "d", "e", "f"]]


@pytest.mark.parametrize("held", [1, 8000])
def test_several_passes_give_the_same_products(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case, model, rows = case_of(3, 8, 8), network(), torch.arange(20)
    layers = supported_layers(model)
    size = footprint(model, layers, case, TWO, CPU)
    whole = gram_matrices(model, layers, case, rows, size, CPU)
    monkeypatch.setattr(gram_passes, "HELD", held)
    parts = gram_matrices(model, layers, case, rows, size, CPU)
    assert whole.passes == 1 and 1 < parts.passes <= len(layers) == 4 == len(parts.by_layer)
    assert torch.equal(parts.outputs, whole.outputs)
    assert all(torch.equal(parts.by_layer[name], matrix) for name, matrix in whole.by_layer.items())
    monkeypatch.setattr(gram_passes, "WORKING", 3 * 2 * size.graph)
    assert size.chunk == 3
    for name, matrix in gram_matrices(model, layers, case, rows, size, CPU).by_layer.items():
        torch.testing.assert_close(matrix, whole.by_layer[name], rtol=1e-5, atol=1e-7)


def test_evaluation_batches_shrink_with_the_largest_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    model, case = nn.Sequential(nn.Linear(3, 7), nn.Tanh(), nn.Linear(7, 1)), case_of(3)
    assert within_memory(CPU, model, case, TWO) is CPU
    # The largest call is that of tanh, with 14 values in and out; twice that for each sample.
    monkeypatch.setattr(gram_passes, "WORKING", 10 * 2 * 14 * 4)
    assert within_memory(CPU, model, case, TWO).evaluation_batch_size == 10
    monkeypatch.setattr(gram_passes, "WORKING", 1)
    assert within_memory(CPU, model, case, TWO).evaluation_batch_size == 1
