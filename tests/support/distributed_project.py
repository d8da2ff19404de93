"""A user's project whose second process fails in the middle of a training, in one way or another."""

from __future__ import annotations

import os
import signal

from torch import Tensor

from support.tiny_project import load_data, make_model
from unregress import TensorTask
from unregress.errors import DataError

__all__ = ["ending", "load_data", "make_model", "raising", "refusing"]


class Failing(TensorTask):
    """Does as told at the twentieth loss."""

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
    """An error that the command line explains."""
    return Failing("refuse")


def raising() -> TensorTask:
    """An error that it does not know."""
    return Failing("raise")


def ending() -> TensorTask:
    """The process is killed, as when memory runs out."""
    return Failing("end")
