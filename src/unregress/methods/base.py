"""Base class of unlearning methods."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import nn

from unregress.checks.model_check import quick_check
from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.errors import UnregressError
from unregress.evidence.long_values import shortened
from unregress.evidence.model_record import ModelRecord, module_of, plain
from unregress.methods.result_checks import require_no_divergence, require_unlearned
from unregress.methods.unlearned import Unlearned
from unregress.tasks.unwrap import unwrapped, unwrapping
from unregress.tasks.weights import weights_of
from unregress.training.from_scratch import training_record
from unregress.training.runtime import Runtime


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

    @property
    def unused_trainings(self) -> tuple[str, ...]:
        """Names of hyper-parameters that are trainings and play no part, with the method's other settings."""
        return ()

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
            parents = (weights_of(model),) if self.uses_original else ()
            done = require_unlearned(type(self).__name__, self.run(student, case, runtime))
            require_no_divergence(done, type(self).__name__, size, case, runtime)
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


def _setting(value: object) -> Any:
    """A setting of a method as plain data; a function that trains is recorded by its import path and settings."""
    if isinstance(value, LeaveOutTable):
        return value.summary
    if isinstance(value, Sequence) and any(isinstance(each, LeaveOutTable) for each in value):
        tables = [_setting(each) for each in value]
        return tables[0] if len(tables) == 1 else tables
    if callable(value) and not isinstance(value, type | nn.Module):
        return training_record(value)
    return plain(value)


def restore_placement(student: nn.Module, model: nn.Module) -> None:
    """Give the student the device, precision and modes of the model that it was copied from, and no gradients."""
    home = next(model.parameters(), torch.empty(0)).device
    student.to(home).zero_grad(set_to_none=True)
    originals = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, value in (*student.named_parameters(), *student.named_buffers()):
        value.data = value.data.to(originals[name].dtype)
    for (_, new), (_, old) in zip(student.named_modules(), model.named_modules(), strict=True):
        new.training = old.training
