"""Hooks are leased, and layers are found by name, by pattern and by execution order."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from support.small_cases import CPU, batch_of, mlp, numbers
from unregress import TensorTask
from unregress.errors import LayerError
from unregress.hooks.activations import activations, execution_order, resolve_layers

VECTORS = batch_of(numbers(2, 3), numbers(2))
SEQUENCES = batch_of(numbers(2, 5, 3), numbers(2))
TASK = TensorTask(build_model=mlp)


class Backwards(nn.Module):
    """Layers defined in another order than they run in."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 1)
        self.second = nn.Linear(4, 4)
        self.unused = nn.Linear(4, 4)
        self.first = nn.Linear(3, 4)

    def forward(self, inputs):
        return self.head(self.second(self.first(inputs)))


class Siamese(nn.Module):
    """One encoder for both halves of a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.head = nn.Linear(3, 4), nn.Linear(8, 1)

    def forward(self, left, right):
        return self.head(torch.cat([self.encoder(left), self.encoder(right)], 1))


class Shifted(nn.Module):
    """A learnt number of its own beside its layers, as a vision transformer has its class token."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Linear(3, 4), nn.ReLU()), nn.Linear(4, 1)
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, inputs):
        return self.head(self.body(inputs)) + self.shift


class Recurrent(nn.Module):
    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(3, 4, batch_first=batch_first), nn.Linear(4, 1)

    def forward(self, inputs):
        output, _ = self.rnn(inputs if self.rnn.batch_first else inputs.transpose(0, 1))
        return self.head(output[:, -1] if self.rnn.batch_first else output[-1])


class Attentive(nn.Module):
    """Two transformer layers, whose parts run inside them."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.embed, self.encoder, self.head = nn.Linear(3, 4), nn.TransformerEncoder(layer, 2), nn.Linear(4, 1)

    def forward(self, inputs):
        return self.head(self.encoder(self.embed(inputs)).mean(1))


def state_of(model):
    return [
        (name, module.training, len(module._forward_hooks), len(module._forward_pre_hooks))
        for name, module in model.named_modules()
    ]


def test_outputs_are_recorded_while_the_block_runs_and_not_after():
    model = mlp().eval()
    before = state_of(model)
    with activations(model, ["0", "2"]) as recording:
        model(VECTORS.data[0])
    assert set(recording) == {"0", "2"}
    assert torch.equal(recording["0"][0], model[0](VECTORS.data[0]))
    assert state_of(model) == before
    model(VECTORS.data[0])
    assert len(recording["0"]) == 1


@pytest.mark.parametrize("names", [["0", "nope"], ["0", "2"]])
def test_hooks_are_gone_after_an_error(names):
    model = mlp()
    before = state_of(model)
    with pytest.raises((LayerError, ZeroDivisionError)), activations(model, names):
        raise ZeroDivisionError
    assert state_of(model) == before


def test_a_shared_encoder_is_recorded_once_per_call():
    model = Siamese()
    left, right = numbers(2, 3), numbers(2, 3, seed=1)
    with activations(model, ["encoder"]) as recording:
        model(left, right)
    first, second = recording["encoder"]
    assert torch.equal(first, model.encoder(left))
    assert torch.equal(second, model.encoder(right))


@pytest.mark.parametrize("batch_first", [True, False])
def test_recurrent_outputs_have_samples_on_the_first_axis(batch_first):
    model = Recurrent(batch_first=batch_first)
    with activations(model, ["rnn"]) as recording:
        prediction = model(SEQUENCES.data[0])
    (output,) = recording["rnn"]
    assert output.shape == (2, 5, 4)
    assert torch.equal(model.head(output[:, -1]), prediction)


def test_a_layer_that_returns_no_tensor_is_refused():
    class Silent(nn.Module):
        def forward(self, _):
            return {"nothing": None}

    model = nn.Sequential(Silent())
    with activations(model, ["0"]), pytest.raises(LayerError, match=r"'0' \(Silent\) returns no tensor"):
        model(VECTORS.data[0])


@pytest.mark.parametrize(
    ("model", "batch", "order"),
    [
        (Backwards(), VECTORS, ["first", "second", "head"]),
        (Siamese(), batch_of(numbers(2, 3), numbers(2, 3), numbers(2)), ["encoder", "head"]),
        (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1)), VECTORS, ["0", "3"]),
        (nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.Linear(4, 1)), VECTORS, ["0", "3"]),
        (nn.Sequential(nn.Linear(3, 4), nn.RMSNorm(4), nn.Linear(4, 1)), VECTORS, ["0", "2"]),
        (nn.Sequential(nn.Conv1d(5, 4, 1), nn.InstanceNorm1d(4, affine=True), nn.Flatten(), nn.Linear(12, 1)),
         SEQUENCES, ["0", "3"]),
        (Recurrent(batch_first=False), SEQUENCES, ["rnn", "head"]),
        (Shifted(), VECTORS, ["body.0", "head"]),
        (nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 4)), nn.Linear(4, 1)), VECTORS, ["0", "1"]),
        (nn.Linear(3, 1), VECTORS, [""]),
    ],
    ids=["backwards", "siamese", "batchnorm", "norms", "rmsnorm", "instancenorm", "lstm", "own-parameter",
         "parametrised", "root"],
)  # fmt: skip
def test_execution_order_lists_what_holds_weights_as_it_last_ran(model, batch, order):
    before = state_of(model.train())
    assert execution_order(model, TASK, batch) == order
    assert execution_order(CPU.set_up(model), TASK, batch) == order
    assert state_of(model) == before


def test_execution_order_sees_into_transformers():
    order = execution_order(Attentive(), TASK, SEQUENCES)
    assert order[0] == "embed"
    assert order[-3:] == ["encoder.layers.1.linear1", "encoder.layers.1.linear2", "head"]
    assert "encoder.layers.0.self_attn" in order


@pytest.mark.parametrize(("wanted", "names"), [(1, ("second",)), (2, ("first", "second")), (9, ("first", "second"))])
def test_the_last_layers_are_the_last_to_run(wanted, names):
    assert resolve_layers(wanted, Backwards(), TASK, VECTORS) == names


@pytest.mark.parametrize("wanted", [1, 5])
def test_the_output_layer_is_not_hidden_even_beside_a_parameter_of_the_models_own(wanted):
    assert resolve_layers(wanted, Shifted(), TASK, VECTORS) == ("body.0",)


@pytest.mark.parametrize("wanted", [0, -1])
def test_a_number_of_layers_below_one_is_refused(wanted):
    with pytest.raises(LayerError, match="last"):
        resolve_layers(wanted, mlp(), TASK, VECTORS)


def test_a_model_without_hidden_layers_is_refused():
    with pytest.raises(LayerError, match=r"model has 0.*attention weight to 0"):
        resolve_layers(2, nn.Linear(3, 1), TASK, VECTORS)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (["second"], ("second",)),
        (["*"], ("head", "second", "unused", "first")),
        (["?i*", "first"], ("first",)),
        (["se*d", "h???"], ("second", "head")),
    ],
)
def test_layers_by_name_and_pattern_each_once(wanted, names):
    assert sorted(resolve_layers(wanted, Backwards(), TASK, VECTORS)) == sorted(names)


@pytest.mark.parametrize("wanted", [["secnod"], ["secnod*"]])
def test_an_unknown_layer_lists_those_there_are(wanted):
    with pytest.raises(LayerError, match=r"no layer '.*one of head, second, unused, first"):
        resolve_layers(wanted, Backwards(), TASK, VECTORS)


def test_a_near_miss_is_suggested():
    with pytest.raises(LayerError, match="Did you mean 'second'"):
        resolve_layers(["secnod"], Backwards(), TASK, VECTORS)
    with pytest.raises(LayerError, match="Did you mean 'second'"), activations(Backwards(), ["secnod"]):
        pass
