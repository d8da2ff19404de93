"""What `unregress audit` may train by itself, as options say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from unregress.case import Case
from unregress.datasets.cache import cache_folder
from unregress.errors import SettingError
from unregress.methods import Method, Retrain, Unlearned
from unregress.metrics import KLoM, ULiRA
from unregress.recipe import Recipe
from unregress.runs import CONFIG
from unregress.runtime import Runtime
from unregress.store import Store
from unregress.trainings import retrain

FIRST = 1001
"""Added to the runtime's seed for the first gold: people number those that they make themselves from 1."""


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """Golds that an audit trains by itself, and keeps: an interrupted audit goes on where it was.

    Raises:
        SettingError: a number is out of range.
    """

    recipe: Recipe = Retrain().recipe
    """How the original was trained; by default as `unregress train` does."""
    golds: int = 5
    """How many; their seeds are 1001 above the runtime's, and the numbers after it."""
    workers: int = 1
    """How many trainings at a time, each on one CPU thread: on a CPU, its cores; on one GPU, what its memory holds."""
    store: Path | None = None
    """Folder in which trained models are kept; by default `unregress/store` in the user's cache folder."""

    def __post_init__(self) -> None:
        if self.golds < 0 or self.workers < 1:
            raise SettingError(
                f"Retraining has golds={self.golds} and workers={self.workers}",
                expected="golds 0 or more, workers 1 or more",
            )

    @property
    def folder(self) -> Path:
        """Where trained models are kept."""
        return cache_folder() / "store" if self.store is None else self.store

    def run(self, case: Case, runtime: Runtime) -> list[Unlearned]:
        """Train the golds that the store does not hold."""
        first = runtime.seed + FIRST
        seeds = range(first, first + self.golds)
        return retrain(case, self.recipe, runtime, seeds, workers=self.workers, store=Store(root=self.folder))


@dataclass(frozen=True, kw_only=True)
class Deep:
    """Tests of the methods that made the audited models, with many trainings of their own: U-LiRA and KLoM."""

    methods: Mapping[str, Method] = field(default_factory=dict)
    """The method of each audited model, by the model's name; by default what their run folders say."""
    halves: int = 16
    """U-LiRA: originals trained on random halves of the training set."""
    seeds: int = 10
    """KLoM: seeds of originals, and as many golds."""

    def metrics(self, models: Mapping[str, Path], retraining: Retraining) -> tuple[ULiRA, KLoM]:
        """The two metrics.

        Args:
            models: the audited models' files and folders.
            retraining: how originals are trained, how many at a time, and where they are kept.

        Raises:
            SettingError: no model's method is known.
        """
        known = {name: method for name, path in models.items() if (method := recorded_method(path)) is not None}
        methods = dict(self.methods) or known
        if not methods:
            raise SettingError(
                "Of no audited model is it known which method made it",
                expected="run folders that `unregress forget` wrote, for a deep audit",
                remedy="Name the methods with `--deep.methods`",
            )
        recipe, workers, store = retraining.recipe, retraining.workers, retraining.folder
        return (
            ULiRA(recipe=recipe, methods=methods, workers=workers, store=store, models=self.halves),
            KLoM(recipe=recipe, methods=methods, workers=workers, store=store, models=self.seeds),
        )


def recorded_method(path: Path) -> Method | None:
    """The method that a run folder's configuration names; None for weights files and originals.

    Raises:
        SettingError: the configuration cannot be read.
    """
    config = path / CONFIG
    if not config.is_file():
        return None
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Method, "method")
    try:
        written = yaml.safe_load(config.read_text(encoding="utf-8"))
        if "method" not in written:
            return None
        made = parser.instantiate(parser.parse_object({"method": written["method"]}))
    except (OSError, yaml.YAMLError, ArgumentError, TypeError) as error:
        raise SettingError(f"The method in {config} cannot be read: {error}") from error
    method: Method = made["method"]
    return method
