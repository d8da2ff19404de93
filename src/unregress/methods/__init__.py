"""Unlearning methods: one file each, a frozen dataclass with one method, `run`."""

from unregress.methods.amnesiac import GaussianAmnesiac, UniformAmnesiac
from unregress.methods.base import Method, Unlearned, train
from unregress.methods.blindspot import Blindspot
from unregress.methods.finetune import FineTune
from unregress.methods.neggrad import NegGradPlus
from unregress.methods.retrain import Retrain

__all__ = [
    "Blindspot",
    "FineTune",
    "GaussianAmnesiac",
    "Method",
    "NegGradPlus",
    "Retrain",
    "UniformAmnesiac",
    "Unlearned",
    "train",
]
