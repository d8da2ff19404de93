"""A user's own training function, from the command line: original, golds and audit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from unregress.cli import main

PROJECT = ["--task", "support.tiny_project.make_task", "--data", "support.tiny_project.load_data"]
OWN = ["--training", "support.own_training.by_rmsprop"]
CPU = ["--runtime.accelerator", "cpu"]
REQUEST = ["--request.random", "8", "--request.reason", "test"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "original"
    assert main(["train", *PROJECT, *OWN, *CPU, "--output", str(folder)]) == 0
    return folder


def recorded(folder: Path) -> dict[str, object]:
    made: dict[str, object] = json.loads((folder / "history.json").read_text())["made"]
    return made


def test_training_is_recorded_with_its_start(original: Path) -> None:
    made = recorded(original)
    assert made["recipe"] == {"class_path": "support.own_training.by_rmsprop", "init_args": {}}
    assert made["seed"] == 0 and len(str(made["start"])) == 64
    start, end = load_file(original / "start.safetensors"), load_file(original / "original.safetensors")
    assert start.keys() == end.keys() and not any((start[name] == end[name]).all() for name in start)


def test_a_gold_starts_from_the_original_s_initial_weights(original: Path, tmp_path: Path) -> None:
    words = ["forget", *PROJECT, *CPU, *REQUEST, "--method", "Retrain"]
    for place in (original, original / "start.safetensors"):
        run = tmp_path / f"gold-of-{place.name}"
        assert main([*words, *OWN, "--start", str(place), "--output", str(run)]) == 0
        assert recorded(run)["start"] == recorded(original)["start"]
        assert recorded(run)["recipe"] == recorded(original)["recipe"]
    assert main([*words, *OWN, "--output", str(tmp_path / "apart")]) == 0
    # Without `start`, new initial weights are drawn.
    assert recorded(tmp_path / "apart")["start"] != recorded(original)["start"]


def test_an_audit_trains_golds_by_the_function(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["audit", *PROJECT, *CPU, *REQUEST, "--models.original", str(original), "--retrain.golds", "2"]
    words += [
        "--retrain.store",
        str(tmp_path / "store"),
        "--metrics",
        '["Errors"]',
        "--output",
        str(tmp_path / "audit"),
    ]
    # The folder names a function, whose code must not be run on its say-so.
    assert main(words) == 2
    assert "support.own_training.by_rmsprop" in capsys.readouterr().err
    assert main([*words, *OWN]) == 0
    golds = json.loads((tmp_path / "audit" / "golds.json").read_text())
    assert golds["recipe"]["class_path"] == "support.own_training.by_rmsprop"
    assert len(golds["golds"]) == 3  # one of another start
    assert main(["verify", str(tmp_path / "audit")]) == 0


@pytest.mark.parametrize(
    ("training", "found"),
    [
        ("support.own_training.ignoring_the_seed", "ignores its seed"),
        ("support.own_training.ignoring_the_start", "ignores `start`"),
        ("support.own_training.failing", "learning_rate"),
        ("support.own_training.absent", "absent"),
        ("support.own_training.Scheduled.nothing", "no attribute 'nothing'. Expected the import path of a function"),
    ],
)
def test_a_wrong_function_is_refused_and_nothing_is_written(
    training: str, found: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", *PROJECT, *CPU, "--training", training, "--output", str(tmp_path / "run")]
    assert main(words) == 2
    message = capsys.readouterr().err
    assert found in message and "Traceback" not in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("training", "found"),
    [
        (
            "failing",
            "The training function support.own_training.failing fails on 52 samples: KeyError: 'learning_rate'",
        ),
        ("ignoring_the_data", "ignores `data`"),
    ],
)
def test_a_wrong_function_is_refused_before_a_method_is_chosen(
    original: Path, training: str, found: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["forget", *PROJECT, *CPU, *REQUEST, "--checkpoint", str(original), "--output", str(tmp_path / "run")]
    assert main([*words, "--training", f"support.own_training.{training}"]) == 2
    said = capsys.readouterr()
    assert found in said.err and "Chosen" not in said.out and list(tmp_path.iterdir()) == []


def test_a_class_of_functions_takes_settings(tmp_path: Path) -> None:
    words = ["train", *PROJECT, *CPU, "--training", "support.own_training.Scheduled", "--training.epochs", "3"]
    assert main([*words, "--output", str(tmp_path / "run")]) == 0
    assert recorded(tmp_path / "run")["recipe"] == {
        "class_path": "support.own_training.Scheduled",
        "init_args": {"epochs": 3},
    }
    assert main(["verify", str(tmp_path / "run")]) == 0


def test_a_long_setting_is_recorded_by_its_digest(tmp_path: Path) -> None:
    rates = [number / 7 for number in range(500)]
    words = ["train", *PROJECT, *CPU, "--training", "support.own_training.WithRates", "--training.rates", str(rates)]
    assert main([*words, "--output", str(tmp_path / "run")]) == 0
    digest = hashlib.sha256(json.dumps(rates).encode()).hexdigest()
    assert recorded(tmp_path / "run")["recipe"] == {
        "class_path": "support.own_training.WithRates",
        "init_args": {"rates": f"list of 500 values, SHA-256 {digest}"},
    }
    # The configuration has them in full, and agrees.
    assert main(["verify", str(tmp_path / "run")]) == 0


def test_recipe_and_function_together_are_refused(tmp_path: Path) -> None:
    words = ["train", *PROJECT, *CPU, *OWN, "--recipe.epochs", "3", "--output", str(tmp_path / "run")]
    assert main(words) == 2
    assert list(tmp_path.iterdir()) == []
