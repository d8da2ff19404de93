"""Hourly series of one or several clients without gaps, and their standardisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unregress.data.request import Mask
from unregress.errors import DataError

Hours = NDArray[np.int64]
"""Hours since 1970-01-01 00:00."""
Values = NDArray[np.float64]
HOUR = np.timedelta64(1, "h")


def hour_of(time: str | np.datetime64[Any]) -> int:
    """A point in time as hours since 1970-01-01 00:00.

    >>> hour_of("1970-01-02 03:00")
    27
    """
    return int(np.asarray(time, "datetime64[h]").astype(np.int64))


def time_of(hour: int) -> str:
    """The inverse of `hour_of`, as text.

    >>> time_of(27)
    '1970-01-02 03:00'
    """
    return str(np.datetime64(int(hour), "h")).replace("T", " ") + ":00"


@dataclass(frozen=True, kw_only=True)
class Series:
    """Hourly values of several clients in flat arrays, one client after another, each without a gap.

    Build it with `of`.  A *step* is one hour of one client, a position in these arrays.
    """

    clients: tuple[str, ...]
    """Names."""
    client: NDArray[np.int16]
    """Index into `clients` of each step, `(steps,)`."""
    hour: Hours
    """Hour of each step, `(steps,)`."""
    value: Values
    """Value of each step in the data's own units, `(steps,)`."""

    @classmethod
    def of(cls, records: Mapping[str, tuple[int, Values]]) -> Series:
        """Build a series from the first hour and the values of each client.

        Raises:
            DataError: the series has no client, or a value (the first is named) is missing or infinite.
        """
        if not records:
            raise DataError("There is no series with any value", expected="at least one client")
        for name, (first, values) in records.items():
            if len(bad := np.flatnonzero(~np.isfinite(values))):
                raise DataError(
                    f"{name} has no finite value at {time_of(first + bad[0])}, the first of {len(bad)}",
                    expected="a number for every hour",
                    remedy="Repair the file, or leave the client out",
                )
        lengths = [len(values) for _, values in records.values()]
        return cls(
            clients=tuple(records),
            client=np.repeat(np.arange(len(records), dtype=np.int16), lengths),
            hour=np.concatenate([first + np.arange(len(values)) for first, values in records.values()]),
            value=np.concatenate([np.asarray(values, np.float64) for _, values in records.values()]),
        )

    def __len__(self) -> int:
        return len(self.value)

    @cached_property
    def age(self) -> NDArray[np.int64]:
        """Hours of the same client before each step, `(steps,)`."""
        starts = np.searchsorted(self.client, np.arange(len(self.clients)))
        return np.arange(len(self)) - starts[self.client]

    def between(self, start: int, end: int, *, at_least: int = 1) -> Series:
        """The hours from `start` (inclusive) to `end` (exclusive), of clients with `at_least` hours in this period."""
        records = {}
        for name, (first, values) in self.records().items():
            cut = slice(max(0, start - first), max(0, end - first))
            if len(values[cut]) >= at_least:
                records[name] = max(first, start), values[cut]
        return Series.of(records)

    def only(self, clients: Sequence[str]) -> Series:
        """Some of the clients."""
        return Series.of({name: record for name, record in self.records().items() if name in clients})

    def records(self) -> dict[str, tuple[int, Values]]:
        """First hour and values of each client: the inverse of `of`."""
        ends = np.searchsorted(self.client, np.arange(len(self.clients) + 1))
        return {
            name: (int(self.hour[start]), self.value[start:end])
            for name, start, end in zip(self.clients, ends[:-1], ends[1:], strict=True)
        }


@dataclass(frozen=True, kw_only=True)
class Scaler:
    """Mean and standard deviation of each client, to standardise values with."""

    mean: Values
    """`(clients,)`, in the data's own units."""
    deviation: Values
    """`(clients,)`; 1 where a client's values are all the same."""

    @classmethod
    def fit(cls, series: Series, steps: Mask) -> Scaler:
        """Compute each client's mean and standard deviation over the given steps.

        *Which steps?*  A scaler fitted on the whole training period would leak two statistics of forgotten values, per
        client, to every model, golds included.  And since a model's inputs must stay in the scale that it was trained
        in, original and golds cannot have different scales.  Hence two scalers.  The *units*, fitted on the whole
        training period, are used once, to state the request: "targets of at most −0.85" needs fixed numbers, and the
        request has to read the values that it names.  The *scale*, fitted on the training steps that are not forgotten,
        is used for all models: original, gold, helper and unlearned.  So no statistic of forgotten values reaches any
        weights through it.  The paper only says that the data are normalised before training: one scaler for both,
        which is `fit(series, whole training period)`.

        Args:
            series: the values.
            steps: the steps to use, `(steps,)` bool.

        Raises:
            DataError: a client has none of these steps.
        """
        number = len(series.clients)
        chosen, owner = series.value[steps], series.client[steps]
        count = np.bincount(owner, minlength=number)
        if not count.all():
            raise DataError(
                f"No hour of {series.clients[int(np.argmin(count > 0))]} is left to compute its scale from",
                expected="for each client at least one hour of training data that is retained",
                remedy="Leave the client out, or forget less",
            )
        mean = np.bincount(owner, chosen, number) / count
        # From deviations: squares of large values that are close together lose precision.
        deviation = np.sqrt(np.bincount(owner, (chosen - mean[owner]) ** 2, number) / count)
        # Rounding of the mean leaves constant values a tiny deviation.
        constant = deviation <= 1e-12 * np.abs(mean)
        return cls(mean=mean, deviation=np.where(constant, 1.0, deviation))

    def transform(self, series: Series) -> Values:
        """Standardise the series' values, `(steps,)`."""
        return (series.value - self.mean[series.client]) / self.deviation[series.client]
