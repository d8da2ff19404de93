"""Coupling: how much the initial weights decide what a training learns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from unregress.evidence import Measurement, MetricInfo, Unit
from unregress.evidence.coupling import STRONG, WEAK, coupling
from unregress.metrics.base import NEVER_SEEN, Metric, MetricResult, Panel

COUPLING = "coupling"
"""Key of the measurement against the original."""
AMONG_GOLDS = "coupling-golds"
"""Key of the measurement among golds."""
NO_DISTANCE = "the distance between models is 0, or too large a number"


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
        seen = {subject.name: subject.answers(parts) for subject in panel.subjects}
        others = [seen[name] for name in self.others]
        for name in self.golds:
            yield _measurement(COUPLING, name, coupling([seen[name]], others, seen[panel.original.name]))
            if rest := [seen[gold] for gold in self.golds if gold != name]:
                yield _measurement(AMONG_GOLDS, name, coupling(rest, others, seen[name]))


def _measurement(metric: str, model: str, value: float | None, note: str = NO_DISTANCE) -> Measurement:
    return Measurement(metric=metric, split="test", model=model, value=value, note="" if value is not None else note)
