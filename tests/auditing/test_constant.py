"""The rows for scale: the median of the retained targets in every form of output, and what a helper does by itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import unregress
from support.bump_case import RUNTIME, TRAIN, Rows, net, numbers, small_case, table
from support.hand_panels import seen
from unregress import ForecastingTask
from unregress.auditing.assemble import CONSTANT, constant
from unregress.errors import ModelError
from unregress.metrics.base import Subject
from unregress.metrics.predictions import Predictions

FORGET = (0, 3)
TARGETS = [100.0, 1.0, 4.0, 200.0, 2.0, 3.0, 9.0]  # retained 1, 2, 3, 4, 9: median 3
ASKED = [3.0, 5.0, -1.0]
ERRORS = [0.0, 2.0, 4.0]  # of 3 from those


def case(targets: Tensor, task: unregress.Task[Any]) -> unregress.Case:
    request = unregress.ForgetRequest(size=len(targets), forget=FORGET, reason="test")
    return unregress.Case(
        task=task, splits=unregress.Splits(train=TensorDataset(torch.ones(len(targets), 2), targets)), request=request
    )


def like(model: nn.Module, targets: Tensor, asked: Any) -> Subject:
    """A model that was asked about the retained training samples and some others."""
    kept = np.delete(targets.double().numpy(), FORGET, axis=0)
    parts = {
        "train-retain": seen(np.zeros_like(kept), kept),
        "test-retain": seen(np.zeros_like(np.asarray(asked)), asked),
    }
    return Subject(name="original", role="original", model=model, parts=parts)


def found(targets: Tensor, task: unregress.Task[Any], asked: Any = ASKED) -> Predictions:
    """What the constant says about some samples."""
    subject = constant(case(targets, task), like(task.build_model(), targets, asked), RUNTIME)
    assert (subject.name, subject.role, subject.model) == (CONSTANT, "reference", None)
    return subject.parts["test-retain"]


def test_by_hand() -> None:
    answer = found(torch.tensor(TARGETS), unregress.TensorTask(build_model=lambda: nn.Linear(2, 1), loss="l1"))
    assert answer.prediction.tolist() == [3, 3, 3]
    assert answer.target.tolist() == ASKED
    assert answer.loss.tolist() == ERRORS
    assert answer.activation is None and answer.gradient is None


def test_the_loss_is_the_tasks() -> None:
    answer = found(torch.tensor(TARGETS), unregress.TensorTask(build_model=lambda: nn.Linear(2, 1), loss="mse"))
    assert answer.loss.tolist() == [0, 4, 16]


def test_of_an_even_number_the_lower_middle_and_whole_numbers_are_numbers() -> None:
    answer = found(torch.tensor([9, 1, 4, 9, 2, 3]), unregress.TensorTask(build_model=lambda: nn.Linear(2, 1)))
    assert answer.prediction.tolist() == [2, 2, 2]  # of 1, 2, 3, 4


@pytest.mark.parametrize("shape", [(-1, 1), (-1, 1, 1)])
def test_a_single_output_in_its_own_axis(shape: tuple[int, ...]) -> None:
    class Shaped(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).reshape(shape)

    task = unregress.TensorTask(build_model=lambda: Shaped(2, 1))
    answer = found(torch.tensor(TARGETS).reshape(shape), task, np.reshape(ASKED, shape))
    assert answer.prediction.tolist() == np.full(np.shape(answer.target), 3.0).tolist()
    assert answer.loss.tolist() == ERRORS


def test_every_output_has_its_own_median() -> None:
    targets = torch.tensor(TARGETS)
    two = torch.stack([targets, 10 * targets], dim=1)
    asked = [[3.0, 30.0], [5.0, 20.0], [-1.0, 32.0]]
    answer = found(two, unregress.TensorTask(build_model=lambda: nn.Linear(2, 2)), asked)
    assert answer.prediction.tolist() == [[3, 30]] * 3
    assert answer.loss.tolist() == [0, 6, 3]  # the means of 0 and 0, 2 and 10, 4 and 2


@pytest.mark.parametrize("levels", [(0.1, 0.5, 0.9), (0.5,), (0.25, 0.75)])
def test_every_quantile_level_is_the_median(levels: tuple[float, ...]) -> None:
    """Errors 0, 2, -4: a level q of the pinball loss takes q · 2 and (1 - q) · 4."""
    task = unregress.TensorTask(build_model=lambda: nn.Linear(2, len(levels)), loss=unregress.Quantile(levels))
    answer = found(torch.tensor(TARGETS), task)
    assert answer.prediction.tolist() == [3, 3, 3]
    assert answer.loss == pytest.approx([0, 2 * sum(levels), 4 * sum(1 - q for q in levels)])


def test_forecasts_have_a_median_for_each_step() -> None:
    """Targets (n, horizon) and outputs (n, horizon, levels) of another adapter."""

    class Forecaster(nn.Module):
        def forward(self, x: dict[str, Tensor]) -> Any:
            return SimpleNamespace(prediction=torch.zeros(len(x["encoder"]), 2, 3))

    targets = torch.tensor(TARGETS)
    steps = torch.stack([targets, targets + 1], dim=1)
    task = ForecastingTask(Forecaster)
    request = unregress.ForgetRequest(size=7, forget=FORGET, reason="test")
    train = TensorDataset(torch.ones(7, 2), steps)

    def collate(rows: list[tuple[Tensor, Tensor]]) -> Any:
        x, y = (torch.stack(values) for values in zip(*rows, strict=True))
        return {"encoder": x}, (y, None)

    made = constant(
        unregress.Case(
            task=task, splits=unregress.Splits(train=Rows(*train.tensors), collate=collate), request=request
        ),
        like(Forecaster(), steps, [[5.0, 2.0]]),
        RUNTIME,
    )
    answer = made.parts["test-retain"]
    assert answer.prediction.tolist() == [[3, 4]]
    # Errors 2 and -2: 0.1 + 0.5 + 0.9 times 2 either way.
    assert answer.loss == pytest.approx([3])


class Normal(unregress.TensorTask):
    """A mean and a variance: the negative log-likelihood of a normal distribution, up to a constant."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__(build_model=lambda: nn.Linear(2, outputs))

    def point(self, prediction: Tensor) -> Tensor:
        return prediction[..., 0]

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        mean, variance = prediction.unbind(-1)
        return variance.log() + (target - mean) ** 2 / variance


def test_outputs_of_another_kind_are_filled_alike_while_that_is_a_number() -> None:
    answer = found(torch.tensor(TARGETS), Normal())
    assert answer.prediction.tolist() == [3, 3, 3]
    assert answer.loss == pytest.approx(np.log(3) + np.array([0, 4 / 3, 16 / 3]))


def test_where_they_have_no_loss_the_absolute_error_stands_in() -> None:
    """A variance of -3 has no logarithm."""
    answer = found(-torch.tensor(TARGETS), Normal(), [-value for value in ASKED])
    assert answer.prediction.tolist() == [-3, -3, -3]
    assert answer.loss.tolist() == ERRORS


class Refusing(unregress.TensorTask):
    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        raise ModelError("Outputs must rise from level to level")


def test_a_task_that_refuses_the_constant_has_its_absolute_error() -> None:
    answer = found(torch.tensor(TARGETS), Refusing(build_model=lambda: nn.Linear(2, 1)))
    assert answer.loss.tolist() == ERRORS


class Other(unregress.TensorTask):
    """Two outputs, of which the target is one: no axis of the output continues the target's."""

    def point(self, prediction: Tensor) -> Tensor:
        return prediction[:, :1]

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction[:, 1] - target[:, 0]).abs()


def test_outputs_that_do_not_continue_the_targets_axes_leave_the_absolute_error() -> None:
    task = Other(build_model=lambda: nn.Linear(2, 2))
    answer = found(torch.tensor(TARGETS)[:, None], task, np.array(ASKED)[:, None])
    assert answer.prediction.tolist() == [[3], [3], [3]]
    assert answer.loss.tolist() == ERRORS


def test_the_constant_speaks_of_every_part_and_of_the_same_samples() -> None:
    report = unregress.audit(small_case(), {"original": net()}, RUNTIME, metrics=[unregress.Errors()])
    _, y = table()
    kept = y[TRAIN] < 62
    middle = y[TRAIN][kept].median()
    errors = {
        "train-retain": (y[TRAIN][kept] - middle).abs().mean(),
        "train-forget": (y[TRAIN][~kept] - middle).abs().mean(),
    }
    for part, error in errors.items():
        assert report.value("mae", part, CONSTANT) == pytest.approx(float(error), rel=1e-6)
    assert {split for _, split, model in numbers(report) if model == CONSTANT} == {
        split for _, split, model in numbers(report) if model == "original"
    }
    row = report.models[-1]
    assert (row.name, row.role, str(row.record)) == ("constant", "reference", "the median of the retained targets")


def test_the_helper_of_each_model_that_had_one_has_a_row_and_is_asked_itself(
    case: unregress.Case, original: unregress.Unlearned
) -> None:
    recipe = unregress.Recipe(epochs=1, lr=0.01, batch_size=64)
    taught = unregress.Blindspot(layers=1, helper=recipe, recipe=recipe).unlearn(original.model, case, RUNTIME)
    tuned = unregress.FineTune(recipe=recipe).unlearn(original.model, case, RUNTIME)
    assert taught.helper is not None
    models = {"original": original, "blindspot": taught, "fine-tuned": tuned, "bare": taught.model}
    report = unregress.audit(case, models, RUNTIME, metrics=[unregress.Errors()])
    assert [(model.name, model.role) for model in report.models] == [
        ("original", "original"),
        ("blindspot", "unlearned"),
        ("fine-tuned", "unlearned"),
        ("bare", "unlearned"),
        ("blindspot's helper", "reference"),
        ("constant", "reference"),
    ]
    alone = unregress.audit(case, {"original": original, "one": taught.helper}, RUNTIME, metrics=[unregress.Errors()])
    for metric, part, model in numbers(alone):
        if model == "one":
            assert report.value(metric, part, "blindspot's helper") == alone.value(metric, part, "one")
            assert report.value(metric, part, "blindspot's helper") != report.value(metric, part, "blindspot")
