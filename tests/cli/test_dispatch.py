"""Parsing: defaults, overriding, help, version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from unregress.cli import main

PROJECT = ["--task", "support.tiny_project.make_task", "--data", "support.tiny_project.load_data"]


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


def config(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return dict(yaml.safe_load(printed([*words, "--print_config"], capsys)))


@pytest.mark.parametrize("command", ["demo", "train", "forget", "audit"])
def test_a_printed_config_is_a_config(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = {"demo": [], "forget": [*PROJECT, "--method", "Blindspot"]}.get(command, PROJECT)
    first = printed([command, *words, "--print_config"], capsys)
    (tmp_path / "job.yaml").write_text(first)
    assert printed([command, "--config", str(tmp_path / "job.yaml"), "--print_config"], capsys) == first
    assert yaml.safe_load(first)


def test_a_method_named_on_the_command_line_starts_from_its_own_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("method: {class_path: Blindspot, init_args: {helper: {epochs: 20}, recipe: {epochs: 7, lr: 0.5}}}")
    from_file = config(["forget", "--config", str(job)], capsys)["method"]["init_args"]
    assert (from_file["helper"]["epochs"], from_file["helper"]["lr"]) == (20, 0.01)
    assert (from_file["recipe"]["epochs"], from_file["recipe"]["lr"]) == (7, 0.5)
    for words in (["--method", "Retrain"], ["--method=Retrain"], ["--method.class_path", "unregress.Retrain"]):
        method = config(["forget", "--config", str(job), *words], capsys)["method"]
        recipe = method["init_args"]["recipe"]
        assert method["class_path"] == "unregress.Retrain"
        assert (recipe["epochs"], recipe["lr"], recipe["schedule"]) == (100, 0.01, "plateau")
    longer = config(["forget", "--config", str(job), "--method", "Retrain", "--method.recipe.epochs", "50"], capsys)
    assert longer["method"]["init_args"]["recipe"]["epochs"] == 50
    assert longer["method"]["init_args"]["recipe"]["lr"] == 0.01
    changed = config(["forget", "--config", str(job), "--method.recipe.lr", "0.25"], capsys)["method"]["init_args"]
    assert (changed["helper"]["epochs"], changed["recipe"]["epochs"], changed["recipe"]["lr"]) == (20, 7, 0.25)


def test_defaults_are_the_library_s(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = config(["train", *PROJECT], capsys)["recipe"]
    assert (recipe["epochs"], recipe["lr"], recipe["schedule"]) == (100, 0.01, "plateau")
    metrics = config(["audit", *PROJECT], capsys)["metrics"]
    assert [metric["class_path"].rsplit(".")[-1] for metric in metrics] == [
        "Errors", "Wasserstein", "Deviation", "AttackAUC", "Memory", "Membership", "Representation", "Readout",
        "Anamnesis",
        "Revival",
    ]  # fmt: skip
    assert config(["demo"], capsys) == {"job": None, "output": "runs/demo", "seed": 0, "golds": 5}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["forget", "--help"],
            ["Text file with one id per line", "--checkpoint", "--request.band", "both included", "Retrain"],
        ),
        (["audit", "--help"], ["noise floor", "--models", "from_run"]),
        (["train", "--help"], ["one-cycle", "--recipe.lr"]),
        (["demo", "--help"], ["--golds", "--seed"]),
        (["report", "--help"], ["FOLDER", "run folder, or the audit.json"]),
        (["forget", "--method.help", "Blindspot"], ["usage: unregress [", "attention_weight", "helper"]),
        (["audit", "--retrain.help"], ["usage: unregress [", "--retrain.workers"]),
        (
            ["audit", "--deep.help"],
            ["usage: unregress [", "training set; an even number, 6 or more.", "as many golds; 4 or more."],
        ),
    ],
)
def test_help_teaches(words: list[str], expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    shown = " ".join(printed(words, capsys).split())
    for text in expected:
        assert text in shown, text
