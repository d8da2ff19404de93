"""Ctrl-C ends a training by another library, whatever that library makes of it."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from lightning.pytorch.callbacks import Callback
from skorch.callbacks import Callback as SkorchCallback

from support.lightning_project import Net
from support.small_cases import mlp
from support.training_data import training_data
from unregress import LightningTraining, SkorchTraining
from unregress.trainers.common import interruptible


class Pressing(Callback):
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)


class PressingForSkorch(SkorchCallback):
    def on_epoch_end(self, net: Any, **more: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("which", ["lightning", "skorch"])
def test_ctrl_c_never_gives_a_half_trained_model(which: str) -> None:
    # A shell's background ignores the signal.
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            if which == "lightning":
                LightningTraining(settings={"max_epochs": 3}, callbacks=Pressing)(training_data(), Net(), 0)
            else:
                SkorchTraining(settings={"max_epochs": 3}, callbacks=PressingForSkorch)(training_data(), mlp(), 0)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, usual)


def test_an_interrupt_that_a_library_raises_to_stop_itself_is_left_alone() -> None:
    ended = False
    with interruptible():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            ended = True
    assert ended


def test_an_exit_for_another_reason_stays_one() -> None:
    with pytest.raises(SystemExit), interruptible():
        raise SystemExit(3)
