"""Memory kept of the forgotten samples, by leave-out predictions: no retrained model is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
import torch

from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.request import Index
from unregress.data.sample_keys import sample_keys
from unregress.errors import StaleError
from unregress.evidence import Curve, Figure, MetricInfo, Part, Unit
from unregress.evidence.table_verdict import KEPT_BY_TABLE, NOTICED, TABLE_COUPLING, TABLE_LEVEL
from unregress.metrics.base import NEVER_SEEN, Metric, MetricResult, Panel, measured, without_value
from unregress.metrics.memory_groups import Groups
from unregress.metrics.memory_slope import Null, memory_kept, null_of, p_value, power
from unregress.metrics.predictions import Values
from unregress.metrics.request_likeness import Likeness

KEPT = (0.5, 0.25, 0.1)
"""Shares of the original's memory for which the power is given."""
FEW = 5
"""Number of samples, or people, up to which a request may be larger than a fold (docs/calibration.md)."""
OWN_HELD_OUT = ("subjects", "test-forget")
"""Kind of request, and the part with held-out samples of the people that it forgets."""


class NeverSeen(NamedTuple):
    """Never-seen samples that a table knows, in groups like the forgotten ones."""

    places: Index
    """Places of the never-seen samples among the held-out ones."""
    target: Values
    """Their targets, `(u, *out)`."""
    left_out: Values
    """Their predictions by the table, `(u, *out)`."""
    rows: Index
    """Their positions in the test set, `(u,)`."""
    groups: Groups
    scale: float
    """Mean squared error of these predictions, as for `memory_kept`."""

    def null(self, prediction: Values) -> Null:
        """The slopes of the groups, by a model's predictions of the samples."""
        groups = self.groups
        return null_of(prediction, self.target, self.left_out, groups.positions, self.scale, groups.widening)


class _Comparable(NamedTuple):
    """Test samples that can stand for the forgotten ones."""

    places: Index
    """Places among the given test samples of those that the table knows and no model was trained on, nor on others of
    their people."""
    in_table: Index
    """Places of the same samples in the table."""
    likeness: Likeness
    """In which groups they are like the forgotten ones."""


@dataclass(frozen=True)
class MemoryKept(Metric):
    """How much of each model's memory of the forgotten samples is left, judged by a leave-out table alone.

    A model that never saw the samples predicts them about as the leave-out models do; one that remembers leans towards
    their targets.  How far a model without memory may lean by chance is seen from samples that no model ever saw:
    random ones; those of as many people where people are forgotten; stretches as long where stretches of a series are;
    or samples of nearly the same targets where the forgotten ones are otherwise no random draw.  No retrained model is
    needed, and a single sample is enough, though the power is then small.

    Where only a part of a person's samples is forgotten nothing is measured: the table left out the whole person, and a
    model that saw the others leans towards the true values without any memory of these.  Nor is it where the forgotten
    are alike, as all people of a company are: the table left out a part of them, and retraining leaves out all.  Nor of
    more than five samples, or people, where these are more than a fold has: the leave-out models saw most of them.
    """

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric=KEPT_BY_TABLE,
            title="Memory kept, by leave-out predictions",
            meaning="How far the predictions for the forgotten samples lean from those of models that never saw them "
            "towards the true values: 1 is on the true values.  With its 95 % interval by never-seen samples, and the "
            "probability that these lean as far by chance.",
            ideal="Near 0, within its interval; the original's value is what there was to forget.",
            unit=Unit.SHARE,
            source="This library, after leave-one-out memorisation (Feldman 2020)",
        ),
        MetricInfo(
            metric=NOTICED,
            title="Probability of noticing half of the memory",
            meaning="How probably a model that kept half of the original's memory of these samples would have been "
            "noticed by the leave-out predictions.",
            ideal="Near 1: then a model that is not noticed has kept less.",
            unit=Unit.SHARE,
            source="This library",
        ),
        MetricInfo(
            metric=TABLE_COUPLING,
            title="Coupling of the leave-out predictions",
            meaning="How far the leave-out models are from the original on never-seen samples, in distances of a "
            "training from other initial weights.",
            ideal="Near 0: then they say what would have become of this original.  Above 0.7 they only say what "
            "models in general predict that never saw the samples.",
            unit=Unit.RATIO,
            source="This library",
        ),
    )

    table: LeaveOutTable = field(repr=False)
    """The leave-out table; an audit refuses one that taught a model, which agrees with it by construction."""
    draws: int = 1000
    """Number of random groups of never-seen samples."""
    refused: str = field(default="", repr=False)
    """Why the table judges none of the models, whatever the request; nothing is then measured, and the reason stands in
    the report."""

    def doubt(self, case: Case) -> str:
        """Why nothing can be measured about a request, before any model has predicted; empty if it can."""
        # Held-out samples of the forgotten people are not like those of people of whom nothing is known.
        rows = np.flatnonzero(case.retained("test")) if case.requested.by == OWN_HELD_OUT[0] else case.rows("test")
        found = self._comparable(case, rows)
        return found if isinstance(found, str) else ""

    def _comparable(self, case: Case, rows: Index, targets: tuple[Values, Values] | None = None) -> _Comparable | str:
        """The never-seen samples to compare with, or why nothing can be measured about the request.

        Args:
            case: the request and the data.
            rows: positions of test samples.
            targets: targets of the forgotten samples and of these; None to read them from the data.
        """
        if self.refused:
            return self.refused
        try:
            self.table.targets(case)
        except StaleError as error:
            return error.found
        if larger := self._larger_than_a_fold(case):
            return larger
        known, hashes = {key: at for at, key in enumerate(self.table.unseen_keys)}, sample_keys(case.splits, "test")
        new, contents = of_new_people(case, rows), case.splits.row_hashes("test")
        trained = set(case.splits.row_hashes("train_eval"))
        copied = np.array([contents[row] in trained for row in rows], dtype=bool)
        fit = [at for at in np.flatnonzero(new & ~copied) if hashes[rows[at]] in known]
        places = np.array(fit, dtype=np.int64)
        in_table = np.array([known[hashes[row]] for row in rows[places]], dtype=np.int64)
        besides = "" if new.all() else ", besides those of people with training samples"
        besides += ", besides copies of training samples" if copied.any() else ""
        its = targets if targets is None or not fit else (targets[0], targets[1][places])
        like = Likeness(case, rows[places], its, besides)
        return like.unfit or _Comparable(places, in_table, like)

    def _larger_than_a_fold(self, case: Case) -> str:
        """Why a request forgets too much for the table; empty if it does not.

        The table's models saw most of the other forgotten samples.  What these did to each other's predictions looks
        like memory, or its opposite, and never-seen samples show nothing of the kind (docs/calibration.md).
        """
        rows, fold = case.requested.forget, self.table.made_with / max(1, self.table.number_of_folds)
        if case.splits.number_of_people(rows) <= FEW or len(rows) <= fold:
            return ""
        return (
            f"the request forgets {len(rows)} samples, and the leave-out table, of {self.table.number_of_folds} folds, "
            f"left out about {fold:.0f} at a time, so that its models saw most of the others"
        )

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """The memory kept by every model with interval and p-value, the power, and each sample's percentile."""
        seen = self.never_seen(panel)
        if isinstance(seen, str):
            names = [subject.name for subject in panel.subjects]
            yield from without_value([KEPT_BY_TABLE], "train-forget", names, seen)
            return
        left_out, target = self.left_out(panel), panel.original.parts["train-forget"].target
        held = held_out(panel)
        original, curves = panel.original.parts["train-forget"].prediction, []
        for subject in panel.subjects:
            own = subject.parts["train-forget"].prediction
            null = seen.null(subject.answers(held)[seen.places])
            slope = memory_kept(own, target, left_out, seen.scale)
            interval = interval_of(slope, null)
            judged = subject.role in ("original", "unlearned")
            noticed = {share: power(original, target, left_out, null, share, seen.scale) for share in KEPT if judged}
            told = ", ".join(f"{share:.0%} kept: {found:.0%}" for share, found in noticed.items())
            yield measured(
                metric=KEPT_BY_TABLE,
                split="train-forget",
                model=subject.name,
                value=slope,
                interval=interval,
                p=p_value(slope, null.slopes),
                note=f"compared with {seen.groups.how}; would be noticed with {told}" if judged else "",
            )
            if judged:
                yield measured(metric=NOTICED, split="train-forget", model=subject.name, value=noticed[KEPT[0]])
                curves.append(_percentiles(subject.name, own, target, left_out, null, seen.scale))
        kappa, name = self.table.coupling, panel.original.name
        if kappa is None:
            yield from without_value([TABLE_COUPLING], "test-retain", [name], "the table has no coupling")
        else:
            yield measured(metric=TABLE_COUPLING, split="test-retain", model=name, value=kappa)
        yield Figure(
            key="memory-percentiles",
            title="Each forgotten sample's place among never-seen ones",
            caption="The share of never-seen samples whose prediction leans less towards the true value; forgotten "
            "samples in order.  A model without memory is spread evenly between 0 and 1; one that remembers is near 1.",
            x_label="forgotten sample",
            y_label="share of never-seen samples",
            curves=tuple(curves),
            threshold=0.5,
        )

    def left_out(self, panel: Panel) -> Values:
        """The table's predictions for the forgotten samples, in the panel's units; `(m, *out)`."""
        return self._points(panel, self.table.targets(panel.required_case))

    def never_seen(self, panel: Panel) -> NeverSeen | str:
        """Never-seen samples to compare with, or why nothing can be measured."""
        of_original = panel.original.parts
        forgotten, parts = of_original["train-forget"].target, held_out(panel)
        index = np.concatenate([np.zeros(0, np.int64), *(of_original[part].index for part in parts)])
        targets = np.concatenate([forgotten[:0], *(of_original[part].target for part in parts)])
        found = self._comparable(panel.required_case, index, (forgotten, targets))
        if isinstance(found, str):
            return found
        target = targets[found.places]
        left_out = self._points(panel, self.table.unseen[torch.from_numpy(found.in_table)])
        scale = float(np.nanmean((target - left_out) ** 2))
        rng = np.random.default_rng(panel.runtime.generator("memory-kept").initial_seed())
        groups = found.likeness.groups(self.draws, rng)
        return NeverSeen(found.places, target, left_out, index[found.places], groups, scale)

    def _points(self, panel: Panel, raw: torch.Tensor) -> Values:
        """Point predictions of raw ones, in the panel's units."""
        task = panel.required_case.task
        points = task.to_units(task.point(raw)).numpy().astype(np.float64)
        found: Values = (
            points.reshape(len(points), *panel.original.parts["train-forget"].target.shape[1:]) / panel.units
        )
        return found


def of_new_people(case: Case, rows: Index) -> np.typing.NDArray[np.bool_]:
    """Which test samples are of people who have no training samples, `(n,)`; all where people are not known.

    Most of a table's models were trained on people who have some, so that nobody can say how far models lean without.
    """
    trained, held = set(case.splits.subjects or ()), case.splits.test_subjects
    return np.array([held is None or held[row] not in trained for row in rows], dtype=bool)


def held_out(panel: Panel) -> list[Part]:
    """The parts of samples that no model saw; held-out samples of forgotten people are not like those of others."""
    by = panel.required_case.requested.by
    return [part for part in NEVER_SEEN if part in panel.parts and (by, part) != OWN_HELD_OUT]


def interval_of(slope: float, null: Null) -> tuple[float, float]:
    """The 95 % interval of a memory kept, by how far never-seen samples lean."""
    low, high = np.quantile(null.slopes, [TABLE_LEVEL, 1 - TABLE_LEVEL])
    return slope - float(high), slope - float(low)


def _percentiles(name: str, own: Values, target: Values, left_out: Values, null: Null, scale: float) -> Curve:
    """The place of each forgotten sample among single never-seen ones."""
    each = (memory_kept(own[[row]], target[[row]], left_out[[row]], scale) for row in range(len(own)))
    order = np.sort(null.alone)
    y = tuple(float(np.searchsorted(order, slope)) / len(order) for slope in each)
    return Curve(model=name, x=tuple(float(number) for number in range(1, len(y) + 1)), y=y)
