"""Train a module by skorch's `NeuralNetRegressor`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Generator, Tensor, nn, optim

from unregress.errors import SettingError
from unregress.trainers.common import (
    finished,
    interruptible,
    library,
    made_by,
    require_no_augment,
    require_settings,
    seeded,
)
from unregress.training.from_scratch import TrainingData


@dataclass(frozen=True, kw_only=True)
class SkorchTraining:
    """Train by skorch: a training function for any module that is called with a batch's inputs.

    Differences from skorch's defaults: batches are shuffled, in an order that follows the seed; there is no output;
    the validation samples, if there are any, take the place of a fifth of the training samples; and targets of the
    shape (n,) fit predictions of the shape (n, 1).

    >>> from unregress import SkorchTraining
    >>> training = SkorchTraining(settings={"max_epochs": 20, "lr": 0.01, "batch_size": 64})

    Raises:
        SettingError: settings are of another kind; or, when called, skorch is not installed, or the data have an
            `augment`.
        DataError: when called, targets and predictions differ in shape.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `skorch.NeuralNetRegressor`, such as `max_epochs`, `optimizer` and `optimizer__momentum`.  The name
    of a class of `torch.optim` or `torch.nn` may stand for the class, as in `optimizer: Adam`."""
    callbacks: Callable[..., Any] | None = None
    """A function without arguments that makes the callbacks, since they hold the state of one training."""
    net: Callable[..., Any] | None = None
    """A class derived from `NeuralNet`, or a function with the same arguments; by default `NeuralNetRegressor`."""

    def __post_init__(self) -> None:
        factories = {"callbacks": self.callbacks, "net": self.net}
        require_settings("SkorchTraining", {"settings": self.settings}, factories)
        _with_classes(self.settings)

    def __call__(self, data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
        """Train `start` in place, and return it.

        Args:
            data: the samples to train on and to validate.
            start: the module with the initial weights.
            seed: of batch order, dropout and other random draws.
        """
        skorch = library("skorch", "skorch")
        require_no_augment(data, "skorch")
        make = _regressor(skorch) if self.net is None else self.net
        held_out = (
            None if data.validation is None else library("skorch.helper", "skorch").predefined_split(data.validation)
        )
        given: dict[str, Any] = {
            "verbose": 0,
            "train_split": held_out,
            "iterator_train__shuffle": True,
            "iterator_train__generator": Generator().manual_seed(seed),
            **_with_classes(self.settings),
        }
        if data.collate is not None:
            given = {"iterator_train__collate_fn": data.collate, "iterator_valid__collate_fn": data.collate, **given}
        if self.callbacks is not None:
            given["callbacks"] = made_by(self.callbacks)
        with seeded(seed), interruptible():
            make(start, **given).fit(data.train, None)
        return finished(start)


def _regressor(skorch: Any) -> Any:
    """Skorch's `NeuralNetRegressor`, for which targets of the shapes (n,) and (n, 1) mean the same."""

    class NeuralNetRegressor(skorch.NeuralNetRegressor):  # type: ignore[misc] # skorch is imported when it is used
        def get_loss(self, y_pred: Any, y_true: Any, *arguments: Any, **options: Any) -> Any:
            tensors = isinstance(y_pred, Tensor) and isinstance(y_true, Tensor)
            if tensors and y_pred.shape in ((*y_true.shape, 1), y_true.shape[:-1]) and y_pred.numel() == y_true.numel():
                y_true = y_true.reshape(y_pred.shape)
            return super().get_loss(y_pred, y_true, *arguments, **options)

    return NeuralNetRegressor


def _with_classes(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in which the names of an optimiser's and a criterion's class are replaced by the classes."""
    found = dict(settings)
    for name, module in (("optimizer", optim), ("criterion", nn)):
        if isinstance(value := found.get(name), str):
            if not isinstance(kind := getattr(module, value, None), type):
                raise SettingError(
                    f"SkorchTraining.settings has {name}={value!r}",
                    expected=f"the name of a class of {module.__name__}",
                )
            found[name] = kind
    return found
