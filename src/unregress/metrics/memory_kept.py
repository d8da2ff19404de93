"""Memory kept of the forgotten samples, by leave-out predictions: no retrained model is needed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
import torch

from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.request import Index
from unregress.errors import StaleError, UnregressError
from unregress.evidence import MetricInfo, Part, Unit
from unregress.metrics.base import Metric, MetricResult, Panel, Subject, measured, without_value
from unregress.metrics.predictions import Values

KEPT = (0.5, 0.25, 0.1)
"""Shares of the original's memory for which the power is given."""
LEVEL = 0.05
"""Level of the one-sided test."""
WEAK = 0.7
"""Coupling from which on leave-out predictions do not say what would have become of this original."""
HELD_OUT: tuple[Part, ...] = ("test-retain", "test-forget")


def memory_kept(prediction: Values, target: Values, left_out: Values, scale: float) -> float:
    """How far predictions lean from leave-out predictions towards the targets: 1 on the target, 0 with no memory.

    The slope of (f - O) on (y - O) through the origin, Σ (f - O)(y - O) / Σ [(y - O)² + c], with a small c that keeps
    samples which the leave-out models predict well from deciding it.

    Args:
        prediction: f, `(m, *out)`.
        target: y, of the same shape; unknown outputs (NaN) are left out.
        left_out: O, predictions by models that never saw the samples, of the same shape.
        scale: typical (y - O)², of which c is a twenty-fifth.

    >>> memory_kept(np.array([2.0, 3.0]), np.array([2.0, 4.0]), np.array([1.0, 2.0]), scale=0.0)
    0.6
    """
    leaning = (prediction - left_out) * (target - left_out)
    return float(leaning[~np.isnan(target)].sum() / full_memory(target, left_out, scale))


def full_memory(target: Values, left_out: Values, scale: float) -> float:
    """The denominator of `memory_kept`: Σ [(y - O)² + c] over known outputs; arguments as there."""
    known = ~np.isnan(target)
    return np.float64(((target - left_out) ** 2 + scale / 25)[known].sum())


class Null(NamedTuple):
    """What samples that no model ever saw show."""

    slopes: Values
    """`memory_kept` of random groups of never-seen samples; `(draws,)`."""
    moved: Values
    """f - O of these groups, `(draws, m, *out)`."""


def null_of(prediction: Values, target: Values, left_out: Values, groups: Index, scale: float) -> Null:
    """The slopes of groups of never-seen samples.

    Args:
        prediction: of never-seen samples, `(u, *out)`.
        target: of the same shape.
        left_out: by models that never saw them, of the same shape.
        groups: positions of the samples of each group, `(draws, m)`.
        scale: as for `memory_kept`.
    """
    slopes = np.array([memory_kept(prediction[g], target[g], left_out[g], scale) for g in groups])
    return Null(slopes, (prediction - left_out)[groups])


def p_value(slope: float, null: Values) -> float:
    """One-sided p-value: how often never-seen samples lean as far towards their targets.

    >>> p_value(0.5, np.array([0.1, 0.6, -0.2]))
    0.5
    """
    return float((1 + (null >= slope).sum()) / (1 + len(null)))


def power(original: Values, target: Values, left_out: Values, null: Null, share: float, scale: float) -> float:
    """Probability that the test notices a model that kept a share of the original's memory.

    Such a model is imitated by the deviations of never-seen samples, to which a share of the original's is added.

    Args:
        original: the original's predictions of the forgotten samples, `(m, *out)`.
        target: of the same shape.
        left_out: of the same shape.
        null: of groups of as many samples.
        share: of the memory, 0 to 1.
        scale: as for `memory_kept`.
    """
    limit = np.quantile(null.slopes, 1 - LEVEL)
    imitated = left_out + null.moved + share * (original - left_out)
    slopes = np.array([memory_kept(each, target, left_out, scale) for each in imitated])
    return float((slopes > limit).mean())


@dataclass(frozen=True)
class MemoryKept(Metric):
    """How much of each model's memory of the forgotten samples is left, judged by a leave-out table alone.

    A model that never saw the samples predicts them about as the leave-out models do; one that remembers leans towards
    their targets.  How far a model without memory may lean by chance is seen from samples that no model ever saw.  No
    retrained model is needed, and a single sample is enough, though the power is then small.

    The forgotten samples must be comparable with the never-seen ones; where they are a band of targets they are not.
    """

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric="memory-kept",
            title="Memory kept, by leave-out predictions",
            meaning="How far the predictions for the forgotten samples lean from those of models that never saw them "
            "towards the true values: 1 is on the true values.  With its 95 % interval by never-seen samples, and the "
            "probability that these lean as far by chance.",
            ideal="Near 0, within its interval; the original's value is what there was to forget.",
            unit=Unit.SHARE,
            source="This library, after leave-one-out memorisation (Feldman 2020)",
        ),
    )

    table: LeaveOutTable = field(repr=False)
    """The leave-out table; it must not be the one that taught the method, or the model agrees with it by
    construction."""
    draws: int = 1000
    """Number of random groups of never-seen samples."""

    def objections(self, case: Case, names: Collection[str]) -> list[UnregressError]:
        try:
            self.table.targets(case)
        except StaleError as error:
            return [error]
        return []

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """The memory kept by every model, with interval, p-value and power."""
        left_out = self._points(panel, self.table.targets(panel.required_case))
        held = [part for part in HELD_OUT if part in panel.parts]
        places, unseen = self._unseen(panel, held)
        count = len(left_out)
        if len(places) < 2 * count or not len(places):
            note = f"{len(places)} never-seen samples in the table, for {count} forgotten ones"
            yield from without_value(["memory-kept"], "train-forget", [s.name for s in panel.subjects], note)
            return
        target = panel.original.parts["train-forget"].target
        seen_target = self._of(panel.original, held, "target")[places]
        scale = float(np.nanmean((seen_target - unseen) ** 2))
        rng = np.random.default_rng(panel.runtime.generator("memory-kept").initial_seed())
        groups = np.stack([rng.choice(len(places), count, replace=False) for _ in range(self.draws)])
        original = panel.original.parts["train-forget"].prediction
        for subject in panel.subjects:
            own = subject.parts["train-forget"].prediction
            null = null_of(self._of(subject, held, "prediction")[places], seen_target, unseen, groups, scale)
            slope = memory_kept(own, target, left_out, scale)
            low, high = np.quantile(null.slopes, [0.025, 0.975])
            noticed = [
                f"{share:.0%} kept: {power(original, target, left_out, null, share, scale):.0%}" for share in KEPT
            ]
            yield measured(
                metric="memory-kept",
                split="train-forget",
                model=subject.name,
                value=slope,
                interval=(slope - float(high), slope - float(low)),
                p=p_value(slope, null.slopes),
                note=f"would be noticed with {', '.join(noticed)}{self._weak}",
            )

    @property
    def _weak(self) -> str:
        coupling = self.table.coupling
        return (
            f"; weak: the coupling is {coupling:.2f}, and only models in general are compared"
            if coupling > WEAK
            else ""
        )

    def _points(self, panel: Panel, raw: torch.Tensor) -> Values:
        """Point predictions of raw ones, in the panel's units."""
        task = panel.required_case.task
        points = task.to_units(task.point(raw)).numpy().astype(np.float64)
        found: Values = (
            points.reshape(len(points), *panel.original.parts["train-forget"].target.shape[1:]) / panel.units
        )
        return found

    def _of(self, subject: Subject, parts: Collection[Part], name: str) -> Values:
        found: Values = np.concatenate([getattr(subject.parts[part], name) for part in parts])
        return found

    def _unseen(self, panel: Panel, parts: Collection[Part]) -> tuple[Index, Values]:
        """Places among the test samples of the parts that the table knows, and their leave-out predictions."""
        hashes = panel.required_case.splits.row_hashes("test")
        known = {key: place for place, key in enumerate(self.table.unseen_keys)}
        index = np.concatenate([panel.original.parts[part].index for part in parts]) if parts else np.zeros(0, int)
        pairs = [(place, known[hashes[row]]) for place, row in enumerate(index) if hashes[row] in known]
        places = np.array([place for place, _ in pairs], dtype=np.int64)
        rows = torch.tensor([row for _, row in pairs], dtype=torch.int64)
        return places, self._points(panel, self.table.unseen[rows])
