"""Metrics: one file each, with the mathematics in functions of arrays and a `Metric` that applies it to all models.

A new metric is registered here: import it and name it in `__all__`, and `unregress` and the command line offer it.
"""

from dataclasses import replace

from unregress.metrics.anamnesis import Anamnesis
from unregress.metrics.as_published import Published
from unregress.metrics.attack_auc import AttackAUC
from unregress.metrics.base import Metric
from unregress.metrics.deep.klom import KLoM
from unregress.metrics.deep.ulira import ULiRA
from unregress.metrics.deletion import DeletionAttack
from unregress.metrics.deviation import Deviation
from unregress.metrics.energy import EnergyDistance
from unregress.metrics.errors import Errors
from unregress.metrics.gaussian_poisons import GaussianPoisons
from unregress.metrics.membership import Membership
from unregress.metrics.memory import Memory
from unregress.metrics.readout import Readout
from unregress.metrics.representation import Representation
from unregress.metrics.retained_privacy import RetainedPrivacy
from unregress.metrics.revival import Revival
from unregress.metrics.wasserstein import Wasserstein

__all__ = [
    "Anamnesis",
    "AttackAUC",
    "DeletionAttack",
    "Deviation",
    "EnergyDistance",
    "Errors",
    "GaussianPoisons",
    "KLoM",
    "Membership",
    "Memory",
    "Metric",
    "Published",
    "Readout",
    "Representation",
    "RetainedPrivacy",
    "Revival",
    "ULiRA",
    "Wasserstein",
]


def default_metrics(anamnesis: Anamnesis | None = Anamnesis()) -> tuple[Metric, ...]:  # noqa: B008 frozen
    """The default metrics: the paper's, those with mistakes repaired, and tests of memory in outputs and weights.

    Args:
        anamnesis: how to relearn, which takes the most time; `Revival` trains for an epoch by the same recipe.  None
            leaves both out.
    """
    metrics = (Errors(), Wasserstein(), Deviation(), AttackAUC(), Memory(), Membership(), Representation(), Readout())
    if anamnesis is None:
        return metrics
    return (*metrics, anamnesis, Revival(recipe=replace(anamnesis.recipe, epochs=1)))
