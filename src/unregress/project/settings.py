"""Read a project's settings from `unregress.yaml`, which the commands read too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

from unregress.data.splits import Splits
from unregress.errors import SettingError, UnregressError
from unregress.errors.user_code import described
from unregress.project.model_scalers import scalers_file
from unregress.project.table_file import expanded
from unregress.tasks.base import Task
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime

PROJECT = ("task", "data", "training", "model", "start", "runtime", "table")
"""The settings of a project; besides them the file may hold options of commands."""


def is_recipe(training: object) -> bool:
    """Whether a setting `training` has the settings of a recipe, and names no function or class."""
    return isinstance(training, Mapping) and "class_path" not in training


def whole_recipe(training: object) -> dict[str, Any] | None:
    """A setting `training` with those of `Recipe` that it does not name, which all commands take; None for a function.

    Without them `train`, whose recipe is the paper's, and `forget` would complete it differently.
    """
    return {**asdict(Recipe()), **training} if isinstance(training, Mapping) and is_recipe(training) else None


class Settings(NamedTuple):
    """The settings of a project, as `Project` takes them."""

    task: Task[Any]
    splits: Splits
    training: Any
    """A `Recipe`, or a function that trains."""
    model: Path | None
    """The trained model: a weights file or a run folder; None if the file names none."""
    start: Path | None
    """A weights file with its initial weights; None if the file names none."""
    runtime: Runtime
    store: Path | None
    """Folder in which golds are kept; None keeps none."""
    table: Path | None
    """Folder of the leave-out tables; None if the file names none."""


def read_settings(path: Path, log: Callable[[str], None]) -> Settings:
    """Read a project's settings; options of commands in the same file are left out.

    Import paths such as `my_model.task` are imported and called: a settings file is code of the user's own.

    Args:
        path: the file.
        log: receives a note where the model's scalers of a table are not known.

    Raises:
        SettingError: the file cannot be read, or a setting is missing or wrong.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}", expected="the settings of a project") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise SettingError(f"{path} holds no settings", expected="names with values, as in `task: my_model.task`")
    found = expanded(_with_scalers(found, log))
    own = {name: found[name] for name in PROJECT if name in found}
    if is_recipe(own.get("training")):
        own["recipe"] = own.pop("training")
    retrain = found.get("retrain")
    if isinstance(retrain, dict) and "store" in retrain:
        own["store"] = retrain["store"]
    set_parsing_settings(subclasses_enabled=[Splits], docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_function_arguments(_settings)
    try:
        values = parser.instantiate(parser.parse_object(own)).as_dict()
    except UnregressError:
        raise
    except (ArgumentError, TypeError, ValueError, AttributeError, LookupError) as error:
        raise SettingError(f"{path}: {' '.join(str(error).split())}") from error
    except Exception as error:
        raise SettingError(f"{path} names code that fails: {described(error)}") from error
    return _settings(**values)


def _with_scalers(found: dict[str, Any], log: Callable[[str], None]) -> dict[str, Any]:
    """The settings, in which a table takes the scalers that are kept with the project's model."""
    data, model = found.get("data"), found.get("model")
    if not isinstance(data, Mapping) or "table" not in data or not isinstance(model, str):
        return found
    scalers, note = scalers_file(Path(model), data)
    if note:
        log(f"Note: {note}")
    return {**found, "data": {**data, "scalers": str(scalers) if isinstance(scalers, Path) else scalers}}


def _settings(
    *,
    task: Task,  # type: ignore[type-arg] # the parser takes functions for a bare class only
    data: Splits,
    recipe: Recipe | None = None,
    training: Callable[..., Any] | None = None,
    model: Path | None = None,
    start: Path | None = None,
    runtime: Runtime = Runtime(),  # noqa: B008 frozen
    store: Path | None = None,
    table: Path | None = None,
) -> Settings:
    """The settings by name, with the types by which they are parsed."""
    how = recipe if training is None else training
    if how is None:
        raise SettingError("`training` is missing", expected="how the original was trained: settings, or a function")
    return Settings(task, data, how, model, start, runtime, store, table)


def splits_of(splits: Splits | None, data: Mapping[str, Any]) -> Splits:
    """The data of a project, given as `Splits` or field by field.

    Raises:
        SettingError: they are given in neither way or both, or a field does not exist.
    """
    known = [each.name for each in fields(Splits)]
    if unknown := [name for name in data if name not in known]:
        raise SettingError(
            f"Project has no argument {', '.join(map(repr, unknown))}",
            expected=f"data among {', '.join(known)}",
        )
    if (splits is None) == (not data):
        raise SettingError(
            "The project has no data" if splits is None else "The project's data are given as `splits` and one by one",
            expected="`splits=Splits(...)`, or `train=`, `test=` and the other fields of `Splits`",
        )
    return Splits(**data) if splits is None else splits
