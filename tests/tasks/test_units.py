"""The user's units: scalers of targets, named outputs, weights, masks and offsets."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from unregress import (
    Case,
    Errors,
    ForgetRequest,
    MappingTask,
    NegGradPlus,
    Recipe,
    Runtime,
    Splits,
    TensorTask,
    UniformAmnesiac,
    audit,
    preflight,
    train,
)
from unregress.errors import ModelError
from unregress.methods.unlearned import Unlearned
from unregress.tasks.units import Output
from unregress.training.loop import evaluate

CPU = Runtime(accelerator="cpu")


class Fixed:
    """A scaler of mean 3 and deviation 2."""

    def transform(self, values: Any) -> Any:
        return (values - 3) / 2

    def inverse_transform(self, values: Any) -> Any:
        return values * 2 + 3


def linear(inputs: int = 2, outputs: int = 1) -> nn.Module:
    return nn.Linear(inputs, outputs)


X = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
Y = X[:, 0] * 4 + 3 + torch.linspace(-1, 1, 40)


def case_of(task: TensorTask, targets: Tensor, request: ForgetRequest | None = None) -> Case:
    splits = Splits(train=TensorDataset(X, targets), test=TensorDataset(X + 0.5, targets))
    if request is None:
        request = ForgetRequest(size=40, forget=(1, 2), reason="test")
    return Case(task=task, splits=splits, request=request)


def scaled_case() -> Case:
    return case_of(TensorTask(linear, "mse", scaler=Fixed(), outputs=["wage [CHF]"]), (Y - 3) / 2)


def test_errors_are_in_the_user_s_units() -> None:
    torch.manual_seed(0)
    model = linear()
    report = audit(scaled_case(), {"original": model}, CPU, metrics=[Errors()])
    plain = audit(case_of(TensorTask(linear, "mse"), (Y - 3) / 2), {"original": model}, CPU, metrics=[Errors()])
    for part in ("train-retain", "train-forget", "test-retain"):
        for metric in ("mae", "rmse"):
            ours, theirs = (each.value(metric, part, "original") for each in (report, plain))
            assert ours == pytest.approx(2 * theirs, rel=1e-6)
    constant = report.value("mae", "train-retain", "constant")
    retained = np.delete(Y.numpy(), [1, 2])
    assert constant == pytest.approx(np.abs(retained - np.sort(retained)[18]).mean(), rel=1e-5)
    assert {info.unit for info in report.about if info.metric in ("mae", "rmse")} == {"CHF"}


def test_a_band_is_in_the_user_s_units() -> None:
    request = ForgetRequest.band(Y, low=5, reason="high")
    case = case_of(TensorTask(linear, "mse", scaler=Fixed()), (Y - 3) / 2, request)
    assert np.flatnonzero(case.forget_like("test")).tolist() == np.flatnonzero(Y >= 5).tolist()
    assert preflight(case, CPU).warnings is not None


def test_training_does_not_know_of_units() -> None:
    recipe = Recipe(epochs=3, lr=1e-2)
    one, other = (train(case, recipe, CPU) for case in (scaled_case(), case_of(TensorTask(linear, "mse"), (Y - 3) / 2)))
    assert torch.equal(one.model.weight, other.model.weight)


def test_drawn_labels_are_in_the_user_s_units() -> None:
    labels, _ = UniformAmnesiac(low=5, high=5).draw(torch.Size((2,)), scaled_case(), torch.Generator())
    assert labels.tolist() == [1.0, 1.0]  # (5 - 3) / 2


@pytest.mark.parametrize("kind", [StandardScaler, MinMaxScaler])
def test_scalers_of_scikit_learn(kind: Any) -> None:
    several = torch.stack([Y, Y * 100, -Y], 1)
    scaler = kind().fit(several.numpy())
    task = TensorTask(lambda: linear(2, 3), scaler=scaler)
    scaled = torch.from_numpy(scaler.transform(several.numpy()))
    torch.testing.assert_close(task.to_units(scaled), several.double(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(task.to_model(task.to_units(scaled)), scaled.double())
    single = kind().fit(Y.numpy()[:, None])
    horizon = TensorTask(lambda: linear(2, 3), scaler=single)
    torch.testing.assert_close(horizon.to_units(horizon.to_model(several)), several.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("scaler", "found"),
    [
        (FunctionTransformer(lambda values: values.clip(-1, 1), lambda values: values), "changes targets"),
        (FunctionTransformer(np.exp, lambda values: values * np.nan), "NaN"),
        (StandardScaler(), "fails"),
        (FunctionTransformer(lambda values: 1 / values, lambda values: 1 / values), "order"),
    ],
)
def test_a_scaler_that_cannot_be_inverted_is_refused(scaler: Any, found: str) -> None:
    with pytest.raises(ModelError, match=found):
        preflight(case_of(TensorTask(linear, "mse", scaler=scaler), Y), CPU)


def test_each_output_in_its_own_unit() -> None:
    targets = torch.stack([Y, Y * 100, -Y / 10], 1)
    task = TensorTask(lambda: linear(2, 3), "l1", outputs=["wage [CHF]", "weight [g]", "index"])
    model = linear(2, 3)
    nn.init.zeros_(model.weight)
    with torch.no_grad():
        model.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    report = audit(case_of(task, targets), {"original": model}, CPU, metrics=[Errors()])
    for place, (name, unit) in enumerate((("wage", "CHF"), ("weight", "g"), ("index", "no unit"))):
        expected = (targets[[1, 2], place] - (place + 1)).abs().mean()
        assert report.value(f"mae of {name}", "train-forget", "original") == pytest.approx(float(expected), rel=1e-5)
        assert next(info.unit for info in report.about if info.metric == f"mae of {name}") == unit
    assert next(info.unit for info in report.about if info.metric == "mae") == "target spreads"
    (said,) = [caveat for caveat in report.caveats if "means over 3 outputs" in caveat]
    assert re.search(r": wage [\d.]+ CHF, weight [\d.]+ g, index [\d.]+\.$", said)


def test_output_names() -> None:
    assert Output.parse(" body mass [kg] ") == Output("body mass", "kg")
    assert Output.parse("index") == Output("index", "")
    assert TensorTask(linear, outputs="wage [CHF]").outputs == (Output("wage", "CHF"),)


def test_sample_weights_by_hand() -> None:
    """One SGD step from zero: the gradient by the bias is mean(w · 2 (0 - y))."""
    x, y, w = torch.zeros(4, 2), torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 0.0, 2.0, 0.0])

    def zero() -> nn.Module:
        model = linear()
        nn.init.zeros_(model.weight)
        nn.init.zeros_(model.bias)
        return model

    splits = Splits(train=TensorDataset(x, y, w))
    task = TensorTask(zero, "mse", weights=True)
    recipe = Recipe(epochs=1, lr=0.1, batch_size=4, optimizer="SGD")
    made: Unlearned = train(Case(task=task, splits=splits), recipe, CPU)
    assert made.model.bias.item() == pytest.approx(0.1 * 2 * (1 * 1 + 2 * 3) / 4)
    # What is measured and monitored does not use them.
    assert evaluate(zero(), Case(task=task, splits=splits), "train_eval", torch.arange(4), CPU) == pytest.approx(7.5)


def test_weights_in_a_mapping_are_not_passed_to_the_model() -> None:
    task = MappingTask(linear, "mse", weights="weight")
    batch = {"input": torch.ones(2, 2), "weight": torch.tensor([1.0, 3.0]), "labels": torch.zeros(2)}
    prediction = task.predict(linear(), batch)
    losses = task.training_loss(prediction, task.target(batch), batch)
    torch.testing.assert_close(losses, prediction**2 * batch["weight"])
    with pytest.raises(ModelError, match="'weight'"):
        task.weights({"labels": torch.zeros(2)})


class Masked(TensorTask):
    """Batches are (inputs, mask, targets); outputs whose mask is 0 are unknown."""

    def predict(self, model: nn.Module, batch: Any) -> Tensor:
        return model(batch[0])

    def target(self, batch: Any) -> Tensor:
        found: Tensor = batch[2].masked_fill(batch[1] == 0, torch.nan)
        return found


class Rate(TensorTask):
    """Batches are (inputs, exposure, counts): a rate is predicted, and counts are rates times exposure."""

    def predict(self, model: nn.Module, batch: Any) -> Tensor:
        return model(batch[0]).squeeze(1).exp() * batch[1]


def test_masked_outputs_have_no_gradient() -> None:
    targets, mask = torch.stack([Y, torch.full((40,), 1e6)], 1), torch.tensor([[1.0, 0.0]]).expand(40, 2)
    splits = Splits(train=TensorDataset(X, mask, targets))
    made = train(Case(task=Masked(lambda: linear(2, 2)), splits=splits), Recipe(epochs=2, lr=0.1), CPU)
    assert torch.equal(made.model.weight[1], made.start.weight[1])
    assert not torch.equal(made.model.weight[0], made.start.weight[0])


def test_masked_outputs_are_not_measured() -> None:
    known = torch.tensor([[1.0, 1.0], [1.0, 0.0]]).repeat(20, 1)
    targets = torch.stack([Y, Y], 1).masked_fill(known == 0, 1e6)
    splits = Splits(train=TensorDataset(X, known, targets), test=TensorDataset(X + 0.5, known, targets))
    task = Masked(lambda: linear(2, 2), "mse", outputs=["a", "b"])
    request = ForgetRequest(size=40, forget=(1, 2), reason="test")
    model = linear(2, 2)
    report = audit(Case(task=task, splits=splits, request=request), {"original": model}, CPU, metrics=[Errors()])
    off = (model(X + 0.5).detach()[:, 1] - Y)[known[:, 1] == 1].abs().mean()
    assert report.value("mae of b", "test-retain", "original") == pytest.approx(float(off), rel=1e-5)


def test_an_offset_belongs_to_the_prediction() -> None:
    model, exposure = linear(), torch.full((40,), 2.0)
    prediction = Rate(linear).predict(model, [X, exposure, Y])
    torch.testing.assert_close(prediction, 2 * model(X).squeeze(1).exp())


def test_weights_of_another_shape_are_refused() -> None:
    task = TensorTask(linear, "mse", weights=True)
    losses = torch.tensor([1.0, 2.0])
    assert task.weighed(losses, [X[:2], Y[:2], torch.tensor([[3.0], [0.5]])]).tolist() == [3.0, 1.0]
    with pytest.raises(ModelError, match="weights of shape"):
        task.weighed(losses, [X[:2], Y[:2], torch.ones(3)])


def test_ascent_is_bounded_before_it_is_weighed() -> None:
    x, y, w = torch.zeros(4, 2), torch.tensor([0.0, 0.0, 0.0, 10.0]), torch.tensor([1.0, 1.0, 1.0, 100.0])
    case = Case(
        task=TensorTask(linear, "mse", weights=True),
        splits=Splits(train=TensorDataset(x, y, w)),
        request=ForgetRequest(size=4, forget=(3,), reason="test"),
    )
    model = linear()
    with torch.no_grad():
        model.bias.fill_(4.0)  # a loss of 36, of which the constant's 100 is the bound
    (batch,) = CPU.load(case.source("train"), [torch.tensor([3])])
    assert float(NegGradPlus()._bounded_loss(case)(model, batch)) == pytest.approx(100 * 36)
    assert float(NegGradPlus(bound=5.0)._bounded_loss(case)(model, batch)) == pytest.approx(100 * 5)


def test_predictions_that_are_not_finite_stay_so() -> None:
    task = TensorTask(linear, scaler=StandardScaler().fit(Y.numpy()[:, None]))
    found = task.to_units(torch.tensor([0.0, torch.inf, torch.nan]))
    assert found[0] == pytest.approx(float(Y.mean()), rel=1e-5) and found[1] == torch.inf and found[2].isnan()


def test_a_scaler_of_several_columns_serves_a_horizon() -> None:
    columns = torch.stack([Y, Y * 100], 1)
    scaler = StandardScaler().fit(columns.numpy())
    horizon = torch.stack([columns, columns], 1)  # (n, 2 steps, 2 outputs)
    task = TensorTask(linear, scaler=scaler)
    torch.testing.assert_close(task.to_units(task.to_model(horizon)), horizon.double(), rtol=1e-5, atol=1e-5)
