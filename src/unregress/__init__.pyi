"""What `import unregress` offers; `__init__.py` loads each name from here when it is first asked for."""

from . import metrics
from .auditing.pipeline import audit
from .auditing.predictions_only import audit_predictions
from .auditing.training import DeepTests, Retraining
from .checks.preflight import preflight
from .cost import Cost
from .data.case import Case
from .data.request import ForgetRequest
from .data.splits import Splits
from .errors import UnregressError
from .evidence import AuditReport
from .evidence.rule import Rule
from .methods import (
    Blindspot,
    FineTune,
    GaussianAmnesiac,
    LeaveOutEdit,
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
from .project import Columns, Forgotten, Project
from .report import log_mlflow, model_card, print_table, render_html
from .retraining.model_factory import retrain
from .runs.remains import remains
from .tasks.adapters import MappingTask, TensorTask
from .tasks.base import Task
from .tasks.forecasting import ForecastingTask
from .tasks.losses import Huber, Quantile
from .trainers.lightning_training import LightningTraining
from .trainers.skorch_training import SkorchTraining
from .trainers.start_weights import keep_start
from .trainers.transformers_training import TransformersTraining
from .training.from_scratch import TrainingData
from .training.recipe import Recipe
from .training.runtime import Runtime

__all__ = [
    "AuditReport",
    "Blindspot",
    "Case",
    "Columns",
    "Cost",
    "DeepTests",
    "FineTune",
    "ForecastingTask",
    "ForgetRequest",
    "Forgotten",
    "GaussianAmnesiac",
    "Huber",
    "LeaveOutEdit",
    "LightningTraining",
    "MappingTask",
    "Method",
    "NegGradPlus",
    "Predictions",
    "Project",
    "Quantile",
    "Recipe",
    "Retrain",
    "Retraining",
    "Rule",
    "Runtime",
    "SkorchTraining",
    "Splits",
    "Task",
    "TensorTask",
    "TrainingData",
    "TransformersTraining",
    "UniformAmnesiac",
    "Unlearned",
    "UnregressError",
    "audit",
    "audit_predictions",
    "collect",
    "keep_start",
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
