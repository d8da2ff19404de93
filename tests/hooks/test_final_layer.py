"""Closed-form features of the final linear layer equal a slow loop of one backward pass per sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.data import TensorDataset

import unregress
from unregress.data.loading import Source
from unregress.errors import ModelError
from unregress.metrics import Membership, Representation
from unregress.metrics.predictions import Predictions
from unregress.tasks.losses import PerSampleLoss
from unregress.training.runtime import Precision

SAMPLES, STEPS, WIDTH = 6, 6, 4  # as many steps as samples: axes cannot be told apart by their lengths


class Net(nn.Module):
    """A body, the final linear layer `head`, and what follows it."""

    def __init__(self, outputs: int = 1, *, bias: bool = True, after: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(WIDTH, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.5))
        self.head = nn.Linear(5, outputs, bias=bias)
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        z = self.head(self.body(x))
        return z if self.after is None else self.after(z)


class HeadFirst(nn.Module):
    """The layer that runs last is defined first."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(5, 1)
        self.body = nn.Linear(WIDTH, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).relu())


class Recurrent(nn.Module):
    """The head runs on every step; the last step is the prediction."""

    def __init__(self, *, batch_first: bool = True) -> None:
        super().__init__()
        self.body = nn.LSTM(2, 5, batch_first=batch_first)
        self.head = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.body.batch_first:
            return self.head(self.body(x)[0])[:, -1]
        return self.head(self.body(x.transpose(0, 1))[0])[-1]


class Forecast(nn.Module):
    """One head, called once per step on a state that holds the step's own prediction."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.GRUCell(WIDTH + 1, 5)
        self.head = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        state, predictions = None, [x.new_zeros(len(x), 1)]
        for _ in range(3):
            state = self.body(torch.cat([x, predictions[-1]], 1), state)
            predictions.append(self.head(state))
        return torch.cat(predictions[1:], 1)


class LastOfForecast(Forecast):
    """Calls of the head whose outputs do not reach the prediction."""

    def forward(self, x: Tensor) -> Tensor:
        states = [self.body(torch.cat([x, x[:, :1]], 1))]
        states.append(self.body(torch.cat([x, x[:, 1:2]], 1), states[0]))
        return [self.head(state) for state in states][-1]


class Token(HeadFirst):
    """A parameter of the whole model's own, as the class token of a vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + self.token)


class ByKeyword(HeadFirst):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(input=self.body(x).relu())


class Squeezed(HeadFirst):
    """Drops every axis of length one before its head: one sample alone loses its sample axis."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x[:, None]).relu().squeeze())


flat, sequence = (WIDTH,), (STEPS, 2)

CASES: dict[str, tuple[Callable[[], nn.Module], str | PerSampleLoss, tuple[int, ...], tuple[int, ...]]] = {
    "squeezed": (Net, "l1", flat, ()),
    "sigmoid times 5": (lambda: Net(after=lambda z: torch.sigmoid(z) * 5), "mse", flat, ()),
    "several outputs": (lambda: Net(3), "mse", flat, (3,)),
    "grid of outputs": (lambda: Net(6, after=lambda z: z.reshape(-1, 2, 3)), unregress.Huber(0.5), flat, (2, 3)),
    "quantiles": (lambda: Net(3), "quantile", flat, ()),
    "quantiles of several outputs": (
        lambda: Net(6, after=lambda z: z.reshape(-1, 2, 3)),
        unregress.Quantile((0.1, 0.5, 0.9)),
        flat,
        (2,),
    ),
    "no bias": (lambda: Net(2, bias=False), "mse", flat, (2,)),
    "lstm, all steps": (Recurrent, "mse", sequence, ()),
    "lstm, time first": (lambda: Recurrent(batch_first=False), "mse", sequence, ()),
    "head defined first": (HeadFirst, "mse", flat, ()),
    "head called per step": (Forecast, "mse", flat, (3,)),
    "a call without effect": (LastOfForecast, "mse", flat, ()),
    "parameter of the whole": (Token, "mse", flat, ()),
    "changed in place": (lambda: Net(after=lambda z: z.sub_(0.1).sigmoid_()), "mse", flat, ()),
    "called by keyword": (ByKeyword, "mse", flat, ()),
    "squeezing model": (Squeezed, "mse", flat, ()),
    "weights frozen": (lambda: Net().requires_grad_(False), "mse", flat, ()),
    "only a linear layer": (lambda: nn.Linear(WIDTH, 1), "mse", flat, ()),
}


def example(name: str) -> tuple[nn.Module, unregress.TensorTask, Tensor, Tensor]:
    make, loss, shape, out = CASES[name]
    torch.manual_seed(3)
    model = make().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            assert module.running_mean is not None
            module.running_mean.normal_()  # statistics of its own, so that evaluation mode matters
    x, y = torch.randn(SAMPLES, *shape), torch.randn(SAMPLES, *out)
    return model, unregress.TensorTask(build_model=make, loss=loss), x, y


def ask(model: nn.Module, task: unregress.TensorTask, x: Tensor, y: Tensor, **options: object) -> Predictions:
    source = Source(TensorDataset(x, y), torch.zeros(len(x), dtype=torch.bool))
    runtime = unregress.Runtime(accelerator="cpu", **options)  # type: ignore[arg-type]
    return unregress.collect(model, task, source, runtime, features=True)


def slow_loop(model: nn.Module, task: unregress.TensorTask, x: Tensor, y: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Activation and gradient by the definition: one sample, one backward pass, all calls of the head."""
    head = model if isinstance(model, nn.Linear) else model.get_submodule("head")
    model.requires_grad_(True)
    activations, gradients = [], []
    for row in range(len(x)):
        calls: list[Tensor] = []
        handle = head.register_forward_hook(
            lambda _, args, kwargs, __, calls=calls: calls.append(
                (args[0] if args else kwargs["input"]).detach().clone()
            ),
            with_kwargs=True,
        )
        batch = [x[row : row + 1], y[row : row + 1]]
        (loss,) = task.checked_loss(task.predict(model, batch), batch[1])
        handle.remove()
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(head.parameters()))]))
        activations.append(torch.cat([call.flatten() for call in calls]))
    return torch.stack(activations).numpy(), torch.stack(gradients).numpy()


@pytest.mark.parametrize("batch_size", [2, 4, 100])
@pytest.mark.parametrize("name", CASES)
def test_features_equal_one_backward_pass_per_sample(name: str, batch_size: int) -> None:
    model, task, x, y = example(name)
    found = ask(model, task, x, y, evaluation_batch_size=batch_size)
    activation, gradient = slow_loop(model, task, x, y)
    assert found.gradient == pytest.approx(gradient, abs=1e-5)
    assert found.activation == pytest.approx(activation, abs=1e-5)
    assert np.abs(gradient).max() > 1e-3, "the comparison compares nothing"


def test_a_single_sample_has_features() -> None:
    model, task, x, y = example("squeezed")
    found = ask(model, task, x[:1], y[:1])
    activation, gradient = slow_loop(model, task, x[:1], y[:1])
    assert found.gradient == pytest.approx(gradient, abs=1e-5)
    assert found.activation == pytest.approx(activation, abs=1e-5)


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed", "bf16-true"])
def test_features_exist_in_every_precision(precision: Precision) -> None:
    model, task, x, y = example("squeezed")
    found = ask(model, task, x, y, precision=precision)
    activation, gradient = slow_loop(model, task, x, y)
    tolerance = 1e-5 if precision == "64-true" else 0.05
    assert found.gradient == pytest.approx(gradient, abs=tolerance)
    assert found.activation == pytest.approx(activation, abs=tolerance)


def test_the_answers_are_the_same_with_and_without_features() -> None:
    model, task, x, y = example("sigmoid times 5")
    with_features = ask(model, task, x, y)
    source = Source(TensorDataset(x, y), torch.zeros(len(x), dtype=torch.bool))
    without = unregress.collect(model, task, source, unregress.Runtime(accelerator="cpu"))
    assert np.array_equal(with_features.prediction, without.prediction)
    assert np.array_equal(with_features.loss, without.loss)


class Convolution(nn.Module):
    """Ends in no linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(WIDTH, WIDTH)
        self.conv = nn.Conv1d(1, 1, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.body(x)[:, None]).flatten()


def test_a_weight_normalised_head_is_a_linear_layer() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, 5), weight_norm(nn.Linear(5, 1, bias=False)))
    task = unregress.TensorTask(build_model=lambda: model)
    found = ask(model, task, torch.randn(6, WIDTH), torch.randn(6))
    assert found.gradient is not None and found.gradient.shape == (6, 5)


def test_a_model_without_final_linear_layer_is_audited_without_looking_into_it() -> None:
    torch.manual_seed(0)
    task = unregress.TensorTask(build_model=Convolution)
    x, y = torch.randn(60, WIDTH), torch.randn(60)
    with pytest.raises(ModelError, match="'conv', a Conv1d") as refused:
        ask(Convolution(), task, x, y)
    assert "features=('loss',)" in refused.value.remedy
    case = unregress.Case(
        task=task,
        splits=unregress.Splits(
            train=TensorDataset(x[:40], y[:40]),
            test=TensorDataset(x[40:], y[40:]),
        ),
        request=unregress.ForgetRequest.random(40, 10, seed=0, reason="test"),
    )
    models = {"original": Convolution()}
    runtime = unregress.Runtime(accelerator="cpu")
    found = unregress.audit(case, models, runtime, metrics=[unregress.Errors(), Representation(), Membership()])
    assert {measure.metric for measure in found.measures if measure.value is not None} == {"mae", "rmse"}
    (said,) = [caveat for caveat in found.caveats if "final linear layer were left out" in caveat]
    assert "Model 'original': The model's last layer with weights is 'conv', a Conv1d" in said
    report = unregress.audit(case, models, runtime, metrics=[Membership(features=("loss",))])
    share = report.value("attack", "train-forget", "original")
    assert share is not None and 0 <= share <= 1
