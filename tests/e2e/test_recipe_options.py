"""Optimisers, schedules, weights, averages and early stopping on the command line, in files and in records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from unregress.cli import main
from unregress.cli.commands.recorded import recorded_recipe
from unregress.training.recipe import Recipe

TASK = ["--task", "support.tiny_project.make_task", "--runtime.accelerator", "cpu"]
DATA = ["--data", "support.tiny_project.weighted_data"]
OPTIONS = {
    "epochs": 6,
    "lr": 0.02,
    "batch_size": 16,
    "optimizer": "RMSprop",
    "optimizer_options.alpha": 0.9,
    "schedule": "CosineAnnealingLR",
    "schedule_options.eta_min": 0.001,
    "schedule_every": "step",
    "weights": "sampling",
    "ema": 0.9,
    "stop_after": 5,
}
WORDS = [word for name, value in OPTIONS.items() for word in (f"--recipe.{name}", str(value))]


def recipe_of(folder: Path) -> Any:
    return json.loads((folder / "history.json").read_text())["made"]["recipe"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("options") / "original"
    assert main(["train", *TASK, *DATA, *WORDS, "--output", str(folder)]) == 0
    return folder


def test_options_on_the_command_line_are_recorded(original: Path) -> None:
    made = recipe_of(original)
    assert made["optimizer_options"] == {"alpha": 0.9} and made["schedule_options"] == {"eta_min": 0.001}
    assert all(made[name] == value for name, value in OPTIONS.items() if "." not in name)
    assert recorded_recipe(original) == Recipe(**made)
    assert len(json.loads((original / "history.json").read_text())["history"]) <= 6


def test_the_written_configuration_gives_the_same_model(original: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert main(["train", "--config", str(original / "config.yaml"), "--output", str(again)]) == 0
    first, second = (yaml.safe_load((run / "config.yaml").read_text()) for run in (original, again))
    assert {**first, "output": ""} == {**second, "output": ""}
    one, other = (load_file(run / "original.safetensors") for run in (original, again))
    assert all(bool((one[name] == other[name]).all()) for name in one)


def test_golds_are_trained_by_the_recorded_recipe(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["audit", *TASK, *DATA, f"--models.original={original}", f"--models.mine={original}"]
    words += ["--request.random", "12", "--request.reason", "test", "--metrics", "[Errors]", "--retrain.golds", "2"]
    assert main([*words, "--retrain.store", str(tmp_path / "store"), "--output", str(tmp_path / "audit")]) in (0, 1)
    shown = capsys.readouterr()
    assert "at most" in shown.out and "RMSprop" in shown.out, shown.err
    assert json.loads((tmp_path / "audit" / "golds.json").read_text())["recipe"] == recipe_of(original)


@pytest.mark.parametrize(
    ("words", "found", "expected"),
    [
        (["--recipe.optimizer", "RMSpropp"], "Recipe.optimizer is 'RMSpropp'", "RMSprop"),
        (["--recipe.optimizer", "LBFGS"], "Recipe.optimizer is 'LBFGS'", "several times in a step"),
        (["--recipe.optimizer_options.alfa", "0.9"], "Recipe.optimizer_options is {'alfa': 0.9}", "betas"),
        (["--recipe.schedule", "LambdaLR"], "Recipe.schedule is 'LambdaLR'", "a function"),
        (["--recipe.weights", "loss"], "the data have no weights", "one weight per training sample"),
        (["--recipe.ema", "1.5"], "Recipe.ema is 1.5", "between 0 and 1"),
    ],
)
def test_bad_options_are_errors_before_training(
    words: list[str], found: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    plain = ["--data", "support.tiny_project.load_data"]
    assert main(["train", *TASK, *plain, *words, "--output", str(output)]) == 2
    shown = capsys.readouterr().err
    assert found in shown and expected in shown and "Traceback" not in shown
    assert not output.exists()
