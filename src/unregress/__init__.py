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
from unregress.metrics import (
    Anamnesis,
    AttackAUC,
    Deviation,
    Errors,
    KLoM,
    Membership,
    Metric,
    Published,
    Representation,
    ULiRA,
    Wasserstein,
)
from unregress.predictions import Predictions, collect
from unregress.preflight import preflight
from unregress.recipe import Recipe
from unregress.report import print_table, render_html
from unregress.request import ForgetRequest
from unregress.runtime import Runtime
from unregress.task import MappingTask, Task, TensorTask
from unregress.trainings import retrain
from unregress.verdict import Rule

__all__ = [
    "Anamnesis",
    "AttackAUC",
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
    "KLoM",
    "MappingTask",
    "Membership",
    "Method",
    "Metric",
    "Predictions",
    "Published",
    "Quantile",
    "Recipe",
    "Representation",
    "Retrain",
    "Rule",
    "Runtime",
    "Splits",
    "Task",
    "TensorTask",
    "ULiRA",
    "UniformAmnesiac",
    "Unlearned",
    "UnregressError",
    "Wasserstein",
    "audit",
    "collect",
    "preflight",
    "print_table",
    "render_html",
    "retrain",
    "train",
]
