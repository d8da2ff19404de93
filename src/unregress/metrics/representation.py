"""Memory of the forgotten samples in the features before the final layer: a linear probe, and linear CKA."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unregress.errors import SettingError
from unregress.evidence import MetricInfo, Part, Unit
from unregress.metrics.base import (
    Metric,
    MetricResult,
    Panel,
    Subject,
    distance_measurements,
    value_measurements,
    without_value,
)
from unregress.metrics.predictions import Values
from unregress.metrics.roc import auc

FOLDS = 5
FEWEST = 2 * FOLDS
"""Smallest number of samples per class for a probe: two in each fold."""
FEWEST_ALIGNED = 4
"""Smallest number of samples whose features can be aligned: of three nothing is left without the diagonal."""
ROUNDING = 1e-12
"""Largest similarity with itself, as a share of the squared sum of squares, that is taken for rounding."""


def fold_numbers(labels: NDArray[Any], *, seed: int) -> NDArray[np.int64]:
    """Assign each sample to one of five stratified folds, `(n,)`.

    Args:
        labels: 0 or 1 per sample.
        seed: of the draw.
    """
    from sklearn.model_selection import StratifiedKFold

    folds = np.zeros(len(labels), dtype=np.int64)
    cut = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(cut.split(labels, labels)):
        folds[held_out] = fold
    return folds


def probe_auc(features: NDArray[Any], labels: NDArray[Any], folds: NDArray[Any]) -> float:
    """Cross-validated AUC of a linear probe that separates two classes: 0.5 is guessing, 1 perfect.

    The probe is a logistic regression on standardised features with a ridge penalty.  Its strength is fixed: sklearn's
    C is 1 / features, by which the log odds vary by about 1 a priori, whatever the number of features.  A wide layer is
    thus not overfitted to few samples.  The area under the curve is taken fold by fold and averaged.

    Args:
        features: one row per sample, `(n, width)`.
        labels: 0 or 1 per sample, `(n,)`.
        folds: in which fold a sample is held out, `(n,)`; both classes in each.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    areas = []
    for fold in np.unique(folds):
        held_out = folds == fold
        ridge = LogisticRegression(C=1 / features.shape[1], max_iter=1000)
        probe = make_pipeline(StandardScaler(), ridge).fit(features[~held_out], labels[~held_out])
        scores, ones = probe.decision_function(features[held_out]), labels[held_out] == 1
        areas.append(auc(scores[ones], scores[~ones]))
    return float(np.mean(areas))


def linear_cka(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Linear centred kernel alignment of two models' features of the same samples: 1 if equal, about 0 if unrelated.

    Equal means up to rotations, reflections, shifts and a common scale of the features, none of which matters to a
    linear layer behind them.  Constant features have alignment 1 with each other and 0 with all others.

    This is the debiased estimator, which leaves each sample's similarity with itself out: of unrelated features it is 0
    on average, and can be negative, whatever the number of features.  The plain estimator grows with it: 64 independent
    features of 88 samples read 0.42.

    Source: Kornblith, Norouzi, Lee and Hinton (2019), "Similarity of Neural Network Representations Revisited", with
    the unbiased estimator of Song, Smola, Gretton, Bedo and Borgwardt (2012).

    Args:
        first: `(n, width)`, four samples or more.
        second: `(n, other width)`.

    >>> line = np.array([[0.0], [1.0], [2.0], [4.0]])
    >>> round(linear_cka(line, 5 - 2 * line), 9)
    1.0
    """
    return _alignment(_centred(first), _centred(second))


class _Centred(NamedTuple):
    """Features of one model, ready to be compared with others'."""

    features: Values
    """With each column's mean taken out, scaled so that their alignment with themselves is 1; `(n, width)`; zero if
    samples are all equally similar, as constant ones are."""
    sizes: Values
    """Squared length of each row, `(n,)`."""


def _centred(features: NDArray[Any]) -> _Centred:
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    # Features that differ by rounding alone are constant.
    noise = 1e-7 * float(np.abs(features).max(initial=0.0))
    if np.abs(centred).max(initial=0.0) <= noise:
        centred = np.zeros_like(centred)
    # First to numbers of usual size, which can be raised to the fourth power.
    centred = centred / (np.linalg.norm(centred) or 1.0)
    plain = _Centred(centred, np.einsum("ij,ij->i", centred, centred))
    similar = _similarity(plain, plain)
    # Samples equally similar to each other leave nothing to compare but rounding.
    scale = 0.0 if similar <= ROUNDING * float(np.sum(plain.sizes)) ** 2 else similar**-0.25
    return _Centred(plain.features * scale, plain.sizes * scale**2)


def _similarity(first: _Centred, second: _Centred) -> float:
    """Unbiased Hilbert-Schmidt independence criterion of linear kernels, times n (n - 3); O(n d min(n, d)).

    The criterion is the mean product of the two kernels' U-centred entries off the diagonal.  Of centred features the
    rows of a kernel sum to 0, so that what the diagonal adds is a matter of the rows' squared lengths.
    """
    (a, p), (b, q), count = first, second, len(first.sizes)
    crossed = np.sum((a @ a.T) * (b @ b.T)) if min(a.shape[1], b.shape[1]) > count else np.sum((b.T @ a) ** 2)
    diagonal = np.sum(p * q) * count / (count - 2) - p.sum() * q.sum() / ((count - 1) * (count - 2))
    return float(crossed - diagonal)


def _alignment(first: _Centred, second: _Centred) -> float:
    if not first.features.any() or not second.features.any():
        return float(first.features.any() == second.features.any())
    return _similarity(first, second)


@dataclass(frozen=True, kw_only=True)
class Representation(Metric):
    """Whether the inputs of the final linear layer still show which samples were forgotten.

    A model can answer like a gold and still know the samples one layer below.  Two questions: does a linear probe
    tell D_f from held-out samples of its kind better than in the golds, and are the features of D_f related
    to each other as in the golds.  Models without features, such as a constant, are left out, and those whose features
    are NaN or infinite.

    Raises:
        SettingError: fewer than 10 samples per class.
    """

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric="probe-auc",
            title="Linear probe on the features",
            meaning="How well the inputs of the final layer tell the forgotten samples from held-out ones of their "
            "kind, by a linear probe on samples that it was not trained on: 0.5 is guessing, 1 is perfect.",
            ideal="A retrained model's own value, which is near 0.5 if the two kinds of samples are alike.  Where no "
            "held-out samples of the kind are known, all test samples stand in, and the value tells little by itself.",
            unit=Unit.SHARE,
            source="linear probes: Alain and Bengio (2016); compared with retrained models here",
        ),
        MetricInfo(
            metric="cka-distance",
            title="Distance of the features to the retrained models'",
            meaning="1 minus the linear CKA between the features of the forgotten samples and a retrained model's, "
            "on average over the retrained models: 0 if they are related in the same way, about 1 if unrelated.",
            ideal="The noise floor, which is the distance of a retrained model to the others.",
            unit=Unit.DISTANCE,
            source="Kornblith et al. (2019), linear CKA; debiased as in Song et al. (2012)",
            distance=True,
        ),
    )

    samples: int = 2000
    """At most so many samples per class."""

    def __post_init__(self) -> None:
        if self.samples < FEWEST:
            raise SettingError(
                f"Representation has samples={self.samples}", expected=f"{FEWEST} samples per class or more"
            )

    @property
    def needs_features(self) -> bool:
        """True: both measurements read the final layer's inputs."""
        return True

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """The probe's AUC of every model with features, and its features' distance to the golds'."""
        seen = [
            replace(subject, parts={name: part.with_features() for name, part in subject.parts.items()})
            for subject in panel.subjects
            if subject.parts["train-forget"].activation is not None and _finite(subject)
        ]
        if not seen:
            return
        rng = np.random.default_rng(panel.runtime.generator("representation").initial_seed())
        forgotten = self._drawn(rng, len(seen[0].parts["train-forget"]))
        held_out: tuple[Part, ...] = ("test-forget",) if "test-forget" in panel.parts else ("test-retain",)
        others = self._drawn(rng, sum(len(seen[0].parts[part]) for part in held_out if part in panel.parts))
        features = {subject.name: _features(subject, ("train-forget",))[forgotten] for subject in seen}
        shown = replace(panel, subjects=tuple(seen))
        note = (
            ""
            if "test-forget" in panel.parts
            else "against all test samples, since no held-out ones of the forgotten kind are known"
        )
        if (count := min(len(forgotten), len(others))) < FEWEST:
            note = f"only {count} samples per class to train a probe on"
            yield from without_value(["probe-auc"], "train-forget", list(features), note)
        else:
            labels = np.repeat([1, 0], [len(forgotten), len(others)])
            folds = fold_numbers(labels, seed=int(rng.integers(2**31)))
            values = {
                subject.name: probe_auc(
                    np.vstack([features[subject.name], _features(subject, held_out)[others]]), labels, folds
                )
                for subject in seen
            }
            yield from value_measurements(shown, "probe-auc", "train-forget", values, note=note)
        if len(forgotten) < FEWEST_ALIGNED:
            note = f"only {len(forgotten)} samples to compare features of"
            yield from without_value(["cka-distance"], "train-forget", list(features), note)
            return
        centred = {name: _centred(found) for name, found in features.items()}
        yield from distance_measurements(shown, "cka-distance", "train-forget", centred, _cka_distance)

    def _drawn(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        return np.sort(rng.choice(count, min(count, self.samples), replace=False))


def _cka_distance(first: _Centred, second: _Centred) -> float:
    # By rounding, a model's alignment with itself can be a little above 1.
    return max(0.0, 1 - _alignment(first, second))


def _finite(subject: Subject) -> bool:
    found = (part.activation for part in subject.parts.values())
    return all(values is None or bool(np.isfinite(values).all()) for values in found)


def _features(subject: Subject, parts: Sequence[Part]) -> NDArray[np.float64]:
    found = [subject.parts[part].activation for part in parts]
    return np.vstack([values for values in found if values is not None]).astype(np.float64)
