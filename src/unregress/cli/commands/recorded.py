"""Read from a run folder how its model was made: the method and the training from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from unregress import methods
from unregress.cli.error_messages import METHODS
from unregress.errors import SettingError, UnregressError
from unregress.files.writing import content_of
from unregress.methods import Method, Retrain
from unregress.runs.folder import CONFIG
from unregress.runs.provenance import HISTORY, record_of
from unregress.training.recipe import Recipe


def recorded_recipe(path: Path | None) -> Recipe | None:
    """How the model in a run folder was trained from scratch, or the one at the start of its chain; None if unknown.

    Raises:
        SettingError: the record cannot be read.
    """
    if path is None or not path.is_dir():
        return None
    written = configuration_of(path)
    if isinstance(written.get("recipe"), dict):
        return _recipe(path / CONFIG, written["recipe"])
    own = written.get("method")
    if _own_class(own) is Retrain:
        method = recorded_method(path)
        return method.recipe if isinstance(method, Retrain) else None
    return record_of(path).recipe if (path / HISTORY).is_file() else None


def _recipe(file: Path, written: Any) -> Recipe:
    try:
        return Recipe(**written)
    except (TypeError, UnregressError) as error:
        raise SettingError(f"The recipe in {file} cannot be read: {error}") from error


def recorded_method(path: Path) -> Method | None:
    """The method that a run folder's configuration names; None for weights files and originals.

    Only methods of this library: a class that a folder names by its import path would be code that the folder runs.

    Raises:
        SettingError: the configuration cannot be read, or names another class.
    """
    written = configuration_of(path).get("method")
    if not isinstance(written, dict):
        return None
    if (kind := _own_class(written)) is None:
        raise SettingError(
            f"{path / CONFIG} names the method {written.get('class_path')!r}, which is not one of this library's",
            expected=f"one of {', '.join(METHODS)}: code that a run folder names is never run",
            remedy="Name your own method with `--deep.methods`",
        )
    try:
        settings = _settled(written.get("init_args", {}))
        # Nothing but these fields is taken, and none of them is a class.
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(kind, "method")
        made: Method = parser.instantiate(parser.parse_object({"method": settings}))["method"]
    except (ArgumentError, TypeError, ValueError) as error:
        raise SettingError(f"The method in {path / CONFIG} cannot be read: {error}") from error
    return made


def _own_class(written: Any) -> type[Method] | None:
    """The method of this library that a configuration names: `Blindspot`, or `unregress.methods.Blindspot`."""
    named = written.get("class_path") if isinstance(written, dict) else None
    if not isinstance(named, str):
        return None
    package, _, name = named.rpartition(".")
    ours = package.split(".")[0] in ("", "unregress")
    return getattr(methods, name) if ours and name in METHODS else None


def _settled(settings: Any) -> dict[str, Any]:
    """Settings that name no class, however nested.

    Raises:
        ValueError: they do, or are no settings.
    """
    if not isinstance(settings, dict):
        raise ValueError(f"its settings are {settings!r}")
    for name, value in settings.items():
        if name in ("class_path", "init_args", "dict_kwargs"):
            raise ValueError(f"a setting names the class {settings.get('class_path')!r}")
        if isinstance(value, dict):
            _settled(value)
    return settings


def configuration_of(path: Path) -> dict[str, Any]:
    """A run folder's configuration; empty for anything else."""
    config = path / CONFIG
    if not config.is_file():
        return {}
    try:
        written = yaml.safe_load(content_of(config).decode("utf-8"))
    except RecursionError as error:
        raise SettingError(f"{config} cannot be read: it is nested too deep") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SettingError(f"{config} cannot be read: {error}") from error
    return written if isinstance(written, dict) else {}
