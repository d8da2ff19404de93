"""Training settings: epochs, batches, optimiser, learning rate, sample weights, and which weights are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from numbers import Real
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR

from unregress.errors import SettingError, require_fields
from unregress.training import optimizers, schedules
from unregress.training.schedules import Every, Schedule

Weighting = Literal["none", "loss", "sampling"]
"""The values of `Recipe.weights`."""


def _is_number(value: object) -> bool:
    """Whether a value is a real number; booleans do not count."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    """Whether a value is a whole number, 1 or more."""
    return type(value) is int and value >= 1


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Training settings: epochs, batches, optimiser, learning rate, sample weights, and which weights are kept.

    >>> Recipe(epochs=20, optimizer="RMSprop", optimizer_options={"alpha": 0.9}, schedule="CosineAnnealingLR").epochs
    20

    Raises:
        SettingError: values are outside their range; all of them are reported at once.
    """

    epochs: int = 1
    """Passes over the training rows."""
    lr: float = 1e-3
    """Learning rate: the peak of a one-cycle schedule, the initial rate of the others."""
    batch_size: int = 256
    """Samples per step."""
    optimizer: str = "adam"
    """Optimiser: `adam`, `adamw`, `sgd` (with momentum 0.9), or a class of `torch.optim` such as `RMSprop`."""
    optimizer_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Further arguments of the optimiser, such as `alpha` of RMSprop; the others have PyTorch's defaults."""
    weight_decay: float = 0.0
    """Weight decay, as defined by the PyTorch optimiser that is used."""
    schedule: str = "constant"
    """Learning rate over time: `constant`; `step`, times `gamma` every `patience` epochs; `plateau`, times `gamma`
    after more than `patience` epochs without a better loss (validation's, or training's where there is no
    validation data); `one-cycle`, PyTorch's up to `lr` and down to nearly zero; or a class of
    `torch.optim.lr_scheduler` such as `CosineAnnealingLR`."""
    schedule_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Arguments of a schedule's class.  If not given, `T_max` of CosineAnnealingLR and `total_steps` of OneCycleLR are
    the length of the training.  SequentialLR and ChainedScheduler have a list `schedulers` of mappings: `schedule`,
    the name of the class, and its arguments."""
    schedule_every: Every = "epoch"
    """Whether a schedule's class advances after each epoch or after each step."""
    gamma: float = 0.1
    """Factor of the step and plateau schedules (paper Section 6.3: 0.1)."""
    patience: int = 10
    """Epochs between steps, or epochs without improvement before a plateau schedule reduces the rate."""
    clip_norm: float | None = None
    """Largest gradient norm; None for no clipping."""
    weights: Weighting = "none"
    """Use of `Splits.weights`: none; as factors of the losses, whose mean is the weighted one, Σwℓ / Σw over the batch,
    as in `torch.nn.functional.mse_loss(weight=...)`; or for sampling: each epoch draws as many rows as there are,
    with replacement, with probabilities in proportion to the weights."""
    ema: float | None = None
    """Decay of an exponential moving average of weights and buffers, updated after each step, as in PyTorch's
    `get_ema_multi_avg_fn`.  The trained model is the average, which is also what is validated.  None for no average."""
    stop_after: int | None = None
    """Stop after so many epochs without a better loss: validation's, or training's where there is no validation data.
    The trained model is then that of the best epoch, even if the training does not stop early.  None for all epochs."""
    mode: Literal["train", "eval"] = "train"
    """Mode of the model while it trains; `eval` freezes batch statistics and disables dropout."""

    def __post_init__(self) -> None:
        clip, ema, short = self.clip_norm, self.ema, self.schedule in schedules.SCHEDULES
        rate = _is_number(self.lr) and 0 < self.lr < inf
        decay = _is_number(self.weight_decay) and 0 <= self.weight_decay < inf
        optimizer = optimizers.expected_optimizer(self.optimizer)
        schedule = schedules.expected_schedule(self.schedule)
        undecayed = (
            decay and self.weight_decay > 0 and not optimizer and not optimizers.has_weight_decay(self.optimizer)
        )
        known = rate and decay and not optimizer and not undecayed
        options, shape = self._expected_options(known, not schedule)
        follows = self.schedule in schedules.MONITORING
        rules = [
            ("epochs", type(self.epochs) is int and self.epochs >= 0, "a whole number, 0 or more"),
            ("lr", rate, "a positive number"),
            ("batch_size", _is_count(self.batch_size) and self.batch_size < 2**63, "a whole number, 1 or more"),
            ("weight_decay", decay, "0 or more"),
            ("weight_decay", not undecayed, f"0: {self.optimizer} has no weight decay"),
            ("gamma", _is_number(self.gamma) and 0 < self.gamma <= 1, "above 0, at most 1"),
            ("patience", _is_count(self.patience), "a whole number, 1 or more"),
            ("clip_norm", clip is None or (_is_number(clip) and clip > 0), "a positive number or None"),
            ("optimizer", not optimizer, optimizer),
            ("optimizer_options", not options, options),
            ("schedule", not schedule, schedule),
            ("schedule_options", not shape, shape),
            ("schedule_every", self.schedule_every in ("epoch", "step"), "epoch or step"),
            (
                "schedule_every",
                self.schedule_every != "step" or not (short or follows),
                f"epoch: {self.schedule} has its own times to advance",
            ),
            ("weights", self.weights in ("none", "loss", "sampling"), "none, loss or sampling"),
            ("ema", ema is None or (_is_number(ema) and 0 < ema < 1), "a number between 0 and 1, or None"),
            ("stop_after", self.stop_after is None or _is_count(self.stop_after), "a whole number, 1 or more, or None"),
            ("mode", self.mode in ("train", "eval"), "train or eval"),
        ]
        require_fields("Recipe", self, rules)
        # Copied, with lists for tuples: equal to the same recipe as it is read from a file.
        for name in ("optimizer_options", "schedule_options"):
            object.__setattr__(self, name, optimizers.as_plain(getattr(self, name)))

    def _expected_options(self, optimizer_known: bool, schedule_known: bool) -> tuple[str, str]:
        """What is expected in place of the options of optimiser and schedule; empty where they are accepted."""
        plain = self.optimizer in optimizers.OPTIMIZERS and self.schedule in schedules.SCHEDULES
        # Short names accept every rate and decay.  Any optimiser imports PyTorch's compiler, which takes seconds.
        if not optimizer_known or (plain and self.optimizer_options == {} and self.schedule_options == {}):
            return "", ""
        options = optimizers.expected_options(self.optimizer, self.lr, self.weight_decay, self.optimizer_options)
        if options or not schedule_known:
            return options, ""
        trial = self._optimizer([nn.Parameter(torch.zeros(1, 1))])
        return "", schedules.expected_options(self.schedule, self.schedule_options, trial, self.lr)

    @property
    def monitors(self) -> bool:
        """Whether the training follows a loss after each epoch: a plateau schedule, or one that stops early."""
        return self.schedule in schedules.MONITORING or self.stop_after is not None

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Make the optimiser for some parameters; fused where possible, which takes a quarter of the time.

        Sharded parameters do not support fused steps.  Trainings with clipped gradients are not fused either, so that
        rounding stays the same as in earlier versions.  Optimisers by their class's name are PyTorch's by default.

        Raises:
            SettingError: the optimiser does not accept these parameters.
        """
        own = list(parameters)
        options: dict[str, Any] = {}
        if self.optimizer in optimizers.OPTIMIZERS and not optimizers.chooses_implementation(self.optimizer_options):
            plain = all(
                type(p.data) is Tensor and p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in own
            )
            options["fused"] = True if plain and self.clip_norm is None else None
        try:
            return self._optimizer(own, **options)
        except (TypeError, ValueError, RuntimeError) as error:
            raise SettingError(
                f"torch.optim.{self.optimizer} cannot train this model: {error}",
                expected="an optimiser that accepts all of the model's trainable parameters",
                remedy="Choose another optimiser, or freeze the parameters that it does not accept",
            ) from error

    def _optimizer(self, parameters: list[nn.Parameter], **options: Any) -> Optimizer:
        given = {"lr": self.lr, "weight_decay": self.weight_decay, **options, **self.optimizer_options}
        return optimizers.construct(self.optimizer, parameters, **given)

    def make_schedule(self, optimizer: Optimizer, steps_per_epoch: int) -> Schedule:
        """Make the learning-rate schedule.

        A one-cycle schedule advances with each step, the other short names with each epoch.

        Raises:
            SettingError: a one-cycle schedule would have a single step, or one by its class ends before the training.
        """
        steps = self.epochs * steps_per_epoch
        match self.schedule:
            case "constant":
                return Schedule(None)
            case "step":
                return Schedule(StepLR(optimizer, step_size=self.patience, gamma=self.gamma))
            case "plateau":
                return Schedule(ReduceLROnPlateau(optimizer, factor=self.gamma, patience=self.patience))
            case "one-cycle":
                if steps == 1:
                    # PyTorch would take this single step at the end of the cycle, where the rate is nearly zero.
                    raise SettingError(
                        "A one-cycle schedule has a single step",
                        expected="two steps or more",
                        remedy="Use more epochs, smaller batches, or a constant schedule",
                    )
                return Schedule(OneCycleLR(optimizer, max_lr=self.lr, total_steps=max(1, steps)), "step")
        length = steps if self.schedule_every == "step" else self.epochs
        total = self.schedule_options.get("total_steps") if self.schedule == "OneCycleLR" else None
        if total is not None and total < length:
            raise SettingError(
                f"Recipe.schedule_options has total_steps={total} for a training of {length} {self.schedule_every}s",
                expected="a schedule as long as the training",
                remedy="Leave `total_steps` out: it is then the length of the training",
            )
        made = schedules.scheduler_of(self.schedule, self.schedule_options, optimizer, self.lr, length)
        return Schedule(made, self.schedule_every)
