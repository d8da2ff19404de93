"""Find before any work what would go wrong later, and say all of it at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from unregress.case import Case
from unregress.duplicates import overlap, seen_again, twins
from unregress.errors import ModelError, RequestError, UnregressError, raise_all
from unregress.fresh import fresh_model, misshapen
from unregress.loading import chunked
from unregress.means import mean, root_mean_square
from unregress.modules import unwrapping
from unregress.recipe import Recipe
from unregress.runtime import Runtime, bare, evaluating
from unregress.survey import Survey, evaluated, survey, unsteady_split
from unregress.user_code import described


class Objecting(Protocol):
    """What a preflight asks of a method: see `unregress.Method`."""

    @property
    def uses_original(self) -> bool:
        """Whether what the model has learnt matters to it."""

    def objections(self, student: nn.Module, case: Case, runtime: Runtime) -> Iterable[UnregressError]:
        """What would stop it."""


def quick_check(case: Case, model: nn.Module, runtime: Runtime) -> float:
    """Predict two retain samples and check that prediction, target and loss fit.  Reads no forget sample.

    Args:
        case: whose task and data.
        model: moved to the runtime's device; its modes stay.
        runtime: where to run.

    Returns:
        The largest prediction or target of the two, in absolute value.

    Raises:
        ModelError: the model does not accept the task's batches, shapes do not fit, or predictions are not finite.
    """
    size = predicted_size(case, model, runtime)
    if not size < float("inf"):
        raise ModelError(
            "The model predicts NaN or infinity for the first retained samples",
            expected="finite predictions",
            remedy="Check the model's weights, and that inputs are finite",
        )
    return size


def predicted_size(case: Case, model: nn.Module, runtime: Runtime) -> float:
    """As `quick_check`, but infinite if predictions are not finite."""
    rows = torch.from_numpy(case.request.retain[:2])
    try:
        wrapped = runtime.set_up(model)
        (batch,) = runtime.load(case.source("train_eval"), [rows])
        case.task.require_meant(bare(model), batch.data)
        with evaluating(wrapped), torch.no_grad():
            prediction, target = case.task.predict(wrapped, batch.data), case.task.target(batch.data)
            case.task.checked_loss(prediction, target)
    except UnregressError:
        raise
    except Exception as error:
        raise _unpredicted(error, model, runtime) from error
    if not bool(prediction.isfinite().all()):
        return float("inf")
    return max(float(each.detach().nan_to_num(nan=0.0).abs().max()) for each in (prediction, target))


def _unpredicted(error: Exception, model: nn.Module, runtime: Runtime) -> ModelError:
    """Why a model does not predict: most often its precision, if that is not the runtime's, or else the adapter."""
    own = {str(each.dtype).removeprefix("torch.") for each in model.parameters() if each.is_floating_point()}
    if runtime.precision == "32-true" and own - {"float32"}:
        return ModelError(
            f"The model's weights are {', '.join(sorted(own))}, and the runtime computes in single precision: "
            f"{described(error)}",
            expected="weights, inputs and runtime of one precision",
            remedy="Call `model.float()`, which loses nothing of half precision; or set `Runtime(precision=...)`: "
            "`bf16-true` or `64-true`",
        )
    return ModelError(
        f"The model does not predict this task's batches: {described(error)}",
        expected="`task.predict(model, batch)` to work on batches of `case.train`",
        remedy="Check the model's inputs, the task adapter, the dataset's items and `collate`",
    )


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
    with runtime.isolated("preflight"):
        complaints, warnings, partial = _data(case, runtime, allow_overlap)
        try:
            asked = fresh_model(case) if model is None and recipe is not None else model
        except UnregressError as error:
            complaints, asked = [error, *complaints], None
        if asked is not None:
            recipes = [*([recipe] if recipe else []), *_recipes(method)]
            about_model = list(_asked(case, runtime, asked, method, recipes))
            if partial and not about_model and not complaints:
                about_model += _unmasked(case, asked, torch.tensor(partial), runtime)
            if not about_model and not recipes:
                # How it will be trained is not known.
                warnings += [str(error) for error in _in_training(case, runtime, asked)]
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
        yield from _in_training(case, runtime, model)
    if method is None:
        return
    try:
        yield from method.objections(runtime.private_copy(model), case, runtime)
    except UnregressError as error:
        yield error
    except Exception as error:
        yield ModelError(f"{type(method).__name__} cannot work with this model: {described(error)}")


def _in_training(case: Case, runtime: Runtime, model: nn.Module) -> Iterator[ModelError]:
    """A complaint if the model does not predict two retained samples, as they are trained on, in training mode."""
    rows = torch.from_numpy(case.request.retain[:2])
    if len(rows) < 2:
        # Batch normalisation could not work on one, which is said where it is trained.
        return
    try:
        wrapped = runtime.set_up(runtime.private_copy(model).train())
        draws = runtime.generator("preflight/augment")
        (batch,) = runtime.load(case.source("train"), [rows], augmentation=draws)
        case.task.checked_loss(case.task.predict(wrapped, batch.data), case.task.target(batch.data))
    except UnregressError as error:
        found = error.found if "training mode" in error.found else f"In training mode: {error.found}"
        yield ModelError(found, expected=error.expected, remedy=error.remedy)
    except Exception as error:
        yield ModelError(
            f"In training mode the model does not predict this task's batches: {described(error)}",
            expected="what `task.predict` gets from the model in evaluation mode",
            remedy="Take what is needed of its output in the task's `predict`, or train with `Recipe(mode='eval')`",
        )


def _unmasked(case: Case, model: nn.Module, rows: torch.Tensor, runtime: Runtime) -> list[ModelError]:
    """A complaint if the task's loss, or its gradient, is NaN where some of several outputs are not known."""
    wrapped = runtime.set_up(runtime.private_copy(model))
    (batch,) = runtime.load(case.source("train_eval"), [rows])
    with evaluating(wrapped), torch.no_grad():
        prediction = case.task.predict(wrapped, batch.data)
    prediction = prediction.detach().requires_grad_()
    losses = case.task.checked_loss(prediction, case.task.target(batch.data))
    (gradient,) = torch.autograd.grad(losses.sum(), prediction, materialize_grads=True)
    # Infinite ones are another matter: targets may be too large for the loss.
    found = [name for name, values in (("loss", losses), ("loss's gradient", gradient)) if values.isnan().any()]
    if not found:
        return []
    return [
        ModelError(
            f"Some outputs are not known (NaN in the target of training sample {int(rows[0])}, for one), and there the "
            f"task's {found[0]} is NaN",
            expected="a loss over the outputs that are known, with finite gradients",
            remedy="Use a named loss (`l1`, `mse`, `huber`, `quantile`), which leaves unknown outputs out, or replace "
            "NaN in the target before anything is computed from it: what is masked afterwards leaves NaN gradients",
        )
    ]


def _data(case: Case, runtime: Runtime, allow_overlap: bool) -> tuple[list[UnregressError], list[str], list[int]]:
    """Complaints and warnings about the data, each split of which is read once.

    Returns:
        Complaints, warnings, and the first training samples of which only some outputs are known.
    """
    complaints: list[UnregressError] = []
    warnings: list[str] = []
    band = case.request.target_band is not None
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
    forgotten = case.request.mask[case.request.members]
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
    values, forgotten = targets.reshape(-1), case.request.mask[case.request.members]
    low, high = (np.nan if limit is None else float(limit) for limit in case.request.target_band or ())
    # A task may convert targets after the band was made: what is at a limit may come to lie beside it.
    near = 1e-6 * np.abs([low, high])
    # Comparisons with a limit that is not there are false.
    outside = forgotten & ((values < low - near[0]) | (values > high + near[1]))
    inside = ~forgotten & ~((values <= low + near[0]) | (values >= high - near[1]))
    found = (
        f"By the training targets {outside.sum()} of the {forgotten.sum()} samples to forget lie outside the request's "
        f"band of targets, and {inside.sum()} within it are retained"
    )
    if inside.any() and not outside.any() and case.ids is not None:
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


CONSTANT_ROWS = 2000
"""On how many training samples, evenly spread, an original is compared with a constant."""


def no_better_than_constant(case: Case, runtime: Runtime, model: nn.Module) -> Iterator[str]:
    """A warning if the original has learnt nothing of what it was trained on.

    Args:
        case: the data.
        runtime: where to predict.
        model: the original; it is copied.
    """
    members = torch.from_numpy(case.rows("train_eval"))
    rows = members[torch.linspace(0, len(members) - 1, min(len(members), CONSTANT_ROWS)).round().long().unique()]
    retained = ~case.request.mask[rows.numpy()]
    if not retained.any():
        return
    twin = runtime.set_up(runtime.private_copy(model))
    predictions, targets = [], []
    with evaluating(twin), torch.no_grad():
        for batch in runtime.load(case.source("train_eval"), chunked(rows, runtime.evaluation_batch_size)):
            predictions.append(case.task.point(case.task.predict(twin, batch.data)).cpu().double())
            targets.append(case.task.target(batch.data).cpu().double())
    target = torch.cat(targets).numpy()
    own = np.abs(torch.cat(predictions).numpy() - target)
    constant = np.abs(_median_of_known(target[retained]) - target)
    # By either measure, since the one that it was trained by is not known.
    if mean(own) >= mean(constant) and root_mean_square(own) >= root_mean_square(constant):
        yield (
            "The model is no better than a constant on what it was trained on: its mean absolute error on "
            f"{len(rows)} training samples is {mean(own):.4g}, that of the retained targets' median "
            f"{mean(constant):.4g}"
        )


def _median_of_known(targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of each output's known targets; 0 where none is."""
    known = np.where(np.isnan(targets).all(axis=0), 0.0, targets)
    return np.asarray(np.nanmedian(known, axis=0))
