"""Revival: how much of a forgotten memory comes back when a model is trained on retained samples alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.request import Index
from unregress.errors import DivergenceError, SettingError, UnregressError
from unregress.evidence import MetricInfo, Part, Unit
from unregress.evidence.nan_means import scale_of
from unregress.metrics.base import Metric, MetricResult, Panel, measured, without_value
from unregress.metrics.collect import collect
from unregress.metrics.memory import typical_error
from unregress.metrics.memory_kept import MemoryKept, interval_of
from unregress.metrics.memory_slope import memory_kept
from unregress.metrics.predictions import Predictions, Values
from unregress.training.divergence import EXPLODED
from unregress.training.loop import fit
from unregress.training.objective import Objective, task_loss
from unregress.training.recipe import Recipe

REVIVAL = "revival"
"""Key of the measurement."""
FORGOTTEN: Part = "train-forget"
DIVERGED = "its training on the retained samples diverged"


@dataclass(frozen=True, kw_only=True)
class Revival(Metric):
    """Memory kept of the forgotten samples after an epoch on retained samples alone, beside golds treated alike.

    A copy of each model is trained on D_r, with the same batches for all.  A model in which the memory is only hidden,
    for example by a last step that shifts its predictions, returns to it; a gold has none.  The memory is
    β = Σ (f - m)(y - m) / Σ [(y - m)² + c] over the forgotten samples: how far the predictions f lean from m, the mean
    of the golds after their own epoch, towards the true values y.  A gold is compared with the other golds.  The note
    tells β before the epoch, in which m is the mean of the golds as they are.

    The cost is an epoch on D_r for every model of the audit, golds included, so that it may be slow for large data;
    relearning (`Anamnesis`) by default takes up to fifty epochs on D for each.

    Without any gold a leave-out table's predictions stand for m, if an audit has one that may judge (`MemoryKept`).
    They are those of models that took no such epoch.  The interval then tells how far the model, after its epoch, leans
    on samples that no model ever saw; there is no range of golds, and no verdict reads the number.

    Raises:
        SettingError: the recipe has no epoch.
    """

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric=REVIVAL,
            title="Memory kept after revival",
            meaning="How far predictions for the forgotten samples lean from the retrained models' towards the true "
            "values, after every model was trained on kept samples alone for a short while: 0 is without memory, 1 on "
            "the true values.",
            ideal="A retrained model's own value, near 0.  A value well above the one before, in the note, says that "
            "the memory was hidden and comes back.",
            unit=Unit.SHARE,
            source="this library",
        ),
    )

    recipe: Recipe = Recipe(epochs=1, lr=1e-3, batch_size=256)
    """How to train on the retained samples."""
    table: LeaveOutTable | None = field(default=None, repr=False, compare=False)
    """Leave-out table that stands for golds where there is none; an audit takes that of its `MemoryKept`."""

    def __post_init__(self) -> None:
        if self.recipe.epochs < 1:
            raise SettingError(f"Revival has {self.recipe.epochs} epochs", expected="1 epoch or more")

    @property
    def needs_model(self) -> bool:
        """Whether the metric needs the models themselves: it trains copies of them."""
        return True

    def trainings(self, case: Case) -> Sequence[tuple[Recipe, int]]:
        """A training on the retained samples, and predictions of the forgotten ones."""
        request = case.requested
        return [(self.recipe, 2 * self.recipe.epochs * len(request.retain) + len(request.forget))]

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """The memory kept of every model after revival."""
        models = {subject.name: subject.model for subject in panel.subjects if subject.model is not None}
        golds = [gold.name for gold in panel.golds]
        if self.table is not None and not golds:
            yield from self._by_table(panel, models, MemoryKept(self.table))
            return
        if len(golds) < 2:
            few = "one retrained model" if golds else "no retrained model"
            yield from without_value(
                [REVIVAL], FORGOTTEN, models, f"two are needed to compare with, and there is {few}"
            )
            return
        before = {subject.name: subject.parts[FORGOTTEN].prediction for subject in panel.subjects}
        found = revived(panel, models, self.recipe)
        after = {name: values for name, values in found.items() if isinstance(values, np.ndarray)}
        lost = {name: why for name, why in found.items() if isinstance(why, str)}
        known = [name for name in golds if name in after]
        target, error = panel.original.parts[FORGOTTEN].target, typical_error(panel)
        for name in models:
            others = [gold for gold in known if gold != name]
            if name in lost or len(known) < 2:
                why = lost.get(name, "fewer than two retrained models could be trained so")
                yield from without_value([REVIVAL], FORGOTTEN, [name], why)
                continue
            earlier = memory(before[name], target, [before[gold] for gold in golds if gold != name], error)
            value = memory(after[name], target, [after[gold] for gold in others], error)
            yield measured(metric=REVIVAL, split=FORGOTTEN, model=name, value=value, note=f"{_signed(earlier)} before")

    def _by_table(self, panel: Panel, models: Mapping[str, nn.Module], judge: MemoryKept) -> Iterator[MetricResult]:
        """The memory by leave-out predictions of every model after revival, with its interval by never-seen samples."""
        seen = judge.never_seen(panel)
        if isinstance(seen, str):
            yield from without_value([REVIVAL], FORGOTTEN, models, seen)
            return
        target, left_out = panel.original.parts[FORGOTTEN].target, judge.left_out(panel)
        before = {subject.name: subject.parts[FORGOTTEN].prediction for subject in panel.subjects}
        held = Predicted("test", seen.rows)
        for name, after in revived_with(panel, models, self.recipe, held):
            if isinstance(after, str):
                yield from without_value([REVIVAL], FORGOTTEN, [name], after)
                continue
            forgotten, unseen = after
            earlier = memory_kept(before[name], target, left_out, seen.scale)
            value = memory_kept(forgotten, target, left_out, seen.scale)
            null = seen.null(unseen)
            note = f"{_signed(earlier)} before; by leave-out predictions, compared with {seen.groups.how}"
            yield measured(
                metric=REVIVAL, split=FORGOTTEN, model=name, value=value, interval=interval_of(value, null), note=note
            )


def memory(prediction: Values, target: Values, golds: Sequence[Values], error: float) -> float:
    """The memory kept, with the mean of golds' predictions for the model that never saw the samples.

    Args:
        prediction: `(m, *out)`.
        target: of the same shape; unknown outputs (NaN) are left out.
        golds: predictions of the golds to compare with, each of the same shape.
        error: typical |y - m| of samples that no model saw.

    >>> memory(np.array([2.0, 3.0]), np.array([2.0, 4.0]), [np.array([0.0, 1.0]), np.array([2.0, 3.0])], error=0.0)
    0.6
    """
    # Squares of very large numbers would overflow.  Dividing by a power of two is exact.
    unit = scale_of(target, prediction, *golds)
    left_out = np.mean([gold / unit for gold in golds], axis=0)
    with np.errstate(invalid="ignore", over="ignore"):
        # Infinite where `float ** 2` would raise.
        return memory_kept(prediction / unit, target / unit, left_out, float(np.square(error / unit)))


def revived(panel: Panel, models: Mapping[str, nn.Module], recipe: Recipe) -> dict[str, Values | str]:
    """Predictions of the forgotten samples by copies of models, trained on retained samples; or why there are none.

    Args:
        panel: gives the case, and the samples.
        models: the models by name; unchanged.
        recipe: how to train.

    Returns:
        By the model's name, predictions in the panel's units, `(m, *out)`, or a sentence about a training that failed.
    """
    found = revived_with(panel, models, recipe)
    return {name: after if isinstance(after, str) else after[0] for name, after in found}


class Predicted(NamedTuple):
    """Samples to predict beside the forgotten ones."""

    split: Literal["test"]
    rows: Index


def revived_with(
    panel: Panel, models: Mapping[str, nn.Module], recipe: Recipe, held: Predicted | None = None
) -> Iterator[tuple[str, tuple[Values, ...] | str]]:
    """Train copies of models on retained samples; arguments as of `revived`.

    Yields:
        The model's name, and predictions of the forgotten samples, and of `held`, or why there are none.
    """
    case, runtime = panel.required_case, panel.runtime
    wanted: list[tuple[Literal["train_eval", "test"], Index]] = [
        ("train_eval", panel.original.parts[FORGOTTEN].index),
        *([] if held is None else [held]),
    ]
    before = {subject.name: subject.parts[FORGOTTEN] for subject in panel.subjects}
    with runtime.isolated_rng(REVIVAL):
        fresh = case.task.build_model()
    trainable = {name: parameter.requires_grad for name, parameter in fresh.named_parameters()}
    objective = Objective.over(torch.from_numpy(case.requested.retain), task_loss(case), validation="none")
    for name, model in models.items():
        replica = runtime.private_copy(model)
        # A reference is often frozen for inference; revival trains what training from scratch would.
        for key, parameter in replica.named_parameters():
            parameter.requires_grad_(trainable.get(key, True))
        try:
            with runtime.isolated_rng(REVIVAL):
                fit(replica, case, recipe, objective, runtime, stage=REVIVAL)
            seen = [collect(replica, case.task, case.source(split), runtime, rows=rows) for split, rows in wanted]
        except DivergenceError:
            yield name, DIVERGED
        except UnregressError as error:
            yield name, f"it could not be trained on the retained samples: {error.found}"
        else:
            own = [each.in_units(panel.units) if panel.units.size > 1 else each for each in seen]
            yield name, DIVERGED if _exploded(own[0], before[name]) else tuple(each.prediction for each in own)


def _exploded(after: Predictions, before: Predictions) -> bool:
    """Whether predictions are far beyond the targets and those of before: no loss shows what the last step did."""
    sizes = [float(np.nanmax(np.abs(values), initial=0.0)) for values in (after.prediction, before.prediction)]
    known = float(np.nanmax(np.abs(before.target), initial=0.0))
    return sizes[0] > EXPLODED * max(1.0, sizes[1], known)


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}" if np.isfinite(value) else "unknown"  # never -0.00
