"""Bands of targets: closed intervals, and which targets lie in them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from unregress.errors import RequestError, raise_all
from unregress.tasks.base import Task

Band = tuple[float | None, float | None]
"""Lowest and highest target, both included; None for no limit."""
BY_COLUMN = (
    "For one of several outputs state limits of its column instead: `where={'kg': {'min': 80}}`, on the command line "
    "--request.where '{kg: {min: 80}}'; or in Python choose the samples yourself, with `ForgetRequest.where`"
)
"""The remedy where a band is asked for of samples with several targets."""


class TargetsInUnits(NamedTuple):
    """Targets in the user's units, and how exact they are."""

    values: NDArray[Any]
    rounding: NDArray[np.float64] | None
    """How far each may be from the target that the user had, as the model's are rounded; None where they are not
    converted, and so the user's own."""


def in_units(targets: Tensor, task: Task[Any]) -> TargetsInUnits:
    """Convert targets to the user's units (`Task.to_units`), and find out how exact they are.

    The target 55 that was scaled, stored in single precision and scaled back is 54.9999998.  How far it may be off
    depends on the conversion: of a target near 0 that was scaled around 1000 few digits are left.

    Args:
        targets: targets as the model is trained on them, `(n, *out)`, on the CPU.
        task: converts them.
    """
    units = task.to_units(targets)
    if units is targets or not targets.is_floating_point():
        return TargetsInUnits(units.numpy(), None)
    step = torch.finfo(targets.dtype).eps
    # In double precision, so that the conversion itself does not round.
    exact = targets.double()
    values, *near = (task.to_units(exact * factor).double().numpy() for factor in (1.0, 1 - step, 1 + step))
    with np.errstate(invalid="ignore"):  # infinity, which is complained about elsewhere
        off = np.max([np.abs(each - values) for each in near], axis=0)
    # Who scales in single precision rounds the table's number, the scaler's, and their product.
    off += 2 * step * np.abs(values)
    return TargetsInUnits(values, np.where(np.isfinite(off), off, 0.0))


def in_band(
    targets: ArrayLike, low: float | None, high: float | None, rounding: ArrayLike | None = None
) -> NDArray[np.bool_]:
    """True for each target in the closed interval [low, high], `(n,)`.

    Args:
        targets: the targets, `(n,)` or `(n, 1)`.
        low: lower limit; None for none.
        high: upper limit; None for none.
        rounding: how far each target may be off: one so near to a limit lies in the interval.

    Raises:
        RequestError: a sample has several targets.
    """
    values = one_per_sample(targets)
    least, most = -np.inf if low is None else low, np.inf if high is None else high
    if rounding is not None:
        off = one_per_sample(rounding)
        return np.asarray((values + off >= least) & (values - off <= most), dtype=np.bool_)
    # Compared in the targets' own precision: as float64, the float32 target 2.2 would be above the limit 2.2.
    own = values.dtype.type
    return np.asarray((values >= own(least)) & (values <= own(most)), dtype=np.bool_)


def chosen(
    targets: ArrayLike, low: float | None, high: float | None, rounding: ArrayLike | None = None
) -> NDArray[np.bool_]:
    """As `in_band`, for training targets, each of which has to be known.

    Raises:
        RequestError: a target is NaN, none lies in the band, or a sample has several.
    """
    values = one_per_sample(targets)
    if unknown := int(np.isnan(values).sum()):
        raise RequestError(
            f"Targets that are NaN: {unknown} of {len(values)}",
            expected="a number for each sample, which lies in the band or does not",
            remedy="Repair or drop these samples: one that should be forgotten would be retained",
        )
    found = in_band(values, low, high, rounding)
    if len(values) and not found.any():
        raise RequestError(
            f"No target lies in the band from {low} to {high}",
            expected=f"a band that meets the targets' range, {np.nanmin(values):g} to {np.nanmax(values):g}",
        )
    return found


def one_per_sample(targets: ArrayLike) -> NDArray[Any]:
    """Convert targets of shape `(n,)` or `(n, 1)` to floating-point numbers of shape `(n,)`.

    Raises:
        RequestError: a sample has several targets.
    """
    values = np.asarray(targets)
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise RequestError(
            f"The targets have shape {values.shape}",
            expected="one target per sample for a band",
            remedy=BY_COLUMN,
        )
    return values


def as_band(band: object) -> Band:
    """A band as a user gave it: a pair of limits.

    Raises:
        RequestError: it is no pair, or its limits make no sense.
    """
    if isinstance(band, str | bytes) or not isinstance(band, Sequence | np.ndarray) or len(band) != 2:
        raise RequestError(
            f"`band` is {band!r}",
            expected="the lowest and the highest target, both included",
            remedy="For a single limit give None as the other: `band=(60, None)`",
        )
    return limits(*band)


def limits(low: object, high: object) -> Band:
    """The limits of a band as numbers.

    Raises:
        RequestError: see `about_limits`.
    """
    raise_all(list(about_limits(low, high)))
    found = [None if limit is None else float(limit) for limit in (low, high)]  # type: ignore[arg-type]
    return found[0], found[1]


def about_limits(low: object, high: object) -> Iterator[RequestError]:
    """Complain about limits of a band that are no numbers, both None, or the wrong way round."""
    if low is None and high is None:
        yield RequestError("The band has no limits", remedy="Give a lower or an upper one, or both")
    numbers: list[float] = []
    for name, limit in (("lower", low), ("upper", high)):
        if limit is None:
            continue
        try:
            # Text is no number, though `float` would read it.
            numbers.append(math.nan if isinstance(limit, str | bytes) else float(limit))  # type: ignore[arg-type]
        except (TypeError, ValueError):
            numbers.append(math.nan)
        if math.isnan(numbers[-1]):
            yield RequestError(f"The band's {name} limit is {limit!r}", expected="a number, or None for no limit")
    if len(numbers) == 2 and numbers[0] > numbers[1]:
        yield RequestError(
            f"The band's lower limit {low} is above its upper limit {high}", remedy="Give the lower limit first"
        )
