"""`--runtime.devices 2` and `torchrun`: the same weights as one process, one voice, and nothing left by a failure."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from support.subprocesses import environment, torchrun
from unregress.cli import main

pytestmark = pytest.mark.slow
PROJECT = ["--task", "support.tiny_project.make_task", "--data", "support.tiny_project.load_data"]
FORGET = ["forget", *PROJECT, "--request.band", "[55, null]", "--request.reason", "letter 17", "--method", "Blindspot",
          "--method.helper.batch_size", "7", "--method.recipe.batch_size", "7"]  # fmt: skip


@pytest.fixture(autouse=True)
def in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is started finds the tests' projects."""
    for name, value in environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With an original and what one process makes of it."""
    runs = tmp_path_factory.mktemp("runs")
    assert main(["train", *PROJECT, "--recipe.epochs", "5", "--output", str(runs / "original")]) == 0
    assert main([*FORGET, "--checkpoint", str(runs / "original"), "--output", str(runs / "one")]) == 0
    return runs


def require_as_one(folder: Path, name: str) -> None:
    assert sorted(os.listdir(folder / name)) == sorted(os.listdir(folder / "one"))
    assert not [entry for entry in os.listdir(folder) if entry.startswith(".")]
    for file in ("unlearned.safetensors", "helper.safetensors"):
        mine, its = load_file(folder / name / file), load_file(folder / "one" / file)
        assert mine.keys() == its.keys()
        for key in mine:
            np.testing.assert_allclose(mine[key], its[key], rtol=1e-4, atol=1e-5)
    mine, its = (json.loads((folder / run / "history.json").read_text()) for run in (name, "one"))
    assert mine["notes"] == its["notes"] and mine["cost"]["backward"] == its["cost"]["backward"]


def test_devices_start_processes(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = [*FORGET, "--checkpoint", str(folder / "original"), "--output", str(folder / "devices")]
    assert main([*words, "--runtime.devices", "2", "--runtime.strategy", "fsdp2"]) == 0
    require_as_one(folder, "devices")
    told = capfd.readouterr()
    assert told.out.count("Wrote") == 1
    assert told.err == ""


def test_torchrun_is_joined(folder: Path) -> None:
    words = [*FORGET, "--checkpoint", str(folder / "original"), "--output", str(folder / "torchrun")]
    done = torchrun("unregress", *words)
    assert done.returncode == 0, done.stderr
    require_as_one(folder, "torchrun")
    assert done.stdout.count("Wrote") == 1


@pytest.mark.parametrize(
    ("task", "code", "message"),
    [
        ("refusing", 2, "In process 1 of 2:\nerror: Sample 7 is broken."),
        ("ending", 137, "error: process 1 was ended by signal 9"),
    ],
)
def test_one_failure_ends_all(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], task: str, code: int, message: str
) -> None:
    words = ["train", "--task", f"support.distributed_project.{task}",
             "--data", "support.distributed_project.load_data", "--recipe.batch_size", "8",
             "--output", str(tmp_path / "runs" / "model")]  # fmt: skip
    assert main([*words, "--runtime.devices", "2"]) == code
    told = capfd.readouterr()
    assert message in told.err and "Traceback" not in told.err
    assert told.out == ""
    assert list(tmp_path.iterdir()) == []


def test_words_that_are_refused_start_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for devices in ("0", "[]"):
        assert main([*FORGET, "--output", "x", "--runtime.devices", devices]) == 2
        assert "expected 1 or more" in capsys.readouterr().err.lower()
