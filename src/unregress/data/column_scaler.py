"""The shift and scale of a table's columns, which belong to the model that was trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unregress.errors import SettingError
from unregress.errors.user_code import described
from unregress.tasks.units import Scaler

FEATURES, TARGETS = "feature scaler", "target scaler"
"""Names in `Splits.fitted` of the scalers of a table."""


@dataclass(frozen=True, kw_only=True)
class ColumnScaler:
    """Mean and deviation of columns, by which they are standardised: a fitted `StandardScaler` as plain numbers.

    It transforms to the bit as scikit-learn's, and can be written to a run folder: the inputs of a model are then the
    same after rows of its table were deleted or added.

    >>> scaler = ColumnScaler(columns=("age",), mean=(40.0,), scale=(10.0,), records=100)
    >>> scaler.transform([[45.0]]).tolist(), scaler.inverse_transform([[0.5]]).tolist()
    ([[0.5]], [[45.0]])
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    """Deviation of each column, 1 for a constant one."""
    records: int
    """Number of records that it was fitted on."""

    @classmethod
    def fit(cls, columns: Sequence[str], values: NDArray[np.float64]) -> ColumnScaler:
        """Fit to the values of columns, `(n, columns)`."""
        from sklearn.preprocessing import StandardScaler  # takes a second, and only tables need it

        return cls._from(columns, StandardScaler().fit(values))

    @classmethod
    def of(cls, columns: Sequence[str], scaler: Any) -> ColumnScaler | None:
        """The numbers of scikit-learn's fitted `StandardScaler`; None of any other, or one that only shifts or scales.

        Args:
            columns: the names of its columns.
            scaler: the scaler.
        """
        if type(scaler).__name__ != "StandardScaler" or not (scaler.with_mean and scaler.with_std):
            return None
        return cls._from(columns, scaler)

    @classmethod
    def _from(cls, columns: Sequence[str], scaler: Any) -> ColumnScaler:
        mean, scale = (tuple(each.astype(np.float64).tolist()) for each in (scaler.mean_, scaler.scale_))
        return cls(columns=tuple(columns), mean=mean, scale=scale, records=int(np.max(scaler.n_samples_seen_)))

    @property
    def n_features_in_(self) -> int:
        """Number of columns, as scikit-learn names it."""
        return len(self.columns)

    @property
    def n_samples_seen_(self) -> int:
        """Number of records that it was fitted on, as scikit-learn names it."""
        return self.records

    def transform(self, values: ArrayLike, /) -> NDArray[np.float64]:
        """From the table's units to the model's; `(n, columns)`."""
        found: NDArray[np.float64] = (np.asarray(values, dtype=np.float64) - self.mean) / self.scale
        return found

    def inverse_transform(self, values: ArrayLike, /) -> NDArray[np.float64]:
        """The inverse of `transform`."""
        found: NDArray[np.float64] = np.asarray(values, dtype=np.float64) * self.scale + self.mean
        return found


def scaler_for(
    columns: Sequence[str], wanted: bool | Scaler, values: NDArray[np.float64], setting: str
) -> Scaler | None:
    """The scaler of columns: a given one, or one that is fitted; None where they stay as they are.

    Args:
        columns: the columns' names.
        wanted: whether they are scaled, or the fitted scaler.
        values: what to fit to, `(n, columns)`.
        setting: what messages call `wanted`.

    Raises:
        SettingError: `wanted` is no fitted scaler, or one of other columns.
    """
    if isinstance(wanted, bool | np.bool_):
        return ColumnScaler.fit(columns, values) if wanted else None
    if not (callable(getattr(wanted, "transform", None)) and callable(getattr(wanted, "inverse_transform", None))):
        raise SettingError(
            f"`{setting}` is a {type(wanted).__name__}",
            expected="true, false, or a fitted scaler with `transform` and `inverse_transform`",
        )
    if isinstance(wanted, ColumnScaler) and wanted.columns != tuple(columns):
        raise SettingError(
            f"The scaler of the columns {', '.join(wanted.columns)} is to scale {', '.join(columns)}",
            expected="the columns that the model was trained on, in the same order",
            remedy="Name these columns, or leave out the model whose scaler it is",
        )
    if (width := getattr(wanted, "n_features_in_", len(columns))) != len(columns):
        raise SettingError(
            f"The scaler of `{setting}` was fitted on {width} columns, and is to scale {len(columns)}",
            expected="the scaler that the model was trained with",
        )
    try:
        wanted.transform(values[:1])
    except Exception as error:
        raise SettingError(
            f"The scaler of `{setting}` does not scale these columns: {described(error)}",
            expected="a fitted scaler, the one that the model was trained with",
        ) from error
    return ColumnScaler.of(columns, wanted) or wanted
