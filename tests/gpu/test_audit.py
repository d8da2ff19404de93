"""An audit on a GPU gives the numbers of the CPU, and names the device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from support.device_jobs import audited, require_close, runtime_on
from support.small_cases import mlp
from unregress import AuditReport, TensorTask
from unregress.cli import main

pytestmark = pytest.mark.gpu
PROJECT = ["--task", "support.tiny_project.make_task", "--data", "support.tiny_project.load_data"]
REQUEST = ["--request.band", "[55, null]", "--request.reason", "letter 17"]


def test_the_default_metrics_give_the_cpus_numbers(device: str) -> None:
    task = TensorTask(build_model=mlp, loss="l1")
    found, expected = (audited(runtime, task) for runtime in (runtime_on(device), runtime_on("cpu")))
    rows = [[(m.metric, m.split, m.model, m.value, m.bound, m.interval) for m in report.measures]
            for report in (found, expected)]  # fmt: skip
    assert len(rows[0]) > 100
    require_close(*rows, 1e-5)
    for name in ("original", "mine"):
        assert found.verdict(name).outcome == expected.verdict(name).outcome


def test_the_command_line_runs_on_the_device(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Train, forget and audit with retrained models of two worker processes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = ["--runtime.accelerator", device]
    commands = [
        ["train", *PROJECT, "--recipe.epochs", "5", "--output", str(tmp_path / "original"), *place],
        ["forget", *PROJECT, *REQUEST, "--checkpoint", str(tmp_path / "original"), "--method", "Blindspot",
         "--method.recipe.epochs", "2", "--output", str(tmp_path / "blindspot"), *place],
        ["audit", *PROJECT, "--request.from_run", str(tmp_path / "blindspot"),
         f"--models.original={tmp_path / 'original'}", f"--models.blindspot={tmp_path / 'blindspot'}",
         "--retrain.golds", "5", "--retrain.workers", "2", "--output", str(tmp_path / "audit"), *place],
    ]  # fmt: skip
    for words in commands:
        assert main(words) == 0, capsys.readouterr().err
    report = AuditReport.from_json(tmp_path / "audit" / "audit.json")
    name = torch.cuda.get_device_name(0) if device == "cuda" else device
    assert report.settings["device"] == name
    assert {report.verdict(model).outcome for model in ("original", "blindspot")} <= {"PASS", "FAIL", "INCONCLUSIVE"}
