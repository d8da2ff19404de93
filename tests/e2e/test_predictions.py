"""`unregress audit --predictions` from files to a verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.prediction_tables import written
from unregress.cli import main
from unregress.evidence import AuditReport

GOLDS = ["--golds", "gold-*.csv", "--data", "data.csv"]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    monkeypatch.chdir(tmp_path)


def test_from_files_to_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["audit", "--predictions", "original.csv,unlearned.csv", *GOLDS, "--output", "runs/audit"]
    assert main([*words, "--require", "pass"]) == 0
    assert "PASS" in capsys.readouterr().out
    folder = tmp_path / "runs" / "audit"
    report = AuditReport.from_json(folder / "audit.json")
    assert (report.verdict("original").outcome, report.verdict("unlearned").outcome) == ("FAIL", "PASS")
    assert len(report.golds) == 6
    page = (folder / "audit.html").read_text(encoding="utf-8")
    assert "unlearned.csv" in page and "Anamnesis index" in page
    assert main(["verify", str(folder)]) == 0
    assert main(["report", str(folder)]) == 0
    # The written configuration repeats the run.
    capsys.readouterr()
    assert main(["audit", "--config", str(folder / "config.yaml"), "--output", "runs/again"]) == 0
    again = AuditReport.from_json(tmp_path / "runs" / "again" / "audit.json")
    assert again == report


def test_required_to_pass(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--original", "unlearned", "--require", "pass", "--output", "runs/audit"]
    assert main(["audit", "--predictions", "original.csv,unlearned.csv", *GOLDS, *words]) == 3
    assert "original: FAIL" in capsys.readouterr().err


def test_a_configuration_names_the_models(tmp_path: Path) -> None:
    job = "predictions: {original: original.csv, mine: unlearned.csv}\ngolds: ['gold-*.csv']\ndata: data.csv\n"
    Path("job.yaml").write_text(job)
    assert main(["audit", "--config", "job.yaml", "--output", "runs/audit"]) == 0
    assert AuditReport.from_json(tmp_path / "runs" / "audit" / "audit.json").verdict("mine").outcome == "PASS"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--predictions", "original.csv", "--golds", "golden-*.csv"], "golden-*.csv"),
        (["--predictions", "none.csv", *GOLDS, "--original", "none"], "none.csv cannot be read"),
        (["--predictions", "original.csv,original.csv", *GOLDS], "'original'"),
        (["--predictions", "unlearned.csv", *GOLDS], "no model called 'original'"),
        (["--predictions", "original.csv", "--golds", "*.csv", "--data", "data.csv"], "given twice"),
        (["--predictions", "original.csv"], "`part`"),
        (["--predictions", "original.csv", *GOLDS, "--loss", "l7"], "loss"),
    ],
)
def test_bad_input_is_one_error_and_writes_nothing(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", *words, "--output", "runs/audit"]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not (tmp_path / "runs").exists()
