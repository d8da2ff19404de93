"""Metrics: one file each, mathematics in plain functions, and a `Metric` that asks it of all models."""

from unregress.metrics.anamnesis import Anamnesis
from unregress.metrics.as_published import Published
from unregress.metrics.attack_auc import AttackAUC
from unregress.metrics.base import Metric, MetricResult, Panel, Subject
from unregress.metrics.deep.klom import KLoM
from unregress.metrics.deep.ulira import ULiRA
from unregress.metrics.deviation import Deviation
from unregress.metrics.errors import Errors
from unregress.metrics.membership import Membership
from unregress.metrics.representation import Representation
from unregress.metrics.wasserstein import Wasserstein

__all__ = [
    "Anamnesis",
    "AttackAUC",
    "Deviation",
    "Errors",
    "KLoM",
    "Membership",
    "Metric",
    "MetricResult",
    "Panel",
    "Published",
    "Representation",
    "Subject",
    "ULiRA",
    "Wasserstein",
]
