"""Check data, model, method and recipes before any work, and report all problems at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn

from unregress.checks.duplicates import held_out_duplicates, overlap, retained_duplicates
from unregress.checks.model_check import (
    check_training_mode,
    check_unknown_outputs,
    no_better_than_constant,
    quick_check,
)
from unregress.checks.survey import Survey, changed_samples, evaluated_splits, survey
from unregress.checks.training_trial import try_training
from unregress.checks.units import check_units
from unregress.data.bands import BY_COLUMN, in_units
from unregress.data.case import Case
from unregress.errors import ModelError, RequestError, SettingError, UnregressError, raise_all
from unregress.errors.user_code import described
from unregress.tasks.unwrap import unwrapping
from unregress.training.fresh_model import architecture_mismatches, fresh_model
from unregress.training.from_scratch import Training
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime
from unregress.training.term_batches import sample_weights


class MethodLike(Protocol):
    """The part of `unregress.Method` that a preflight uses."""

    @property
    def uses_original(self) -> bool:
        """Whether the method uses the original's weights."""

    def objections(self, student: nn.Module, case: Case, runtime: Runtime) -> Iterable[UnregressError]:
        """Problems that would stop the method."""


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """Result of a preflight without errors."""

    warnings: tuple[str, ...]
    """Findings that do not prevent the work."""


def preflight(
    case: Case,
    runtime: Runtime,
    model: nn.Module | None = None,
    *,
    method: MethodLike | None = None,
    recipe: Training | None = None,
    golds: Sequence[nn.Module] = (),
    allow_overlap: bool = False,
) -> Preflight:
    """Check data, model, method, recipe and golds before any work; each split is read once.

    Checks of the data: NaN, infinity and numbers beyond the runtime's precision (of several outputs some may be NaN in
    the target, unknown, if the loss ignores them); negative weights; samples that change between two reads; samples in
    two splits; a band of targets that does not match the rows of the request.  With a model: it predicts the task's
    batches, in evaluation mode and in the mode of the recipes, and `build_model` makes its architecture.  With a
    method: its objections, such as layers that the model does not have.

    Warnings: samples to forget whose content or inputs are also retained or held out, weights of samples that no recipe
    uses, and an original that predicts no better than a constant.  The global random state is restored afterwards.

    Args:
        case: the task, the data and the request, if any.
        runtime: device, precision and seed.
        model: the model to unlearn; it is copied, not changed.
        method: the unlearning method.
        recipe: how models will be trained; the method's own settings are checked too.  A training function is tried on
            a few samples, see `checks.training_trial`.
        golds: models that have been retrained already.
        allow_overlap: report samples shared between splits as a warning.

    Raises:
        PreflightError: there are several errors; a single error is raised as it is.
    """
    # A dataset may draw from the global random state.
    with runtime.isolated_rng("preflight"):
        complaints, warnings, partial = _check_data(case, runtime, allow_overlap)
        try:
            checked = fresh_model(case) if model is None and recipe is not None else model
        except UnregressError as error:
            complaints, checked = [error, *complaints], None
        if not complaints:
            complaints += check_units(case)
        if checked is not None:
            trainings = [*([] if recipe is None else [recipe]), *_trainings(method)]
            recipes = [each for each in trainings if isinstance(each, Recipe)]
            complaints += list(_check_weights(case, recipes))
            if (
                case.splits.weights is not None
                and recipes == trainings
                and {each.weights for each in recipes} == {"none"}
            ):
                warnings.append(
                    "The data have weights, and no training uses them: `Recipe.weights` is 'none', not 'loss' or "
                    "'sampling'"
                )
            about_model = list(_check_model(case, runtime, checked, method, recipes))
            if partial and not about_model and not complaints:
                about_model += check_unknown_outputs(case, checked, torch.tensor(partial), runtime)
            for training in trainings:
                if not isinstance(training, Recipe) and not about_model and not complaints:
                    errors, noticed = try_training(case, training, runtime)
                    about_model += errors
                    warnings += noticed
            if not about_model and not trainings:
                # Without a recipe the mode in training is not known.
                warnings += [str(error) for error in check_training_mode(case, runtime, checked)]
            numbered = {f"{number}": gold for number, gold in enumerate(golds, 1)}
            complaints = [*about_model, *architecture_mismatches(numbered, checked), *complaints]
        raise_all(complaints)
        if model is not None:
            warnings += _about_original(case, runtime, model, method)
        return Preflight(warnings=tuple(warnings))


def check_method(case: Case, runtime: Runtime, model: nn.Module, method: MethodLike) -> tuple[str, ...]:
    """Check the model, and a method that was chosen for it after a preflight of data and training.

    Args:
        case: the task, the data and the request.
        runtime: device, precision and seed.
        model: the model to unlearn; it is copied, not changed.
        method: the unlearning method; it trains as was checked already.

    Returns:
        Warnings about model and method, see `preflight`.

    Raises:
        PreflightError: there are several errors; a single error is raised as it is.
    """
    with runtime.isolated_rng("preflight"):
        raise_all(list(_check_model(case, runtime, model, method, [])))
        return tuple(_about_original(case, runtime, model, method))


def _about_original(case: Case, runtime: Runtime, model: nn.Module, method: MethodLike | None) -> list[str]:
    """Warnings about the model to unlearn."""
    found = list(unwrapping(model))
    if method is None or method.uses_original:
        found += no_better_than_constant(case, runtime, model)
    return found


def _trainings(method: object) -> list[Training]:
    """The recipes and training functions among a method's hyper-parameters, but for those that it does not use."""
    fields = dataclasses.fields(method) if dataclasses.is_dataclass(method) else ()
    unused = getattr(method, "unused_trainings", ())
    found = [(each.name, getattr(method, each.name)) for each in fields if each.name not in unused]
    return [
        value
        for name, value in found
        if isinstance(value, Recipe) or (name in ("recipe", "helper") and callable(value))
    ]


def _check_weights(case: Case, recipes: Sequence[Recipe]) -> Iterator[UnregressError]:
    """Complain about a recipe that uses weights of samples if the data have none."""
    for recipe in recipes:
        try:
            sample_weights(case, recipe)
        except UnregressError as error:
            yield error
            return


def _check_model(
    case: Case, runtime: Runtime, model: nn.Module, method: MethodLike | None, recipes: Sequence[Recipe]
) -> Iterator[UnregressError]:
    """Complaints about the model, and the method's objections."""
    try:
        quick_check(case, runtime.private_copy(model), runtime)
    except UnregressError as error:
        # The method's objections to a model that does not predict would only be consequences.
        yield error
        return
    if any(recipe.mode == "train" for recipe in recipes):
        yield from check_training_mode(case, runtime, model)
    if method is None:
        return
    if not hasattr(method, "objections"):
        yield SettingError(f"The method is {method!r}", expected="a `Method` such as `unregress.Blindspot()`")
        return
    yield from method_objections(method, model, case, runtime)


def method_objections(method: MethodLike, model: nn.Module, case: Case, runtime: Runtime) -> Iterator[UnregressError]:
    """Why a method cannot be applied to a copy of a model, in errors of this library whatever is raised."""
    try:
        _ = case.requested  # raises if there is no request
        yield from method.objections(runtime.private_copy(model), case, runtime)
    except UnregressError as error:
        yield error
    except Exception as error:
        yield ModelError(f"{type(method).__name__} cannot work with this model: {described(error)}")


def _check_data(case: Case, runtime: Runtime, allow_overlap: bool) -> tuple[list[UnregressError], list[str], list[int]]:
    """Read each split once and check the data.

    Returns:
        Complaints, warnings, and positions of the first training samples with known and unknown outputs.
    """
    complaints: list[UnregressError] = []
    warnings: list[str] = []
    band = case.request is not None and case.request.target_band is not None
    found = [survey(case, split, runtime, targets=band and split == "train_eval") for split in evaluated_splits(case)]
    for each in found:
        complaints += each.complaints
        if each.contents is not None:
            if (changed := changed_samples(case, each.split, runtime)) is not None:
                complaints.append(changed)
        elif not each.complaints:
            warnings.append(f"The content of the {each.split} samples cannot be seen: duplicates are not detected")
    for number, first in enumerate(found, 1):
        for second in found[number:]:
            if (shared := overlap(first, second)) is not None and allow_overlap:
                warnings.append(f"{shared.found}: attacks and held-out errors treat them as unseen")
            elif shared is not None:
                complaints.append(shared)
    train = found[0]
    if band and not train.complaints:
        _compare_band(case, train, complaints, warnings)
    forgotten = case.forget_mask[case.rows("train")]
    warnings += retained_duplicates(train, forgotten)
    warnings += [warning for each in found[1:] if (warning := held_out_duplicates(train, each, forgotten)) is not None]
    return complaints, warnings, train.partial


def _compare_band(case: Case, train: Survey, complaints: list[UnregressError], warnings: list[str]) -> None:
    """Complain if the request's rows are not those within its band of targets, up to rounding of the targets.

    Args:
        case: the data and a request with a band.
        train: the training set, with targets.
        complaints: extended in place.
        warnings: extended in place.
    """
    targets, rounding = in_units(torch.cat(train.targets), case.task)
    if targets.ndim > 1 and targets[0].size > 1:
        complaints.append(
            RequestError(
                f"The request is a band of targets, and each target has shape {targets.shape[1:]}",
                expected="one number per target",
                remedy=BY_COLUMN,
            )
        )
        return
    values, forgotten = targets.reshape(-1).astype(np.float64), case.forget_mask[case.rows("train")]
    low, high = (np.nan if limit is None else float(limit) for limit in case.requested.target_band or ())
    # A task may convert targets after the band was made, which may move a target at a limit across it.
    near = 1e-6 * np.abs([[low], [high]]) + (0.0 if rounding is None else rounding.reshape(-1))
    # Comparisons with NaN, a missing limit, are false.
    outside = forgotten & ((values < low - near[0]) | (values > high + near[1]))
    inside = ~forgotten & ~((values <= low + near[0]) | (values >= high - near[1]))
    found = (
        f"By the training targets {outside.sum()} of the {forgotten.sum()} samples to forget lie outside the request's "
        f"band of targets, and {inside.sum()} within it are retained"
    )
    if inside.any() and not outside.any() and case.splits.ids is not None:
        # With ids, records within the band may have been added since the request was made.
        warnings.append(found)
    elif inside.any() or outside.any():
        complaints.append(
            RequestError(
                found,
                expected="a band made from these samples' targets, in their order and unit",
                remedy="Build the request from the training set's own targets, in its order: `ForgetRequest.band`",
            )
        )
