"""Membership inference by loss: forgotten samples against held-out samples of the same kind.

Telling retained from test samples, as in `unregress.metrics.membership`, is an easier task with a different result.
docs/reading-an-audit.md explains how the calibrated score relates to RMIA and BASE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from unregress.errors import SettingError
from unregress.evidence import Measurement, MetricInfo, Part, Unit
from unregress.evidence.nan_means import scale_of
from unregress.metrics.base import Metric, MetricResult, Panel, Subject, rank_among_golds, value_measurements
from unregress.metrics.predictions import Values
from unregress.metrics.roc import Area, area, true_positive_rate

LIKELY = 1e300
"""Limit of the log likelihood ratios, in absolute value."""
FALSE_ALARMS = 10
"""Smallest number of false alarms behind a threshold: at a rate of 1 % that takes 1,000 held-out samples."""
HELD_OUT: tuple[Part, ...] = ("test-forget", "test-retain")
"""The held-out samples to tell the forgotten ones from: the first of these parts that has samples."""


def likelihood_scale(losses: NDArray[Any]) -> float:
    """The scale b of the likelihood p(y | x) ∝ exp(-loss / b), from losses of samples that were not trained on.

    It turns a regression loss into a density: Laplace's for the absolute error, Gauss's for the squared error.
    If a loss grows with the k-th power of the d errors in it, loss / b follows a gamma distribution of shape d / k.
    Its mean is b d / k and its variance b² d / k, so b = variance / mean whatever k and d.
    Rankings of samples depend little on it: it decides between the references' mean and their smallest loss.
    A loss that can be negative is a negative log-likelihood already: b = 1.

    >>> likelihood_scale(np.array([1.0, 3.0]))
    0.5
    """
    unit = scale_of(losses)
    losses = losses / unit
    variance = float(np.var(losses))
    scale = unit * (variance / float(np.mean(losses))) if variance > 0 and losses.min() >= 0 else 1.0
    return scale or 1.0


def calibrated_scores(losses: Values, references: Values, scale: float) -> Values:
    """Log likelihood ratio of each target under a model and under reference models that never saw it, `(n,)`.

    log p(y | x, model) - log of the mean over references of p(y | x, reference), with p ∝ exp(-loss / scale); 0 means
    equally likely.  Source: BASE (Lassila et al. 2025); equivalent to RMIA (Zarifzadeh et al. 2024) with offline
    references and a = 1, see docs/reading-an-audit.md.

    Args:
        losses: the model's, `(n,)`.
        references: the reference models' losses of the same samples, `(references, n)`.
        scale: in the loss's unit; with one reference it changes no ranking.

    >>> calibrated_scores(np.array([1.0, 4.0]), np.array([[3.0, 4.0]]), 2.0).tolist()
    [1.0, 0.0]
    """
    # The division may overflow; at the limits, membership is certain either way.
    with np.errstate(over="ignore"):
        excess = np.clip((losses - references) / scale, -LIKELY, LIKELY)
    return np.asarray(np.log(len(references)) - logsumexp(excess, axis=0))


class Scores(NamedTuple):
    """The attack's scores of forgotten and of held-out samples for one model; higher means likelier a member."""

    members: Values
    others: Values


@dataclass(frozen=True, kw_only=True)
class AttackAUC(Metric):
    """Membership inference on D_f against held-out samples: by the loss alone, and calibrated by the golds.

    The held-out samples are those of the forgotten kind (`test-forget`) where they are known, and otherwise all test
    data, which suits requests that are unrelated to the target.  What a model learnt about the kind lowers the loss of
    the held-out samples too: it shows in the errors, not here, where memory of the samples themselves is measured.

    All models are measured on the same samples.  A gold is calibrated by the other golds,
    so that its value shows what is expected of one more gold (with one reference fewer).  Without golds nothing is
    calibrated; a single gold calibrates the others only.  True positive rates are left out where there are fewer
    held-out samples than 10 / `false_alarms`.

    Raises:
        SettingError: a rate of false alarms outside (0, 1).
    """

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric="auc",
            title="Membership inference: AUC",
            meaning="An attacker sees a forgotten sample and a similar one that no model was trained on, and guesses "
            "that the better predicted one is the forgotten one.  This is how often the guess is right.",
            ideal="A retrained model's own value: it is 0.5, as by tossing a coin, if the two kinds of samples are "
            "equally hard to predict, and differs from 0.5 for every model if not.  Above it the model remembers; "
            "below it, the samples are predicted so badly that this gives them away.",
            unit=Unit.SHARE,
            source="attack by loss: Yeom et al. 2018",
        ),
        MetricInfo(
            metric="tpr-at-low-fpr",
            title="Membership inference: recognised at few false alarms",
            meaning="The share of the forgotten samples that an attacker recognises by their small loss, while at most "
            "one in a hundred similar samples that no model was trained on is mistaken for a forgotten one (or the "
            "rate in the report's settings).",
            ideal="A retrained model's own value, which is about the share of false alarms.",
            unit=Unit.SHARE,
            source="Carlini et al. 2022",
        ),
        MetricInfo(
            metric="auc-calibrated",
            title="Membership inference, calibrated: AUC",
            meaning="The same with an attacker who also has retrained models, and looks at how much better the model "
            "predicts a sample than they do.  A sample that is hard for every model misleads this attacker less.",
            ideal="A retrained model's own value, which is near 0.5.  Above it the model remembers; below it, it was "
            "pushed away from the samples farther than never having seen them would explain.",
            unit=Unit.SHARE,
            source="RMIA (Zarifzadeh et al. 2024) and BASE (Lassila et al. 2025) for regression",
        ),
        MetricInfo(
            metric="tpr-calibrated",
            title="Membership inference, calibrated: recognised at few false alarms",
            meaning="The share of the forgotten samples that this attacker recognises, while at most one in a hundred "
            "similar samples that no model was trained on is mistaken for a forgotten one (or the rate in the "
            "settings).",
            ideal="A retrained model's own value, which is about the share of false alarms.",
            unit=Unit.SHARE,
            source="Carlini et al. 2022; Zarifzadeh et al. 2024",
        ),
    )

    false_alarms: float = 0.01
    """False positive rate at which the true positive rate is measured."""

    def __post_init__(self) -> None:
        if not 0 < self.false_alarms < 1:
            raise SettingError(f"AttackAUC has false_alarms={self.false_alarms}", expected="a share between 0 and 1")

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """AUC and, where there are enough held-out samples, true positive rate of both attacks on every model."""
        part = next((part for part in HELD_OUT if part in panel.parts), None)
        if part is None:
            return
        by_loss = {
            subject.name: Scores(-subject.parts["train-forget"].loss, -subject.parts[part].loss)
            for subject in panel.subjects
        }
        kind = "held-out samples of the forgotten kind" if part == "test-forget" else "samples of all test data"
        yield from self._measurements(panel, "auc", "tpr-at-low-fpr", by_loss, part, kind)
        yield from self._measurements(panel, "auc-calibrated", "tpr-calibrated", _calibrated(panel, part), part, kind)

    def _measurements(
        self, panel: Panel, metric: str, rate: str, scores: Mapping[str, Scores], part: Part, kind: str
    ) -> Iterator[Measurement]:
        areas = {name: area(found.members, found.others) for name, found in scores.items()}
        yield from area_measurements(panel, metric, "train-forget", areas, part, kind)
        rates = {
            name: true_positive_rate(found.members, found.others, self.false_alarms)
            for name, found in scores.items()
            if len(found.others) * self.false_alarms >= FALSE_ALARMS
        }
        yield from value_measurements(panel, rate, "train-forget", rates)


def area_measurements(
    panel: Panel, metric: str, members: Part, areas: Mapping[str, Area], others: Part, kind: str = "held-out samples"
) -> Iterator[Measurement]:
    """Measure areas under ROC curves, with their intervals and rank tests among the golds.

    Args:
        panel: the models.
        metric: key of the measurement.
        members: the part whose samples the attack is to recognise, about which the measurement is.
        areas: by the model's name.
        others: the part that they are told from.
        kind: what the others are, in words.
    """
    ranks = rank_among_golds(panel, {name: found.value for name, found in areas.items()})
    parts = panel.original.parts
    note = f"{len(parts[members])} against {len(parts[others])} {kind}"
    for name, (value, interval) in areas.items():
        yield Measurement(
            metric=metric, split=members, model=name, value=value, interval=interval, p=ranks.get(name), note=note
        )


def _calibrated(panel: Panel, part: Part) -> dict[str, Scores]:
    """Calibrated scores of every model that has other golds to be calibrated by."""
    if not panel.golds:
        return {}
    scale = likelihood_scale(np.concatenate([gold.parts[part].loss for gold in panel.golds]))

    def scores(subject: Subject, name: Part) -> Values:
        references = np.stack([gold.parts[name].loss for gold in panel.others(subject)])
        return calibrated_scores(subject.parts[name].loss, references, scale)

    return {
        subject.name: Scores(scores(subject, "train-forget"), scores(subject, part))
        for subject in panel.subjects
        if panel.others(subject)
    }
