"""Distances between activations by hand, and which axis holds the channels."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from hooks.test_activations import SEQUENCES, TASK, VECTORS, Attentive, Recurrent, Siamese
from support.small_cases import batch_of, numbers
from unregress.errors import LayerError
from unregress.hooks.attention_transfer import (
    AttentionLoss,
    attention_map,
    channel_axes,
    raw_distance,
    transfer_distance,
)

IMAGES = batch_of(numbers(2, 3, 4, 4), numbers(2))
PAIR = batch_of(numbers(2, 3), numbers(2, 3, seed=1), numbers(2))
VOLUMES = batch_of(numbers(2, 3, 4, 4, 2), numbers(2))


def test_an_attention_map_by_hand():
    """Two channels of two positions: squares (1, 4) and (9, 0), channel means (5, 2), divided by √29."""
    activation = torch.tensor([[[1.0, 2.0], [3.0, 0.0]]])
    expected = torch.tensor([[5.0, 2.0]]) / 29**0.5
    assert_close(attention_map(activation, 1), expected)
    assert_close(attention_map(activation.transpose(1, 2), -1), expected)
    # Without channels all four are positions: 1, 4, 9, 0, divided by √98
    assert_close(attention_map(activation, None), torch.tensor([[1.0, 4.0, 9.0, 0.0]]) / 98**0.5)


def test_the_transfer_distance_by_hand():
    """Maps (1, 0) and (0.6, 0.8): differences 0.4 and −0.8, squares 0.16 and 0.64, mean 0.4."""
    first = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    second = torch.tensor([[3.0**0.5, 2.0], [0.0, 7.0]])
    assert_close(transfer_distance(first, second, None), torch.tensor([0.4, 0.0]))


def test_the_raw_distance_by_hand():
    """Eq. 8 as printed: ‖(3, 4)‖ = 5, and ‖(1, 2, 2)‖ = 3 over two axes."""
    assert raw_distance(torch.tensor([[3.0, 5.0]]), torch.tensor([[0.0, 1.0]])).tolist() == [5.0]
    assert raw_distance(torch.tensor([[[1.0, 2.0], [2.0, 0.0]]]), torch.zeros(1, 2, 2)).tolist() == [3.0]


def test_vectors_have_an_attention():
    """Published mistake 5: a mean over features leaves one number, normalised to 1, and a distance of zero."""
    distance = transfer_distance(numbers(4, 6), numbers(4, 6, seed=1), None)
    assert (distance > 1e-3).all()


def test_maps_have_length_one_and_do_not_feel_the_scale():
    activation = numbers(4, 3, 5)
    energy = attention_map(activation, 1)
    assert_close(energy.norm(dim=1), torch.ones(4))
    assert_close(attention_map(activation * 7, 1), energy)


@pytest.mark.parametrize("number", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 300.0])
def test_half_precision_neither_vanishes_nor_overflows(number, value):
    activation = torch.full((1, 4), value, dtype=number)
    expected = torch.full((1, 4), 0.5 if value else 0.0)
    assert_close(attention_map(activation, None).float(), expected, atol=1e-2, rtol=0)
    far = raw_distance(activation, torch.zeros(1, 4, dtype=number))
    assert_close(far.float(), torch.tensor([2 * value]), atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("distance", [raw_distance, lambda a, b: transfer_distance(a, b, None)])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_gradients_are_numbers_even_where_nothing_differs(distance, value):
    mine = torch.full((2, 3), value, requires_grad=True)
    distance(mine, torch.full((2, 3), value)).sum().backward()
    assert torch.equal(mine.grad, torch.zeros(2, 3))


@pytest.mark.parametrize(("raw", "expected"), [(False, 0.4 + 2.0 / 2), (True, 1.0 + 5.0)])
def test_layers_and_their_calls_add_up(raw, expected):
    """Layer a is called twice, once without a difference; see the distances by hand above.

    Transfer: 0.4 for b and (1 + 1) / 2 = 1 for a's second call.  Raw: ‖(−1, 0)‖ = 1 for b, ‖(3, 4)‖ = 5 for a.
    """
    same = torch.tensor([[1.0, 2.0]])
    if raw:
        student = {"a": [same, torch.tensor([[3.0, 4.0]])], "b": [torch.tensor([[0.0, 2.0]])]}
        teacher = {"a": [same, torch.zeros(1, 2)], "b": [torch.tensor([[1.0, 2.0]])]}
    else:
        student = {"a": [same, torch.tensor([[3.0, 0.0]])], "b": [torch.tensor([[2.0, 0.0]])]}
        teacher = {"a": [same, torch.tensor([[0.0, 2.0]])], "b": [torch.tensor([[3.0**0.5, 2.0]])]}
    loss = AttentionLoss({"a": None, "b": None}, raw=raw)
    assert_close(loss(student, teacher), torch.tensor([expected]))


def axes_of(model, names, batch, stated=None, raw=False):
    return channel_axes(model, names, stated or {}, TASK, batch, raw=raw)


class Mean(nn.Module):
    """Keeps the sample axis and averages all others."""

    def forward(self, inputs):
        return inputs.flatten(1).mean(1)


@pytest.mark.parametrize(
    ("layers", "batch", "axis"),
    [
        ([nn.Linear(3, 4)], VECTORS, None),
        ([nn.Conv2d(3, 4, 2)], IMAGES, 1),
        ([nn.Conv3d(3, 4, 2)], VOLUMES, 1),
        ([nn.Conv1d(5, 4, 2)], SEQUENCES, 1),
        ([nn.BatchNorm1d(5)], SEQUENCES, 1),
        ([nn.Linear(3, 4)], SEQUENCES, -1),
        ([nn.LayerNorm(3)], SEQUENCES, -1),
        # One position left, as in a ResNet18's last block on small images: a vector
        ([nn.Conv2d(3, 4, 4)], IMAGES, None),
        ([nn.Conv1d(5, 4, 3)], SEQUENCES, None),
    ],
)
def test_the_channel_axis_follows_from_type_and_rank(layers, batch, axis):
    assert axes_of(nn.Sequential(*layers, Mean()), ["0"], batch) == {"0": axis}


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_recurrent_layers_channels_are_its_features_not_its_time(batch_first):
    """Published mistake 6: `mean(1)` of (batch, time, features) averages time."""
    model = Recurrent(batch_first=batch_first)
    assert axes_of(model, ["rnn", "head"], SEQUENCES, raw=True) == {"rnn": -1, "head": None}


@pytest.mark.parametrize("steps", [2, 5])
def test_time_first_transformers_are_turned_round(steps):
    """Two samples of two steps: the axes' lengths alone do not tell them apart."""

    class TimeFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.TransformerEncoderLayer(4, 2, 8), nn.Linear(4, 1)

        def forward(self, inputs):
            return self.head(self.layer(inputs.transpose(0, 1)).mean(0))

    batch = batch_of(numbers(2, steps, 4), numbers(2))
    assert axes_of(TimeFirst(), ["layer"], batch) == {"layer": -1}


def test_transformer_layers_are_read_feature_last():
    names = ["encoder.layers.0.self_attn", "encoder.layers.1", "encoder", "embed"]
    assert axes_of(Attentive(), names, SEQUENCES) == dict.fromkeys(names, -1)


@pytest.mark.parametrize("model", [nn.Sequential(nn.Linear(3, 1)), nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))])
def test_one_number_per_sample_has_no_attention_map(model):
    last = str(len(model) - 1)
    with pytest.raises(LayerError, match=r"one number per sample.*attention='raw'"):
        axes_of(model, [last], VECTORS)
    assert axes_of(model, [last], VECTORS, raw=True) == {last: None}


def test_an_axis_that_the_type_does_not_tell_must_be_stated():
    model = nn.Sequential(nn.ReLU(), Mean())
    with pytest.raises(LayerError, match=r"'0' \(ReLU\).*\(2, 5, 3\).*channel_axis=\{'0': 1\}` or -1"):
        axes_of(model, ["0"], SEQUENCES)
    for axis in (1, 2, -1, -2):
        assert axes_of(model, ["0"], SEQUENCES, {"0": axis}) == {"0": axis}


@pytest.mark.parametrize("axis", [0, 3, -3, -4])
def test_a_stated_axis_must_exist_and_not_be_the_samples(axis):
    with pytest.raises(LayerError, match=rf"channel_axis of '0' is {axis}.*from 1 to 2"):
        axes_of(nn.Sequential(nn.ReLU(), Mean()), ["0"], SEQUENCES, {"0": axis})


def test_an_axis_stated_for_a_layer_that_is_not_compared_is_a_mistake():
    with pytest.raises(LayerError, match=r"channel_axis.*'frist'"):
        axes_of(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1)), ["0"], VECTORS, {"frist": 1})


def test_a_layer_that_does_not_run_is_refused():
    model = Siamese()
    model.idle = nn.Linear(3, 4)
    with pytest.raises(LayerError, match="'idle' does not run"):
        axes_of(model, ["idle"], PAIR)


@pytest.mark.parametrize("layer", [nn.Flatten(0), nn.Unflatten(0, (1, 2))])
def test_a_layer_without_samples_on_its_first_axis_is_refused(layer):
    class Reshaping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, inputs):
            return self.layer(inputs).reshape(2, -1).mean(1)

    with pytest.raises(LayerError, match=r"for 2 samples.*samples on the first axis"):
        axes_of(Reshaping(), ["layer"], VECTORS)


def test_looking_leaves_mode_gradients_and_hooks_alone():
    model = Siamese().train()
    assert axes_of(model, ["encoder"], PAIR) == {"encoder": None}
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
