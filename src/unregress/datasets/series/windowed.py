"""Cut a series into windows and into training, validation and test data; forget some of its hours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch

from unregress.data.case import Case
from unregress.data.request import ForgetRequest, Index, Mask
from unregress.data.splits import Splits
from unregress.datasets.series.series import Scaler, Series, Values, time_of
from unregress.datasets.series.windows import WindowIds, Windows, collate
from unregress.errors import DataError, RequestError, SettingError, require
from unregress.tasks.base import Task

Part = Literal["train", "validation", "test"]
Mode = Literal["label", "purge"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
YEAR = 365.25 * 24
"""Hours; the unit in which models are told the time."""


@dataclass(frozen=True, kw_only=True)
class Boundaries:
    """The hours (since 1970-01-01 00:00) at which the parts of a series begin, and the last one ends.

    Raises:
        SettingError: they are not ascending.
    """

    train: int
    validation: int
    test: int
    end: int

    def __post_init__(self) -> None:
        if not self.train < self.validation < self.test < self.end:
            told = ", ".join(time_of(hour) for hour in (self.train, self.validation, self.test, self.end))
            raise SettingError(f"The parts begin and end at {told}", expected="four points in time, ascending")


@dataclass(frozen=True, kw_only=True)
class WindowedSeries:
    """A series cut into windows: which there are, to which part each belongs, and which are to be forgotten.

    A window belongs to the part in which all the hours lie that it forecasts.  Its encoder may look back into the part
    before, as in the published preprocessing of the electricity data (Lim et al., 2021), but not to before
    the training period: held-out windows read values that were trained on, and never forecast one.

    *Forgetting.*  A step of a series is read by many windows, and forecast by few.  Mode `label`, as published:
    forgotten are the windows that forecast a forgotten step.  The gold then never meets such a value as a
    target, but does as an input, up to `encoder` times, in retained windows.  Mode `purge`: forgotten is every
    window that touches a forgotten step at all, encoder included, as an erasure of the values themselves would want.
    It is meant for stretches of time and for few steps: with scattered ones, such as a quartile, and a week of
    encoder, hardly any window is left, and it refuses.

    Raises:
        SettingError: a number is out of range; all of them at once.
        DataError: the series stops before the end of the test period, or has no training window.
    """

    series: Series
    boundaries: Boundaries
    encoder: int = 168
    """Hours that a forecast looks back; as published: a week."""
    horizon: int = 1
    """Hours that are forecast; as published (Section 6.3): 1."""
    stride: int = 1
    """Take every so many-th hour of the training period, for runs on few cores.  A number that has no divisor in
    common with 24 and 7, such as 5, still meets every hour of the week; all held-out windows are kept."""

    def __post_init__(self) -> None:
        sizes = {"encoder": self.encoder, "horizon": self.horizon, "stride": self.stride}
        require((f"{name} is {size}", size >= 1, "1 or more") for name, size in sizes.items())
        if (last := int(self.series.hour.max())) + 1 < self.boundaries.end:
            # A copy that was cut off would give a shorter test period, or none.
            raise DataError(
                f"The last hour of the series is {time_of(last)}",
                expected=f"hours up to {time_of(self.boundaries.end - 1)}, where the test period ends",
                remedy="The file seems truncated: fetch it again, or end the test period earlier",
            )
        if not len(self.places("train")):
            raise DataError(
                f"No window of {self.encoder} + {self.horizon} hours lies between {time_of(self.boundaries.train)} and "
                f"{time_of(self.boundaries.validation)}",
                expected="a training period in which the series has more hours than that",
                remedy="Change the boundaries, or look back less",
            )

    @property
    def variables(self) -> Mapping[str, Any]:
        """The windows' variables, as `unregress.models.tft` wants them; see `Windows`."""
        return {
            "static": {"client": len(self.series.clients)},
            "known": {"hour": 24, "weekday": 7},
            "reals": ("time",),
            "target": "value",
            "encoder": self.encoder,
        }

    def _during(self, start: int, end: int) -> Mask:
        hour = self.series.hour
        inside: Mask = (hour >= start) & (hour < end)
        return inside

    @cached_property
    def training(self) -> Mask:
        """The steps of the training period, first week included, `(steps,)`."""
        return self._during(self.boundaries.train, self.boundaries.validation)

    @cached_property
    def units(self) -> Scaler:
        """The scale of the whole training period, in which a request states its limits; see `Scaler.fit`."""
        return Scaler.fit(self.series, self.training)

    def places(self, part: Part) -> Index:
        """The step that each window of a part forecasts first, ascending."""
        limits = self.boundaries
        start = getattr(limits, part)
        end = {"train": limits.validation, "validation": limits.test, "test": limits.end}[part]
        hour, age = self.series.hour, self.series.age
        # As old as its encoder is long, counted from the training period on, and as far from its client's end.
        old = np.minimum(age, hour - limits.train) >= self.encoder
        last = np.append(age[1:] == 0, True)
        left = np.flatnonzero(last)[self.series.client] - np.arange(len(age))
        chosen = old & (left >= self.horizon - 1) & self._during(start, end - self.horizon + 1)
        if part == "train":
            chosen &= (hour - limits.train) % self.stride == 0
        return np.flatnonzero(chosen)

    def targets(self, part: Part, scale: Scaler | None = None) -> Values:
        """The targets of a part's windows, `(n,)` or, for a longer horizon, `(n, horizon)`; by default in `units`."""
        values = (scale or self.units).transform(self.series)
        found: Values = values[self.places(part)[:, None] + np.arange(self.horizon)]
        return found[:, 0] if self.horizon == 1 else found

    def band(self, low: float | None = None, high: float | None = None) -> Mask:
        """The steps, of all parts, whose value lies in the closed interval [low, high] of `units`; `(steps,)`."""
        values = self.units.transform(self.series)
        inside: Mask = (values >= (-np.inf if low is None else low)) & (values <= (np.inf if high is None else high))
        return inside

    def touched(self, part: Part, steps: Mask, mode: Mode = "label") -> Mask:
        """Which windows of a part forecast one of these steps, or (`purge`) touch it anywhere; `(n,)`."""
        if mode not in ("label", "purge"):
            raise SettingError(f"The mode is {mode!r}", expected="label or purge")
        so_far = np.concatenate([[0], np.cumsum(steps)])
        places = self.places(part)
        found: Mask = so_far[places + self.horizon] > so_far[places - (self.encoder if mode == "purge" else 0)]
        return found

    def splits(self, forgotten: Mask | None = None) -> Splits:
        """The parts as data for a case, in the scale of the training steps that are not to be forgotten.

        Args:
            forgotten: the steps to forget, `(steps,)`; None scales by the whole training period.
        """
        kept = self.training if forgotten is None else self.training & ~forgotten
        values = Scaler.fit(self.series, kept).transform(self.series)
        hour = self.series.hour
        # 1970-01-01 was a Thursday.
        cat = np.stack([self.series.client, hour % 24, (hour // 24 + 3) % 7], axis=1).astype(np.int16)
        cont = np.stack([(hour - self.boundaries.validation) / YEAR, values], axis=1).astype(np.float32)
        tables = torch.from_numpy(cat), torch.from_numpy(cont), torch.from_numpy(hour)
        parts = {
            part: Windows(*tables, places, self.encoder, self.horizon)
            for part in PARTS
            if len(places := self.places(part))
        }
        return Splits(
            train=parts["train"],
            validation=parts.get("validation"),
            test=parts.get("test"),
            collate=collate,
            ids=WindowIds(self.series, self.places("train")),
        )

    def case(self, task: Task[Any], forgotten: Mask, *, reason: str, mode: Mode = "label", most: float = 0.9) -> Case:
        """A request to forget some steps, with the data scaled by the others.

        Held-out windows that forecast such a step are the ones alike.

        Args:
            task: as from `ForecastingTask`.
            forgotten: the steps, `(steps,)`, as from `band`; of held-out parts they only say what is alike.
            reason: why.
            mode: `label` or `purge`.
            most: largest share of the training windows that may go.

        Raises:
            RequestError: no window is to be forgotten, or more than `most` of them.
        """
        forget = self.touched("train", forgotten, mode)
        if (share := float(forget.mean())) > most:
            raise RequestError(
                f"In mode {mode!r} the request takes {forget.sum()} of {len(forget)} training windows ({share:.1%}), "
                f"for {np.sum(forgotten & self.training)} steps",
                expected=f"at most {most:.0%}",
                remedy="Purge stretches of time or few steps, shorten the encoder, or forget by `label`"
                if mode == "purge"
                else "Forget less",
            )
        request = ForgetRequest.where(forget, reason=reason)
        splits = self.splits(forgotten)
        alike = {part: np.flatnonzero(self.touched(part, forgotten)).tolist() for part in PARTS[1:]}
        return Case(
            task=task,
            splits=splits,
            request=request,
            validation_forget_like=None if splits.validation is None else alike["validation"],
            test_forget_like=None if splits.test is None else alike["test"],
        )
