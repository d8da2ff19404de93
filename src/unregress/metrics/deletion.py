"""Membership inference by an attacker who holds the original beside the unlearned model: deletion itself leaks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unregress.evidence import MetricInfo, Part, Unit
from unregress.evidence.nan_means import mean
from unregress.metrics.attack_auc import HELD_OUT, Scores, area_measurements
from unregress.metrics.base import Metric, MetricResult, Panel, Subject
from unregress.metrics.predictions import Values
from unregress.metrics.roc import area

KEYS = ("deletion-auc", "deletion-auc-change")
"""Keys of the measurements: by the rise of the loss, and by the size of the change of the prediction."""
_MEANING = (
    "An attacker has the models before and after unlearning, sees a forgotten sample and a similar one that no model "
    "was trained on, and guesses that {guess} is the forgotten one.  This is how often the guess is right."
)
_IDEAL = (
    "A retrained model's own value, which is above 0.5 too: an attacker with both models sees what was deleted even "
    "after retraining.  Above it, unlearning tells more than retraining would."
)


@dataclass(frozen=True)
class DeletionAttack(Metric):
    """How well the forgotten samples are recognised by what changed between the original and each unlearned model.

    The forgotten samples are told from held-out samples as in `AttackAUC`, by the rise of the loss, and by how far
    predictions moved, whatever the target.  A published model that is replaced after a request is open to this attack,
    and no method can be asked to close it: retraining changes the forgotten samples' predictions as well.  An unlearned
    model whose other predictions stay as they were singles the forgotten samples out more than a retrained one does,
    which differs everywhere by chance.  The original has no value, since nothing has changed: this attack finds no
    memory that was left.
    """

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric=KEYS[0],
            title="Attack with both models: AUC by the rise of the loss",
            meaning=_MEANING.format(guess="the one whose prediction became worse"),
            ideal=_IDEAL,
            unit=Unit.SHARE,
            source="Chen et al. 2021 (When machine unlearning jeopardizes privacy), by losses",
        ),
        MetricInfo(
            metric=KEYS[1],
            title="Attack with both models: AUC by the change of the prediction",
            meaning=_MEANING.format(guess="the one whose prediction changed more"),
            ideal=_IDEAL,
            unit=Unit.SHARE,
            source="Chen et al. 2021, for regression",
        ),
    )

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """Both areas under the curve for unlearned models and golds, with rank tests among the golds."""
        part = next((part for part in HELD_OUT if part in panel.parts), None)
        if part is None:
            return
        changed = [subject for subject in panel.subjects if subject.role in ("unlearned", "gold")]
        for metric, score in zip(KEYS, (_rise, _move), strict=True):
            scores = {
                subject.name: Scores(*(score(panel.original, subject, each) for each in ("train-forget", part)))
                for subject in changed
            }
            areas = {name: area(found.members, found.others) for name, found in scores.items()}
            yield from area_measurements(panel, metric, "train-forget", areas, part)


def _rise(original: Subject, subject: Subject, part: Part) -> Values:
    """By how much each sample's loss rose; `(n,)`."""
    with np.errstate(over="ignore"):
        return np.asarray(subject.parts[part].loss - original.parts[part].loss)


def _move(original: Subject, subject: Subject, part: Part) -> Values:
    """How far each sample's prediction moved, on average over outputs whose target is known; `(n,)`."""
    with np.errstate(over="ignore"):
        change = np.abs(subject.parts[part].comparable - original.parts[part].comparable)
        return np.asarray(mean(change.reshape(len(change), -1), axis=1))
