"""A preflight asks everybody: the request about its targets, the data about inputs, model, method and golds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset, random_split

from support.small_cases import CPU, Listed, case_of, filled, mlp, numbers, table
from unregress import (
    Blindspot,
    FineTune,
    ForgetRequest,
    MappingTask,
    Recipe,
    Retrain,
    Runtime,
    TensorTask,
    preflight,
)
from unregress.errors import (
    DataError,
    LayerError,
    ModelError,
    PreflightError,
    RequestError,
    SettingError,
    UnregressError,
)

INPUTS, TARGETS = table()
DOUBLE = Runtime(accelerator="cpu", precision="64-true")


def exact():
    """A model that has learnt the table."""
    model = filled(nn.Linear(3, 1), 3)
    with torch.no_grad():
        model.bias.fill_(5)
    return model


# --- the request ------------------------------------------------------------------------------------


def test_a_band_of_targets_in_another_order_is_refused():
    train, _ = random_split(TensorDataset(INPUTS, TARGETS), [20, 4], torch.Generator().manual_seed(0))
    request = ForgetRequest.band(TARGETS[:20], low=8, reason="test")
    named = torch.stack([train[i][1] for i in request.forget])
    inside = sum(float(target) >= 8 for _, target in train) - int((named >= 8).sum())
    with pytest.raises(RequestError) as refused:
        preflight(case_of(train, request=request), CPU)
    assert f" {int((named < 8).sum())} of the {len(named)} samples to forget lie outside" in refused.value.found
    assert f"and {inside} within it are retained" in refused.value.found and inside


def test_a_band_in_another_unit_is_refused():
    request = ForgetRequest.band(TARGETS, low=8, reason="test")
    case = case_of(TensorDataset(INPUTS, TARGETS / 100), request=request)
    with pytest.raises(RequestError, match=f"{len(request.forget)} of the {len(request.forget)} samples"):
        preflight(case, CPU)


def test_records_that_were_added_within_a_band_are_a_warning():
    """With ids a request holds for data that have grown."""
    request = replace(ForgetRequest.band(TARGETS, low=8, reason="test"), size=25)
    data = TensorDataset(torch.cat([INPUTS, numbers(1, 3, seed=9)]), torch.cat([TARGETS, torch.tensor([9.0])]))
    (warning,) = preflight(case_of(data, request=request, ids=range(25)), CPU).warnings
    assert "0 of the" in warning and "1 within it are retained" in warning
    with pytest.raises(RequestError, match="1 within it are retained"):
        preflight(case_of(data, request=request), CPU)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_band_of_the_datas_own_targets_holds_up_to_rounding(dtype):
    """2.2 in single precision is above 2.2 in double precision, in which the task gives the targets."""

    class Converting(TensorTask):
        def target(self, batch):
            return batch[-1].to(dtype)

    targets = torch.linspace(0, 2.2, 24).roll(5)
    request = ForgetRequest.band(targets, 1.1, 2.2, reason="test")
    assert preflight(case_of(TensorDataset(INPUTS, targets), request=request, task=Converting(mlp)), CPU).warnings == ()


# --- inputs apart from targets ----------------------------------------------------------------------


def shared_inputs(targets, *, kind=TensorDataset, **more):
    """Input 3, which is forgotten, also is 9, which is not, and the second one of the test data."""
    inputs, test = INPUTS.clone(), numbers(6, 3, seed=5)
    inputs[9] = test[1] = inputs[3]
    own, held_out = TARGETS.clone(), numbers(6, seed=6)
    own[3], own[9], held_out[1] = targets
    return case_of(kind(inputs, own, **more), test=kind(test, held_out, **more))


@pytest.mark.parametrize("kind", [TensorDataset, Listed])
def test_an_input_with_three_targets_is_a_warning_of_each_kind(kind):
    """As one photograph under three ages."""
    retained, held_out = preflight(shared_inputs((62.0, 53.0, 61.0), kind=kind), CPU).warnings
    assert retained.startswith("1 of the 5 samples to forget have the inputs of a retained sample with another target")
    assert "train 3 and train 9" in retained
    assert (
        held_out.startswith("1 test samples have the inputs of a sample to forget") and "test 1 and train 3" in held_out
    )


def test_whole_samples_are_not_counted_again():
    with pytest.raises(DataError, match="same content"):
        preflight(shared_inputs((62.0, 62.0, 62.0)), CPU)
    overlap, duplicate = preflight(shared_inputs((62.0, 62.0, 62.0)), CPU, allow_overlap=True).warnings
    assert "same content" in overlap and "have a duplicate" in duplicate


@pytest.mark.parametrize("first", ["x", "labels"])
def test_inputs_are_told_from_the_target_wherever_it_is(first):
    names = ("x", "labels") if first == "x" else ("labels", "x")

    def item(x, y):
        return {name: {"x": x, "labels": y}[name] for name in names}

    case = replace(shared_inputs((1.0, 2.0, 3.0), kind=Listed, item=item), task=MappingTask(mlp))
    assert len(preflight(case, CPU).warnings) == 2


def test_a_batch_that_is_one_tensor_hides_its_inputs_without_a_word():
    class Table(TensorTask):
        def predict(self, model, batch):
            return model(batch[0][:, :3]).squeeze(1)

        def target(self, batch):
            return batch[0][:, 3]

    data = TensorDataset(torch.cat([INPUTS, TARGETS[:, None]], 1))
    assert preflight(case_of(data, task=Table(mlp)), CPU, exact()).warnings == ()


# --- values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["target", "input"])
def test_numbers_beyond_single_precision_are_refused(kind):
    inputs, targets = INPUTS.double(), TARGETS.double()
    (inputs[4] if kind == "input" else targets[4:5])[:] = 1e200
    case = case_of(TensorDataset(inputs, targets))
    with pytest.raises(DataError, match=f"1 train samples have an? {kind} beyond single precision, the first .* 4"):
        preflight(case, CPU)
    preflight(case, DOUBLE)


def test_complex_targets_are_refused():
    case = case_of(TensorDataset(INPUTS, torch.complex(TARGETS, TARGETS)))
    with pytest.raises(DataError, match="complex64"):
        preflight(case, CPU)
    with pytest.raises(ModelError, match="complex64"):
        FineTune().unlearn(mlp(), case, CPU)


def test_unknown_values_of_several_outputs_pass_with_a_loss_that_leaves_them_out():
    def masked(prediction, target):
        known = target.isfinite()
        return ((prediction - target.nan_to_num()).abs() * known).sum(1) / known.sum(1).clamp(min=1)

    targets = torch.stack([TARGETS, TARGETS], 1)
    targets[::7, 1] = float("nan")
    model, data = mlp(outputs=2), TensorDataset(INPUTS, targets)
    for loss in ("l1", masked):
        preflight(case_of(data, task=TensorTask(lambda: mlp(outputs=2), loss=loss)), CPU, model)
    plain = TensorTask(lambda: mlp(outputs=2), loss=lambda prediction, target: (prediction - target).abs().mean(1))
    with pytest.raises(UnregressError):
        preflight(case_of(data, task=plain), CPU, model)


# --- the model, the method, the golds ---------------------------------------------------------------


def test_an_original_that_is_no_better_than_a_constant_is_named():
    case = case_of()
    (warning,) = preflight(case, CPU, filled(exact(), 0.0)).warnings
    error, constant = TARGETS.abs().mean(), (TARGETS - TARGETS[case.requested.retain].quantile(0.5)).abs().mean()
    assert "no better than a constant" in warning
    assert f"on 24 training samples is {error:.4g}" in warning and f"median {constant:.4g}" in warning
    assert preflight(case, CPU, exact()).warnings == ()
    # A method that starts from nothing does not care.
    assert preflight(case_of(build=exact), CPU, filled(exact(), 0.0), method=Retrain()).warnings == ()


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(1, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, inputs):
        lengths = torch.full((len(inputs),), 3)
        packed = nn.utils.rnn.pack_padded_sequence(inputs[..., None], lengths, batch_first=True)
        return self.head(self.rnn(packed)[1][-1])


def test_a_method_is_asked_about_layers_before_anything_is_trained():
    with pytest.raises(LayerError, match="'rnn' returns shape"):
        preflight(case_of(build=Packed), CPU, Packed(), method=Blindspot())
    with pytest.raises(LayerError, match="no layer 'nope'"):
        preflight(case_of(), CPU, mlp(), method=Blindspot(layers=["nope"]))
    preflight(case_of(), CPU, mlp(), method=Blindspot(attention_weight=0, layers=["nope"]))


SHARED = mlp()


@pytest.mark.parametrize(
    ("build", "found"),
    [
        (lambda: nn.LazyLinear(1), "lazy"),
        (lambda: SHARED, "same model each time"),
        (lambda: nn.Linear(3, 1), "another architecture"),
        (lambda: 1 // 0, "ZeroDivisionError"),
        (lambda: mlp, "of type function"),
    ],
)
@pytest.mark.parametrize("method", [Retrain(), Blindspot(layers=1)])
def test_a_method_is_asked_about_the_fresh_model(method, build, found):
    with pytest.raises(ModelError) as refused:
        preflight(case_of(build=build), CPU, mlp(), method=method)
    assert found in refused.value.found


def test_training_without_a_model_asks_for_a_fresh_one():
    with pytest.raises(ModelError, match="lazy"):
        preflight(case_of(build=lambda: nn.LazyLinear(1)), CPU, recipe=Recipe())
    assert preflight(case_of(), CPU, recipe=Recipe()).warnings == ()


def test_a_method_of_ones_own_may_object_or_fail():
    class Own(FineTune):
        def objections(self, student, case, runtime):
            yield LayerError("first")
            raise KeyError("second")

    with pytest.raises(PreflightError) as refused:
        preflight(case_of(), CPU, mlp(), method=Own())
    assert [type(each) for each in refused.value.complaints] == [LayerError, ModelError]
    assert "second" in refused.value.complaints[1].found and "Own" in refused.value.complaints[1].found


def test_golds_of_another_shape_are_named_by_their_weights():
    with pytest.raises(ModelError, match=r"Gold '2' .*0\.weight \(shape \(8, 5\) and \(8, 3\)\)"):
        preflight(case_of(), CPU, mlp(), golds=[mlp(), mlp(features=5)])


@pytest.mark.parametrize("error", [KeyError("age"), OSError("gone"), ZeroDivisionError()])
def test_whatever_a_dataset_raises_is_a_complaint(error):
    def item(x, y):
        raise error

    with pytest.raises(DataError) as refused:
        preflight(case_of(Listed(INPUTS, TARGETS, item=item)), CPU)
    assert type(error).__name__ in refused.value.found and "in item" in refused.value.found


def test_the_name_of_a_method_is_no_method():
    with pytest.raises(SettingError) as refused:
        preflight(case_of(), CPU, mlp(), method="Blindspot")
    assert refused.value.found == "The method is 'Blindspot'"
