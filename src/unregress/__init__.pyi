"""What `import unregress` offers; `__init__.py` loads each name from here when it is first asked for."""

from .auditing import audit
from .case import Case, Splits
from .cost import Cost
from .errors import UnregressError
from .evidence import AuditReport
from .losses import Huber, Quantile
from .methods import (
    Blindspot,
    FineTune,
    GaussianAmnesiac,
    Method,
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
from .predictions import Predictions, collect
from .readiness import preflight
from .recipe import Recipe
from .report import print_table, render_html
from .request import ForgetRequest
from .runtime import Runtime
from .task import MappingTask, Task, TensorTask
from .trainings import retrain
from .verdict import Rule

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

__version__: str
