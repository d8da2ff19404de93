"""Cut a series into windows for training, validation and test, and request the forgetting of some hours."""

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
"""Hours in a year, the unit of the models' time input."""


@dataclass(frozen=True, kw_only=True)
class Boundaries:
    """The hours (since 1970-01-01 00:00) at which training, validation and test periods begin, and the last ends.

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
    """A series cut into windows, each assigned to training, validation or test.

    A window belongs to the part that contains all hours it forecasts.  Its encoder may reach back into the part before,
    as in the published preprocessing of the electricity data (Lim et al., 2021), but not to before the training
    period: held-out windows read values that were trained on, and never forecast one.

    *Forgetting.*  A step of a series is an input of many windows, and a target of few.  Mode `label`, as published,
    forgets the windows that forecast a forgotten step; golds then never see such a value as a target, but up to
    `encoder` times as an input of retained windows.  Mode `purge` forgets every window that contains a forgotten step,
    encoder included, as an erasure of the values themselves requires.  It is meant for stretches of time and for few
    steps: with scattered steps, such as a quartile, and an encoder of a week hardly any window is left, and the
    request is refused.

    Raises:
        SettingError: a number is out of range; all of them together.
        DataError: the series stops before the end of the test period, or has no training window.
    """

    series: Series
    boundaries: Boundaries
    encoder: int = 168
    """Length of the encoder in hours; as published: a week."""
    horizon: int = 1
    """Hours that are forecast; as published (Section 6.3): 1."""
    stride: int = 1
    """Distance in hours of successive training windows, to reduce the work.  A number without a common divisor with
    24 and 7, such as 5, still covers every hour of the week; all held-out windows are kept."""

    def __post_init__(self) -> None:
        sizes = {"encoder": self.encoder, "horizon": self.horizon, "stride": self.stride}
        require((f"{name} is {size}", size >= 1, "1 or more") for name, size in sizes.items())
        if (last := int(self.series.hour.max())) + 1 < self.boundaries.end:
            # A truncated file would silently shorten the test period.
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
        """The windows' variables, as arguments of `unregress.models.tft`; see `Windows`."""
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
        """Mask of the steps in the training period, first week included, `(steps,)`."""
        return self._during(self.boundaries.train, self.boundaries.validation)

    @cached_property
    def units(self) -> Scaler:
        """The scaler of the whole training period, in whose units a request states its limits; see `Scaler.fit`."""
        return Scaler.fit(self.series, self.training)

    def places(self, part: Part) -> Index:
        """The first forecast step of each window of a part, ascending."""
        limits = self.boundaries
        start = getattr(limits, part)
        end = {"train": limits.validation, "validation": limits.test, "test": limits.end}[part]
        hour, age = self.series.hour, self.series.age
        # Enough hours before the step for the encoder, within the training period, and after it for the horizon.
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
        """Mask of a part's windows that forecast one of these steps, or (`purge`) contain one at all; `(n,)`."""
        if mode not in ("label", "purge"):
            raise SettingError(f"The mode is {mode!r}", expected="label or purge")
        so_far = np.concatenate([[0], np.cumsum(steps)])
        places = self.places(part)
        found: Mask = so_far[places + self.horizon] > so_far[places - (self.encoder if mode == "purge" else 0)]
        return found

    def columns(self, part: Part) -> dict[str, Any]:
        """Client, first and last hour of each window of a part, by which a request can name windows.

        Returns:
            `client`, `first` (the first hour that is looked back at) and `last` (the last one that is forecast), times
            as NumPy's `datetime64`; `(n,)` each.
        """
        places, hour = self.places(part), self.series.hour
        return {
            "client": np.array(self.series.clients)[self.series.client[places]],
            "first": (hour[places] - self.encoder).astype("datetime64[h]"),
            "last": (hour[places] + self.horizon - 1).astype("datetime64[h]"),
        }

    def splits(self, forgotten: Mask | None = None) -> Splits:
        """The three parts, scaled by the training steps that are not to be forgotten, with ids and `columns`.

        Args:
            forgotten: mask of the steps to forget, `(steps,)`; None scales by the whole training period.
        """
        kept = self.training if forgotten is None else self.training & ~forgotten
        scaler = Scaler.fit(self.series, kept)
        values, hour = scaler.transform(self.series), self.series.hour
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
            columns=self.columns("train"),
            validation_columns=self.columns("validation"),
            test_columns=self.columns("test"),
            # A scale that reads no forgotten step holds no trace of one.
            fitted={"each client's mean and deviation": scaler} if forgotten is None else {},
        )

    def case(self, task: Task[Any], forgotten: Mask, *, reason: str, mode: Mode = "label", most: float = 0.9) -> Case:
        """A case with a request to forget some steps, and data scaled by the other steps.

        Held-out windows that forecast such a step are forget-like.

        Args:
            task: a `ForecastingTask`.
            forgotten: mask of the steps, `(steps,)`, as from `band`; those of held-out parts mark forget-like windows.
            reason: the request's reason.
            mode: `label` or `purge`.
            most: largest share of the training windows that may be forgotten.

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
        forget_like = {part: np.flatnonzero(self.touched(part, forgotten)).tolist() for part in PARTS[1:]}
        return Case(
            task=task,
            splits=splits,
            request=request,
            validation_forget_like=None if splits.validation is None else forget_like["validation"],
            test_forget_like=None if splits.test is None else forget_like["test"],
        )
