"""Make a trained PyTorch regression model forget chosen training examples, and show how well it forgot."""

from unregress.audit import audit
from unregress.case import Case, Splits
from unregress.cost import Cost
from unregress.errors import UnregressError
from unregress.evidence import AuditReport
from unregress.losses import Huber, Quantile
from unregress.methods import (
    Blindspot,
    FineTune,
    GaussianAmnesiac,
    Method,
    Retrain,
    UniformAmnesiac,
    Unlearned,
    train,
)
from unregress.metrics import Anamnesis, Deviation, Errors, Membership, Metric, Wasserstein
from unregress.predictions import Predictions, collect
from unregress.preflight import preflight
from unregress.recipe import Recipe
from unregress.report import print_table, render_html
from unregress.request import ForgetRequest
from unregress.runtime import Runtime
from unregress.task import MappingTask, Task, TensorTask

__all__ = [
    "Anamnesis",
    "AuditReport",
    "Blindspot",
    "Case",
    "Cost",
    "Deviation",
    "Errors",
    "FineTune",
    "ForgetRequest",
    "GaussianAmnesiac",
    "Huber",
    "MappingTask",
    "Membership",
    "Method",
    "Metric",
    "Predictions",
    "Quantile",
    "Recipe",
    "Retrain",
    "Runtime",
    "Splits",
    "Task",
    "TensorTask",
    "UniformAmnesiac",
    "Unlearned",
    "UnregressError",
    "Wasserstein",
    "audit",
    "collect",
    "preflight",
    "print_table",
    "render_html",
    "train",
]
