"""Train a model from its initial weights: by a `Recipe`, or by a function of the user's."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from unregress.cost import Cost
from unregress.data.case import Case
from unregress.data.loading import Augment, Collate
from unregress.data.request import Index
from unregress.data.splits import Weights
from unregress.data.subsets import subset
from unregress.errors import DivergenceError, ModelError, SettingError
from unregress.evidence.long_values import shortened
from unregress.evidence.model_record import plain, settings_of
from unregress.tasks.unwrap import not_finite, private_copy, unwrapped
from unregress.training.fresh_model import architecture_differences
from unregress.training.loop import Fitted, fit
from unregress.training.objective import Objective, Watched, task_loss
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime
from unregress.training.target_shapes import same_shapes


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The data that a training function may read."""

    train: Dataset[Any]
    """The samples to train on, and no others."""
    validation: Dataset[Any] | None
    """Held-out samples that the training may monitor, for example to stop early; those of the kind that is forgotten
    are left out.  None if there are none."""
    rows: Index
    """Position in the whole training set of each sample of `train`, to select the user's own values for each sample;
    `(n,)` int64."""
    weights: Weights | None = None
    """The weight of each sample of `train`, from `Splits.weights`, for a sampler or a weighted loss that the training
    function applies itself; `(n,)` float64.  None if there are none."""
    collate: Collate | None = None
    """The `collate` of the splits."""
    augment: Augment | None = None
    """The `augment` of the splits; the training function applies it itself."""


TrainingFunction = Callable[[TrainingData, nn.Module, int], nn.Module]
"""(data, start, seed) -> trained model.  `start` holds the initial weights and may be trained in place; two calls with
the same seed train the same model, calls with different seeds differ in batch order and other random draws."""
if TYPE_CHECKING:
    Training = Recipe | TrainingFunction
    """How models are trained from scratch: settings for the library's own loop, or a function."""
else:
    # The command line makes options from annotations: there `recipe` has settings, and `--training` names a function.
    Training = Recipe


def train_from(
    start: nn.Module,
    case: Case,
    training: Training,
    rows: Index,
    runtime: Runtime,
    *,
    stage: str,
    validation: Watched,
    left_out: Index | None = None,
) -> tuple[nn.Module, Fitted]:
    """Train a model on rows of the training set.

    Args:
        start: the initial weights; trained in place.
        case: the task and the data.
        training: how to train.
        rows: positions of the rows to train on.
        left_out: rows among them that are not read, while a recipe takes the others in the order of a training with
            them; a training function is given the others only.
        runtime: device, precision and seed.
        stage: name of this training in the history and of its random streams.
        validation: the validation samples that the training may monitor, see `Objective.validation`.

    Returns:
        The trained model, and its history and cost.  The passes of a training function are not known.

    Raises:
        DivergenceError: the training diverged.
        DataError: a training function compares predictions and targets of different shapes.
        ModelError: a training function does not return a model of the architecture.
        SettingError: a training function is to run in several processes, or in another precision.
    """
    unread = None if left_out is None else torch.from_numpy(left_out)
    objective = Objective.over(torch.from_numpy(rows), task_loss(case), validation=validation, left_out=unread)
    if isinstance(training, Recipe):
        return start, fit(start, case, training, objective, runtime, stage=stage)
    require_possible(training, runtime)
    rows = rows if left_out is None else np.setdiff1d(rows, left_out)
    started = time.perf_counter()
    like = private_copy(start)
    watched, weights = objective.validation_rows(case), case.splits.weight_array
    data = TrainingData(
        train=subset(case.splits.train, rows.tolist()),
        validation=None
        if watched is None or case.splits.validation is None
        else subset(case.splits.validation, watched.tolist()),
        rows=rows,
        weights=None if weights is None else weights[rows],
        collate=case.splits.collate,
        augment=case.splits.augment,
    )
    with runtime.isolated_rng(stage), same_shapes():
        trained = _require_trained(training(data, start, runtime.seed), like, training)
    return trained, Fitted(history=(), cost=Cost(seconds=time.perf_counter() - started))


def require_training(training: object) -> None:
    """Refuse what is no training.

    Raises:
        SettingError: it is neither a recipe nor a function.
    """
    if not isinstance(training, Recipe) and not callable(training):
        raise SettingError(
            f"The training is of type {type(training).__name__}",
            expected="a `Recipe`, or a function `(data, start, seed) -> model`",
            remedy="Pass the function itself; only `unregress.yaml` and options name it by its import path"
            if isinstance(training, str)
            else "",
        )


def require_possible(training: Training, runtime: Runtime) -> None:
    """Refuse settings of a runtime that a training function does not see.

    Raises:
        SettingError: it is no training, or is to run in several processes or another precision than `32-true`.
    """
    require_training(training)
    if isinstance(training, Recipe):
        return
    found = []
    if runtime.process_group.world_size > 1:
        found.append(f"{runtime.process_group.world_size} processes")
    if runtime.precision != "32-true":
        found.append(f"precision {runtime.precision}")
    if found:
        raise SettingError(
            f"The training function {training_name(training)} is to run with {' and '.join(found)}",
            expected="one process and precision 32-true: a training function chooses device and precision itself",
            remedy="Set them in the function, and leave `Runtime.devices` and `Runtime.precision` at their defaults",
        )


def training_record(training: Training) -> dict[str, Any]:
    """A training as plain data, for records and keys: a recipe's settings, or the function's name and settings.

    Of long settings of a function, such as a table that is bound to it, size and SHA-256 stand for the content.
    """
    if isinstance(training, Recipe):
        return settings_of(training)
    settings = {name: shortened(_recorded(value)) for name, value in _settings(training).items()}
    return {"class_path": training_name(training), "init_args": settings}


def parts_of(training: TrainingFunction) -> list[Any]:
    """A training function, and the functions among its settings: what its source code consists of."""
    return [training, *(value for value in _settings(training).values() if callable(value))]


def _settings(training: TrainingFunction) -> dict[str, Any]:
    """The fields of a dataclass, or the arguments of a partial function; empty for any other."""
    if is_dataclass(training) and not isinstance(training, type):
        return {each.name: getattr(training, each.name) for each in fields(training)}
    if isinstance(training, functools.partial):
        return {**{str(n): each for n, each in enumerate(training.args)}, **training.keywords}
    return {}


def _recorded(value: object) -> Any:
    """A setting as plain data; a function or class by its import path."""
    named = callable(value) and (isinstance(value, type) or not is_dataclass(value))
    return training_name(value) if named else plain(value)  # type: ignore[arg-type] # it is callable


def training_name(training: Callable[..., Any]) -> str:
    """The import path of a training function or of its class.

    >>> training_name(training_name)
    'unregress.training.from_scratch.training_name'
    """
    while isinstance(training, functools.partial):
        training = training.func
    named = training if hasattr(training, "__qualname__") else type(training)
    return f"{named.__module__}.{named.__qualname__}"


def _require_trained(made: object, like: nn.Module, training: TrainingFunction) -> nn.Module:
    """Check what a training function returned.

    Args:
        made: what it returned.
        like: a model of the architecture.
        training: the function, for messages.

    Raises:
        ModelError: it is not a model of the architecture.
        DivergenceError: its weights are not finite.
    """
    name = training_name(training)
    if not isinstance(made, nn.Module):
        raise ModelError(
            f"The training function {name} returns something of type {type(made).__name__}",
            expected="the trained model",
            remedy="Return the model, also where `start` was trained in place",
        )
    trained = unwrapped(made)
    if differing := architecture_differences(trained, like):
        raise ModelError(
            f"The training function {name} returns a model of another architecture than `start`; they differ in "
            f"{', '.join(differing[:3])}",
            expected="`start` itself, trained, or a model of its architecture",
            remedy="Train the given `start`, and return it",
        )
    if broken := not_finite(trained):
        raise DivergenceError(
            f"The training function {name} made a model whose weights {', '.join(broken[:3])} are NaN or infinite",
            remedy="Lower its learning rate, or clip gradients",
        )
    return trained
