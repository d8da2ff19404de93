"""Read experiments and their settings from YAML: one file for each row of the paper's tables, with published numbers.

Settings have files of their own: `images-as_published.yaml` has the paper's settings for its image experiments and
`images-tuned.yaml` better ones; the same for `text` and `series`.  A kind of data that is not in the paper, such as
`diabetes`, has a single file, `diabetes.yaml`.
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
    """The samples of one request: a closed target band, a share of extreme targets, an attribute's value, or a draw."""

    low: float | None = None
    """Smallest target to forget, in the data's own units."""
    high: float | None = None
    """Largest target to forget."""
    lowest: float | None = None
    """Share of the training samples to forget, with the lowest targets; ties with the last of them are included."""
    highest: float | None = None
    """Share of the training samples to forget, with the highest targets."""
    column: str | None = None
    """Name of an attribute of the samples, such as the year; those whose value is `equal` are forgotten."""
    equal: int | str | None = None
    random: int | None = None
    """Number of samples to draw with seed 0."""

    def limits(self, targets: NDArray[Any]) -> tuple[float | None, float | None]:
        """The closed target band, computed from `targets` for a share; both limits None if it is no band."""
        low, high, ordered = self.low, self.high, np.sort(targets)
        if self.lowest is not None:
            high = float(ordered[round(self.lowest * len(ordered)) - 1])
        if self.highest is not None:
            low = float(ordered[-round(self.highest * len(ordered))])
        return low, high

    def fixed(self, targets: NDArray[Any]) -> Forget:
        """Replace a share by the target band that it gives on these targets, to apply it to a part of the data."""
        if self.lowest is None and self.highest is None:
            return self
        low, high = self.limits(targets)
        return Forget(low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Several runs of one method that differ in the value of one setting (Table 4)."""

    method: str
    field: str
    symbol: str
    values: list[float]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One row of the paper's tables, its twin on publicly available data, or a further experiment."""

    name: str
    title: str
    family: str
    """Data, model and loss: a name in `families.FAMILIES`."""
    forget: list[Forget]
    """One request, or several successive ones, each of which includes those before."""
    source: str = NOT_IN_THE_PAPER
    """Table, section or figure of the paper."""
    methods: list[str] = field(default_factory=list)
    """Names of the settings' methods to run; empty for all."""
    sweep: Sweep | None = None
    anamnesis: bool = True
    """Whether to measure the anamnesis index, which costs more than all else; False where the paper has none."""
    paper: dict[str, dict[str, float]] = field(default_factory=dict)
    """Published numbers by metric and model."""
    twin_of: str | None = None
    """Name of the experiment, on data that are not publicly available, that this one repeats on other data."""

    def chosen(self, settings: Settings, layers: Mapping[str, int | None]) -> dict[str, Method]:
        """The methods of this experiment by name.

        Args:
            settings: settings for the family's kind of data.
            layers: layers of the family's model whose activations Blindspot compares, with channel axis or None.
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
    """Recipes and methods for one kind of data."""

    training: Recipe
    """Recipe of originals and golds."""
    methods: dict[str, Method]
    relearning: Recipe
    """Recipe of the anamnesis index, whose epochs are the largest number of relearning epochs."""
    shuffles: int = 5
    """Repetitions of the anamnesis index with other batch orders."""
    relearned: int | None = None
    """Number of seeds for which the anamnesis index, which costs more than all else, is measured; None for all."""
    samples: int | None = None
    """Largest number of samples per split, drawn with seed 0; None for all."""


@cache
def names() -> list[str]:
    """Names of all experiments: those in `order.yaml`, which follows the paper, then the others alphabetically."""
    listed: list[str] = yaml.safe_load(_folder("rows").joinpath("order.yaml").read_text(encoding="utf-8"))
    files = {file.name.removesuffix(".yaml") for file in _folder("rows").iterdir()}
    return [*listed, *sorted(files - {*listed, "order"})]


def has_published_settings(kind: str) -> bool:
    """Whether the paper states settings for this kind of data."""
    return bool(_folder("settings").joinpath(f"{kind}-as_published.yaml").is_file())


@cache
def experiment(name: str) -> Experiment:
    """Read an experiment by name.

    Raises:
        SettingError: there is no such experiment; the remedy names the most similar one.
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
    """Read the settings for a kind of data.

    Args:
        kind: `images`, `text`, `series` or another `Family.kind`.
        tuning: `as_published`, or `tuned` with annealing schedules (see docs/reproduction.md).  Ignored for data that
            are not in the paper.
        scale: `paper` for the paper's training, `reduced` for one that a laptop can do, `smoke` for a quick test.
    """
    written = _read("settings", f"{kind}-{tuning}" if has_published_settings(kind) else kind)
    scales = written.pop("scales")
    return _build(Settings, _merged(written, scales.get(scale, {})))


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge changes into nested settings; `training` is replaced as a whole."""
    merged = dict(base)
    for key, value in changes.items():
        inside = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping) and key != "training"
        merged[key] = _merged(merged[key], value) if inside else value
    return merged


def _build(kind: type[T], written: Mapping[str, Any]) -> T:
    """Build a dataclass from parsed YAML with jsonargparse, which refuses unknown names."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind)
    made = parser.instantiate(parser.parse_object(dict(written)))
    return kind(**{field.name: made[field.name] for field in fields(kind)})  # type: ignore[arg-type] # a dataclass


def _folder(name: str) -> Any:
    return resources.files("unregress.experiments") / name


def _read(folder: str, name: str) -> dict[str, Any]:
    written: dict[str, Any] = yaml.safe_load(_folder(folder).joinpath(f"{name}.yaml").read_text(encoding="utf-8"))
    return written
