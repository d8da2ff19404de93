"""Train a model of Hugging Face transformers by its `Trainer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from unregress.errors import SettingError
from unregress.tasks.unwrap import unwrapped
from unregress.trainers.common import (
    finished,
    interruptible,
    library,
    made_by,
    quiet,
    require_no_augment,
    require_settings,
    seeded,
)
from unregress.training.from_scratch import TrainingData

_LEAVING_NOTHING = {"save_strategy": "no", "logging_strategy": "no", "report_to": "none", "disable_tqdm": True}
_PRINTING = {"logging_strategy", "logging_steps", "disable_tqdm"}
"""Arguments by which a user asks for printed lines; without them the `Trainer` still prints a summary at the end."""


@dataclass(frozen=True, kw_only=True)
class TransformersTraining:
    """Train by Hugging Face's `Trainer`: a training function for models that compute their own loss.

    Samples are mappings that include `labels`, as for `MappingTask`.  A regression head is
    `AutoModelForSequenceClassification` with `num_labels=1`, whose loss is the mean squared error.  By default nothing
    is saved, logged or reported.

    >>> from unregress import TransformersTraining
    >>> training = TransformersTraining(arguments={"num_train_epochs": 3, "learning_rate": 2e-5})

    Raises:
        SettingError: settings are of another kind; or, when called, transformers is not installed, or the data have an
            `augment`.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `transformers.TrainingArguments`.  `output_dir` is a temporary folder unless given; `seed` and
    `data_seed` are those of the training."""
    collator: Callable[..., Any] | None = None
    """Data collator, such as a `DataCollatorWithPadding(tokenizer)`; by default `Splits.collate`, or else the
    `Trainer`'s."""
    callbacks: Callable[..., Any] | None = None
    """A function without arguments that makes the trainer's callbacks, since they hold the state of one training."""
    trainer: Callable[..., Any] | None = None
    """A class derived from `Trainer`, or a function with the same arguments; by default `transformers.Trainer`."""

    def __post_init__(self) -> None:
        factories = {"collator": self.collator, "callbacks": self.callbacks, "trainer": self.trainer}
        require_settings("TransformersTraining", {"arguments": self.arguments}, factories)
        if own := [name for name in ("seed", "data_seed") if name in self.arguments]:
            raise SettingError(
                f"TransformersTraining.arguments has {own[0]!r}",
                expected="no seed: each training has its own, by which golds differ",
            )

    def __call__(self, data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
        """Train `start` in place, and return it.

        Args:
            data: the samples to train on and to validate.
            start: the model with the initial weights.
            seed: of batch order, dropout and other random draws.
        """
        transformers = library("transformers", "hugging-face")
        library("accelerate", "hugging-face")
        require_no_augment(data, "transformers' Trainer")
        make = transformers.Trainer if self.trainer is None else self.trainer
        with quiet("transformers", "accelerate"), seeded(seed), interruptible(), TemporaryDirectory() as folder:
            # The trainer seeds the global random state from its arguments: 32 bits.
            own = {"seed": seed % 2**32, "data_seed": seed % 2**32}
            arguments = transformers.TrainingArguments(
                **{**_LEAVING_NOTHING, "output_dir": folder, **self.arguments, **own}
            )
            trainer = make(
                model=start,
                args=arguments,
                data_collator=data.collate if self.collator is None else self.collator,
                train_dataset=data.train,
                eval_dataset=data.validation,
                callbacks=made_by(self.callbacks),
            )
            if not _PRINTING & set(self.arguments):
                trainer.remove_callback(transformers.PrinterCallback)
            trainer.train()
            trained = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
        return finished(unwrapped(trained))
