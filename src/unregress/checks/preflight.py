"""Find before any work what would go wrong later, and say all of it at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn

from unregress.checks.duplicates import overlap, seen_again, twins
from unregress.checks.model_check import in_training, no_better_than_constant, quick_check, unmasked
from unregress.checks.survey import Survey, evaluated, survey, unsteady_split
from unregress.data.case import Case
from unregress.errors import ModelError, RequestError, UnregressError, raise_all
from unregress.errors.user_code import described
from unregress.tasks.unwrap import unwrapping
from unregress.training.fresh_model import fresh_model, misshapen
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


class Objecting(Protocol):
    """What a preflight asks of a method: see `unregress.Method`."""

    @property
    def uses_original(self) -> bool:
        """Whether what the model has learnt matters to it."""

    def objections(self, student: nn.Module, case: Case, runtime: Runtime) -> Iterable[UnregressError]:
        """What would stop it."""


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What a preflight found that is worth knowing and no reason to stop."""

    warnings: tuple[str, ...]


def preflight(
    case: Case,
    runtime: Runtime,
    model: nn.Module | None = None,
    *,
    method: Objecting | None = None,
    recipe: Recipe | None = None,
    golds: Sequence[nn.Module] = (),
    allow_overlap: bool = False,
) -> Preflight:
    """Read every split once, ask model, method, recipe and golds, and complain about all that would spoil the work.

    Checked are the data: NaN, infinity and numbers beyond the runtime's precision, where of several outputs some may be
    unknown (NaN in the target) if the loss leaves them out; samples that are others each time
    they are read; samples that occur in two splits; a band of targets that does not hold for the rows it names.  With
    a model: that it predicts the task's batches, in evaluation mode and in that of the recipes, and that `build_model`
    makes its architecture.  With a method: what it objects to, such as layers that the model does not have.

    Warnings are given of samples to forget whose content or inputs stay in the retain set, or are held out too, and of
    an original that is no better than a constant.  The global random state is as it was afterwards.

    Args:
        case: what is to be done.
        runtime: where to run.
        model: the model to unlearn; it is copied, not changed.
        method: what will make it forget.
        recipe: how models will be trained; a method's own recipes are looked at too.
        golds: models that were retrained already.
        allow_overlap: turn samples shared between splits into a warning.

    Raises:
        PreflightError: more than one complaint; a single one is raised as itself.
    """
    # A dataset may draw from the global random state.
    with runtime.isolated_rng("preflight"):
        complaints, warnings, partial = _data(case, runtime, allow_overlap)
        try:
            asked = fresh_model(case) if model is None and recipe is not None else model
        except UnregressError as error:
            complaints, asked = [error, *complaints], None
        if asked is not None:
            recipes = [*([recipe] if recipe else []), *_recipes(method)]
            about_model = list(_asked(case, runtime, asked, method, recipes))
            if partial and not about_model and not complaints:
                about_model += unmasked(case, asked, torch.tensor(partial), runtime)
            if not about_model and not recipes:
                # How it will be trained is not known.
                warnings += [str(error) for error in in_training(case, runtime, asked)]
            complaints = [*about_model, *misshapen({f"{n}": gold for n, gold in enumerate(golds, 1)}, asked),
                          *complaints]  # fmt: skip
        raise_all(complaints)
        if model is not None:
            warnings += unwrapping(model)
            if method is None or method.uses_original:
                warnings += no_better_than_constant(case, runtime, model)
        return Preflight(warnings=tuple(warnings))


def _recipes(method: object) -> list[Recipe]:
    fields = dataclasses.fields(method) if dataclasses.is_dataclass(method) else ()
    return [value for each in fields if isinstance(value := getattr(method, each.name), Recipe)]


def _asked(
    case: Case, runtime: Runtime, model: nn.Module, method: Objecting | None, recipes: Sequence[Recipe]
) -> Iterator[UnregressError]:
    """What model and method object to."""
    try:
        quick_check(case, runtime.private_copy(model), runtime)
    except UnregressError as error:
        # What a method finds with a model that does not predict is a consequence.
        yield error
        return
    if any(recipe.mode == "train" for recipe in recipes):
        yield from in_training(case, runtime, model)
    if method is None:
        return
    try:
        _ = case.requested  # a method needs one
        yield from method.objections(runtime.private_copy(model), case, runtime)
    except UnregressError as error:
        yield error
    except Exception as error:
        yield ModelError(f"{type(method).__name__} cannot work with this model: {described(error)}")


def _data(case: Case, runtime: Runtime, allow_overlap: bool) -> tuple[list[UnregressError], list[str], list[int]]:
    """Complaints and warnings about the data, each split of which is read once.

    Returns:
        Complaints, warnings, and the first training samples of which only some outputs are known.
    """
    complaints: list[UnregressError] = []
    warnings: list[str] = []
    band = case.request is not None and case.request.target_band is not None
    found = [survey(case, split, runtime, targets=band and split == "train_eval") for split in evaluated(case)]
    for each in found:
        complaints += each.complaints
        if each.contents is not None:
            complaints += [complaint] if (complaint := unsteady_split(case, each.split, runtime)) is not None else []
        elif not each.complaints:
            warnings.append(f"The content of the {each.split} samples cannot be seen: shared ones go unnoticed")
    for place, first in enumerate(found):
        for second in found[place + 1 :]:
            if (shared := overlap(first, second)) is not None and allow_overlap:
                warnings.append(f"{shared.found}: attacks and held-out errors take them for unseen")
            elif shared is not None:
                complaints.append(shared)
    train = found[0]
    if band and not train.complaints:
        _compare_band(case, train, complaints, warnings)
    forgotten = case.forget_mask[case.rows("train")]
    warnings += twins(train, forgotten)
    warnings += [warning for each in found[1:] if (warning := seen_again(train, each, forgotten)) is not None]
    return complaints, warnings, train.partial


def _compare_band(case: Case, train: Survey, complaints: list[UnregressError], warnings: list[str]) -> None:
    """Complain if the request's band does not hold for the rows that it names, up to the targets' rounding."""
    targets = torch.cat(train.targets).double().numpy()
    if targets.ndim > 1 and targets[0].size > 1:
        complaints.append(
            RequestError(
                f"The request is a band of targets, and a target has the shape {targets.shape[1:]}",
                remedy="Choose the samples yourself with `ForgetRequest.where`",
            )
        )
        return
    values, forgotten = targets.reshape(-1), case.forget_mask[case.rows("train")]
    low, high = (np.nan if limit is None else float(limit) for limit in case.requested.target_band or ())
    # A task may convert targets after the band was made: what is at a limit may come to lie beside it.
    near = 1e-6 * np.abs([low, high])
    # Comparisons with a limit that is not there are false.
    outside = forgotten & ((values < low - near[0]) | (values > high + near[1]))
    inside = ~forgotten & ~((values <= low + near[0]) | (values >= high - near[1]))
    found = (
        f"By the training targets {outside.sum()} of the {forgotten.sum()} samples to forget lie outside the request's "
        f"band of targets, and {inside.sum()} within it are retained"
    )
    if inside.any() and not outside.any() and case.splits.ids is not None:
        # To data with ids, records in the band may have been added since the request was made.
        warnings.append(found)
    elif inside.any() or outside.any():
        complaints.append(
            RequestError(
                found,
                expected="a band made from these samples' targets, in their order and unit",
                remedy="Build the request from the training set's own targets, in its order: `ForgetRequest.band`",
            )
        )
