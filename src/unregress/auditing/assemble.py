"""Assemble the panel of an audit: all models by name and role, a constant baseline, and their predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from unregress.data.case import Case
from unregress.data.loading import chunked
from unregress.data.request import Index
from unregress.data.splits import Split
from unregress.errors import ModelError
from unregress.evidence import CONSTANT, RETRAINED, Part, Role
from unregress.evidence.nan_means import LARGE, mean, median
from unregress.hooks.final_layer import final_linear
from unregress.methods.unlearned import Candidate, Unlearned, module_of
from unregress.metrics.base import Panel, Subject
from unregress.metrics.collect import collect
from unregress.metrics.predictions import Predictions, Values
from unregress.tasks.base import Task
from unregress.tasks.units import Output
from unregress.training.runtime import Runtime

Participant = tuple[str, Role, Candidate]
"""A model with its name and role in an audit."""
FEATURED = 5000
"""Largest number of samples of each part whose features are kept, the same for all models: for an image model, features
are a hundred times as large as all other data of an audit."""
EVALUATED: tuple[Split, ...] = ("train_eval", "test")
PARTS_OF: dict[Split, tuple[Part, Part]] = {
    "train_eval": ("train-retain", "train-forget"),
    "test": ("test-retain", "test-forget"),
}


def participants(
    models: Mapping[str, Candidate],
    golds: Sequence[Candidate],
    original: str,
    references: Mapping[str, Candidate] = MappingProxyType({}),
) -> list[Participant]:
    """List all models with name and role: original, models to judge, golds, the helpers of methods and references."""
    judged: list[Participant] = [
        (name, "original" if name == original else "unlearned", model) for name, model in models.items()
    ]
    retrained: list[Participant] = [
        (name, "gold", model) for name, model in zip(gold_names(len(golds)), golds, strict=True)
    ]
    helpers: list[Participant] = [
        (f"{name}'s helper", "reference", model.helper)
        for name, model in models.items()
        if isinstance(model, Unlearned) and model.helper is not None
    ]
    shown: list[Participant] = [(name, "reference", model) for name, model in references.items()]
    return [*judged, *retrained, *helpers, *shown]


def gold_names(count: int) -> list[str]:
    """The golds' names in a report, in order.

    >>> gold_names(2)
    ['retrained', 'retrained #2']
    """
    return [RETRAINED if number == 1 else f"{RETRAINED} #{number}" for number in range(1, count + 1)]


def assemble(case: Case, models: Sequence[Participant], runtime: Runtime, *, features: bool) -> tuple[Panel, list[str]]:
    """Predict all training and test samples with every model.

    Args:
        case: the data, and what was to be forgotten.
        models: the models with names and roles, the original among them; a constant predictor is added.
        runtime: where to compute.
        features: whether some metric reads the final linear layer.  If one of the models has no such layer, no
            model's features are kept.

    Returns:
        The panel, and caveats for a reader of its numbers.
    """
    caveats = []
    if features and (closed := _without_final_layer(case, models, runtime)):
        features = False
        caveats.append(
            "Metrics that read the final linear layer were left out: the representation check, and the paper's attack "
            f"unless it is `Membership(features=('loss',))`. {closed}"
        )
    kept = {
        split: _rows_with_features(case, split, runtime) if features else np.zeros(0, np.int64) for split in EVALUATED
    }
    subjects = []
    for name, role, candidate in runtime.track(models, "predicting", len(models)):
        model = module_of(candidate)
        seen = {
            split: collect(model, case.task, case.source(split), runtime, rows=case.rows(split), features=kept[split])
            for split in EVALUATED
        }
        subjects.append(Subject(name=name, role=role, model=model, parts=dict(split_parts(case, seen))))
    original = next(subject for subject in subjects if subject.role == "original")
    subjects.append(constant(case, original, runtime))
    subjects, units, remarks = in_common_units(subjects, case.task.outputs)
    caveats += remarks
    group: Index = np.zeros(0, dtype=np.int64)
    if case.splits.validation is not None:
        group = np.flatnonzero(case.forget_like("validation"))
    return Panel(
        case=case, runtime=runtime, subjects=tuple(subjects), validation_forget_like=group, units=units
    ), caveats


def in_common_units(
    subjects: Sequence[Subject], outputs: Sequence[Output] = ()
) -> tuple[list[Subject], Values, list[str]]:
    """Put each of several outputs in units of its own spread; a single output stays as it is.

    Args:
        subjects: all models of a panel, the original among them.
        outputs: names and units of the outputs, if they have any.

    Returns:
        The models, the units `(*out)`, and caveats about outputs and unknown targets.
    """
    original = next(subject for subject in subjects if subject.role == "original")
    caveats, units = [], spreads(original)
    if units.size > 1:
        subjects = [replace(s, parts={name: part.in_units(units) for name, part in s.parts.items()}) for s in subjects]
        named = outputs if len(outputs) == units.size else [Output("")] * units.size
        each = [f"{one.name} {unit:.3g} {one.unit}".strip() for one, unit in zip(named, units.ravel(), strict=True)]
        listed = ", ".join(each[:10])
        caveats.append(
            f"Errors and distances of predictions are means over {units.size} outputs, each in units of its spread, "
            f"which is how far its retained targets are from their median on average: {listed}"
            f"{', …' if units.size > 10 else ''}."
        )
    return list(subjects), units, [*caveats, *_unknown_targets(subjects[0])]


def constant(case: Case, like: Subject, runtime: Runtime) -> Subject:
    """Create the baseline that predicts the median of the retained targets for every sample, output by output.

    Its loss is the task's, or the absolute error where the task's loss does not accept constant outputs (as with
    constraints between them).  Of an even number of targets the lower one of the middle two is taken, and 0 for an
    output that is unknown for every retained sample.

    Args:
        case: the case, with the task.
        like: an audited model, whose retained targets give the median, and whose parts and output shape the baseline
            takes over.
        runtime: where that model runs.
    """
    return constant_predictor(case.task, like, _raw_shape(case, like, runtime))


def constant_predictor(task: Task[Any], like: Subject, raw_shape: torch.Size | None = None) -> Subject:
    """Create the baseline of `constant` from a task's loss alone.

    Args:
        task: its loss is read.
        like: an audited model.
        raw_shape: shape of that model's raw prediction for one sample; None for the target's.
    """
    middle = torch.from_numpy(like.parts["train-retain"].target).nanmedian(dim=0).values.nan_to_num()
    parts = {name: _constant_predictions(task, seen, middle, raw_shape) for name, seen in like.parts.items()}
    return Subject(name=CONSTANT, role="reference", model=None, parts=parts)


def spreads(like: Subject) -> Values:
    """The spread of each output: the mean distance of its retained targets to their median, `(*out)`.

    Outputs of several kinds, such as kilograms and metres, can only be averaged in units of their own.  The spread of a
    single output is taken as 1, and so is that of an output whose targets are all equal or unknown.

    Args:
        like: any audited model; its retained targets are read.
    """
    seen = like.parts["train-retain"]
    if prod(seen.target.shape[1:]) == 1:
        return np.ones(seen.target.shape[1:])
    with np.errstate(over="ignore"):
        spread = np.asarray(mean(np.abs(seen.target - median(seen.target)), axis=0))
    # Spreads outside of this range come from rounding, and dividing by them would overflow.
    return np.where((spread > 1 / LARGE) & (spread < LARGE), spread, 1.0)


def _raw_shape(case: Case, like: Subject, runtime: Runtime) -> torch.Size | None:
    """Shape of a raw prediction for one sample, which may have more axes than its target, such as quantile levels."""
    if like.model is None:
        return None
    model = runtime.set_up(runtime.private_copy(like.model)).eval()
    (batch,) = runtime.load(case.source("train_eval"), chunked(torch.from_numpy(case.requested.retain[:2]), 2))
    with torch.no_grad():
        raw: torch.Tensor = case.task.predict(model, batch.data)
    return raw.shape[1:]


def _constant_predictions(
    task: Task[Any], seen: Predictions, middle: torch.Tensor, raw_shape: torch.Size | None
) -> Predictions:
    target = torch.from_numpy(seen.target)
    point = middle.expand(target.shape)
    own = target.shape[1:] if raw_shape is None else raw_shape
    with np.errstate(over="ignore"):
        loss = np.asarray(mean(np.abs(seen.target - point.numpy()).reshape(len(seen), -1), axis=1))
    # Axes beyond the target's are filled with the same value.  Where the output has another shape, or the loss of a
    # constant is not finite (as the logarithm of a negative variance), the absolute error takes the loss's place.
    if own[: target.ndim - 1] == target.shape[1:]:
        wanted, scaled = task.to_model(target), task.to_model(point)
        raw = scaled.reshape(*target.shape, *(1 for _ in own[target.ndim - 1 :])).expand(len(seen), *own)
        with suppress(ModelError):
            found = task.checked_loss(raw, wanted).detach().double().cpu().numpy()
            loss = found if np.isfinite(found).all() else loss
    return Predictions(index=seen.index, prediction=point.numpy().copy(), target=seen.target, loss=loss)


def _unknown_targets(like: Subject) -> list[str]:
    """A caveat if some targets are unknown (NaN); otherwise empty."""
    parts = like.parts.values()
    unknown = sum(int((~part.known).sum()) for part in parts if part.known is not None)
    if not unknown:
        return []
    share = unknown / sum(part.target.size for part in parts)
    return [
        f"{share:.1%} of the samples' outputs are not known (NaN).  Errors and distances are means over the known "
        "ones, with equal weights."
    ]


def _without_final_layer(case: Case, models: Sequence[Participant], runtime: Runtime) -> str | None:
    """A sentence about the first model without a final linear layer; None if all have one."""
    for name, _, candidate in models:
        replica = runtime.set_up(runtime.private_copy(module_of(candidate))).eval()
        (batch,) = runtime.load(case.source("train_eval"), chunked(torch.from_numpy(case.requested.retain[:2]), 2))
        try:
            final_linear(replica, case.task, batch)
        except ModelError as error:
            return f"Model {name!r}: {error.found}."
    return None


def _rows_with_features(case: Case, split: Split, runtime: Runtime) -> Index:
    """Positions of the samples whose features are kept: all of a part, or `FEATURED` of them."""
    rng = np.random.default_rng(runtime.generator(f"features/{split}").initial_seed())
    parts = [np.flatnonzero(mask) for mask in (case.forget_like(split), case.retained(split))]
    return np.sort(np.concatenate([rng.choice(part, min(len(part), FEATURED), replace=False) for part in parts]))


def split_parts(case: Case, seen: Mapping[Split, Predictions]) -> Iterator[tuple[Part, Predictions]]:
    """Divide predictions into the retained and the forgotten kind of samples; empty parts are left out."""
    for split, predictions in seen.items():
        retain, forget = PARTS_OF[split]
        for part, mask in ((retain, case.retained(split)), (forget, case.forget_like(split))):
            if mask.any():
                yield part, predictions.at(np.flatnonzero(mask))
