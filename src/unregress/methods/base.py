"""The contract of an unlearning method: one function from a model and a case to an unlearned model."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from unregress.checks.model_check import predicted_size, quick_check
from unregress.cost import Cost
from unregress.data.case import Case
from unregress.data.request import ForgetRequest
from unregress.errors import DivergenceError, SettingError, UnregressError
from unregress.evidence.model_record import ModelRecord, module_of, settings_of
from unregress.tasks.unwrap import not_finite, unwrapped, unwrapping
from unregress.tasks.weights import weights_of
from unregress.training.divergence import EXPLODED
from unregress.training.fresh_model import fresh_model
from unregress.training.loop import Epoch, fit
from unregress.training.objective import Objective, task_loss
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class Unlearned:
    """What a method hands back."""

    model: nn.Module
    """The new model, on the device and in the mode of the one given."""
    history: tuple[Epoch, ...]
    cost: Cost
    """The whole job, a helper's training included."""
    record: ModelRecord | None = None
    """How the model was made: method, settings, seed, and what it started from.  `Method.unlearn` sets it."""
    deviations: tuple[str, ...] = ()
    """Where the method departs from the paper."""
    notes: tuple[str, ...] = ()
    """What the method decided by itself: the layers it found, the labels' statistics it used."""
    helper: nn.Module | None = None
    """The partly trained model that taught this one, if any: an audit shows what it does by itself."""
    request: ForgetRequest | None = None
    """What it was made to forget, beside what it had forgotten before (`ForgetRequest.others`); None for an original,
    and where it is not known."""


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """Makes a trained model forget.

    An implementation is a frozen dataclass whose fields are its hyper-parameters, and one method,
    `run`.  `unlearn` sees to the rest, equally for all: the input model is copied and stays
    bit-identical, random draws come from the runtime's seed and leave the global state alone.
    """

    retrains: ClassVar[bool] = False
    """Whether the method trains from scratch on the retain set, so that its models can be golds: `Retrain` and its
    subclasses."""

    @property
    def deviations(self) -> tuple[str, ...]:
        """Where the method, as it is set up, departs from the paper."""
        return ()

    @property
    def uses_original(self) -> bool:
        """Whether what the model has learnt matters, and not its architecture alone."""
        return True

    def objections(self, student: nn.Module, case: Case, runtime: Runtime) -> Iterable[UnregressError]:
        """What would stop `run` before its first training, for a preflight to say with all else; by default nothing.

        Args:
            student: a private copy of the original.
            case: the request and the data.
            runtime: where to run.
        """
        return ()

    @abstractmethod
    def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        """Do the work, under the method's seed.

        Args:
            student: a private copy of the original, to change in place or to replace.
            case: the request and the data.
            runtime: where to run.
        """

    def unlearn(self, model: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        """Make a copy of `model` forget `case.request`.

        Args:
            model: the trained model; untouched, down to its mode, gradients and random state.
            case: the request and the data.
            runtime: where to run, and the seed.

        Raises:
            SettingError: the method's `run` does not hand back what it should.
            DivergenceError: the new model's weights are not finite, or it predicts numbers of another size altogether.
            RequestError: the case has no request.
            UnregressError: the case does not fit the model; see `unregress.errors`.
        """
        request = case.requested
        started = time.perf_counter()
        with runtime.isolated_rng(type(self).__name__):
            student = runtime.private_copy(model)
            size = quick_check(case, student, runtime)
            parents = (weights_of(unwrapped(model)),) if self.uses_original else ()
            done = _checked(self, self.run(student, case, runtime))
            _require_sane(done, self, size, case, runtime)
        for made in (done.model, done.helper):
            if made is not None:
                return_to(made, unwrapped(model))
        return replace(
            done,
            notes=(*done.notes, *unwrapping(model)),
            cost=replace(done.cost, seconds=time.perf_counter() - started),
            record=record_of_method(self, runtime.seed, parents),
            deviations=self.deviations,
            request=request,
        )


def record_of_method(method: Method, seed: int | None = None, parents: tuple[str, ...] = ()) -> ModelRecord:
    """The record of a model that a method makes.

    Args:
        method: the method.
        seed: the runtime's seed.
        parents: digests of the weights that the method starts from.
    """
    recipe = getattr(method, "recipe", None)
    return ModelRecord(
        method=type(method).__name__,
        module=module_of(type(method)),
        settings=settings_of(method),
        kind="retrained" if method.retrains else "unlearned",
        recipe=settings_of(recipe) if method.retrains and isinstance(recipe, Recipe) else None,
        seed=seed,
        parents=parents,
    )


def record_of_training(recipe: Recipe, seed: int | None = None) -> ModelRecord:
    """The record of an original that is trained by a recipe, under a seed."""
    settings = settings_of(recipe)
    return ModelRecord(method="train", settings={"recipe": settings}, kind="trained", recipe=settings, seed=seed)


def _checked(method: Method, done: object) -> Unlearned:
    """What `run` handed back, of the user's own methods too."""
    found = f"something of type {type(done).__name__}"
    if isinstance(done, Unlearned):
        # Of the types that it declares, which nothing has checked.
        model: object = done.model
        cost: object = done.cost
        if isinstance(model, nn.Module) and isinstance(cost, Cost):
            return done
        found = f"an `Unlearned` whose model is of type {type(model).__name__} and whose cost is of type"
        found += f" {type(cost).__name__}"
    raise SettingError(
        f"`{type(method).__name__}.run` hands back {found}",
        expected="an `Unlearned` with the new model and its `Cost`",
        remedy="Write `return Unlearned(model=student, history=(), cost=Cost())`",
    )


def _require_sane(done: Unlearned, method: Method, size: float, case: Case, runtime: Runtime) -> None:
    """Refuse a model that a training which ran away has left, whatever the method watched.

    Raises:
        DivergenceError: weights are NaN or infinite, or predictions far beyond the size of the original's.
    """
    name = type(method).__name__
    remedy = "Lower the learning rate, or set `clip_norm`"
    if broken := not_finite(done.model):
        raise DivergenceError(f"{name} made a model whose weights {', '.join(broken[:3])} are NaN or infinite",
                              remedy=remedy)  # fmt: skip
    found = predicted_size(case, done.model, runtime)
    if found > EXPLODED * max(1.0, size):
        raise DivergenceError(
            f"{name} made a model that predicts {found:.3g} where predictions and targets are at most {size:.3g}",
            remedy=remedy,
        )


def return_to(student: nn.Module, model: nn.Module) -> None:
    """Put the student on the device, in the precision and in the modes of the model it was copied from."""
    home = next(model.parameters(), torch.empty(0)).device
    student.to(home).zero_grad(set_to_none=True)
    originals = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, value in (*student.named_parameters(), *student.named_buffers()):
        value.data = value.data.to(originals[name].dtype)
    for (_, new), (_, old) in zip(student.named_modules(), model.named_modules(), strict=True):
        new.training = old.training


def train(case: Case, recipe: Recipe, runtime: Runtime) -> Unlearned:
    """Train a fresh model on all of D: the original.  `Retrain` makes the gold, on D_r alone.

    Args:
        case: the data; the task builds the model, under the runtime's seed.  A request is not needed; samples that
            requests before it forgot (`ForgetRequest.others`) are left out.
        recipe: how to train.
        runtime: where to train.
    """
    started = time.perf_counter()
    with runtime.isolated_rng("train"):
        model = fresh_model(case)
        quick_check(case, model, runtime)
        everything = Objective.over(torch.from_numpy(case.rows("train")), task_loss(case), validation="all")
        fitted = fit(model, case, recipe, everything, runtime, stage="train")
    model.cpu().eval().zero_grad(set_to_none=True)
    return Unlearned(
        model=model,
        history=fitted.history,
        cost=replace(fitted.cost, seconds=time.perf_counter() - started),
        record=record_of_training(recipe, runtime.seed),
    )
