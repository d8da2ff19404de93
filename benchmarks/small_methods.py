"""The methods that `small_requests.py` compares: candidates for tuning, and a rewind of the original."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from unregress import Blindspot, FineTune, GaussianAmnesiac, LeaveOutEdit, Method, Recipe
from unregress.cost import Cost
from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.loading import Batch
from unregress.methods import NegGradPlus, Unlearned
from unregress.training.loop import fit
from unregress.training.objective import Objective, task_loss
from unregress.training.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class Rewind(Method):
    """Go back to a point of the original's training, and continue without the forgotten samples in the same order.

    The first part is trained again here and not counted: in practice it is a checkpoint.
    """

    recipe: Recipe
    start: nn.Module
    back_to: float
    """Share of the training that is kept."""

    def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        student.load_state_dict(self.start.state_dict())
        rows = torch.from_numpy(case.rows("train"))
        steps = self.recipe.epochs * -(-len(rows) // self.recipe.batch_size)
        done, whole = 0, task_loss(case)

        def count(step: int, _: nn.Module) -> bool:
            nonlocal done
            done = step
            return False

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            found = whole(model, batch)
            return found if done < self.back_to * steps else found[~batch.forgotten.to(found.device)]

        objective = Objective.over(rows, loss, validation="none")
        fitted = fit(student, case, self.recipe, objective, runtime, stage="train", after_step=count)
        part = 1 - self.back_to
        cost = Cost(forward=round(part * fitted.cost.forward), backward=round(part * fitted.cost.backward))
        return Unlearned(model=student, history=fitted.history, cost=cost)


def candidates(recipe: Recipe, tables: Sequence[LeaveOutTable], forgotten: int) -> dict[str, list[Method]]:
    """Six settings of each method, of which the better on other requests is taken.

    Args:
        recipe: the training.
        tables: that teach the edit.
        forgotten: number of samples that the smallest of these requests forgets.
    """

    def brief(share: float, rate: float, schedule: str = "constant") -> Recipe:
        epochs = max(1, round(share * recipe.epochs))
        return replace(recipe, epochs=epochs, lr=recipe.lr * rate, schedule=schedule)

    def schedules() -> Iterator[Recipe]:
        for rate in (1.0, 0.3, 0.1):
            yield brief(0.05, rate)
            yield brief(0.1, rate, "one-cycle")

    helper = brief(0.1, 1.0, "one-cycle")
    cheap = LeaveOutEdit(table=tables, anchors=150)
    # Three samples are held for each forgotten one, so that of a hundred and more both numbers are the same.
    other = replace(cheap, iterations=2) if forgotten >= 100 else replace(cheap, anchors=300)
    return {
        "LeaveOutEdit": [
            replace(edit, layers=layers) for layers in ("least drift", "all", "first") for edit in (cheap, other)
        ],
        "FineTune": [FineTune(recipe=each) for each in schedules()],
        "GaussianAmnesiac": [GaussianAmnesiac(recipe=each) for each in schedules()],
        "Blindspot": [Blindspot(helper=helper, recipe=each) for each in schedules()],
        "NegGradPlus": [NegGradPlus(recipe=each) for each in schedules()],
    }


def fixed(recipe: Recipe, start: nn.Module, tuned: LeaveOutEdit) -> dict[str, Method]:
    """Methods without tuning: the edit with rounds against revival, or with a helper for a table, and rewinds."""
    helper = replace(recipe, epochs=max(1, recipe.epochs // 10))
    repair = replace(recipe, epochs=1, lr=recipe.lr / 3, schedule="constant")
    return {
        "LeaveOutEdit, 3 rounds": replace(tuned, rounds=3, repair=repair),
        "LeaveOutEdit, helper": replace(tuned, table=None, helper=helper),
        "rewind to 50 %": Rewind(recipe=recipe, start=start, back_to=0.5),
        "rewind to 90 %": Rewind(recipe=recipe, start=start, back_to=0.9),
    }
