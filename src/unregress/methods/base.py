"""Base class of unlearning methods, their result, and the training of an original."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import nn

from unregress.checks.model_check import predicted_size, quick_check
from unregress.cost import Cost
from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.request import ForgetRequest, Index
from unregress.errors import DivergenceError, SettingError, UnregressError
from unregress.evidence.long_values import shortened
from unregress.evidence.model_record import ModelRecord, module_of, plain
from unregress.tasks.unwrap import not_finite, private_copy, unwrapped, unwrapping
from unregress.tasks.weights import weights_of
from unregress.training.divergence import EXPLODED
from unregress.training.fresh_model import initial_model
from unregress.training.from_scratch import Training, train_from, training_name, training_record
from unregress.training.loop import Epoch
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime

_SLOWER = "Lower the learning rate, or set `clip_norm`"


@dataclass(frozen=True, kw_only=True)
class Unlearned:
    """Result of an unlearning method, or of a training: the model, its history, cost and provenance."""

    model: nn.Module
    """The new model, on the device and in the mode of the given model."""
    history: tuple[Epoch, ...]
    cost: Cost
    """Cost of the whole job, including the training of a helper."""
    record: ModelRecord | None = None
    """Provenance of the model: method, settings, seed, and digests of the weights it started from; set by
    `Method.unlearn`."""
    deviations: tuple[str, ...] = ()
    """Differences between the method and the paper."""
    notes: tuple[str, ...] = ()
    """Choices that the method made from the data, such as layers to compare or statistics of labels."""
    start: nn.Module | None = None
    """A model with the initial weights of the training from scratch that this model comes from; None if unknown.  The
    next retraining can start from them."""
    start_digest: str = ""
    """SHA-256 of these weights; empty if unknown."""
    helper: nn.Module | None = None
    """The partly trained teacher model, if the method has one; an audit reports on it as well."""
    request: ForgetRequest | None = None
    """The request that the model was unlearned for, including earlier requests (`ForgetRequest.others`); None for an
    original, or if it is not known."""

    @property
    def known_start(self) -> str:
        """SHA-256 of the initial weights that the model comes from, its own or its record's; empty if unknown."""
        return self.start_digest or ("" if self.record is None else self.record.start)


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """Base class of unlearning methods.

    A method is a frozen dataclass whose fields are its hyper-parameters, with one function to implement, `run`.
    `unlearn` does the rest for all methods: it copies the model, which stays bit-identical, seeds random draws with the
    runtime's seed, and restores the global random state.
    """

    retrains: ClassVar[bool] = False
    """Whether the method trains from scratch on the retain set, so that its models can be golds; true for `Retrain` and
    its subclasses."""

    @property
    def deviations(self) -> tuple[str, ...]:
        """Differences between the method, with its settings, and the paper."""
        return ()

    @property
    def uses_original(self) -> bool:
        """Whether the method uses the original's weights, and not only its architecture."""
        return True

    def objections(self, student: nn.Module, case: Case, runtime: Runtime) -> Iterable[UnregressError]:
        """Problems that would stop `run`, for a preflight to report before any training; by default none.

        Args:
            student: a private copy of the original.
            case: the request and the data.
            runtime: where to run.
        """
        return ()

    @abstractmethod
    def run(self, student: nn.Module, case: Case, runtime: Runtime) -> Unlearned:
        """Unlearn the request of a case; called with the random state seeded.

        Args:
            student: a private copy of the original, which may be changed in place or replaced.
            case: the request and the data.
            runtime: where to run.
        """

    def unlearn(self, model: nn.Module | Unlearned, case: Case, runtime: Runtime) -> Unlearned:
        """Make a copy of `model` forget `case.request`.

        Args:
            model: the trained model; it is not changed, nor are its modes and gradients.  From an `Unlearned`, the
                result takes over how that model was made: recipe, initial weights and ancestors.
            case: the request and the data.
            runtime: device, precision and seed.

        Raises:
            SettingError: the method's `run` does not return an `Unlearned` with a model and a cost.
            DivergenceError: the new model's weights are not finite, or its predictions are far too large.
            RequestError: the case has no request.
            UnregressError: the case does not fit the model; see `unregress.errors`.
        """
        request = case.requested
        started = time.perf_counter()
        past = model if isinstance(model, Unlearned) else None
        model = model.model if isinstance(model, Unlearned) else model
        with runtime.isolated_rng(type(self).__name__):
            student = runtime.private_copy(model)
            size = quick_check(case, student, runtime)
            parents = (weights_of(unwrapped(model)),) if self.uses_original else ()
            done = _require_unlearned(self, self.run(student, case, runtime))
            _require_no_divergence(done, self, size, case, runtime)
        for made in (done.model, done.helper):
            if made is not None:
                restore_placement(made, unwrapped(model))
        record = replace(record_of_method(self, runtime.seed, parents), start=done.start_digest)
        if past is not None:
            record = record.following(past.record)
            # A model made from another one still comes from that one's initial weights.
            done = done if self.retrains else replace(done, start=past.start, start_digest=past.start_digest)
        return replace(
            done,
            notes=(*done.notes, *unwrapping(model)),
            cost=replace(done.cost, seconds=time.perf_counter() - started),
            record=record,
            deviations=self.deviations,
            request=request,
        )


def record_of_method(method: Method, seed: int | None = None, parents: tuple[str, ...] = ()) -> ModelRecord:
    """Make the record of a model made by a method.

    Args:
        method: the method.
        seed: the runtime's seed.
        parents: digests of the weights that the method starts from.
    """
    module = module_of(type(method))
    given = {each.name: getattr(method, each.name, None) for each in fields(method) if each.name != "start"}
    # Methods of this library are read back from their records, and have no long settings.
    settings = {name: shortened(_setting(value)) if module else _setting(value) for name, value in given.items()}
    return ModelRecord(
        method=type(method).__name__,
        module=module,
        settings=settings,
        kind="retrained" if method.retrains else "unlearned",
        recipe=settings.get("recipe") if method.retrains else None,
        seed=seed,
        parents=parents,
    )


def record_of_training(training: Training, seed: int | None = None, start: str = "") -> ModelRecord:
    """Make the record of an original.

    Args:
        training: how it was trained.
        seed: the runtime's seed.
        start: digest of its initial weights.
    """
    recipe = training_record(training)
    return ModelRecord(
        method="train", settings={"recipe": recipe}, kind="trained", recipe=recipe, seed=seed, start=start
    )


def _setting(value: object) -> Any:
    """A setting of a method as plain data; a function that trains is recorded by its import path and settings."""
    if isinstance(value, LeaveOutTable):
        return value.summary
    if callable(value) and not isinstance(value, type | nn.Module):
        return training_record(value)
    return plain(value)


def _require_unlearned(method: Method, done: object) -> Unlearned:
    """Check the type of the value returned by `run`, which may be a user's own method.

    Raises:
        SettingError: it is not an `Unlearned` with a model and a cost.
    """
    found = f"something of type {type(done).__name__}"
    if isinstance(done, Unlearned):
        # A dataclass does not check the types of its fields.
        model: object = done.model
        cost: object = done.cost
        if isinstance(model, nn.Module) and isinstance(cost, Cost):
            return done
        found = f"an `Unlearned` whose model is of type {type(model).__name__} and whose cost is of type"
        found += f" {type(cost).__name__}"
    raise SettingError(
        f"`{type(method).__name__}.run` returns {found}",
        expected="an `Unlearned` with the new model and its `Cost`",
        remedy="Return `Unlearned(model=student, history=(), cost=Cost())`",
    )


def _require_no_divergence(done: Unlearned, method: Method, size: float, case: Case, runtime: Runtime) -> None:
    """Refuse a model whose training has diverged, for methods that do not check it themselves.

    Args:
        done: result of the method.
        method: the method, for messages.
        size: largest absolute prediction or target of the original, from `quick_check`.
        case: the request and the data.
        runtime: where to run.

    Raises:
        DivergenceError: weights are NaN or infinite, or predictions far beyond the size of the original's.
    """
    if broken := not_finite(done.model):
        raise DivergenceError(
            f"{type(method).__name__} made a model whose weights {', '.join(broken[:3])} are NaN or infinite",
            remedy=_SLOWER,
        )
    _require_no_explosion(done.model, type(method).__name__, size, case, runtime)


def _require_no_explosion(model: nn.Module, name: str, size: float, case: Case, runtime: Runtime) -> None:
    """Refuse a model whose predictions are far beyond a size; arguments as for `_require_no_divergence`."""
    found = predicted_size(case, model, runtime)
    if found > EXPLODED * max(1.0, size):
        raise DivergenceError(
            f"{name} made a model that predicts {found:.3g}, where targets and the original's predictions are at most "
            f"{size:.3g}",
            remedy=_SLOWER,
        )


def restore_placement(student: nn.Module, model: nn.Module) -> None:
    """Give the student the device, precision and modes of the model that it was copied from, and no gradients."""
    home = next(model.parameters(), torch.empty(0)).device
    student.to(home).zero_grad(set_to_none=True)
    originals = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, value in (*student.named_parameters(), *student.named_buffers()):
        value.data = value.data.to(originals[name].dtype)
    for (_, new), (_, old) in zip(student.named_modules(), model.named_modules(), strict=True):
        new.training = old.training


def train(
    case: Case,
    recipe: Training,
    runtime: Runtime,
    *,
    start: nn.Module | None = None,
    left_out: Index | None = None,
) -> Unlearned:
    """Train an original: a new model, on all of D.  `Retrain` makes golds, on D_r alone.

    Args:
        case: task and data; a request is not needed.  Samples of earlier requests (`ForgetRequest.others`) are left
            out.
        recipe: training settings, or a function `(data, start, seed) -> model`.
        runtime: device, precision and seed; the task builds the model under its seed.
        start: a model with the initial weights; None for new ones.
        left_out: training samples that are not read, while a recipe takes the others in the order of a training with
            them: what this original would have become without them.

    Returns:
        The model, with its initial weights as `start`.
    """
    started = time.perf_counter()
    with runtime.isolated_rng("train"):
        initial = initial_model(case, start=start)
        size = quick_check(case, initial, runtime)
        kept = private_copy(initial).cpu()
        model, fitted = train_from(
            initial, case, recipe, case.rows("train"), runtime, stage="train", validation="all", left_out=left_out
        )
        if not isinstance(recipe, Recipe):
            _require_no_explosion(model, training_name(recipe), size, case, runtime)
    model.cpu().eval().zero_grad(set_to_none=True)
    digest = weights_of(kept)
    return Unlearned(
        model=model,
        history=fitted.history,
        cost=replace(fitted.cost, seconds=time.perf_counter() - started),
        record=record_of_training(recipe, runtime.seed, digest),
        start=kept,
        start_digest=digest,
    )
