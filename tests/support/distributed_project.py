"""A user's project whose second process fails during training, in one of several ways."""

from __future__ import annotations

import os
import signal

from torch import Tensor

from support.tiny_project import load_data, make_model
from unregress import TensorTask
from unregress.errors import DataError

__all__ = ["ending", "load_data", "make_model", "raising", "refusing"]


class Failing(TensorTask):
    """A task that fails at the twentieth loss: an `UnregressError`, another exception, or a killed process."""

    def __init__(self, how: str) -> None:
        super().__init__(make_model)
        self.how, self.losses = how, 0

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        self.losses += 1
        if self.losses == 20 and os.environ.get("RANK") == "1":
            if self.how == "end":
                os.kill(os.getpid(), signal.SIGKILL)
            raise DataError("Sample 7 is broken") if self.how == "refuse" else ValueError("mistake in line 7")
        return super().loss(prediction, target)


def refusing() -> TensorTask:
    """A task that raises an `UnregressError`."""
    return Failing("refuse")


def raising() -> TensorTask:
    """A task that raises an exception of its own code."""
    return Failing("raise")


def ending() -> TensorTask:
    """A task whose process is killed, as when memory runs out."""
    return Failing("end")
