"""Get ready to forget: choose a method where none is named, and check data, model and method, before any training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from torch import nn

from unregress.checks.preflight import check_method, preflight
from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable, teaching
from unregress.errors import SettingError
from unregress.methods import LeaveOutEdit, Method
from unregress.methods.unlearned import Candidate, module_of, require_initial, trained_otherwise
from unregress.retraining.method_choice import choose_method
from unregress.retraining.table_upkeep import current
from unregress.training.from_scratch import Training
from unregress.training.runtime import Runtime


class Ready(NamedTuple):
    """A method that may unlearn a model."""

    method: Method
    given: Candidate
    """The model that it starts from."""
    warnings: tuple[str, ...]
    prices: tuple[str, ...]
    """The lines of the price list, and why the method was chosen; none where it was named."""


def set_up(
    case: Case,
    method: Method | None,
    runtime: Runtime,
    *,
    training: Training | None,
    start: nn.Module | None,
    model: Candidate | None,
    given: Callable[[Method], Candidate],
    tables: Sequence[LeaveOutTable],
    budget: float,
    allow_overlap: bool,
    log: Callable[[str], None],
) -> Ready:
    """Choose a method if none is named, see `choose_method`, and check that data, model and method fit together.

    Args:
        case: the request and the data.
        method: the method; None to choose.  `LeaveOutEdit` without a table of its own takes those of
            `tables` that teach, see `teaching`.
        runtime: device, precision and seed.
        training: how the original was trained; not needed where a method is named.
        start: the original's initial weights, if known.
        model: the trained model, if there is one.
        given: the model that a method starts from.
        tables: leave-out tables of the model.
        budget: seconds that exact retraining may take, where no method is named.
        allow_overlap: whether samples of one split may occur in another, with a warning.
        log: receives the lines of the price list, and why a table is not used.

    Raises:
        PreflightError: data, model and method do not fit together.
        SettingError: the initial weights are those of the trained model; or no method is named, and the training is
            not known, or retraining would exceed the budget and no other method can be derived.
    """
    if method is not None:
        require_initial(getattr(method, "start", None), model, getattr(method, "recipe", None))
        if isinstance(method, LeaveOutEdit) and method.table is None and tables:
            method = replace(method, table=teaching(tables))
        starts_from = given(method)
        found = preflight(case, runtime, module_of(starts_from), method=method, allow_overlap=allow_overlap).warnings
        return Ready(method, starts_from, found, ())
    if training is None:
        raise SettingError(
            "No method is named, and how the original was trained is not known",
            expected="a method, or how to retrain exactly",
        )
    require_initial(start, model, training)
    # Before the estimate, which trains too.
    checked = preflight(case, runtime, recipe=training, allow_overlap=allow_overlap).warnings
    if model is not None:
        checked += trained_otherwise(model, training)
    usable, refused = ((), "") if model is None else current(tables, case, model, log)
    chosen = choose_method(
        case,
        training,
        start,
        runtime,
        budget,
        model=None if model is None else module_of(model),
        tables=usable,
        refused=refused,
    )
    for line in chosen.lines:
        log(line)
    starts_from = given(chosen.method)
    found = (*checked, *check_method(case, runtime, module_of(starts_from), chosen.method))
    return Ready(chosen.method, starts_from, found, chosen.lines)
