"""The demo as a newcomer runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from e2e.test_flow import names, without_seconds
from unregress.cli import main
from unregress.evidence import AuditReport

METHODS = ("FineTune", "UniformAmnesiac", "GaussianAmnesiac", "Blindspot")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "demo"
    threads = torch.get_num_threads()
    assert main(["demo", "--golds", "3", "--output", str(folder)]) == 0
    assert torch.get_num_threads() == threads
    return folder


def test_it_leaves_the_whole_evidence(demo: Path) -> None:
    models = ("original", "retrained-1", "retrained-2", "retrained-3", *METHODS, "Retrain")
    files = [f"{name}.safetensors" for name in models]
    assert names(demo) == sorted([*files, "audit.html", "audit.json", "config.yaml", "manifest.json", "request.json"])
    request = json.loads((demo / "request.json").read_text())
    report = AuditReport.from_json(demo / "audit.json")
    assert (len(request["forget"]), request["size"], request["target_band"]) == (88, 300, [200.0, None])
    assert (report.request_digest, report.data_digest) == (request["digest"], request["data_digest"])
    assert "Blindspot(" in (demo / "config.yaml").read_text()


def test_the_original_differs_from_gold_far_beyond_the_floor_and_methods_land_between(demo: Path) -> None:
    report = AuditReport.from_json(demo / "audit.json")
    paired = {model.name: report.value("paired", "train-forget", model.name) for model in report.models}
    floor = max(report.over_golds("paired", "train-forget"))
    original = paired["original"]
    assert original is not None and original > 5 * floor
    for name in METHODS:
        value = paired[name]
        assert value is not None and floor < value < 0.75 * original


def test_again_gives_the_same_bytes(demo: Path) -> None:
    before = {file.name: file.read_bytes() for file in demo.iterdir()}
    assert main(["demo", "--golds", "3", "--output", str(demo)]) == 0
    after = {file.name: file.read_bytes() for file in demo.iterdir()}
    assert after.keys() == before.keys()
    for name in before:
        if name == "audit.json":
            assert without_seconds(json.loads(after[name])) == without_seconds(json.loads(before[name]))
        elif name not in ("audit.html", "manifest.json"):  # seconds, and the digest of what holds them
            assert after[name] == before[name], name


def test_another_seed_is_another_run(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--golds", "3", "--seed", "1", "--output", str(demo)]) == 2
    assert "holds another run" in capsys.readouterr().err
    assert main(["demo", "--golds", "0", "--output", str(demo)]) == 2
