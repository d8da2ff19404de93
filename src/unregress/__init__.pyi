"""What `import unregress` offers; `__init__.py` loads each name from here when it is first asked for."""

from . import metrics
from .auditing.pipeline import audit
from .auditing.training import DeepTests, Retraining
from .checks.preflight import preflight
from .cost import Cost
from .data.case import Case
from .data.request import ForgetRequest
from .data.splits import Splits
from .errors import UnregressError
from .evidence import AuditReport
from .evidence.verdict import Rule
from .methods import (
    Blindspot,
    FineTune,
    GaussianAmnesiac,
    Method,
    NegGradPlus,
    Retrain,
    UniformAmnesiac,
    Unlearned,
    train,
)
from .metrics import *  # noqa: F403
from .metrics.collect import collect
from .metrics.predictions import Predictions
from .report import log_mlflow, model_card, print_table, render_html
from .retraining.model_factory import retrain
from .runs.remains import remains
from .tasks.adapters import MappingTask, TensorTask
from .tasks.base import Task
from .tasks.losses import Huber, Quantile
from .training.from_scratch import TrainingData, TrainingFunction
from .training.recipe import Recipe
from .training.runtime import Runtime

__all__ = [
    "AuditReport",
    "Blindspot",
    "Case",
    "Cost",
    "DeepTests",
    "FineTune",
    "ForgetRequest",
    "GaussianAmnesiac",
    "Huber",
    "MappingTask",
    "Method",
    "NegGradPlus",
    "Predictions",
    "Quantile",
    "Recipe",
    "Retrain",
    "Retraining",
    "Rule",
    "Runtime",
    "Splits",
    "Task",
    "TensorTask",
    "TrainingData",
    "TrainingFunction",
    "UniformAmnesiac",
    "Unlearned",
    "UnregressError",
    "audit",
    "collect",
    "log_mlflow",
    "model_card",
    "preflight",
    "print_table",
    "remains",
    "render_html",
    "retrain",
    "train",
]
__all__ += metrics.__all__

__version__: str
