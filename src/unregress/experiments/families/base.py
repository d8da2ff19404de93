"""What a family is: data that experiments are run on, with the model that is trained on them."""

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
"""What is known of a split's samples, by name: arrays in the split's order."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Data and task of a family, ready for a case."""

    splits: Splits
    task: Task[Any]
    attributes: Mapping[str, Attributes]
    """By split: `target`, and what else a request may name."""
    notes: tuple[str, ...] = ()
    """What a reader of the results must know of them."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Data that experiments are run on, and the model that is trained on them."""

    title: str
    """The data's name."""
    model: str
    """The architecture's name."""
    kind: str
    """Which settings are for it: the beginning of the names of files in `settings/`."""
    error: Literal["mae", "rmse", "loss"]
    """The measure in which the paper states errors."""
    layers: Mapping[str, int | None]
    """The activations that Blindspot compares, with their channel axis where their type does not tell."""
    code: tuple[str, ...]
    """Modules beside the library's core whose code decides what a trained model is: architecture, augmentation."""
    open: Callable[[Path, tuple[Forget, ...]], Loaded]
    folder: str = ""
    """The data's folder within a folder of several datasets; also their name for `download`."""
    needs: tuple[str, ...] = ()
    """Files or folders that must be in it; of several in one entry, separated by `|`, one.  Empty for data
    that come with a library."""
    samples: int | None = None
    """Training samples in all, for the cost that `--list` shows; None where it is not stated."""
    seconds: float | None = None
    """Measured seconds of training per 1,000 samples (forward and backward) on two CPU cores; None if not measured."""

    @property
    def shipped(self) -> bool:
        """Whether the data come with a library, so that no folder need be named."""
        return not self.needs

    def root(self, data_root: Path) -> Path:
        """The data's own folder: the one given, or the one of the family's name within it."""
        inner = data_root / self.folder
        if inner.is_dir() and (not self._absent(inner) or self._absent(data_root)):
            return inner
        return data_root

    def missing(self, data_root: Path) -> list[str]:
        """Needed files and folders that do not exist."""
        return self._absent(self.root(data_root))

    def _absent(self, root: Path) -> list[str]:
        return [need for need in self.needs if not any((root / name).exists() for name in need.split("|"))]

    def load(self, data_root: Path | None, forget: tuple[Forget, ...]) -> Loaded:
        """Read the data.

        Args:
            data_root: the data's own folder, or one that holds it under the family's name; None if they are shipped.
            forget: the requests; how a series is scaled depends on them.

        Raises:
            SettingError: no folder is named for data that no library ships, or a package is not installed.
            DataError: the data are incomplete or malformed.
        """
        if data_root is None and not self.shipped:
            raise SettingError("No data are named", remedy="Say with `--data-root` in which folder they are")
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
