"""Closed-form unlearning of few samples: the smallest change of weights that moves them to leave-out predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn

from unregress.checks.model_check import no_better_than_constant
from unregress.cost import Cost
from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.errors import UnregressError, require_fields
from unregress.hooks.changeable_layers import Changeable
from unregress.hooks.gram_passes import within_memory
from unregress.hooks.raw_predictions import flattened
from unregress.methods.base import Method
from unregress.methods.closed_form_edit import RIDGES, ClosedFormEdit
from unregress.methods.edit_gradients import Group
from unregress.methods.edit_samples import WATCHED, anchors_wanted, predict_raw
from unregress.methods.unlearned import Unlearned, lineage
from unregress.training.fresh_model import fresh_model
from unregress.training.from_scratch import Training, require_possible, train_from
from unregress.training.loop import Epoch, fit
from unregress.training.objective import retain_objective
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class LeaveOutEdit(Method):
    """Move the forgotten samples' predictions to those of a model that never saw them, and hold the others.

    The targets are the predictions of a `LeaveOutTable`, the mean of several tables', or the predictions of a briefly
    trained helper where there is no table.  The models of a table lack others too, which moves their predictions: what
    the others did is taken back where the table knows it (`LeaveOutTable.corrected`), and the mean of several tables is
    off by less.

    The change of the weights is the smallest one that reaches the targets and leaves the predictions of some retained
    samples, the anchors, as they are: with Jacobian J of the predictions of both, residual r and a small ridge D, it is
    Jᵀ (J Jᵀ + D)⁻¹ r.  It is repeated, since the model is not linear; J is computed again where the forgotten samples'
    predictions did not move as it said.  Held are the products of any two samples' gradients, and layers' inputs and
    gradients by their outputs, from which these are computed (see `unregress.hooks.gram`), so that memory grows with
    the number of samples and not with that of the weights.  What takes more than `unregress.hooks.gram_passes.HELD` is
    not held at once: the layers are then taken in turn, in several passes over the samples.

    Changed are linear, embedding and convolution layers with trainable weights, in evaluation mode: batch statistics
    and dropout play no part.  Where these leave more than a fifth of the distance to the targets, or where there are
    none, the edit begins again with all trainable weights, such as those of recurrent layers, whose gradients are
    computed sample by sample.  Notes say how much of the distance remains, with a warning above a fifth, and how far
    the predictions of other retained samples moved, with a warning above a tenth of that distance.  The forgotten
    labels are used by the tables' corrections alone.

    Source: this library.  Leave-out predictions as in cross-validation; the change is ridge regression on the gradients
    of the trained model, as in linearised ("neural tangent") training.

    Raises:
        SettingError: settings are out of range; all of them are reported at once.
        ModelError: no prediction of a forgotten sample depends on a trainable weight, or gradients are not finite.
    """

    table: LeaveOutTable | Sequence[LeaveOutTable] | None = None
    """Predictions of the forgotten samples by models that never saw them; of several tables, which must not be the one
    that judges the result, the mean.  None to train a helper instead."""
    helper: Training = Recipe(epochs=2, lr=1e-3)
    """Training of the helper on D_r, used without a table."""
    anchors: int = 300
    """Number of retained samples whose predictions are held, half of them the nearest to the forgotten ones by the
    first layer's outputs (`unregress.hooks.nearest`) and half drawn at random; at least three for each forgotten
    sample.  With fewer an edit is cheaper, and its effects on others add up sooner over many requests."""
    layers: Group = "least drift"
    """Layers to change: `all`, `first`, `last` (the last two), or `least drift`: each of the three is tried for one
    change; of those that leave at most a fifth of the distance to the targets the one is taken that moves other
    retained samples least, and if none does, the one that comes nearest.  Layers without influence on the forgotten
    samples' predictions, such as unused ones, do not count."""
    iterations: int = 3
    """Largest number of changes of the weights, each from where the one before ended."""
    ridge: float = 0.003
    """Ridge of the forgotten samples, relative to the mean squared gradient; that of the anchors is three times as
    large."""
    rounds: int = 0
    """Further rounds of a few training steps on D_r and another change, against revival: a change of the outputs alone
    may be undone by later training."""
    repair: Recipe = Recipe(epochs=1, lr=1e-3, batch_size=128)
    """Training of these rounds, of which `repair_steps` steps are taken."""
    repair_steps: int = 8
    """Steps on D_r of a round."""

    def __post_init__(self) -> None:
        rules = [
            ("table", self.table is None or len(self.tables) > 0, "one table or several, or None for a helper"),
            ("anchors", type(self.anchors) is int and self.anchors >= 0, "a whole number, 0 or more"),
            ("layers", self.layers in ("least drift", "all", "first", "last"), "least drift, all, first or last"),
            ("iterations", type(self.iterations) is int and self.iterations >= 1, "a whole number, 1 or more"),
            ("ridge", 0 < self.ridge < float("inf"), "a positive number"),
            ("rounds", type(self.rounds) is int and self.rounds >= 0, "a whole number, 0 or more"),
            ("repair_steps", type(self.repair_steps) is int and self.repair_steps >= 1, "a whole number, 1 or more"),
        ]
        require_fields("LeaveOutEdit", self, rules)

    @property
    def tables(self) -> tuple[LeaveOutTable, ...]:
        """The tables that give the targets; none where a helper does."""
        if self.table is None:
            return ()
        return (self.table,) if isinstance(self.table, LeaveOutTable) else tuple(self.table)

    @property
    def unused_trainings(self) -> tuple[str, ...]:
        return (*(["helper"] if self.tables else []), *([] if self.rounds else ["repair"]))

    def _targets(self, case: Case) -> Tensor:
        """Mean of the tables' predictions of the forgotten samples, `(m, k)` float64."""
        return torch.stack([flattened(table.corrected(case)).double() for table in self.tables]).mean(dim=0)

    def passes(self, model: nn.Module, case: Case, runtime: Runtime) -> int:
        """Number of sample passes that the edit takes, with a table, if all its changes are needed.

        It depends on the memory that two samples are found to take: what is kept of all layers may not fit at once, as
        of large images in a deep network, and each group of layers that does takes passes of its own.
        There may be more where samples use a layer in different ways, as experts and sequences of several lengths do,
        and where a change goes otherwise than the gradients say, so that these are computed again.

        Args:
            model: the trained model; it is not changed.
            case: the request and the data.
            runtime: where to run.

        Raises:
            UnregressError: the edit cannot be applied to the model.
        """
        forgotten, rows = len(case.requested.forget), torch.from_numpy(case.requested.retain[:2])
        anchors = min(anchors_wanted(self.anchors, forgotten), len(case.requested.retain))
        held, watched = forgotten + anchors, min(WATCHED, len(case.requested.retain) - anchors)
        with runtime.isolated_rng("edit/passes"):
            full = runtime.without_mixed_precision
            copy = full.set_up(full.private_copy(model)).eval()
            reading = within_memory(full, copy, case, rows)
            found = Changeable.of(copy, case, torch.tensor(case.requested.forget), reading)
            outputs = predict_raw(copy, case, rows, reading).shape[1]
        attempts = [found.first_choice, found.every] if len(found.first_choice) < len(found.every) else [found.every]
        # Predictions before and after, and the search for weights that influence the forgotten samples.
        total = 2 * (forgotten + watched) + 2 * forgotten
        for layers in attempts:
            passes = found.passes(layers, held, outputs)
            beyond = layers is found.every and bool(found.others.layers)
            # The change itself: by gradients that are held, or by another pass.
            change = 2 * held if beyond or passes > 1 else ceil(held / 2)
            # Gradients and predictions for each change; trials of three groups of layers.
            gradients, later = passes * held * (1 + outputs), self.iterations - 1
            trials = 3 * (change + watched + forgotten) if self.layers == "least drift" else 0
            steps = len(RIDGES) if beyond else 1
            further = forgotten * (3 * steps + 1) if beyond else 0
            total += gradients + later * (gradients + forgotten if beyond else held)
            total += self.iterations * (steps * (change + 2 * forgotten) + further) + forgotten + trials
        return total

    def unlearn(self, model: nn.Module | Unlearned, case: Case, runtime: Runtime) -> Unlearned:
        """As `Method.unlearn`; tables of another model, or of data that differ too much, are refused.

        Raises:
            StaleError: a table is too old, see `LeaveOutTable.require_current`.
        """
        for table in self.tables:
            table.require_current(case, case.rows("train"), *lineage(model))
        return super().unlearn(model, case, runtime)

    def objections(self, student: nn.Module, case: Case, runtime: Runtime) -> Iterator[UnregressError]:
        try:
            if self.tables:
                self._targets(case)
            else:
                fresh_model(case, student)
                require_possible(self.helper, runtime)
            forget = torch.tensor(case.requested.forget)
            full = runtime.without_mixed_precision
            Changeable.of(full.set_up(student).eval(), case, forget, full)
        except UnregressError as error:
            yield error

    def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        full = runtime.without_mixed_precision
        reading = within_memory(full, full.set_up(student), case, torch.from_numpy(case.requested.retain[:2]))
        history: tuple[Epoch, ...] = ()
        cost, helper = Cost(), None
        if self.tables:
            targets = self._targets(case)
        else:
            rows = case.requested.retain
            helper, fitted = train_from(
                fresh_model(case, student), case, self.helper, rows, runtime, stage="helper", validation="retain"
            )
            history, cost = fitted.history, fitted.cost
            targets = predict_raw(helper, case, torch.tensor(case.requested.forget), reading)
            cost += Cost(forward=len(targets))
        edit = ClosedFormEdit(
            student,
            case,
            reading,
            targets,
            anchors=self.anchors,
            layers=self.layers,
            iterations=self.iterations,
            ridge=self.ridge,
        )
        edit.apply()
        for number in range(1, self.rounds + 1):
            steps = fit(
                student,
                case,
                self.repair,
                retain_objective(case),
                runtime,
                stage=f"repair {number}",
                after_step=lambda step, _: step >= self.repair_steps,
            )
            history, cost = (*history, *steps.history), cost + steps.cost
            edit.apply()
        edit.measure_drift()
        notes = (*edit.notes, *self._notes(case, reading, helper))
        return Unlearned(
            model=student, history=history, cost=cost + edit.cost + edit.gradients.cost, notes=notes, helper=helper
        )

    def _notes(self, case: Case, runtime: Runtime, helper: nn.Module | None) -> Iterator[str]:
        """Which tables' targets were corrected; or that a helper gave them, with a warning if it has no skill."""
        if known := [table for table in self.tables if table.effects is not None]:
            yield f"{len(known)} of {len(self.tables)} leave-out tables were corrected for the others of a fold"
        if helper is not None:
            yield "no leave-out table gave the targets: they are the predictions of a briefly trained helper"
            for warning in no_better_than_constant(case, runtime, helper):
                told = warning.removeprefix("The model")
                yield f"Warning: the helper{told}. Train it for longer, or make a leave-out table (`unregress table`)"
