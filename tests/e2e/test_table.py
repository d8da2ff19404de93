"""Leave-out tables from the command line: train, table, forget, audit without golds, and what is left in the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from unregress.cli import main

PROJECT = {
    "task": "support.tables_project.task",
    "data": "support.tables_project.data",
    "training": {"epochs": 80, "lr": 0.01, "batch_size": 20, "schedule": "one-cycle"},
    "model": "model",
    "table": "table",
    "runtime": {"accelerator": "cpu"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


def test_from_training_to_a_verdict_without_golds(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    Path("unregress.yaml").write_text(yaml.safe_dump(PROJECT))
    request = ["--request.subjects", json.dumps(list(range(6))), "--request.reason", "Art. 17"]
    assert main(["train"]) == 0
    assert main(["table"]) == 0
    said = capsys.readouterr().out
    assert "2 tables of 60 training samples and 300 never-seen ones" in said and "6 models to train" in said
    assert main(["forget", "--method", "LeaveOutEdit", "--output", "edited", *request]) == 0
    assert main(["forget", "--budget", "0", "--output", "chosen", *request]) == 0
    said = capsys.readouterr().out
    assert "LeaveOutEdit: about" in said and "Chosen: LeaveOutEdit" in said
    assert main(["audit", "--models.edited", "edited", "--request.from_run", "edited", "--output", "audit"]) == 0
    found = json.loads(Path("audit/audit.json").read_text())
    outcomes = {each["model"]: each["outcome"] for each in found["verdicts"]}
    assert outcomes["original"] == "FAIL" and outcomes["edited"] != "FAIL"
    kept = {each["model"]: each["value"] for each in found["measures"] if each["metric"] == "memory-kept"}
    assert kept["original"] > 0.8 and abs(kept["edited"]) < 0.25
    # After a request its samples are removed from the tables, and nothing is trained.
    one = ["--request.subjects", "[3]", "--request.reason", "Art. 17", "--method", "LeaveOutEdit"]
    assert main(["forget", "--output", "one", *one]) == 0
    capsys.readouterr()
    assert main(["table", "--checkpoint", "one"]) == 0
    said = capsys.readouterr().out
    assert "Table 1: the predictions of 2 samples" in said and "2 tables of 58 training samples" in said
    assert "to train" not in said
    assert main(["verify", "table"]) == 0
    assert main(["remains", "one"]) == 0
    assert "leave-out table" in capsys.readouterr().out
    # A fifth of the samples is too much: what is left describes models that saw it.
    assert main(["table", "--checkpoint", "edited"]) == 0
    said = capsys.readouterr().out
    assert "Table 0 is made again" in said and "2 tables of 48 training samples" in said
