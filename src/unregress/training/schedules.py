"""Learning-rate schedules of a recipe: four by short names, and the classes of `torch.optim.lr_scheduler` by theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from unregress.errors import SettingError
from unregress.training.optimizers import is_plain, refused

Every = Literal["epoch", "step"]
"""How often a schedule advances."""
SCHEDULES = ("constant", "step", "plateau", "one-cycle")
"""The schedules with short names."""
MONITORING = ("plateau", "ReduceLROnPlateau")
"""Schedules that follow the loss."""
IMPOSSIBLE = {
    name: "it takes a function, which no record and no configuration can hold"
    for name in ("LambdaLR", "MultiplicativeLR")
}
"""Schedulers of PyTorch that a recipe cannot describe, and why."""
_NESTING = ("ChainedScheduler", "SequentialLR")
_LENGTHS = {"CosineAnnealingLR": "T_max", "OneCycleLR": "total_steps"}
"""Arguments that are the length of the training unless they are given."""


@dataclass(frozen=True)
class Schedule:
    """A scheduler, or None for a constant rate, and how often it advances."""

    scheduler: LRScheduler | None
    every: Every = "epoch"

    def after_step(self) -> None:
        """Advance after a step of the optimiser, if the schedule does so."""
        if self.every == "step":
            self._advance()

    def after_epoch(self, loss: float) -> None:
        """Advance after an epoch, if the schedule does so.

        Args:
            loss: the monitored loss of the epoch.
        """
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(loss)
        elif self.every == "epoch":
            self._advance()

    def _advance(self) -> None:
        if self.scheduler is None:
            return
        try:
            self.scheduler.step()
        except ValueError as error:
            raise SettingError(
                f"The schedule ended before the training: {error}",
                expected="a schedule as long as the training",
                remedy="Raise its length in `schedule_options`, or leave it out where the recipe fills it in",
            ) from error


def schedule_names() -> list[str]:
    """The names that a recipe accepts: the short ones, and the classes of the installed PyTorch."""
    found = [name for name in lr_scheduler.__all__ if name != "LRScheduler" and name not in IMPOSSIBLE]
    return [*SCHEDULES, *found]


def expected_schedule(name: object) -> str:
    """What is expected in place of a schedule's name; empty if the name can be used."""
    if isinstance(name, str) and name in IMPOSSIBLE:
        return f"another schedule than {name}: {IMPOSSIBLE[name]}; use a training function"
    names = schedule_names()
    return "" if name in names else f"one of {', '.join(names)}"


def expected_options(name: str, options: object, optimizer: Optimizer, lr: float) -> str:
    """What is expected in place of a schedule's options; empty if PyTorch accepts them.

    Args:
        name: a name that `expected_schedule` accepts.
        options: arguments by name.
        optimizer: an optimiser of the recipe's class, for a trial.
        lr: the recipe's learning rate.
    """
    if not (isinstance(options, Mapping) and is_plain(options)):
        return "names with numbers, texts or lists"
    if name in SCHEDULES:
        return f"none: the settings of {name!r} are `gamma` and `patience`" if options else ""
    try:
        scheduler_of(name, options, optimizer, lr, length=2)
    except Exception as error:
        return refused(getattr(lr_scheduler, name), error, "optimizer", "last_epoch")
    return ""


def scheduler_of(name: str, options: Mapping[str, Any], optimizer: Optimizer, lr: float, length: int) -> LRScheduler:
    """Make a scheduler by the name of its class.

    `SequentialLR` and `ChainedScheduler` take further ones as a list of mappings: `schedule`, the name of the class,
    and its options.

    Args:
        name: class of `torch.optim.lr_scheduler`.
        options: its arguments.
        optimizer: the optimiser whose rate it sets.
        lr: the recipe's learning rate, the default of `max_lr`.
        length: number of times that it will advance, the default of `T_max` and `total_steps`.
    """
    given = dict(options)
    if name in _NESTING:
        parts = [dict(each) for each in given.pop("schedulers")]
        made = [scheduler_of(_nested(each.pop("schedule")), each, optimizer, lr, length) for each in parts]
        if name == "SequentialLR":
            return lr_scheduler.SequentialLR(optimizer, made, **given)
        return lr_scheduler.ChainedScheduler(made, optimizer=optimizer, **given)
    if name in _LENGTHS:
        given.setdefault(_LENGTHS[name], max(1, length))
    if name == "OneCycleLR":
        given.setdefault("max_lr", lr)
    found: LRScheduler = getattr(lr_scheduler, name)(optimizer, **given)
    return found


def _nested(name: str) -> str:
    """The name of a scheduler inside another one; those that follow the loss cannot be."""
    if (expected := expected_schedule(name)) or name in (*SCHEDULES, *MONITORING):
        raise ValueError(f"{name!r} cannot be part of another schedule; expected {expected or 'a class of PyTorch'}")
    return name
