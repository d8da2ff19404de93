"""Products of per-sample gradients, layer by layer, against autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from unregress.hooks import gram as gram_module
from unregress.hooks import layer_gradients as module
from unregress.hooks.gram import LayerRecord, gram, record, supported_layers, traced
from unregress.hooks.layer_gradients import Trace, few_positions


class Tokens(nn.Module):
    """An embedding that is used twice, with a convolution along the text and padding."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 4, padding_idx=0)
        self.convolution = nn.Conv1d(4, 6, 3, padding="same")
        self.head = nn.Linear(12, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        both = [self.convolution(self.embedding(part).transpose(1, 2)).tanh().mean(2) for part in tokens.unbind(1)]
        return self.head(torch.cat(both, 1))


def image_net(outputs: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, (3, 2), dilation=(1, 2), groups=2, bias=False),
        nn.Tanh(),
        nn.Flatten(),
        nn.LazyLinear(5),
        nn.Tanh(),
        nn.Linear(5, outputs),
    )


class FewPositions(nn.Module):
    """Convolutions of many channels over few positions, one of which is used twice."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 2, stride=2)
        self.twice = nn.Conv2d(16, 16, 3, padding=1)
        self.along = nn.Conv1d(16, 40, 1, bias=False)
        self.head = nn.Linear(40, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.twice(self.twice(self.first(x).tanh()).tanh()).tanh()
        return self.head(self.along(y.mean(3)).tanh().mean(2))


CASES = {
    "mlp": (lambda k: nn.Sequential(nn.Linear(3, 7), nn.Tanh(), nn.Linear(7, k)), torch.randn(6, 3)),
    "sequence": (
        lambda k: nn.Sequential(nn.Linear(3, 40), nn.Tanh(), nn.Flatten(), nn.Linear(200, k)),
        torch.randn(6, 5, 3),
    ),
    "long sequence": (
        lambda k: nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(60, k)),
        torch.randn(6, 20, 2),
    ),
    "images": (image_net, torch.randn(6, 3, 8, 7)),
    "few positions": (FewPositions, torch.randn(6, 3, 3, 4)),
    "text": (Tokens, torch.randint(0, 9, (6, 2, 5))),
}


def expected(model: nn.Module, layer: nn.Module, inputs: Tensor) -> Tensor:
    weights = [weight for weight in layer.parameters() if weight.requires_grad]
    rows = []
    for one in inputs.split(1):
        for value in model(one).flatten():
            pieces = torch.autograd.grad(value, weights, retain_graph=True)
            rows.append(torch.cat([piece.flatten() for piece in pieces]))
    jacobian = torch.stack(rows).double()
    return jacobian @ jacobian.T


def products(model: nn.Module, inputs: Tensor, chunk: int, leading: int | None = None) -> dict[str, Tensor]:
    layers = supported_layers(model)
    records = {name: LayerRecord(layer) for name, layer in layers.items()}
    count = 0
    with traced(layers) as seen:
        for part in inputs.split(chunk):
            for calls in seen.values():
                calls.clear()
            outputs = model(part).flatten(1)
            record(records, seen, outputs)
            count += outputs.numel()
    return {name: gram(each, count, leading) for name, each in records.items()}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("chunk", [6, 4])
@pytest.mark.parametrize("block", [module.BLOCK, 50])
@pytest.mark.parametrize("reduces", [False, True])
def test_products_equal_autograd(
    name: str, outputs: int, chunk: int, block: int, reduces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    monkeypatch.setattr(gram_module, "_gradients_are_smaller", lambda *_: reduces)
    build, inputs = CASES[name]
    torch.manual_seed(0)
    model = build(outputs).eval()
    model(inputs)
    found = products(model, inputs, chunk)
    assert len(found) >= 2
    for layer, matrix in found.items():
        wanted = expected(model, model.get_submodule(layer), inputs)
        torch.testing.assert_close(matrix, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("reduces", [False, True])
def test_products_with_the_leading_samples_are_the_leading_columns(
    name: str, reduces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gram_module, "_gradients_are_smaller", lambda *_: reduces)
    build, inputs = CASES[name]
    torch.manual_seed(0)
    model = build(3).eval()
    model(inputs)
    for layer, matrix in products(model, inputs, 4, leading=2 * 3).items():
        wanted = expected(model, model.get_submodule(layer), inputs)
        torch.testing.assert_close(matrix, wanted[:, : 2 * 3], rtol=1e-4, atol=1e-6)


def test_few_positions_are_those_that_take_less_than_gradients() -> None:
    # Of 16 channels by kernels of 4: s² (64 + 16) is 320 for two positions and 1,280 for four, of 64 · 16 = 1,024.
    layer = nn.Conv2d(16, 16, 2, padding="same")
    for positions, few in ((2, True), (4, False)):
        trace = Trace(torch.randn(3, 16, 1, positions), torch.randn(3, 5, 16, 1, positions))
        found = few_positions(layer, [trace])
        assert (found is not None) == few
        if found is not None:
            inputs, gradients = found
            assert inputs.shape == (3, positions, 64) and gradients.shape == (3, 5, positions, 16)
    assert few_positions(nn.Conv2d(16, 16, 2, padding="same", groups=2), [trace]) is None


def test_what_is_kept_is_the_smaller_one() -> None:
    # Values of one sample with two components: the convolution's trace has 3 · 64 + 2 · 4 · 64 = 704, its gradients
    # 2 · (4 · 27 + 4) = 224; the linear layer's trace has 64 + 2 · 5 = 74, its gradients 2 · (5 · 64 + 5) = 650.
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 5))
    layers = supported_layers(model)
    records = {name: LayerRecord(layer) for name, layer in layers.items()}
    with traced(layers) as seen:
        record(records, seen, model(torch.randn(6, 3, 8, 8))[:, :2])
    assert records["0"].calls == [] and [part.shape for part in records["0"].gradients] == [(12, 112)]
    assert records["3"].gradients == [] and len(records["3"].calls) == 1


def test_a_layer_without_the_samples_on_its_first_axis_is_refused() -> None:
    layer = nn.Embedding(2, 1)
    weights = layer(torch.tensor([[0, 1, 0, 1]]))
    records = LayerRecord(layer)
    with pytest.raises(ValueError, match="first axis"):
        records.add([Trace(torch.zeros(1, 4, dtype=torch.int64), weights.detach().expand(3, 1, 4, 1))])


def test_one_position_by_hand() -> None:
    # f = w a + b: the gradient by (w, b) is (a, 1), so the products are a a' + 1.
    layer = nn.Linear(2, 1)
    inputs = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    assert products(layer, inputs, 2)[""].tolist() == [[6.0, 2.0], [2.0, 11.0]]


def test_frozen_weights_do_not_count() -> None:
    layer = nn.Linear(2, 1)
    layer.bias.requires_grad_(False)
    inputs = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    assert products(layer, inputs, 2)[""].tolist() == [[5.0, 1.0], [1.0, 10.0]]
    layer.weight.requires_grad_(False)
    assert supported_layers(layer) == {}


def test_layers_that_are_left_out() -> None:
    shared = nn.Linear(3, 3)
    tied = nn.Embedding(5, 3)
    out = nn.Linear(3, 5, bias=False)
    out.weight = tied.weight
    model = nn.ModuleDict(
        {
            "twice": nn.Sequential(shared, shared),
            "tied": tied,
            "out": out,
            "normed": torch.nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)),
            "reflecting": nn.Conv2d(3, 3, 3, padding_mode="reflect"),
            "rescaling": nn.Embedding(5, 3, max_norm=1.0),
            "lstm": nn.LSTM(3, 3),
            "plain": nn.Linear(3, 3),
        }
    )
    # One module under two names is one layer; its calls are added.
    assert list(supported_layers(model)) == ["twice.0", "plain"]


def test_samples_that_are_used_in_different_ways_are_refused() -> None:
    layer = nn.Linear(2, 1)
    records = {"": LayerRecord(layer)}
    with traced({"": layer}) as seen:
        for rows in (torch.randn(2, 2), torch.randn(2, 3, 2)):
            seen[""].clear()
            outputs = layer(rows).flatten(1)
            record(records, seen, outputs[:, :1])
    with pytest.raises(ValueError, match="different shapes"):
        gram(records[""], 4)
