"""Metrics: one file each, mathematics in plain functions, and a `Metric` that asks it of all models."""

from unregress.metrics.anamnesis import Anamnesis
from unregress.metrics.attack_auc import AttackAUC
from unregress.metrics.base import Finding, Metric, Panel, Subject
from unregress.metrics.deviation import Deviation
from unregress.metrics.error import Errors
from unregress.metrics.klom import KLoM
from unregress.metrics.membership import Membership
from unregress.metrics.published import Published
from unregress.metrics.representation import Representation
from unregress.metrics.ulira import ULiRA
from unregress.metrics.wasserstein import Wasserstein

__all__ = [
    "Anamnesis",
    "AttackAUC",
    "Deviation",
    "Errors",
    "Finding",
    "KLoM",
    "Membership",
    "Metric",
    "Panel",
    "Published",
    "Representation",
    "Subject",
    "ULiRA",
    "Wasserstein",
]
