"""What every unlearning method is: one function from a model and a case to an unlearned model."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from unregress.case import Case
from unregress.cost import Cost
from unregress.errors import ModelError, SettingError
from unregress.loading import Batch
from unregress.readiness import quick_check
from unregress.recipe import Recipe
from unregress.request import ForgetRequest
from unregress.runtime import Runtime
from unregress.training import Epoch, Fitted, SampleLoss, fit


@dataclass(frozen=True, kw_only=True)
class Unlearned:
    """What a method hands back."""

    model: nn.Module
    """The new model, on the device and in the mode of the one given."""
    history: tuple[Epoch, ...]
    cost: Cost
    """The whole job, a helper's training included."""
    method: str = ""
    """Method and settings, for the record."""
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

    @property
    def deviations(self) -> tuple[str, ...]:
        """Where the method, as it is set up, departs from the paper."""
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
            UnregressError: the case does not fit the model; see `unregress.errors`.
        """
        started = time.perf_counter()
        with runtime.isolated(type(self).__name__):
            student = runtime.private_copy(model)
            quick_check(case, student, runtime)
            done = _checked(self, self.run(student, case, runtime))
        for made in (done.model, done.helper):
            if made is not None:
                return_to(made, model)
        return replace(
            done,
            cost=replace(done.cost, seconds=time.perf_counter() - started),
            method=str(self),
            deviations=self.deviations,
            request=case.request,
        )


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


def return_to(student: nn.Module, model: nn.Module) -> None:
    """Put the student on the device, in the precision and in the modes of the model it was copied from."""
    home = next(model.parameters(), torch.empty(0)).device
    student.to(home).zero_grad(set_to_none=True)
    originals = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, value in (*student.named_parameters(), *student.named_buffers()):
        value.data = value.data.to(originals[name].dtype)
    for (_, new), (_, old) in zip(student.named_modules(), model.named_modules(), strict=True):
        new.training = old.training


def fresh_model(case: Case, like: nn.Module | None = None) -> nn.Module:
    """A fresh model from the task, made sure to be a new one.

    Args:
        case: whose task.
        like: a model whose architecture the fresh one must have.

    Raises:
        ModelError: `build_model` hands out the same model twice, so that training it would train the
            user's own; or one of another architecture.
    """
    fresh, again = case.task.build_model(), case.task.build_model()
    if any(is_lazy(parameter) for parameter in fresh.parameters()):
        raise ModelError(
            "The task's `build_model` returns a model with lazy layers, whose weights do not exist yet",
            expected="a model whose weights exist",
            remedy="Send one batch through it in `build_model`",
        )
    known = {parameter.data_ptr() for parameter in again.parameters()}
    if any(parameter.data_ptr() in known for parameter in fresh.parameters() if parameter.numel()):
        raise ModelError(
            "The task's `build_model` returns the same model each time",
            expected="a function that makes a new, untrained model whenever it is called",
            remedy="Pass `lambda: MyModel(...)` or the class, not `lambda: my_model`",
        )
    if like is not None and (differing := _differing(fresh, like)):
        raise ModelError(
            f"The task's `build_model` makes another architecture than the given model's; they differ in "
            f"{', '.join(differing[:3])}",
            expected="the architecture of the model to unlearn",
            remedy="Correct `build_model`",
        )
    return fresh


def _differing(first: nn.Module, second: nn.Module) -> list[str]:
    """Names of weights and buffers that only one of two models has, or that differ in shape."""
    shapes = [{name: value.shape for name, value in model.state_dict().items()} for model in (first, second)]
    return sorted({name for name, _ in shapes[0].items() ^ shapes[1].items()})


def task_loss(case: Case) -> SampleLoss:
    """The task's own loss against the true targets, as a loss for `fit`."""

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        return case.task.checked_loss(case.task.predict(model, batch.data), case.task.target(batch.data))

    return loss


def relabelled_loss(case: Case, labels: Tensor) -> SampleLoss:
    """The task's loss, with the forget rows' targets replaced by given labels; unknown outputs (NaN) stay unknown.

    Args:
        case: whose forget rows.
        labels: one label per forget row, in the request's order; shape `(n_forget, *out)`.
    """
    place = torch.zeros(case.request.size, dtype=torch.int64)
    place[list(case.request.forget)] = torch.arange(len(case.request.forget))

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        prediction = case.task.predict(model, batch.data)
        target = case.task.target(batch.data).clone()
        if not target.is_floating_point():
            target = target.to(prediction.dtype)
        rows = batch.forgotten.to(target.device)
        new = labels[place[batch.index[batch.forgotten]]].to(target)
        target[rows] = torch.where(_partly_unknown(target[rows]), torch.nan, new)
        return case.task.checked_loss(prediction, target)

    return loss


def _partly_unknown(target: Tensor) -> Tensor:
    """Where some of a sample's outputs are not known (NaN); nowhere if none is, which says nothing of the task."""
    unknown = target.isnan()
    wholly = unknown.flatten(1).all(1) if target.ndim > 1 else unknown
    return unknown & ~wholly.view(-1, *[1] * (target.ndim - 1))


def train(case: Case, recipe: Recipe, runtime: Runtime) -> Unlearned:
    """Train a fresh model on all of D: the original.  The gold, on D_r alone, is `Retrain`.

    Args:
        case: the data; the task builds the model, under the runtime's seed.
        recipe: how to train.
        runtime: where to train.
    """
    started = time.perf_counter()
    with runtime.isolated("train"):
        model = fresh_model(case)
        quick_check(case, model, runtime)
        fitted = fit_fresh(model, case, recipe, runtime, retain_only=False, stage="train")
    model.cpu().eval().zero_grad(set_to_none=True)
    return Unlearned(
        model=model,
        history=fitted.history,
        cost=replace(fitted.cost, seconds=time.perf_counter() - started),
        method=f"train({recipe})",
    )


def fit_fresh(
    model: nn.Module, case: Case, recipe: Recipe, runtime: Runtime, *, retain_only: bool, stage: str
) -> Fitted:
    """Fit a model by the task's loss, on D_r or on D.  With D_r, nothing forgotten is read."""
    rows = torch.from_numpy(case.request.retain) if retain_only else torch.from_numpy(case.request.members)
    monitor = monitored(case, recipe, retain_only=retain_only)
    return fit(model, case, recipe, rows, task_loss(case), runtime, stage=stage, monitor=monitor)


def monitored(case: Case, recipe: Recipe, *, retain_only: bool) -> Tensor | None:
    """The validation rows whose loss a plateau schedule goes by; None for the training loss or other schedules."""
    if recipe.schedule != "plateau" or case.validation is None:
        return None
    return case.retained_validation() if retain_only else torch.arange(len(case.source("validation")))
