"""Gradients of single samples by one layer's weights, against autograd."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from unregress.hooks.gram import LayerRecord, back_propagated, traced
from unregress.hooks.layer_gradients import Trace, values_by_sample, weight_gradients, weighted_gradients

LAYERS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "linear": (lambda: nn.Linear(3, 4), torch.randn(5, 3)),
    "linear with positions": (lambda: nn.Linear(3, 4, bias=False), torch.randn(5, 2, 6, 3)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), torch.randn(5, 4, 9)),
    "conv1d, same padding": (lambda: nn.Conv1d(2, 3, 4, padding="same"), torch.randn(5, 2, 9)),
    "conv2d": (lambda: nn.Conv2d(3, 4, (3, 2), stride=(1, 2), padding=(2, 1)), torch.randn(5, 3, 7, 6)),
    "conv2d, depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4, dilation=2, bias=False), torch.randn(5, 4, 8, 8)),
    "embedding": (lambda: nn.Embedding(7, 3), torch.randint(0, 7, (5, 6))),
    "embedding of one token": (lambda: nn.Embedding(7, 3), torch.tensor([0, 3, 3, 6, 1])),
    "embedding with padding": (lambda: nn.Embedding(7, 3, padding_idx=0), torch.randint(0, 7, (5, 6))),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("outputs", [1, 3])
def test_gradients_equal_autograd(name: str, outputs: int) -> None:
    build, inputs = LAYERS[name]
    torch.manual_seed(0)
    layer = build()
    head = nn.Sequential(nn.Tanh(), nn.Flatten(), nn.Linear(layer(inputs)[0].numel(), outputs))
    wanted = []
    for one in inputs.split(1):
        for value in head(layer(one)).flatten():
            pieces = torch.autograd.grad(value, list(layer.parameters()), retain_graph=True)
            wanted.append(torch.cat([piece.flatten() for piece in pieces]))
    with traced({"": layer}) as seen:
        ((_, calls),) = back_propagated(seen, head(layer(inputs)))
    torch.testing.assert_close(weight_gradients(layer, calls), torch.stack(wanted), rtol=1e-4, atol=1e-6)
    # Samples and outputs with factors of their own, in chunks of two and three samples, held as traces or as gradients.
    factors = torch.randn(5, outputs)
    expected = factors.flatten() @ torch.stack(wanted)
    for reduces in (False, True):
        kept = LayerRecord(layer, reduces=reduces)
        for start, end in ((0, 2), (2, 5)):
            kept.add([Trace(call.inputs[start:end], call.gradients[start:end]) for call in calls])
        found = kept.weighted(factors.double())
        assert list(found) == list(layer.parameters())
        torch.testing.assert_close(
            torch.cat([each.flatten() for each in found.values()]), expected, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("reduces", [False, True])
def test_a_bias_registered_before_its_weight_gets_its_own_gradient(reduces: bool) -> None:
    """As pruning and the removal of weight norm leave a layer."""
    layer = nn.Linear(2, 3)
    weight = layer.weight
    del layer.weight
    layer.weight = weight
    assert next(iter(dict(layer.named_parameters()))) == "bias"
    kept = LayerRecord(layer, reduces=reduces)
    kept.add([Trace(torch.tensor([[1.0, 2.0]]), torch.tensor([[[1.0, 0.0, -1.0]]]))])
    found = kept.weighted(torch.tensor([[2.0]]))
    assert found[layer.weight].tolist() == [[2, 4], [0, 0], [-2, -4]] and found[layer.bias].tolist() == [2, 0, -2]


def test_traces_of_mixed_precision_are_summed_in_the_weights_own() -> None:
    layer = nn.Linear(2, 1)
    trace = Trace(torch.tensor([[1.0, 2.0]]), torch.tensor([[[3.0]]], dtype=torch.bfloat16))
    weight, bias = weighted_gradients(layer, [trace], torch.tensor([[2.0]], dtype=torch.float64))
    assert weight.tolist() == [[6, 12]] and bias.tolist() == [6] and weight.dtype == torch.float32


def test_large_traces_are_summed_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 3, padding="same")
    trace, factors = Trace(torch.randn(5, 2, 4, 4), torch.randn(5, 2, 3, 4, 4)), torch.randn(5, 2)
    whole = weighted_gradients(layer, [trace], factors)
    monkeypatch.setattr("unregress.hooks.layer_gradients.BLOCK", 300)
    for piece, expected in zip(weighted_gradients(layer, [trace], factors), whole, strict=True):
        torch.testing.assert_close(piece, expected, rtol=1e-4, atol=1e-5)


def test_frozen_weights_have_no_gradients() -> None:
    layer = nn.Linear(2, 3)
    layer.bias.requires_grad_(False)
    calls = [Trace(torch.ones(4, 2), torch.ones(4, 1, 3))]
    assert weight_gradients(layer, calls).shape == (4, 6)
    # Two calls with 2 values in and 3 out, two components: 2 · (2 + 2 · 3) against 2 · 6.
    assert values_by_sample(layer, [(2, 3), (2, 3)], 2) == (16, 12)
