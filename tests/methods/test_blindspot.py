"""Blindspot's loss by hand (paper Eq. 7 to 9), its choice of layers, and its settings."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import TensorDataset

from support.contract_subjects import BRIEF, FORGET, MODELS, SAMPLES, Kind, batch_normalised, dropping_out, trained_on
from support.small_cases import CPU, Listed, case_of, filled
from unregress import Blindspot, Quantile, Recipe
from unregress.errors import LayerError, PreflightError, SettingError

NO_TRAINING = Recipe(epochs=0)
ONE_STEP = Recipe(epochs=1, lr=0.01, batch_size=64, optimizer="sgd")
NAN = float("nan")


def line(slope: float) -> nn.Module:
    return filled(nn.Linear(1, 1, bias=False), slope)


@pytest.mark.parametrize(
    ("forget", "targets", "loss", "gradient"),
    [
        # Errors of the student x: 1 and 3 against the targets, 6 and 8 against the helper's 9 and 12.
        ((2, 3), [0.0, 5.0, NAN, NAN], (1 + 3 + 6 + 8) / 4, (1 - 2 - 3 - 4) / 4),
        # The mean is over samples: the one forget sample does not weigh as much as three retained ones.
        ((3,), [0.0, 5.0, 10.0, NAN], (1 + 3 + 7 + 8) / 4, (1 - 2 - 3 - 4) / 4),
        ((0, 1, 2), [NAN, NAN, NAN, 0.0], (2 + 4 + 6 + 4) / 4, (-1 - 2 - 3 + 4) / 4),
    ],
)
def test_one_step_without_attention_by_hand(forget, targets, loss, gradient):
    """Samples x = 1, 2, 3, 4; the student predicts x, the helper 3 x; L1; then one SGD step at 0.01."""
    data = TensorDataset(torch.tensor([[1.0], [2.0], [3.0], [4.0]]), torch.tensor(targets))
    case = case_of(data, build=lambda: line(3.0), forget=forget)
    result = Blindspot(helper=NO_TRAINING, recipe=ONE_STEP, attention_weight=0).unlearn(line(1.0), case, CPU)
    assert_close(result.history[-1].loss, loss)
    assert_close(result.model.weight.item(), 1 - 0.01 * gradient)


def two_layers(first: list[list[float]]) -> nn.Module:
    """Hidden values W x, and their sum as prediction."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False), filled(nn.Linear(2, 1, bias=False), 1.0))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(first))
    return model


@pytest.mark.parametrize(("attention", "distance"), [("transfer", 0.4), ("raw", ((1 - 0.6**0.5) ** 2 + 0.8) ** 0.5)])
@pytest.mark.parametrize("weight", [0.0, 1.0, 50.0])
@pytest.mark.parametrize("layers", [1, 7, ["0"], ["[0]"]])
def test_one_step_with_attention_by_hand(attention, distance, weight, layers):
    """Retained x = (0, 1), y = 3: the student predicts 1, error 2.  Forgotten x = (1, 0): its hidden values are
    (1, 0), the helper's (√0.6, √0.8), with maps (1, 0) and (0.6, 0.8): mean squared difference 0.4.
    The student predicts 1 there, the helper √0.6 + √0.8.
    """
    data = TensorDataset(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([3.0, NAN]))
    case = case_of(data, build=lambda: two_layers([[0.6**0.5, 0.0], [0.8**0.5, 0.0]]), forget=(1,))
    method = Blindspot(helper=NO_TRAINING, recipe=ONE_STEP, attention_weight=weight, attention=attention, layers=layers)
    result = method.unlearn(two_layers([[1.0, 0.0], [0.0, 1.0]]), case, CPU)
    imitation = abs(1 - 0.6**0.5 - 0.8**0.5)
    assert_close(result.history[-1].loss, (2 + imitation + weight * distance) / 2)


def test_quantile_models_imitate_every_quantile():
    """Student (1, 2, 3) against helper (0, 2, 7): 1 + 0 + 4 = 5; retained target 2: 0.1·1 + 0 + 0.1·1 = 0.2."""

    def constant(values):
        model = nn.Linear(1, 3)
        with torch.no_grad():
            model.weight.zero_()
            model.bias.copy_(torch.tensor(values))
        return model

    data = TensorDataset(torch.zeros(2, 1), torch.tensor([2.0, NAN]))
    case = case_of(data, build=lambda: constant([0.0, 2.0, 7.0]), loss=Quantile(), forget=(1,))
    method = Blindspot(helper=NO_TRAINING, recipe=ONE_STEP, attention_weight=0)
    assert_close(method.unlearn(constant([1.0, 2.0, 3.0]), case, CPU).history[-1].loss, (0.2 + 5) / 2)


def test_attention_pulls_the_hidden_values_to_the_helpers():
    """With a large λ, the student's maps on D_f come nearer the helper's than without."""
    kind = MODELS["mlp"]
    inputs = kind.tensors()[0][list(FORGET)]
    distances = []
    helper_at = trained_on(kind, seed=5)
    for weight in (0.0, 1000.0):
        fixed = Kind(lambda: _copy_of(helper_at))
        method = Blindspot(helper=NO_TRAINING, recipe=Recipe(epochs=60, lr=0.01), attention_weight=weight, layers=["2"])
        student = method.unlearn(trained_on(kind), fixed.case(), CPU).model
        maps = [nn.functional.normalize(net[:3](inputs).square(), dim=1) for net in (student, helper_at)]
        distances.append((maps[0] - maps[1]).square().mean().item())
    assert distances[1] < distances[0] / 3


def _copy_of(model: nn.Module) -> nn.Module:
    twin = MODELS["mlp"].build()
    twin.load_state_dict(model.state_dict())
    return twin


@pytest.mark.parametrize(
    ("name", "layers", "listed"),
    [
        ("mlp", 1, "2"),
        ("mlp", 3, "0, 2"),
        ("mlp", ["[02]"], "0, 2"),
        ("conv", 3, "0 (channels on axis 1)"),
        ("conv", ["1", "0"], "1 (channels on axis 1), 0 (channels on axis 1)"),
        ("lstm-batch-first", 3, "rnn (channels on axis -1)"),
        ("lstm-time-first", 3, "rnn (channels on axis -1)"),
    ],
)
def test_the_layers_compared_are_on_record(name, layers, listed):
    kind = MODELS[name]
    result = Blindspot(helper=BRIEF, recipe=BRIEF, layers=layers).unlearn(trained_on(kind), kind.case(), CPU)
    assert result.notes == (f"activations compared at: {listed}",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["7"]}, r"no layer '7'.*one of 0, 1, 2, 3, 4"),
        ({"layers": ["4"]}, "one number per sample"),
        ({"layers": ["0"], "channel_axis": {"o": 1}}, "channel_axis"),
        ({"layers": ["0"], "channel_axis": {"0": 2}}, "channel_axis"),
    ],
)
def test_a_layer_that_cannot_serve_is_refused_before_anything_is_trained(options, message):
    inputs, targets = MODELS["mlp"].tensors()
    probed = {1, 2, *FORGET[:2]}
    data = Listed(inputs, targets, forbidden=set(range(SAMPLES)) - probed)
    with pytest.raises(LayerError, match=message):
        Blindspot(helper=BRIEF, recipe=BRIEF, **options).unlearn(
            trained_on(MODELS["mlp"]), MODELS["mlp"].case(train=data), CPU
        )


def test_the_helper_teaches_in_evaluation_mode_unless_told_otherwise():
    kind = Kind(dropping_out)
    results = [
        Blindspot(helper=NO_TRAINING, recipe=ONE_STEP, layers=1, helper_mode=mode)
        .unlearn(trained_on(kind), kind.case(), CPU)
        .history[-1]
        .loss
        for mode in ("eval", "train")
    ]
    assert results[0] != results[1]


@pytest.mark.parametrize(("mode", "moves"), [("train", True), ("eval", False)])
def test_the_students_mode_is_its_recipes(mode, moves):
    kind = Kind(batch_normalised)
    model = trained_on(kind)
    method = Blindspot(helper=BRIEF, recipe=replace(BRIEF, mode=mode), layers=1)
    result = method.unlearn(model, kind.case(), CPU)
    assert torch.equal(result.model[1].running_mean, model[1].running_mean) != moves


def test_without_attention_no_layers_are_needed():
    kind = Kind(lambda: nn.Linear(3, 1))
    result = Blindspot(helper=BRIEF, recipe=BRIEF, attention_weight=0).unlearn(trained_on(kind), kind.case(), CPU)
    assert result.notes == ()
    with pytest.raises(LayerError, match="attention weight to 0"):
        Blindspot(helper=BRIEF, recipe=BRIEF).unlearn(trained_on(kind), kind.case(), CPU)


def test_augmented_batches_are_the_same_for_student_and_helper():
    """Student and helper are one and the same function: whatever the augmentation, there is nothing to imitate."""

    def jitter(batch, generator):
        inputs, targets = batch
        return [inputs + torch.rand(inputs.shape, generator=generator), targets]

    data = TensorDataset(*MODELS["mlp"].tensors())
    case = case_of(data, build=lambda: filled(nn.Linear(3, 1), 0.5), forget=tuple(range(1, SAMPLES)), augment=jitter)
    method = Blindspot(helper=NO_TRAINING, recipe=replace(ONE_STEP, lr=1e-9), attention_weight=0)
    result = method.unlearn(filled(nn.Linear(3, 1), 0.5), case, CPU)
    with torch.no_grad():
        worst = float((filled(nn.Linear(3, 1), 0.5)(data.tensors[0][:1] + 0.5).squeeze() - data.tensors[1][0]).abs())
    # Only the retained sample, one of 24, has an error; the jitter moves its prediction by at most 0.75.
    assert result.history[-1].loss == pytest.approx(worst / SAMPLES, abs=0.76 / SAMPLES)


def test_all_bad_settings_come_at_once():
    with pytest.raises(PreflightError) as caught:
        Blindspot(attention_weight=-1, attention="rwa", layers=0, helper_mode="test")
    assert len(caught.value.complaints) == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attention_weight", -1.0),
        ("attention_weight", NAN),
        ("attention_weight", float("inf")),
        ("attention", "Transfer"),
        ("helper_mode", "test"),
        ("layers", 0),
        ("layers", ()),
        ("layers", "12"),
    ],
)
def test_bad_settings_are_named(name, value):
    with pytest.raises(SettingError, match=name):
        Blindspot(**{name: value})


def test_deviations_speak_of_what_is_done():
    assert "attention transfer" in Blindspot().deviations[0]
    assert all("attention transfer" not in text for text in Blindspot(attention="raw").deviations)


def test_the_published_defaults():
    method = Blindspot()
    assert (method.attention_weight, method.attention, method.helper_mode) == (50.0, "transfer", "eval")
    assert (method.helper.epochs, method.helper.lr) == (2, 0.01)
    assert (method.recipe.epochs, method.recipe.lr, method.recipe.mode) == (1, 1e-3, "train")
