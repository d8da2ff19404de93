"""Validate metrics' results, so that a user's own metric cannot add anything to a report that it could not show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, NoReturn

import numpy as np
import torch

from unregress.errors import SettingError, UnregressError
from unregress.errors.user_code import described
from unregress.evidence import PARTS, Curve, Figure, Measurement
from unregress.metrics.base import Metric, MetricResult, Panel


def validated_results(metric: Metric, panel: Panel) -> Iterator[MetricResult]:
    """Yield a metric's validated results, with numbers of NumPy and torch converted to Python's.

    Raises:
        SettingError: a result cannot be shown in a report, or the metric, one of the user's own, raised an error; the
            message names the metric and the field.
    """
    check = _Check(type(metric).__name__, tuple(about.metric for about in metric.about), panel)
    seen: set[tuple[str, str, str]] = set()
    for result in _raw_results(metric, panel):
        if isinstance(result, Figure):
            yield check.figure(result)
            continue
        measure = check.measure(result)
        key = measure.metric, measure.split, measure.model
        if key in seen:
            check.refuse(f"measures {key[0]!r} on {key[1]!r} of model {key[2]!r} twice", "each measure once")
        seen.add(key)
        yield measure


def _raw_results(metric: Metric, panel: Panel) -> Iterator[Any]:
    try:
        found: object = metric.measure(panel)
        yield from found if isinstance(found, Iterable) else (found,)
    except UnregressError:
        raise
    except Exception as error:
        # An error in a metric of this library is a bug, and not the user's fault.
        if type(metric).__module__.partition(".")[0] == "unregress":
            raise
        raise SettingError(
            f"`{type(metric).__name__}.measure` raised {described(error)}",
            expected="a metric that measures every model, or yields `Measurement(..., value=None, note=...)`",
            remedy="Correct the metric; models that were trained are kept if there is a store",
        ) from error


@dataclass(frozen=True)
class _Check:
    name: str
    """The metric's class."""
    known: tuple[str, ...]
    """Keys of the measurements that its `about` explains."""
    panel: Panel

    def refuse(self, found: str, expected: str, remedy: str = "") -> NoReturn:
        raise SettingError(f"`{self.name}.measure` {found}", expected=expected, remedy=remedy)

    def measure(self, result: object) -> Measurement:
        """Validate a measurement."""
        if not isinstance(result, Measurement):
            self.refuse(
                f"yields something of type {type(result).__name__}",
                "`Measurement`s and `Figure`s of `unregress.evidence`, one by one",
                "Use `yield Measurement(...)`",
            )
        if result.metric not in self.known:
            self.refuse(
                f"measures {result.metric!r}, which `{self.name}.about` does not explain",
                f"one of {', '.join(map(repr, self.known)) or 'nothing, since `about` is empty'}",
                f"Add a `MetricInfo` with metric={result.metric!r}, or correct the measure's key",
            )
        what = f"Measure {result.metric!r}"
        self._texts(result, what, "split", "model", "note")
        self._of_a_model(result.model, what)
        self._split(result.split, what)
        if result.bound not in ("=", "<=", ">="):
            self.refuse(f"gives {what} the bound {result.bound!r}", "'=', '<=' or '>='")
        number = self._numbers(what)
        missing = "For a number that does not exist, give `value=None` and say in `note` why"
        value = None if result.value is None else number("value", result.value, missing)
        p = None if result.p is None else number("p", result.p, "")
        if p is not None and not 0 <= p <= 1:
            self.refuse(f"gives {what} p={p}", "a probability, from 0 to 1")
        interval: Any = result.interval
        if interval is not None:
            if not isinstance(interval, (tuple, list)) or len(interval) != 2:
                self.refuse(f"gives {what} interval={interval!r}", "None, or its two ends")
            low, high = (number("interval", end, "") for end in interval)
            if low > high:
                self.refuse(f"gives {what} interval={(low, high)}", "the lower end first")
            interval = low, high
        return replace(result, value=value, p=p, interval=interval)

    def figure(self, result: Figure) -> Figure:
        """Validate a figure."""
        what = f"Figure {result.key!r}"
        self._texts(result, what, "key", "title", "caption", "x_label", "y_label")
        curves: Any = result.curves
        if not isinstance(curves, (tuple, list)) or not all(isinstance(each, Curve) for each in curves):
            self.refuse(f"gives {what} curves that are not `Curve`s", "a tuple of `unregress.evidence.Curve`")
        number = self._numbers(what)
        threshold = None if result.threshold is None else number("threshold", result.threshold, "")
        return replace(result, threshold=threshold, curves=tuple(self._curve(each, what) for each in result.curves))

    def _curve(self, curve: Curve, what: str) -> Curve:
        self._of_a_model(curve.model, what)
        number = self._numbers(f"{what}, model {curve.model!r},")
        for name, values in (("x", curve.x), ("y", curve.y)):
            if not isinstance(values, Iterable):
                self.refuse(f"gives {what} {name}={values!r}", "numbers, one for each point")
        x = tuple(number("x", each, "Leave out points that do not exist") for each in curve.x)
        y = tuple(number("y", each, "Leave out points that do not exist") for each in curve.y)
        if len(x) != len(y):
            self.refuse(f"gives {what} a curve of {len(x)} x and {len(y)} y", "equally many of both")
        return replace(curve, x=x, y=y)

    def _texts(self, result: MetricResult, what: str, *names: str) -> None:
        for name in names:
            if not isinstance(text := getattr(result, name), str):
                self.refuse(f"gives {what} {name}={text!r}, of type {type(text).__name__}", "a text")

    def _of_a_model(self, model: str, what: str) -> None:
        names = [subject.name for subject in self.panel.subjects]
        if model not in names:
            self.refuse(
                f"gives {what} model={model!r}, but there is no such model",
                f"one of {', '.join(map(repr, names))}",
                "Take `subject.name` of `panel.subjects`",
            )

    def _split(self, split: str, what: str) -> None:
        """Refuse other spellings of the panel's parts, such as `Train_Forget`; any other text is a name of its own."""
        parts: Sequence[str] = (*self.panel.parts, *PARTS)
        meant = "-".join(split.lower().replace("_", " ").replace("-", " ").split())
        if split not in parts and meant in parts:
            self.refuse(f"gives {what} split={split!r}", f"{meant!r}, as other metrics name that part")

    def _numbers(self, what: str) -> Callable[[str, object, str], float]:
        def number(name: str, value: object, remedy: str) -> float:
            single = isinstance(value, (np.generic, np.ndarray, torch.Tensor)) and value.ndim == 0
            plain: object = value.item() if single else value  # type: ignore[attr-defined]
            if isinstance(plain, bool) or not isinstance(plain, (int, float)):
                self.refuse(f"gives {what} {name}={value!r}, of type {type(value).__name__}", "a number", remedy)
            with suppress(OverflowError):
                if isfinite(plain):
                    return float(plain)
            self.refuse(f"gives {what} {name}={plain}", "a finite number", remedy)

        return number
