"""What stands in every audit for scale: a predictor that knows nothing of any sample."""

from __future__ import annotations

from contextlib import suppress
from math import prod

import numpy as np
import torch

from unregress.data.case import Case
from unregress.data.loading import chunked
from unregress.errors import ModelError
from unregress.evidence import CONSTANT
from unregress.evidence.nan_means import LARGE, mean, median
from unregress.metrics.base import Subject
from unregress.metrics.predictions import Predictions, Values
from unregress.training.runtime import Runtime


def constant(case: Case, like: Subject, runtime: Runtime) -> Subject:
    """The median of the retained targets, whatever is asked; every output by its own, every quantile level alike.

    Its loss is the task's, and the absolute error where the task has none for outputs that are all alike, as with
    constraints between them.  Of an even number of targets the lower one of the middle two is taken, and 0 for an
    output that is not known of any retained sample.

    Args:
        case: whose task.
        like: an audited model, whose retained targets count, of whose parts the constant speaks too, and of whose
            outputs it has the form.
        runtime: where that model runs.
    """
    middle = torch.from_numpy(like.parts["train-retain"].target).nanmedian(dim=0).values.nan_to_num()
    form = _form(case, like, runtime)
    parts = {name: _answer(case, seen, middle, form) for name, seen in like.parts.items()}
    return Subject(name=CONSTANT, role="reference", model=None, parts=parts)


def spreads(like: Subject) -> Values:
    """How far retained targets are from their median on average, which is a constant's error; one for each output.

    Outputs of several kinds, such as kilograms and metres, can only be averaged in units of their own.  A single output
    needs no other unit than its own, nor do outputs whose targets are all the same, or not known: 1.

    Args:
        like: any audited model; its retained targets are read.
    """
    seen = like.parts["train-retain"]
    if prod(seen.target.shape[1:]) == 1:
        return np.ones(seen.target.shape[1:])
    with np.errstate(over="ignore"):
        spread = np.asarray(mean(np.abs(seen.target - median(seen.target)), axis=0))
    # What is smaller or larger can only come of rounding, and nothing could be divided by it.
    return np.where((spread > 1 / LARGE) & (spread < LARGE), spread, 1.0)


def _form(case: Case, like: Subject, runtime: Runtime) -> torch.Size | None:
    """The shape of a raw prediction for one sample, which may have more axes than its target: quantile levels."""
    if like.model is None:
        return None
    model = runtime.set_up(runtime.private_copy(like.model)).eval()
    (batch,) = runtime.load(case.source("train_eval"), chunked(torch.from_numpy(case.requested.retain[:2]), 2))
    with torch.no_grad():
        raw: torch.Tensor = case.task.predict(model, batch.data)
    return raw.shape[1:]


def _answer(case: Case, seen: Predictions, middle: torch.Tensor, form: torch.Size | None) -> Predictions:
    target = torch.from_numpy(seen.target)
    point = middle.expand(target.shape)
    own = target.shape[1:] if form is None else form
    with np.errstate(over="ignore"):
        loss = np.asarray(mean(np.abs(seen.target - point.numpy()).reshape(len(seen), -1), axis=1))
    # Outputs that continue the target's axes are filled alike.  Others, or a loss that is no number there, such as the
    # logarithm of a variance that is negative, have no constant: what is left is the error.
    if own[: target.ndim - 1] == target.shape[1:]:
        raw = point.reshape(*target.shape, *(1 for _ in own[target.ndim - 1 :])).expand(len(seen), *own)
        with suppress(ModelError):
            found = case.task.checked_loss(raw, target).detach().double().cpu().numpy()
            loss = found if np.isfinite(found).all() else loss
    return Predictions(index=seen.index, prediction=point.numpy().copy(), target=seen.target, loss=loss)
