"""Coupling: how much the initial weights decide what a training learns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unregress.evidence import Measurement, MetricInfo, Part, Unit
from unregress.evidence.nan_means import mean
from unregress.metrics.base import Metric, MetricResult, Panel
from unregress.metrics.predictions import Values

COUPLING = "coupling"
"""Key of the measurement against the original."""
AMONG_GOLDS = "coupling-golds"
"""Key of the measurement among golds."""
NO_DISTANCE = "the distance between models is 0, or too large a number"
NEVER_SEEN: tuple[Part, ...] = ("test-retain", "test-forget")
STRONG, WEAK = 0.3, 0.7
"""Coupling below which it is called strong, and above which weak."""


def coupling(same: Sequence[Values], other: Sequence[Values], center: Values) -> float | None:
    """Distance of models of the same initial weights from one of them, as a multiple of other models' distance.

    κ = mean |model of the same start - center| / mean |model of another start - center|: near 0 where the initial
    weights decide everything, near 1 where they decide nothing.

    Args:
        same: predictions of never-seen samples by models with the initial weights of `center`, each `(n, *out)`.
        other: the same of models with other initial weights.
        center: predictions of the original, or of a gold that starts as the original did.

    Returns:
        κ; None if a distance is not finite, or models of other initial weights predict what `center` does.

    >>> coupling([np.array([1.0, 3.0])], [np.array([5.0, 1.0]), np.array([1.0, 5.0])], np.array([1.0, 1.0]))
    0.5
    """
    with np.errstate(over="ignore"):
        near, far = (float(mean(np.stack([np.abs(each - center) for each in models]))) for models in (same, other))
    return near / far if np.isfinite(near) and np.isfinite(far) and far > 0 else None


def strength(kappa: float) -> str:
    """The strength of a coupling in a word.

    >>> [strength(kappa) for kappa in (0.29, 0.3, 0.7, 0.71)]
    ['strong', 'moderate', 'moderate', 'weak']
    """
    return "strong" if kappa < STRONG else "weak" if kappa > WEAK else "moderate"


@dataclass(frozen=True)
class Coupling(Metric):
    """How much the initial weights decide, by golds that start from the original's and models that start from others.

    Against the original the coupling also holds what forgetting changed: after a large request golds of any start are
    far from the original, and it is near 1.  Among the golds that effect cancels; for a small request both are alike,
    since the original is then as far from a gold as two golds are from each other.

    An audit adds it where some of its golds start from the original's own initial weights.  No verdict reads it.
    """

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric=COUPLING,
            title="Coupling by the initial weights",
            meaning="How far a retrained model with the original's initial weights is from the original on samples "
            "that none of them saw, as a multiple of the distance of a retrained model with other initial weights.",
            ideal="None: it describes the training, and after a large request also what forgetting changed.",
            unit=Unit.RATIO,
            source="this library",
        ),
        MetricInfo(
            metric=AMONG_GOLDS,
            title="Coupling among the retrained models",
            meaning="How far a retrained model with the original's initial weights is from the others of its kind on "
            "samples that none of them saw, as a multiple of its distance from one with other initial weights.",
            ideal=f"None: it describes the training.  Below {STRONG} the initial weights decide most of what is learnt "
            f"(strong), above {WEAK} hardly anything (weak).",
            unit=Unit.RATIO,
            source="this library",
        ),
    )

    golds: tuple[str, ...]
    """Names of the golds that start from the original's initial weights."""
    others: tuple[str, ...]
    """Names of the retrained models with other initial weights."""

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """Both couplings of each gold that starts from the original's initial weights."""
        parts = [part for part in NEVER_SEEN if part in panel.parts]
        if not parts or not self.others:
            note = "there is no retrained model with other initial weights" if parts else "there are no test samples"
            for name in self.golds:
                yield _measurement(COUPLING, name, None, note)
            return
        seen = {
            subject.name: np.concatenate([subject.parts[part].prediction for part in parts])
            for subject in panel.subjects
        }
        others = [seen[name] for name in self.others]
        for name in self.golds:
            yield _measurement(COUPLING, name, coupling([seen[name]], others, seen[panel.original.name]))
            if rest := [seen[gold] for gold in self.golds if gold != name]:
                yield _measurement(AMONG_GOLDS, name, coupling(rest, others, seen[name]))


def _measurement(metric: str, model: str, value: float | None, note: str = NO_DISTANCE) -> Measurement:
    return Measurement(metric=metric, split="test", model=model, value=value, note="" if value is not None else note)
