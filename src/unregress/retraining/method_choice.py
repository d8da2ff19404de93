"""Choose the method where the user names none: exact retraining if it is affordable, and else Blindspot."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from unregress.data.case import Case
from unregress.errors import SettingError
from unregress.methods import Blindspot, Method, Retrain
from unregress.retraining.throughput import measure_throughput
from unregress.retraining.workload import plan_of
from unregress.training.from_scratch import Training
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime

BUDGET = 600.0
"""Seconds within which exact retraining is chosen."""


def choose_method(
    case: Case, training: Training, start: nn.Module | None, runtime: Runtime, budget: float = BUDGET
) -> tuple[Method, str]:
    """Choose a method, and say why.

    Exact retraining leaves nothing of the forgotten samples, and from the original's own initial weights it changes the
    model's other predictions least; so it is chosen wherever its estimated time is within the budget.

    Args:
        case: the request and the data.
        training: how the original was trained.
        start: the original's initial weights; None if unknown.
        runtime: device, precision and seed.
        budget: seconds that retraining may take.

    Returns:
        The method, and a sentence with the estimate and the reason.

    Raises:
        SettingError: retraining would take longer than the budget, and for a training function no other method can be
            derived.
    """
    pace = measure_throughput(case, training, runtime)
    seconds = plan_of(training, len(case.requested.retain)).seconds(pace)
    estimate = f"Exact retraining is estimated to take {seconds:.0f} s"
    if seconds <= budget:
        origin = "new initial weights" if start is None else "the original's own initial weights"
        why = f"{estimate}, within the budget of {budget:.0f} s: it is done, from {origin}"
        return Retrain(recipe=training, start=start), why
    estimate += f", more than the budget of {budget:.0f} s"
    if not isinstance(training, Recipe):
        raise SettingError(
            estimate,
            expected="a method, since none can be derived from a training function",
            remedy="Name one, as in `method=Blindspot(helper=..., recipe=...)`, or raise `budget`",
        )
    # A tenth of the training each, at a tenth of its rate for the model itself.
    brief = replace(training, epochs=max(1, training.epochs // 10))
    method = Blindspot(helper=brief, recipe=replace(brief, lr=training.lr / 10))
    return method, f"{estimate}: Blindspot is used, which may leave a part of what was learnt"
