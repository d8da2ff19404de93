"""Golds from the original's own initial weights, through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.conftest import PROJECT, REQUEST
from e2e.test_flow import read
from e2e.test_training_audit import audit, ended
from unregress.cli import main
from unregress.evidence import OTHER_START, AuditReport
from unregress.runs.digests import weights_digest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "unregress" / "store"


def starts(folder: Path) -> dict[str, str]:
    """Digest of the initial weights of each audited model that has a record."""
    report = AuditReport.from_json(folder / "audit.json")
    return {model.name: model.record.start for model in report.models if model.record and model.record.start}


def test_golds_start_as_the_original_did(
    runs: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = audit(runs, tmp_path / "audit", "--retrain", "{golds: 2}")
    code, out, err = ended(words, capsys)
    assert (code, err) == (0, "")
    assert "from the original's initial weights, and one of other initial weights, not counting" in out
    assert "3 models to train" in out and out.count("making a gold") == 3
    own = read(runs / "original" / "history.json")["made"]["start"]
    known = starts(tmp_path / "audit")
    assert known["original"] == known["retrained"] == known["retrained #2"] == own != known[OTHER_START]
    report = AuditReport.from_json(tmp_path / "audit" / "audit.json")
    assert {m.model for m in report.measures if m.metric == "coupling" and m.value is not None} == set(report.golds)
    assert OTHER_START not in {verdict.model for verdict in report.verdicts}
    assert "The coupling is" in out and f"FAIL {OTHER_START}" not in out
    listed = [(gold["name"], gold["seed"]) for gold in read(tmp_path / "audit" / "golds.json")["golds"]]
    assert listed == [("retrained", 1001), ("retrained #2", 1002), (OTHER_START, 1000)]
    assert main(["verify", str(tmp_path / "audit")]) == 0
    # Again, with one gold more: the others are in the store.
    more = audit(runs, tmp_path / "more", "--retrain", "{golds: 3}")
    assert ended(more, capsys)[1].count("making a gold") == 1


def test_new_initial_weights_by_a_flag(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = audit(runs, tmp_path / "audit", "--retrain.golds", "1", "--retrain.coupled", "false")
    code, out, err = ended(words, capsys)
    assert (code, err) == (0, "") and out.count("making a gold") == 1
    known = starts(tmp_path / "audit")
    assert OTHER_START not in known and known["retrained"] != known["original"]
    assert "have other initial weights than the original" in out


def test_the_start_of_a_bare_weights_file_is_named(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = ["--retrain.golds", "1", "--retrain.recipe.epochs", "3"]
    file, folder = "original/original.safetensors", runs / "original"
    code, out, _ = ended(audit(runs, tmp_path / "apart", *bare, original=file), capsys)
    assert code == 0 and out.count("making a gold") == 1 and "coupling" not in out
    words = audit(runs, tmp_path / "coupled", *bare, "--start", str(folder / "start.safetensors"), original=file)
    code, out, _ = ended(words, capsys)
    own = read(folder / "history.json")["made"]["start"]
    assert code == 0 and "2 models to train" in out and starts(tmp_path / "coupled")["retrained"] == own
    digest = weights_digest(folder / "start.safetensors")
    assert f"# weights of initial weights: {digest}" in (tmp_path / "coupled" / "config.yaml").read_text()
    assert main(["verify", str(tmp_path / "coupled")]) == 0


def test_initial_weights_of_another_model_are_refused(
    runs: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = str(runs / "original" / "original.safetensors")
    code, out, err = ended(audit(runs, tmp_path / "audit", "--retrain.golds", "1", "--start", wrong), capsys)
    assert code == 2 and "the original's record names" in err and "making" not in out
    assert not cache.exists() and not (tmp_path / "audit").exists()


def test_a_project_file_names_the_start(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {
        "task": PROJECT[1],
        "data": PROJECT[3],
        "training": "{epochs: 3, lr: 0.01}",
        "model": runs / "original" / "original.safetensors",
        "start": runs / "original" / "start.safetensors",
        "retrain": "{golds: 1}",
    }
    monkeypatch.chdir(tmp_path)
    Path("unregress.yaml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
    words = ["audit", *REQUEST, "--metrics", "[Errors]", "--models.mine", str(runs / "FineTune"), "--output", "audit"]
    code, _, err = ended(words, capsys)
    assert (code, err) == (0, "")
    assert starts(tmp_path / "audit")["retrained"] == read(runs / "original" / "history.json")["made"]["start"]
