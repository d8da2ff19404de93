"""What an experiment is: one YAML file for each row of the paper's tables, with the published numbers in it.

Settings lie beside them: `images-as_published.yaml` holds what the paper states for its image experiments,
`images-tuned.yaml` what serves them better; likewise for `text` and `series`.  A kind of data that the paper does not
have, such as `diabetes`, has one file, `diabetes.yaml`, for any tuning.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib import resources
from typing import Any, Literal, TypeVar, cast

import numpy as np
import yaml
from jsonargparse import ArgumentParser
from numpy.typing import NDArray

from unregress.errors import SettingError
from unregress.methods import Blindspot, Method  # all of them, for their short names in YAML
from unregress.training.recipe import Recipe

Scale = Literal["smoke", "reduced", "paper"]
Tuning = Literal["as_published", "tuned"]
PUBLISHED = ("err_Dt_r", "err_Dt_f", "att_prob", "w_dist", "AIN")
"""The paper's metrics, by the names in its tables."""
NOT_IN_THE_PAPER = "not in the paper"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Forget:
    """Which samples one request names: a closed band of targets, a share at one end, an attribute, or chance."""

    low: float | None = None
    """Targets of at least this, in the data's own units."""
    high: float | None = None
    """Targets of at most this."""
    lowest: float | None = None
    """This share of the training samples, those with the lowest targets (and all that equal the last of them)."""
    highest: float | None = None
    """This share of the training samples, those with the highest targets."""
    column: str | None = None
    """An attribute that the data come with, such as the year; `equal` says which value."""
    equal: int | str | None = None
    random: int | None = None
    """So many samples, drawn with seed 0."""

    def limits(self, targets: NDArray[Any]) -> tuple[float | None, float | None]:
        """The closed band, a share at one end made one by the training targets; both None where it is no band."""
        low, high, ordered = self.low, self.high, np.sort(targets)
        if self.lowest is not None:
            high = float(ordered[round(self.lowest * len(ordered)) - 1])
        if self.highest is not None:
            low = float(ordered[-round(self.highest * len(ordered))])
        return low, high

    def fixed(self, targets: NDArray[Any]) -> Forget:
        """The same request with the limits that these targets give it, so that a part of the data is asked alike."""
        if self.lowest is None and self.highest is None:
            return self
        low, high = self.limits(targets)
        return Forget(low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One method with several values of one setting (Table 4)."""

    method: str
    field: str
    symbol: str
    values: list[float]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One row of the paper's tables, its twin on data that can be had, or a further experiment."""

    name: str
    title: str
    family: str
    """Data, model and loss: a name in `families.FAMILIES`."""
    forget: list[Forget]
    """One request, or several that arrive one after another, each of them cumulative."""
    source: str = NOT_IN_THE_PAPER
    """Table, section or figure of the paper."""
    methods: list[str] = field(default_factory=list)
    """Which of the settings' methods; empty for all."""
    sweep: Sweep | None = None
    anamnesis: bool = True
    """Whether to measure the anamnesis index, which costs more than the rest; not where the paper has none."""
    paper: dict[str, dict[str, float]] = field(default_factory=dict)
    """Published numbers by metric and model."""
    twin_of: str | None = None
    """The experiment whose data cannot be had here, which this one repeats on other data."""

    def chosen(self, settings: Settings, layers: Mapping[str, int | None]) -> dict[str, Method]:
        """The methods of this experiment by name.

        Args:
            settings: of the family's kind.
            layers: which activations of the family's model Blindspot compares, with their channel axis or None.
        """
        axes = {name: axis for name, axis in layers.items() if axis is not None}
        known = {
            name: replace(method, layers=tuple(layers), channel_axis=axes) if isinstance(method, Blindspot) else method
            for name, method in settings.methods.items()
        }
        if self.sweep is None:
            return {name: known[name] for name in self.methods or known}
        base, setting = known[self.sweep.method], self.sweep.field
        return {
            f"{self.sweep.symbol} = {value:g}": replace(base, **cast(Any, {setting: value}))
            for value in self.sweep.values
        }


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How models are trained and made to forget."""

    training: Recipe
    """Of the original and the golds."""
    methods: dict[str, Method]
    relearning: Recipe
    """Of the anamnesis index; its epochs are the cap."""
    shuffles: int = 5
    """Of the anamnesis index."""
    relearned: int | None = None
    """The anamnesis index is measured for so many seeds only, for it costs more than all the rest; None for all."""
    samples: int | None = None
    """At most so many samples of each split, drawn with seed 0; None for all."""


@cache
def names() -> list[str]:
    """All experiments: those of `order.yaml` in the paper's order, twins after their originals; others after these."""
    listed: list[str] = yaml.safe_load(_folder("rows").joinpath("order.yaml").read_text(encoding="utf-8"))
    files = {file.name.removesuffix(".yaml") for file in _folder("rows").iterdir()}
    return [*listed, *sorted(files - {*listed, "order"})]


def has_published_settings(kind: str) -> bool:
    """Whether the paper states settings for this kind of data."""
    return bool(_folder("settings").joinpath(f"{kind}-as_published.yaml").is_file())


@cache
def experiment(name: str) -> Experiment:
    """One experiment.

    Raises:
        SettingError: there is none of that name; names the nearest.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.4)
        raise SettingError(
            f"There is no experiment {name!r}",
            expected="one of those that `unregress reproduce --list` shows",
            remedy=f"Did you mean {near[0]!r}?" if near else "",
        )
    written = _read("rows", name)
    twin = written.get("twin_of")
    inherited = _read("rows", twin) if twin else {}
    return _build(Experiment, {**inherited, **written, "name": name})


@cache
def settings(kind: str, tuning: Tuning, scale: Scale) -> Settings:
    """The settings of a kind of data.

    Args:
        kind: `images`, `text`, `series` or another, as a family's `kind`.
        tuning: as published, or with annealing schedules (docs/reproduction.md says how far they are tuned).  Ignored
            for a kind of data that is not in the paper.
        scale: the paper's training, one that a laptop can do, or one that only shows that everything runs.
    """
    written = _read("settings", f"{kind}-{tuning}" if has_published_settings(kind) else kind)
    scales = written.pop("scales")
    return _build(Settings, _merged(written, scales.get(scale, {})))


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings with some of them replaced; `training` is replaced as a whole."""
    merged = dict(base)
    for key, value in changes.items():
        inside = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping) and key != "training"
        merged[key] = _merged(merged[key], value) if inside else value
    return merged


def _build(kind: type[T], written: Mapping[str, Any]) -> T:
    """Parse against the class's signature: a name that it does not know is refused."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind)
    made = parser.instantiate(parser.parse_object(dict(written)))
    return kind(**{field.name: made[field.name] for field in fields(kind)})  # type: ignore[arg-type] # a dataclass


def _folder(room: str) -> Any:
    return resources.files("unregress.experiments") / room


def _read(room: str, name: str) -> dict[str, Any]:
    written: dict[str, Any] = yaml.safe_load(_folder(room).joinpath(f"{name}.yaml").read_text(encoding="utf-8"))
    return written
