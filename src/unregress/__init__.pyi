"""What `import unregress` offers; `__init__.py` loads each name from here when it is first asked for."""

from .auditing.pipeline import audit
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
from .metrics import (
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
from .metrics.predictions import Predictions, collect
from .report import print_table, render_html
from .retraining.model_factory import retrain
from .tasks.base import MappingTask, Task, TensorTask
from .tasks.losses import Huber, Quantile
from .training.recipe import Recipe
from .training.runtime import Runtime

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
    "NegGradPlus",
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

__version__: str
