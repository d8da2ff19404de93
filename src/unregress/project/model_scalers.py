"""Find the scalers that a model was trained with, for a table that may have other rows today."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unregress.data.column_scaler import ColumnScaler
from unregress.project.forgotten import Forgotten
from unregress.runs.scalers import read_scalers
from unregress.tasks.units import Scaler

UNKNOWN = (
    "The scalers are fitted on the training records of today, since none are kept with the model. If it was trained on "
    "other records it gets other inputs now than then: "
)
"""A note where a model is given without its scalers; to be ended by the remedy."""


def scalers_for(model: object, wanted: Mapping[str, bool | Scaler]) -> tuple[dict[str, bool | Scaler], str]:
    """The settings of a table's scalers, where they are true replaced by the scalers of the model.

    Args:
        model: the model as `Project` takes it; None for one that is still to be trained.
        wanted: the settings by the scalers' names.

    Returns:
        The settings, and a note if the model's scalers are not known; else an empty one.
    """
    known = _scalers_of(model)
    found = {name: known.get(name, each) if each is True else each for name, each in wanted.items()}
    unknown = model is not None and any(each is True for each in found.values())
    return found, f"{UNKNOWN}give them as `standardise=` and `scale_target=`" if unknown else ""


def scalers_file(model: Path | None, settings: Mapping[str, Any]) -> tuple[Path | None, str]:
    """Where a table's file finds its scalers, and a note if they are not known; else an empty one.

    Args:
        model: a run folder or weights file; None for a model that is still to be trained.
        settings: the settings of `table_data`.
    """
    if settings.get("scalers") is not None or model is None or not model.exists():
        return settings.get("scalers"), ""
    if read_scalers(model):
        return model, ""
    unused = settings.get("standardise") is False and not settings.get("scale_target")
    return None, "" if unused else f"{UNKNOWN}name the folder that has them as `scalers` of `data`"


def _scalers_of(model: object) -> Mapping[str, Scaler]:
    if isinstance(model, str | Path):
        return read_scalers(Path(model))
    fitted = model.case.splits.fitted if isinstance(model, Forgotten) else {}
    return {name: each for name, each in fitted.items() if isinstance(each, ColumnScaler)}
