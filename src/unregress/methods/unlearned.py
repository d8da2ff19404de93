"""The result of an unlearning method or of a training: a model, and how it was made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import nn

from unregress.cost import Cost
from unregress.data.case import Case
from unregress.data.request import ForgetRequest
from unregress.data.sample_keys import digest_of_samples
from unregress.errors import SettingError
from unregress.evidence.model_record import ModelRecord, differences
from unregress.tasks.unwrap import unwrapped
from unregress.tasks.weights import weights_of
from unregress.training.from_scratch import Training, training_record
from unregress.training.loop import Epoch
from unregress.training.recipe import Recipe


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


class Lineage(NamedTuple):
    """What is known of a model's past, in the order in which `LeaveOutTable.require_current` compares it."""

    weights: tuple[str, ...]
    """SHA-256 of its weights, and of those that it was made from."""
    start: str = ""
    """SHA-256 of the initial weights of the training from scratch that it comes from; empty if unknown."""
    recipe: dict[str, Any] | None = None
    """The record of that training; None if unknown."""
    trained_on: str = ""
    """Digest of the samples that it read, see `data.sample_keys.digest_of_samples`; empty if unknown."""


Candidate = nn.Module | Unlearned
"""A model as a user gives it: bare, or as a method returned it."""


def module_of(candidate: Candidate) -> nn.Module:
    """The bare model, without its method's record and without wrappers of PyTorch such as DDP."""
    return unwrapped(candidate.model if isinstance(candidate, Unlearned) else candidate)


def record_of(candidate: Candidate) -> ModelRecord | None:
    """The record of how a model was made; None if unknown."""
    return candidate.record if isinstance(candidate, Unlearned) else None


def lineage(model: Candidate) -> Lineage:
    """What a model comes from; of a bare module only its own weights are known."""
    if not isinstance(model, Unlearned):
        return Lineage((weights_of(model),))
    record = model.record
    if record is None:
        return Lineage((weights_of(model.model),), model.known_start)
    return Lineage((weights_of(model.model), *record.parents), model.known_start, record.recipe, record.trained_on)


def with_trained_on(made: Unlearned, case: Case) -> Unlearned:
    """A model that was retrained for a case's request, with the samples of its training on record.

    Golds are not recorded so, since each sample is hashed for it.  Models that were not retrained are returned as they
    are.
    """
    if made.record is None or made.record.kind != "retrained":
        return made
    return replace(made, record=replace(made.record, trained_on=digest_of_samples(case.splits, case.kept("train"))))


def trained_otherwise(model: Candidate, training: Training) -> tuple[str, ...]:
    """A warning if a model's record names another training than the one that is given; none if it names none.

    Args:
        model: the model.
        training: how it was trained, as the user says.
    """
    recorded = lineage(model).recipe
    found = list(differences(training_record(training), recorded)) if recorded else []
    if not found:
        return ()
    listed = "; ".join(f"{name} is {given!r}, and was {was!r}" for name, given, was in found)
    return (
        f"The model was trained otherwise than `training` says: {listed}. What is trained now differs from it by that "
        "too: take the model's own training",
    )


def require_initial(start: nn.Module | None, model: Candidate | None, training: object = None) -> None:
    """Refuse, as initial weights, the weights that a trained model has or was made from: they saw what is forgotten.

    Args:
        start: the initial weights, as the user gives them; None if unknown.
        model: the trained model; None if there is none.
        training: how the original was trained.  A recipe of no epochs rightly leaves the initial weights.

    Raises:
        SettingError: they are those of the model, or of one that it was made from.
    """
    if start is None or model is None:
        return
    known = lineage(model)
    epochs = training.epochs if isinstance(training, Recipe) else (known.recipe or {}).get("epochs")
    digest = weights_of(start)
    if digest in known.weights and digest != known.start and epochs != 0:
        raise SettingError(
            "The initial weights given as `start` are those of the trained model, or of one that it was made from",
            expected="the weights that its training began with, before it saw any record",
            remedy="Keep them in the training, by `unregress.keep_start`; or leave `start` out, and new ones are drawn",
        )
