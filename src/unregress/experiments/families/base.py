"""Define a family: a dataset for experiments, with the model that is trained on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from unregress.data.splits import Splits
from unregress.errors import DataError, SettingError
from unregress.experiments.experiment import Forget
from unregress.tasks.base import Task

Attributes = Mapping[str, NDArray[Any]]
"""Attributes of a split's samples by name: arrays in the order of the samples."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Data and task of a family, ready for a case."""

    splits: Splits
    task: Task[Any]
    attributes: Mapping[str, Attributes]
    """By split: `target`, and further attributes that a request may name."""
    notes: tuple[str, ...] = ()
    """Notes on the data for readers of the results."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A dataset for experiments, with the model that is trained on it."""

    title: str
    """The data's name."""
    model: str
    """The architecture's name."""
    kind: str
    """Kind of data, the first part of the file names in `settings/`."""
    error: Literal["mae", "rmse", "loss"]
    """The metric in which the paper states errors."""
    layers: Mapping[str, int | None]
    """Layers whose activations Blindspot compares, with the channel axis, or None if the layer's type determines it."""
    code: tuple[str, ...]
    """Modules besides the library's core whose code determines a trained model: architecture, augmentation."""
    open: Callable[[Path, tuple[Forget, ...]], Loaded]
    folder: str = ""
    """Name of the data's folder within a folder of several datasets, and of the dataset to download."""
    needs: tuple[str, ...] = ()
    """Required files or folders; an entry may list alternatives separated by `|`.  Empty for data that come with a
    library."""
    samples: int | None = None
    """Number of training samples, for the cost that `--list` shows; None if unknown."""
    seconds: float | None = None
    """Measured seconds of training per 1,000 samples (forward and backward) on two CPU cores; None if not measured."""

    @property
    def shipped(self) -> bool:
        """Whether the data come with a library, so that no folder is needed."""
        return not self.needs

    def root(self, data_root: Path) -> Path:
        """The data's own folder: `data_root / folder` if it has the data, otherwise `data_root`."""
        inner = data_root / self.folder
        if inner.is_dir() and (not self._absent(inner) or self._absent(data_root)):
            return inner
        return data_root

    def missing(self, data_root: Path) -> list[str]:
        """Required files and folders that do not exist."""
        return self._absent(self.root(data_root))

    def _absent(self, root: Path) -> list[str]:
        return [need for need in self.needs if not any((root / name).exists() for name in need.split("|"))]

    def load(self, data_root: Path | None, forget: tuple[Forget, ...]) -> Loaded:
        """Read the data.

        Args:
            data_root: the data's own folder, or its parent; None for data that come with a library.
            forget: the requests, on which the scaling of a series depends.

        Raises:
            SettingError: the data need a folder and none is given, or a package is not installed.
            DataError: the data are incomplete or malformed.
        """
        if data_root is None and not self.shipped:
            raise SettingError("No data folder is given", remedy="Name the folder with `--data-root`")
        root = self.root(data_root or Path())
        if missing := self._absent(root):
            raise DataError(
                f"There is no {' and no '.join(name.replace('|', ' or ') for name in missing)} in {root}",
                expected=f"the data of {self.title}",
                remedy="Name their folder with `--data-root`, or add `--download`",
            )
        try:
            return self.open(root, forget)
        except ModuleNotFoundError as error:
            raise SettingError(
                f"{self.title} with {self.model} needs {error.name}, which is not installed",
                remedy="Install what the experiments need: pip install 'unregress[experiments]'",
            ) from error
