"""Train a `LightningModule` by Lightning's `Trainer`, with the module's own optimisers and schedules."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from unregress.errors import ModelError, SettingError
from unregress.trainers.common import (
    finished,
    interruptible,
    library,
    loader,
    made_by,
    quiet,
    require_no_augment,
    require_settings,
    seeded,
)
from unregress.training.from_scratch import TrainingData

_LEAVING_NOTHING = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "devices": 1,
}
_HINTS = ".*(does not have many workers|logging interval|have no `val_dataloader`|LeafSpec)"
"""Warnings of Lightning about choices that are right for a small training without logs, and about its own code."""
_LOGGERS = ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero")


@dataclass(frozen=True, kw_only=True)
class LightningTraining:
    """Train by Lightning: a training function for models whose task builds a `LightningModule`.

    The module's own `training_step` and `configure_optimizers` are used, and its `validation_step` on validation
    samples that are not of the forgotten kind.  Each call makes a new `Trainer`, which is discarded.  By default it
    uses one device and leaves no logs, checkpoints or progress bars.

    >>> from unregress import LightningTraining
    >>> training = LightningTraining(settings={"max_epochs": 20, "gradient_clip_val": 1.0}, batch_size=64)

    Raises:
        SettingError: settings are of another kind; or, when called, Lightning is not installed, or the data have an
            `augment`.
        ModelError: when called, the model is no `LightningModule`.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `lightning.Trainer`, such as `max_epochs`.  `default_root_dir` is by default a temporary folder."""
    callbacks: Callable[..., Any] | None = None
    """A function without arguments that makes the trainer's callbacks, since they hold the state of one training."""
    trainer: Callable[..., Any] | None = None
    """A function without arguments that makes the whole `Trainer`, in place of `settings` and `callbacks`."""
    batch_size: int = 32
    """Samples per step, in an order that follows the seed."""
    loader: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the `DataLoader`s, such as `num_workers` and `drop_last` (of training)."""
    datamodule: Callable[..., Any] | None = None
    """A function from a `TrainingData` to a `LightningDataModule`, in place of `batch_size` and `loader`."""

    def __post_init__(self) -> None:
        factories = {"callbacks": self.callbacks, "trainer": self.trainer, "datamodule": self.datamodule}
        require_settings("LightningTraining", {"settings": self.settings, "loader": self.loader}, factories)
        if type(self.batch_size) is not int or self.batch_size < 1:
            raise SettingError(
                f"LightningTraining.batch_size is {self.batch_size!r}", expected="a whole number, 1 or more"
            )
        if self.trainer is not None and (self.settings or self.callbacks is not None):
            raise SettingError(
                "LightningTraining has a `trainer`, and also `settings` or `callbacks`",
                expected="one of them: a trainer has its own settings and callbacks",
            )

    def __call__(self, data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
        """Train `start` in place, and return it.

        Args:
            data: the samples to train on and to validate.
            start: a `LightningModule` with the initial weights.
            seed: of batch order and other random draws.
        """
        lightning = library("lightning", "lightning")
        module: Any = start
        if not isinstance(start, lightning.LightningModule):
            raise ModelError(
                f"The model is a {type(start).__name__}, which Lightning does not train",
                expected="a `lightning.LightningModule`, with `training_step` and `configure_optimizers`",
                remedy="Build one in the task's `build_model`, or train by another function",
            )
        require_no_augment(data, "Lightning")
        with (
            quiet(*_LOGGERS),
            warnings.catch_warnings(),
            seeded(seed),
            interruptible(),
            TemporaryDirectory() as folder,
        ):
            warnings.filterwarnings("ignore", message=_HINTS)
            trainer = self._trainer(lightning, folder)
            trainer.fit(module, **self._data(data, module, seed, lightning))
        # The model would otherwise be copied and sent to other processes with its trainer and data.
        module.trainer = None
        return finished(start)

    def _trainer(self, lightning: Any, folder: str) -> Any:
        """A new trainer."""
        if self.trainer is not None:
            return self.trainer()
        given = {**_LEAVING_NOTHING, "default_root_dir": folder, **self.settings}
        if self.callbacks is not None:
            given["callbacks"] = made_by(self.callbacks)
        return lightning.Trainer(**given)

    def _data(self, data: TrainingData, module: Any, seed: int, lightning: Any) -> dict[str, Any]:
        """The loaders of samples, as arguments of `Trainer.fit`."""
        if self.datamodule is not None:
            return {"datamodule": self.datamodule(data)}
        training = {"batch_size": self.batch_size, "shuffle": True, **self.loader}
        found = {"train_dataloaders": loader(data.train, data, seed, **training)}
        validates = type(module).validation_step is not lightning.LightningModule.validation_step
        if data.validation is not None and validates:
            found["val_dataloaders"] = loader(
                data.validation, data, seed, **{**training, "shuffle": False, "drop_last": False}
            )
        return found
