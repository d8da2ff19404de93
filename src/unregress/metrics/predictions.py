"""Immutable predictions of one model; the input of metrics."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unregress.data.request import Index, Mask
from unregress.errors import DataError, ModelError
from unregress.metrics.spill import empty, take

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """One model's predictions for some samples of one split; on the CPU, sorted by index.

    With several outputs, some of a sample's targets may be unknown (NaN), but not all of them.

    Raises:
        DataError: the arrays' lengths differ, the index is not strictly ascending, or a target
            is infinite or wholly unknown.
        ModelError: a prediction or loss is not finite.
    """

    index: Index
    """Positions in the dataset, `(n,)`, ascending."""
    prediction: Values
    """Point predictions in target units, `(n, *out)`."""
    target: Values
    """True targets, `(n, *out)`; NaN where one of several outputs is not known."""
    loss: Values
    """The task's loss per sample, `(n,)`."""
    featured: Index = field(default_factory=lambda: np.zeros(0, np.int64))
    """Positions of the samples whose features were kept, `(k,)`, ascending: all of `index`, some of it, or none."""
    activation: NDArray[np.float32] | None = None
    """Input of the final linear layer, `(k, features)`, if it was collected."""
    gradient: NDArray[np.float32] | None = None
    """Gradient of the sample's loss by the final linear layer's weight and bias, `(k, parameters)`."""

    def __post_init__(self) -> None:
        lengths = {len(values) for values in (self.index, self.prediction, self.target, self.loss)}
        kept = {len(values) for values in (self.activation, self.gradient) if values is not None}
        if len(lengths) != 1 or self.prediction.shape != self.target.shape or kept - {len(self.featured)}:
            raise DataError(
                f"Predictions {self.prediction.shape}, targets {self.target.shape}, losses "
                f"{self.loss.shape}, index {self.index.shape} and the features of {len(self.featured)} samples do not "
                "belong together"
            )
        if len(self.index) > 1 and not np.all(np.diff(self.index) > 0):
            raise DataError("The index of predictions is not ascending, or repeats a sample")
        for name, values, error in (
            ("target", self.target, DataError),
            ("prediction", self.prediction, ModelError),
            ("loss", self.loss, ModelError),
        ):
            finite = np.isfinite(values).all(axis=_outputs(values))
            if name == "target" and not finite.all():
                finite = _partly_known(values)
            if not finite.all():
                raise error(
                    f"The {name} of {np.sum(~finite)} samples is NaN or infinite, "
                    f"the first at position {self.index[~finite][0]}",
                    expected="finite numbers",
                    remedy=self._remedy(name),
                )

    def __len__(self) -> int:
        return len(self.index)

    def _remedy(self, name: str) -> str:
        if name != "loss":
            return "Check the data with `unregress.preflight`, and the model's weights"
        if self.known is not None and np.isnan(self.loss).any():
            return "Leave unknown outputs (NaN in the target) out of the loss, as the named losses do"
        return "Predictions and targets are finite: rescale the targets so that the loss does not overflow"

    @cached_property
    def known(self) -> Mask | None:
        """Mask of the known targets, `(n, *out)`; None if all are known."""
        unknown = np.isnan(self.target)
        return ~unknown if unknown.any() else None

    def over_known(self, values: Values) -> Values:
        """The entries of `values`, `(n, *out)`, whose target is known, in one axis."""
        return values.ravel() if self.known is None else values[self.known]

    @property
    def comparable(self) -> Values:
        """Predictions where the target is known, NaN elsewhere; `(n, *out)`."""
        return self.prediction if self.known is None else np.where(self.known, self.prediction, np.nan)

    def at(self, index: NDArray[Any]) -> Predictions:
        """Select the predictions for some of the samples by index.

        Args:
            index: ascending positions in the dataset.

        Raises:
            DataError: a position was not predicted.
        """
        found, predicted = _places(self.index, index)
        if not predicted.all():
            raise DataError(
                "Some of the samples asked for were not predicted",
                remedy="Collect predictions for the same samples from every model",
            )
        kept = np.flatnonzero(_places(index, self.featured)[1])
        return replace(
            self,
            index=take(self.index, found),
            prediction=take(self.prediction, found),
            target=take(self.target, found),
            loss=take(self.loss, found),
            featured=take(self.featured, kept),
            activation=None if self.activation is None else take(self.activation, kept),
            gradient=None if self.gradient is None else take(self.gradient, kept),
        )

    def in_units(self, units: Values) -> Predictions:
        """Divide predictions and targets by a unit for each output, `(*out)`; losses stay as they are."""
        prediction, target = (
            np.divide(values, units, out=empty(values.shape, np.float64)) for values in (self.prediction, self.target)
        )
        return replace(self, prediction=prediction, target=target)

    def with_features(self) -> Predictions:
        """Select the samples whose features were kept."""
        return self.at(self.featured)


def _places(ascending: NDArray[Any], wanted: NDArray[Any]) -> tuple[Index, Mask]:
    """Where each wanted position is among ascending ones, and whether it is there at all."""
    if not len(ascending):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    if ascending[-1] - ascending[0] == len(ascending) - 1:  # consecutive: nothing to search for
        places = wanted - ascending[0]
        return places, np.asarray((places >= 0) & (places < len(ascending)), np.bool_)
    places = np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)
    return places, np.asarray(ascending[places] == wanted, np.bool_)


def _outputs(values: NDArray[Any]) -> tuple[int, ...]:
    return tuple(range(1, values.ndim))


def _partly_known(target: Values) -> Mask:
    """Mask of the samples with a usable target: finite for at least one of several outputs, and NaN for the others."""
    known = np.isfinite(target)
    several = prod(target.shape[1:]) > 1
    fine = (known | np.isnan(target)).all(axis=_outputs(target)) & known.any(axis=_outputs(target))
    return np.asarray(fine if several else known.all(axis=_outputs(target)), dtype=np.bool_)


def require_aligned(first: Predictions, second: Predictions) -> None:
    """Refuse to compare predictions about different samples.

    Raises:
        DataError: the indices differ.
    """
    if not np.array_equal(first.index, second.index):
        raise DataError(
            f"Two models' predictions are about different samples ({len(first)} and {len(second)})",
            expected="the same index on both sides",
            remedy="Join them with `Predictions.at` first",
        )
