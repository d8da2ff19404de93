"""Unlearning methods: one file each, a frozen dataclass with one method, `run`."""

from unregress.methods.amnesiac import GaussianAmnesiac, UniformAmnesiac
from unregress.methods.base import Method
from unregress.methods.blindspot import Blindspot
from unregress.methods.finetune import FineTune
from unregress.methods.leave_out_edit import LeaveOutEdit
from unregress.methods.neggrad import NegGradPlus
from unregress.methods.original import train
from unregress.methods.retrain import Retrain
from unregress.methods.unlearned import Unlearned

__all__ = [
    "Blindspot",
    "FineTune",
    "GaussianAmnesiac",
    "LeaveOutEdit",
    "Method",
    "NegGradPlus",
    "Retrain",
    "UniformAmnesiac",
    "Unlearned",
    "train",
]
