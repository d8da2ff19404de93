"""Training settings: epochs, batch size, optimiser and learning-rate schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from numbers import Real
from typing import Literal

from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau, StepLR

from unregress.errors import SettingError, require_fields

Schedule = LRScheduler | ReduceLROnPlateau | None
SCHEDULES = ("constant", "step", "plateau", "one-cycle")
_OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": Adam,
    "adamw": AdamW,
    "sgd": lambda parameters, **options: SGD(parameters, momentum=0.9, **options),
}


def _is_number(value: object) -> bool:
    """Whether a value is a real number; booleans do not count."""
    return isinstance(value, Real) and not isinstance(value, bool)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Training settings: epochs, batch size, optimiser and learning-rate schedule.

    Raises:
        SettingError: values are outside their range; all of them are reported at once.
    """

    epochs: int = 1
    """Passes over the training rows."""
    lr: float = 1e-3
    """Learning rate: the peak of a one-cycle schedule, the initial rate of the others."""
    batch_size: int = 256
    """Samples per step."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """Optimiser; SGD has momentum 0.9."""
    weight_decay: float = 0.0
    """Weight decay, as defined by the PyTorch optimiser that is used."""
    schedule: Literal["constant", "step", "plateau", "one-cycle"] = "constant"
    """Learning rate over time: constant; times `gamma` every `patience` epochs; times `gamma` after
    more than `patience` epochs without a better loss (validation's, or training's where there is no
    validation data); or PyTorch's one-cycle up to `lr` and down to nearly zero."""
    gamma: float = 0.1
    """Factor of the step and plateau schedules (paper Section 6.3: 0.1)."""
    patience: int = 10
    """Epochs between steps, or epochs without improvement before a plateau schedule reduces the rate."""
    clip_norm: float | None = None
    """Largest gradient norm; None for no clipping."""
    mode: Literal["train", "eval"] = "train"
    """Mode of the model while it trains; `eval` freezes batch statistics and disables dropout."""

    def __post_init__(self) -> None:
        clip = self.clip_norm
        rules = [
            ("epochs", type(self.epochs) is int and self.epochs >= 0, "a whole number, 0 or more"),
            ("lr", _is_number(self.lr) and 0 < self.lr < inf, "a positive number"),
            ("batch_size", type(self.batch_size) is int and 1 <= self.batch_size < 2**63, "a whole number, 1 or more"),
            ("weight_decay", _is_number(self.weight_decay) and 0 <= self.weight_decay < inf, "0 or more"),
            ("gamma", _is_number(self.gamma) and 0 < self.gamma <= 1, "above 0, at most 1"),
            ("patience", type(self.patience) is int and self.patience >= 1, "a whole number, 1 or more"),
            ("clip_norm", clip is None or (_is_number(clip) and clip > 0), "a positive number or None"),
            ("optimizer", self.optimizer in _OPTIMIZERS, f"one of {', '.join(_OPTIMIZERS)}"),
            ("schedule", self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
            ("mode", self.mode in ("train", "eval"), "train or eval"),
        ]
        require_fields("Recipe", self, rules)

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Make the optimiser for some parameters; fused where possible, which takes a quarter of the time.

        Sharded parameters do not support fused steps.  Trainings with clipped gradients are not fused either, so that
        rounding stays the same as in earlier versions.
        """
        own = list(parameters)
        plain = all(type(p.data) is Tensor and p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in own)
        fused = True if plain and self.clip_norm is None else None
        return _OPTIMIZERS[self.optimizer](own, lr=self.lr, weight_decay=self.weight_decay, fused=fused)

    def make_schedule(self, optimizer: Optimizer, steps_per_epoch: int) -> Schedule:
        """Make the learning-rate schedule; None for a constant rate.

        A one-cycle schedule advances with each step, the others with each epoch.

        Raises:
            SettingError: a one-cycle schedule would have a single step.
        """
        match self.schedule:
            case "step":
                return StepLR(optimizer, step_size=self.patience, gamma=self.gamma)
            case "plateau":
                return ReduceLROnPlateau(optimizer, factor=self.gamma, patience=self.patience)
            case "one-cycle":
                steps = self.epochs * steps_per_epoch
                if steps == 1:
                    # PyTorch would take this single step at the end of the cycle, where the rate is nearly zero.
                    raise SettingError(
                        "A one-cycle schedule has a single step",
                        expected="two steps or more",
                        remedy="Use more epochs, smaller batches, or a constant schedule",
                    )
                return OneCycleLR(optimizer, max_lr=self.lr, total_steps=max(1, steps))
            case _:
                return None
