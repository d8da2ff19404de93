"""The demo as a newcomer runs it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from e2e.test_flow import names, without_seconds
from unregress.cli import main
from unregress.demo import people
from unregress.errors import SettingError
from unregress.evidence import AuditReport
from unregress.files.writing import sha256_of

METHODS = ("FineTune", "UniformAmnesiac", "GaussianAmnesiac", "Blindspot")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "demo"
    threads = torch.get_num_threads()
    assert main(["demo", "--job", "band", "--golds", "3", "--output", str(folder)]) == 0
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
    assert main(["demo", "--job", "band", "--golds", "3", "--output", str(demo)]) == 0
    after = {file.name: file.read_bytes() for file in demo.iterdir()}
    assert after.keys() == before.keys()
    for name in before:
        if name == "audit.json":
            assert without_seconds(json.loads(after[name])) == without_seconds(json.loads(before[name]))
        elif name not in ("audit.html", "manifest.json"):  # seconds, and the digest of what holds them
            assert after[name] == before[name], name


def test_another_seed_is_another_run(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--job", "band", "--golds", "3", "--seed", "1", "--output", str(demo)]) == 2
    assert "holds another run" in capsys.readouterr().err
    assert main(["demo", "--golds", "0", "--output", str(demo)]) == 2


def test_some_people_withdraw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demo of people, with fewer epochs and folds than `unregress demo` takes."""
    pytest.importorskip("linearmodels")
    monkeypatch.setattr(people, "TRAINING", replace(people.TRAINING, epochs=6))
    monkeypatch.setattr(people, "FOLDS", 3)
    assert main(["demo", "--golds", "3", "--output", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr().out
    assert "LeaveOutEdit: about" in said and "Chosen: exact retraining from the original's own" in said
    report = AuditReport.from_json(tmp_path / "demo" / "audit.json")
    assert report.samples["train-forget"] == 140 and report.named("unlearned") == ["Retrain", "LeaveOutEdit"]
    assert report.value("memory-kept", "train-forget", "LeaveOutEdit") is not None
    files = {each.name: each.file for each in report.models if each.role != "gold" and each.file is not None}
    assert {file.name: file.sha256 for file in files.values()} == {
        f"{name}.safetensors": sha256_of(tmp_path / "demo" / f"{name}.safetensors") for name in files
    }
    assert set(files) == {"original", "Retrain", "LeaveOutEdit"}


@pytest.mark.parametrize("module", ["linearmodels", "linearmodels.datasets"])
def test_without_the_panel_the_other_job_is_named_before_anything_is_done(
    module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "linearmodels.datasets", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SettingError) as caught:
        people.panel()
    assert "linearmodels" in caught.value.found and "--job band" in caught.value.remedy
    assert main(["demo", "--job", "people", "--output", str(tmp_path / "demo")]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "pip install 'unregress[demo]'" in said.err and not list(tmp_path.iterdir())


def test_without_the_panel_and_a_job_the_other_example_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("unregress.demo.forget_people", lambda **named: asked.append("people"))
    monkeypatch.setattr("unregress.demo.forget_band", lambda **named: asked.append("band"))
    output = ["--output", str(tmp_path / "demo")]
    with monkeypatch.context() as without:
        without.setattr("unregress.demo.has_wages", lambda: False)
        assert main(["demo", *output]) == 0
        note = capsys.readouterr().out
        assert "pip install 'unregress[demo]'" in note.replace("\n", " ") and "--job band" in note
    assert not people.has_wages() or main(["demo", *output]) == 0
    assert asked == ["band", "people"][: 1 + people.has_wages()]
    assert capsys.readouterr().out == ""
