"""Metrics: one file each, mathematics in plain functions, and a `Metric` that asks it of all models."""

from unregress.metrics.anamnesis import Anamnesis
from unregress.metrics.base import Finding, Metric, Panel, Subject
from unregress.metrics.deviation import Deviation
from unregress.metrics.error import Errors
from unregress.metrics.membership import Membership
from unregress.metrics.wasserstein import Wasserstein

__all__ = [
    "Anamnesis",
    "Deviation",
    "Errors",
    "Finding",
    "Membership",
    "Metric",
    "Panel",
    "Subject",
    "Wasserstein",
]
