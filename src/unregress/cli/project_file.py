"""`unregress.yaml`: the settings of a project, which every command reads from the current folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from unregress.cli.console import say
from unregress.cli.error_messages import nearest
from unregress.errors import SettingError
from unregress.project.model_scalers import scalers_file
from unregress.project.settings import PROJECT, whole_recipe
from unregress.project.table_file import TABLE_DATA, expanded

NAME = "unregress.yaml"
"""Name of the file."""


def is_project_file(path: Path) -> bool:
    """Whether a configuration file is a project's."""
    return path.name == NAME


def translated(text: str, command: str, commands: Mapping[str, Callable[..., None]]) -> str:
    """The part of a project file that concerns a command, with the names of that command's options.

    `training` with settings is the `recipe` of `train`, `forget` and `table` and the `retrain.recipe` of `audit`, where
    settings that are not named are those of `Recipe`; `model` is the `checkpoint` of `forget` and `table`, the original
    of `audit`, and the folder that `train` writes; `table` is the folder that `table` writes.  `data` with a `table`,
    and `task` with a model for it, become the functions that read them.

    Args:
        text: the file's text, a YAML mapping.
        command: name of the command.
        commands: all commands by name, whose signatures have the options.

    Raises:
        SettingError: the file has a setting that is neither a project's nor an option of a command.
    """
    settings: dict[str, Any] = yaml.safe_load(text)
    options = {name: list(signature(each).parameters) for name, each in commands.items()}
    known = {*PROJECT, *(option for each in options.values() for option in each)} - {"config"}
    _require_known(settings, known)
    settings = expanded(settings)
    own = {name: value for name, value in settings.items() if name in options[command]}
    training, model = settings.get("training"), settings.get("model")
    if (recipe := whole_recipe(training)) is not None:
        own.pop("training", None)
        if "recipe" in options[command]:
            own["recipe"] = recipe
        elif isinstance(own.get("retrain"), dict):
            own["retrain"] = {"recipe": recipe, **own["retrain"]}
    if model is not None:
        own |= _model(str(model), command, own)
    if command == "table" and "table" in settings:
        own.setdefault("output", settings["table"])
    return yaml.safe_dump(own, sort_keys=False)


def _model(model: str, command: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """The project's model as the option of a command."""
    if command == "train" and not Path(model).suffix:
        return {"output": own.get("output", model)}
    if command in ("forget", "table"):
        return {"checkpoint": own.get("checkpoint", model)}
    if command == "audit":
        return {"models": {"original": model, **(own.get("models") or {})}}
    return {}


def take_scalers(values: Namespace) -> None:
    """Let a table's file take the scalers of the model that a command starts from; say so if they are not known.

    Args:
        values: the command's parsed options, changed in place.
    """
    model = values.get("checkpoint") or (values.get("models") or {}).get(values.get("original"))
    note = ""
    for place in ("data", "task.init_args.data"):
        if values.get(f"{place}.class_path") == TABLE_DATA:
            settings = values[f"{place}.init_args"]
            settings["scalers"], note = scalers_file(None if model is None else Path(model), settings.as_dict())
    if note:
        say(f"Note: {note}")


def _require_known(settings: Mapping[str, Any], known: Collection[str]) -> None:
    if unknown := [str(name) for name in settings if name not in known]:
        raise SettingError(
            f"{NAME} has the setting {', '.join(map(repr, unknown))}",
            expected=f"settings of a project ({', '.join(PROJECT)}), or options of commands",
            remedy=nearest(unknown[0], known),
        )
