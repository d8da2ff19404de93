"""Read from folders how a model was made, the method and the training from scratch, and its leave-out tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from unregress import methods
from unregress.cli.console import say
from unregress.cli.error_messages import METHODS
from unregress.data.leave_out_table import LeaveOutTable
from unregress.errors import SettingError, UnregressError
from unregress.evidence.model_record import class_path
from unregress.methods import Method
from unregress.runs.provenance import HISTORY, record_of
from unregress.runs.table_folder import read_tables
from unregress.training.recipe import Recipe


def recorded_recipe(path: Path | None) -> Recipe | None:
    """The recipe of the training from scratch of a run folder's model or its first ancestor; None if unknown.

    Raises:
        SettingError: the recorded recipe cannot be used.
        CheckpointError: the folder holds no model, or no record that can be read.
    """
    recipe = None if path is None or not path.is_dir() else record_of(path).made.recipe
    if recipe is None:
        return None
    if "class_path" in recipe:
        raise SettingError(
            f"The original in {path} was trained by the function {recipe['class_path']!r}",
            expected="the same function for golds: code that a run folder names is never run",
            remedy=f"Name it: `training: {recipe['class_path']}`",
        )
    try:
        return Recipe(**recipe)
    except (TypeError, UnregressError) as error:
        raise SettingError(f"The recipe in {path}/{HISTORY} cannot be read: {error}") from error


def recorded_method(path: Path) -> Method | None:
    """The method that made a run folder's model; None for weights files and originals.

    Only methods of this library are read: importing a class that a folder names would let the folder run code.

    Raises:
        SettingError: the settings cannot be read, or the method is another class.
    """
    if not path.is_dir() or (record := record_of(path).made).kind == "trained":
        return None
    if record.module or record.method not in METHODS:
        raise SettingError(
            f"{path / HISTORY} names the method {class_path(record.module, record.method)!r}, which is not one of "
            "this library's",
            expected=f"one of {', '.join(METHODS)}: code that a run folder names is never run",
            remedy="Name your own method with `--deep.methods`",
        )
    try:
        settings = _without_classes(record.settings)
        # The parser accepts these fields only, and none of them is a class.
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(getattr(methods, record.method), "method")
        made: Method = parser.instantiate(parser.parse_object({"method": settings}))["method"]
    except (ArgumentError, TypeError, ValueError) as error:
        raise SettingError(f"The method in {path / HISTORY} cannot be read: {error}") from error
    return made


def _without_classes(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings unchanged if they name no class, at any depth.

    Raises:
        ValueError: a class is named.
    """
    for name, value in settings.items():
        if name in ("class_path", "init_args", "dict_kwargs"):
            raise ValueError(f"a setting names the class {settings.get('class_path')!r}")
        if isinstance(value, dict):
            _without_classes(value)
    return settings


def tables_of(folder: Path | None) -> tuple[LeaveOutTable, ...]:
    """The leave-out tables in a folder; a warning is printed if it has none."""
    found = () if folder is None else read_tables(folder)
    if folder is not None and not found:
        say(f"Warning: there is no leave-out table in {folder}; `unregress table` makes one")
    return found
