"""The models, batch structures and methods that the contract tests run over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from inspect import isabstract
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from support.small_cases import Listed, flat_case, mlp, numbers, weights
from unregress import (
    Blindspot,
    Case,
    ForgetRequest,
    MappingTask,
    Method,
    Recipe,
    Task,
    TensorTask,
    Unlearned,
    methods,
)
from unregress.tasks.losses import Huber, PerSampleLoss, Quantile

SAMPLES, FORGET = 24, (0, 3, 5, 11, 17)
RETAIN = tuple(i for i in range(SAMPLES) if i not in FORGET)
BRIEF = Recipe(epochs=2, lr=0.01, batch_size=8)

SETTINGS: dict[str, dict[str, Any]] = {
    "UniformAmnesiac": {"low": 0, "high": 10},
    "Blindspot": {"layers": 1},
}
"""Settings of methods whose defaults do not suit these small models."""


def brief(kind: type[Method], **settings: Any) -> Method:
    """Build a method of a class, with short recipes."""
    recipes = {each.name: BRIEF for each in fields(kind) if isinstance(each.default, Recipe)}
    return kind(**recipes, **SETTINGS.get(kind.__name__, {}), **settings)


METHODS: dict[str, Method] = {
    name: brief(kind)
    for name, kind in vars(methods).items()
    if name in methods.__all__ and isinstance(kind, type) and issubclass(kind, Method) and not isabstract(kind)
} | {"Blindspot-raw": brief(Blindspot, attention="raw")}
"""Every public method of the library, by name."""


def with_recipe(method: Method, **changes: Any) -> Method:
    """Change fields of all of a method's recipes, the helper's included."""
    own = {each.name: getattr(method, each.name) for each in fields(method)}
    return replace(method, **{name: replace(it, **changes) for name, it in own.items() if isinstance(it, Recipe)})


class Recurrent(nn.Module):
    """An LSTM over (batch, time, features) that predicts from its last output."""

    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(3, 4, batch_first=batch_first), nn.Linear(4, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        output, _ = self.rnn(inputs if self.rnn.batch_first else inputs.transpose(0, 1))
        return self.head(output[:, -1] if self.rnn.batch_first else output[-1])


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 1)
    )


def batch_normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))


def dropping_out() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))


def log_cosh(prediction: Tensor, target: Tensor) -> Tensor:
    """A user-defined per-sample loss."""
    return torch.log(torch.cosh((prediction - target).clamp(-20, 20)))


@dataclass(frozen=True)
class Kind:
    """A model builder with the shapes of its data and a loss."""

    build: Callable[[], nn.Module]
    inputs: tuple[int, ...] = (3,)
    outputs: tuple[int, ...] = ()
    loss: str | PerSampleLoss = "l1"

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Inputs, and targets that depend on them; several outputs have equal targets."""
        inputs = numbers(SAMPLES, *self.inputs)
        targets = 5 + 3 * inputs.flatten(1).sum(1)
        return inputs, targets.reshape(-1, *(1 for _ in self.outputs)).expand(-1, *self.outputs)

    def case(self, **more: Any) -> Case:
        data = more.pop("train", None) or TensorDataset(*self.tensors())
        request = more.pop("request", None) or ForgetRequest(size=len(data), forget=FORGET, reason="test")
        return flat_case(task=TensorTask(self.build, self.loss), request=request, train=data, **more)


MODELS: dict[str, Kind] = {
    "mlp": Kind(mlp),
    "batchnorm": Kind(batch_normalised),
    "dropout": Kind(dropping_out),
    "lstm-batch-first": Kind(lambda: Recurrent(batch_first=True), inputs=(4, 3)),
    "lstm-time-first": Kind(lambda: Recurrent(batch_first=False), inputs=(4, 3)),
    "conv": Kind(convolutional, inputs=(2, 6, 6)),
    "outputs": Kind(lambda: mlp(outputs=3), outputs=(3,), loss="mse"),
    "quantile": Kind(lambda: mlp(outputs=3), loss=Quantile()),
    "huber": Kind(mlp, loss=Huber(0.5)),
    "own-loss": Kind(mlp, loss=log_cosh),
}


class Halves(nn.Module):
    """A model with dropout, which reveals different random draws, and with one or two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.net = dropping_out()

    def forward(self, left: Tensor, right: Tensor | None = None) -> Tensor:
        return self.net(left if right is None else torch.cat([left, right], 1))


class NestedTask(Task[dict[str, Any]]):
    """A task whose batches are nested: `{"inputs": [left, (right,)], "meta": {"y": targets}}`."""

    def build_model(self) -> nn.Module:
        return Halves()

    def predict(self, model: nn.Module, batch: dict[str, Any]) -> Tensor:
        left, (right,) = batch["inputs"]
        return model(left, right).squeeze(1)

    def target(self, batch: dict[str, Any]) -> Tensor:
        return batch["meta"]["y"]

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction - target).abs()


def structured(name: str, inputs: Tensor, targets: Tensor) -> tuple[Task[Any], Dataset[Any]]:
    """Task and dataset for the same samples and model in one of the batch structures `STRUCTURES`."""
    left, right = inputs[:, :2], inputs[:, 2:]
    match name:
        case "tuple":
            return TensorTask(Halves), TensorDataset(inputs, targets)
        case "streaming":
            return TensorTask(Halves), Listed(inputs, targets)
        case "inputs":
            # The second input is an optional argument of the model, so the number of inputs must be given.
            return TensorTask(Halves, inputs=2), TensorDataset(left, right, targets)
        case "dict":
            items = Listed(left, right, targets, item=lambda a, b, y: {"left": a, "right": b, "labels": y})
            return MappingTask(Halves), items
        case _:
            return NestedTask(), Listed(
                left, right, targets, item=lambda a, b, y: {"inputs": [a, (b,)], "meta": {"y": y}}
            )


STRUCTURES = ("tuple", "streaming", "inputs", "dict", "nested")


def trained_on(kind: Kind, seed: int = 0) -> nn.Module:
    """Build a model of a kind with weights drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind.build()


def same(first: Unlearned, second: Unlearned) -> bool:
    """Whether two results have bit-identical weights and buffers, and the same history."""
    return weights(first.model) == weights(second.model) and first.history == second.history
