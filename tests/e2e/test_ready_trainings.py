"""A ready training function from the command line: original, gold and audit by Lightning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unregress.cli import main

PROJECT = ["--task", "support.lightning_project.task", "--data", "support.lightning_project.data"]
CPU = ["--runtime.accelerator", "cpu"]
TRAINING = ["--training", "unregress.LightningTraining", "--training.settings.max_epochs", "2",
            "--training.settings.accelerator", "cpu", "--training.batch_size", "16",
            "--training.callbacks", "support.lightning_project.callbacks"]  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lightning") / "original"
    assert main(["train", *PROJECT, *CPU, *TRAINING, "--output", str(folder)]) == 0
    return folder


def made(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "history.json").read_text())["made"]
    return found


def test_settings_and_functions_are_recorded(original: Path) -> None:
    recipe = made(original)["recipe"]
    assert isinstance(recipe, dict)
    settings = recipe["init_args"]
    assert recipe["class_path"] == "unregress.trainers.lightning_training.LightningTraining"
    assert settings["settings"] == {"max_epochs": 2, "accelerator": "cpu"} and settings["batch_size"] == 16
    assert settings["callbacks"] == "support.lightning_project.callbacks"


def test_the_written_configuration_trains_the_same_model(original: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert main(["train", "--config", str(original / "config.yaml"), "--output", str(again)]) == 0
    assert made(again) == made(original)
    first, second = ((run / "original.safetensors").read_bytes() for run in (original, again))
    assert first == second


def test_an_audit_trains_golds_by_it(original: Path, tmp_path: Path) -> None:
    words = ["audit", *PROJECT, *CPU, *TRAINING, "--request.random", "12", "--request.reason", "test"]
    words += ["--models.original", str(original), "--retrain.golds", "2", "--metrics", '["Errors"]']
    assert main([*words, "--retrain.store", str(tmp_path / "store"), "--output", str(tmp_path / "audit")]) == 0
    golds = json.loads((tmp_path / "audit" / "golds.json").read_text())
    assert golds["recipe"] == made(original)["recipe"] and len(golds["golds"]) == 3  # one of another start
    assert main(["verify", str(original)]) == main(["verify", str(tmp_path / "audit")]) == 0


def test_a_bad_setting_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", *PROJECT, *CPU, "--training", "unregress.LightningTraining", "--training.batch_size", "0"]
    assert main([*words, "--output", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr().err
    assert "LightningTraining.batch_size is 0" in shown and "Traceback" not in shown
    words = ["train", *PROJECT, *CPU, "--training", "unregress.LightningTraining", "--training.settings.max_epoch", "1"]
    assert main([*words, "--output", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr().err
    assert "max_epoch" in shown and "Traceback" not in shown
