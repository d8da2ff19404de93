"""Weights files of other makers through the command line, and golds that are given twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from e2e.conftest import PROJECT, REQUEST, SHORT, audit_words
from support.tiny_project import make_model
from unregress.cli import main
from unregress.evidence import AuditReport
from unregress.runs.checkpoint import load_weights


def averaged(runs: Path, folder: Path) -> Path:
    """The original as a training with averaged weights in half precision saves it."""
    model = make_model()
    load_weights(model, runs / "original" / "original.safetensors")
    torch.save(AveragedModel(nn.DataParallel(model)).bfloat16().state_dict(), folder / "averaged.pt")
    return folder / "averaged.pt"


def test_what_was_converted_is_in_the_record_and_in_the_report(runs: Path, tmp_path: Path) -> None:
    file = averaged(runs, tmp_path)
    forget = ["forget", *PROJECT, *REQUEST, "--checkpoint", str(file), "--method", "FineTune", *SHORT]
    assert main([*forget, "--output", str(tmp_path / "run")]) == 0
    first, second = json.loads((tmp_path / "run" / "history.json").read_text())["notes"]
    assert "a wrapper's prefix" in first and "bfloat16" in second and "without loss" in second
    audit = ["audit", *PROJECT, "--request.from_run", str(runs / "retrained"), f"--models.original={file}",
             f"--models.mine={tmp_path / 'run'}"]  # fmt: skip
    assert main([*audit, "--output", str(tmp_path / "audit")]) == 0
    caveats = AuditReport.from_json(tmp_path / "audit" / "audit.json").caveats
    assert len([caveat for caveat in caveats if "averaged.pt" in caveat]) == 2


def test_a_gold_that_is_given_twice_is_refused(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = audit_words(runs, tmp_path / "audit")
    assert main([*words, "--golds+", str(runs / "audit" / ".." / "retrained")]) == 2
    assert "retrained is given as a gold twice" in capsys.readouterr().err
    assert not (tmp_path / "audit").exists()
