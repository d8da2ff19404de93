"""Choose the method where the user names none: a price list, and exact retraining wherever it is affordable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf, isfinite, isinf, isnan, nan, sqrt
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from unregress.checks.preflight import method_objections
from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable, teaching
from unregress.errors import SettingError, UnregressError
from unregress.errors.wording import within_sentence
from unregress.evidence.verdict_text import shown
from unregress.hooks.raw_predictions import point_predictions, predict_rows
from unregress.methods import Blindspot, FineTune, GaussianAmnesiac, LeaveOutEdit, Method, Retrain
from unregress.methods.edit_samples import WATCHED, spread_of
from unregress.retraining.throughput import measure_throughput
from unregress.retraining.workload import Throughput, plan_of
from unregress.training.from_scratch import Training
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime

BUDGET = 600.0
"""Seconds within which exact retraining is chosen."""
BRIEF = 10
"""Methods of the paper are priced with a training shorter than the original's by this factor."""
TAUGHT = 0.5
"""A table teaches if its own error is below this share of the memory that is to be removed."""
_PART = "an unknown part, which an audit measures"


class Price(NamedTuple):
    """What one method would cost, and what it leaves."""

    method: Method
    seconds: float
    passes: int | None
    """Sample passes; None if unknown, as of a training function."""
    leaves: str
    """What is left of the forgotten samples, in words."""

    def __str__(self) -> str:
        name = type(self.method).__name__
        passes = "" if self.passes is None else f" and {self.passes:,} sample passes"
        return f"{name}: about {shown(self.seconds)} s{passes}; leaves {self.leaves}"


class Choice(NamedTuple):
    """The chosen method, why it was chosen, and the price list."""

    method: Method
    why: str
    prices: tuple[Price, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """Price list and reason, as printed and recorded."""
        return (*map(str, self.prices), self.why)


def choose_method(
    case: Case,
    training: Training,
    start: nn.Module | None,
    runtime: Runtime,
    budget: float = BUDGET,
    *,
    model: nn.Module | None = None,
    tables: Sequence[LeaveOutTable] = (),
    refused: str = "",
) -> Choice:
    """Choose a method, and say why.

    Exact retraining leaves nothing of the forgotten samples, and from the original's own initial weights it changes the
    model's other predictions least; so it is chosen wherever its estimated time is within the budget.  Otherwise the
    closed-form edit is, if a leave-out table knows the samples and its own error is well below the memory.

    Args:
        case: the request and the data.
        training: how the original was trained.
        start: the original's initial weights; None if unknown.
        runtime: device, precision and seed.
        budget: seconds that retraining may take.
        model: the trained model, to which the edit is applied.
        tables: its leave-out tables; all but the last one teach, and their difference from it tells their error.
        refused: why the tables that there are were refused; quoted where no table is used.

    Raises:
        SettingError: retraining would take longer than the budget, and no other method can be derived from the
            training, or applied to the model.
    """
    pace = measure_throughput(case, training, runtime)
    exact = _retraining(case, training, start, pace)
    edit, doubt = _edit(case, model, tables, pace, runtime)
    brief = _brief(case, training, pace, model, runtime)
    prices = (exact, *([] if edit is None else [edit]), *brief)
    if exact.seconds <= budget:
        origin = "new initial weights" if start is None else "the original's own initial weights"
        why = f"Chosen: exact retraining from {origin}, since its time is within the budget of {shown(budget)} s"
        return Choice(exact.method, why, prices)
    if edit is not None and not doubt:
        why = f"Chosen: LeaveOutEdit, since exact retraining exceeds the budget of {shown(budget)} s"
        return Choice(edit.method, why, prices)
    doubt = doubt or refused or ("there is no model" if model is None else "there is no leave-out table")
    if not brief:
        listed = "; ".join(map(str, prices))
        better = "Make leave-out tables of more folds (`unregress table`)" if tables else "Make a leave-out table"
        if model is None:
            better = "Give the trained model, which other methods start from"
        raise SettingError(
            f"Exact retraining is estimated to take {shown(exact.seconds)} s, more than the budget of {shown(budget)} "
            f"s, and {doubt} ({listed})",
            expected="a method, since none can be derived from the training and the model",
            remedy=f"{better}, name a method as in `method=FineTune(recipe=...)`, or raise `budget`",
        )
    method = brief[0].method
    why = f"Chosen: {type(method).__name__}, since exact retraining exceeds the budget of {shown(budget)} s and {doubt}"
    return Choice(method, f"{why}; it may leave a part of what was learnt", prices)


def _retraining(case: Case, training: Training, start: nn.Module | None, pace: Throughput) -> Price:
    work = plan_of(training, len(case.requested.retain))
    passes = work.passes if work.counted else None
    return Price(Retrain(recipe=training, start=start), work.seconds(pace), passes, "nothing: it is exact")


def _brief(
    case: Case, training: Training, pace: Throughput, model: nn.Module | None, runtime: Runtime
) -> tuple[Price, ...]:
    """Methods of the paper that the model allows: a tenth of the training for each part, at a tenth of its rate."""
    if model is None or not isinstance(training, Recipe):
        return ()
    helper = replace(training, epochs=max(1, training.epochs // BRIEF))
    gentle = replace(helper, lr=training.lr / 10)
    methods = (Blindspot(helper=helper, recipe=gentle), GaussianAmnesiac(recipe=gentle), FineTune(recipe=gentle))
    with runtime.isolated_rng("prices"):
        possible = [each for each in methods if not any(method_objections(each, model, case, runtime))]
    plans = ((method, plan_of(method, len(case.requested.retain))) for method in possible)
    return tuple(Price(method, work.seconds(pace), work.passes, _PART) for method, work in plans)


def _edit(
    case: Case, model: nn.Module | None, tables: Sequence[LeaveOutTable], pace: Throughput, runtime: Runtime
) -> tuple[Price | None, str]:
    """The price of the edit, and a doubt whether the table can teach; None without a table that knows the samples."""
    if model is None or not tables:
        return None, ""
    method = LeaveOutEdit(table=teaching(tables))
    try:
        error = table_error(case, model, tables, runtime)
        passes = method.passes(model, case, runtime)
    except UnregressError as problem:
        return None, within_sentence(problem.found)
    if isnan(error):
        leaves, doubt = "an unknown part", "the leave-out tables do not tell their error"
    elif isinf(error):
        leaves, doubt = "nothing", "the model predicts as the leave-out tables do: there is no memory to remove"
    else:
        own = f"{error:.0%} of the memory"
        leaves = f"an error of about {own}, which is the leave-out table's own, if its targets are reached"
        doubt = "" if error < TAUGHT else f"the leave-out table's own error is {own}"
    return Price(method, passes * pace.sample, passes, leaves), doubt


def table_error(case: Case, model: nn.Module, tables: Sequence[LeaveOutTable], runtime: Runtime) -> float:
    """How far the tables' targets are from a model that never saw the samples, as a share of the original's memory.

    By the difference from the table that judges: each is off by its own folds, so that the mean of t tables is off by
    1/√(t + 1) of their mean distance from another one.  All are off by the other forgotten people, whom most of their
    models saw, which no mean of tables takes away (`_with_shared`).  With a single table, how much leaving out a fold
    moves other predictions (its coupling) stands in.

    Args:
        case: the request and the data.
        model: the original.
        tables: one, or several of which the last one judges.
        runtime: where to predict.

    Returns:
        The share; infinite where there is no memory.  NaN where it cannot be told: several people are forgotten and
        folds are single people, so that all tables leave out the same, or predictions are not finite.

    Raises:
        StaleError: a table does not know the samples.
    """
    # As they are: what corrections leave is much the same in all tables, so that their difference would not tell it.
    points = [point_predictions(case, table.targets(case)) for table in tables]
    teachers = len(teaching(tables))
    targets = torch.stack(points[:teachers]).mean(dim=0)
    rows = np.concatenate([np.array(case.requested.forget), case.requested.retain[:WATCHED]])
    seen = point_predictions(case, predict_rows(model, case, "train_eval", rows, runtime))
    units = spread_of(seen)
    memory = float(((seen[: len(targets)] - targets) / units).abs().mean())
    if memory == 0:
        return inf
    if teachers < len(points):
        differing = float(((points[-1] - targets) / units).abs().mean()) / sqrt(teachers + 1) / memory
    else:
        differing = 1.0 if tables[0].coupling is None else tables[0].coupling
    error = differing * _with_shared(case, tables[0], teachers)
    return error if isfinite(error) else nan


def _with_shared(case: Case, table: LeaveOutTable, teachers: int) -> float:
    """Factor by which the error that tables share enlarges the mean of those by which they differ.

    A table's models lack the others of a fold, n/K - 1 people, which a gold does not; and they saw most of the other
    forgotten ones, (m - 1)(1 - 1/K), which a gold did not.  If all people do as much to a prediction, these are the
    variances of the two errors.  In the mean of t tables the first is divided by t, and the second is not.
    """
    count, folds, forgotten = case.splits.number_of_people, table.number_of_folds, case.requested.forget
    people, asked = count([*case.kept("train"), *forgotten]), count(forgotten)
    others, shared = people / folds - 1, (asked - 1) * (1 - 1 / folds)
    if shared <= 0:
        return 1.0
    return sqrt(1 + teachers * shared / others) if others > 0 else nan
