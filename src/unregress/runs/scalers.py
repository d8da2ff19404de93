"""Keep the scalers of a table's columns with the model that was trained on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unregress.data.column_scaler import ColumnScaler
from unregress.errors import StaleError
from unregress.files.typed_json import Misfit, build, parse
from unregress.files.writing import content_of, write_json

SCALERS = "scalers.json"
"""Name of the file, in a run folder or beside a weights file."""
_LAYOUT = 1


@dataclass(frozen=True, kw_only=True)
class _Kept:
    layout: int
    scalers: dict[str, ColumnScaler]


def write_scalers(folder: Path, fitted: Mapping[str, Any]) -> None:
    """Write the scalers among `Splits.fitted`; nothing if there are none.

    They belong to the model: fitted again on a table of fewer rows, they would give it other inputs.

    Args:
        folder: the run folder.
        fitted: see `Splits.fitted`.

    Raises:
        RunFolderError: the file cannot be written.
    """
    if own := {name: each for name, each in fitted.items() if isinstance(each, ColumnScaler)}:
        write_json(folder / SCALERS, asdict(_Kept(layout=_LAYOUT, scalers=own)))


def read_scalers(path: Path) -> dict[str, ColumnScaler]:
    """The scalers of a model, by their names in `Splits.fitted`; empty if none are kept with it.

    Args:
        path: a run folder; a weights file, beside which they are; or their file itself.

    Raises:
        StaleError: the file is not as it was written.
    """
    file = path if path.name == SCALERS else (path if path.is_dir() else path.parent) / SCALERS
    try:
        kept = build(_Kept, parse(content_of(file)))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, Misfit) as error:
        raise StaleError(
            f"{file} cannot be read: {error}",
            expected="the scalers of a model, as unregress writes them",
            remedy="Copy the folder again from an intact source, or make the model again",
        ) from error
    problems = [name for name, each in kept.scalers.items() if not _is_sound(each)]
    if kept.layout != _LAYOUT or problems:
        found = f"layout {kept.layout}" if kept.layout != _LAYOUT else f"a {problems[0]} without positive scales"
        raise StaleError(
            f"{file} has {found}",
            expected=f"layout {_LAYOUT}, and a mean and a scale above 0 for each column",
            remedy="Copy the folder again from an intact source, or make the model again",
        )
    return kept.scalers


def _is_sound(scaler: ColumnScaler) -> bool:
    return len(scaler.columns) == len(scaler.mean) == len(scaler.scale) and min(scaler.scale, default=0) > 0
