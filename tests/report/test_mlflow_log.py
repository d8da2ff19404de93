"""Audits in MLflow: tags, metrics and artifacts of a run, in a folder and in the databases that the docs name."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import unregress
from unregress.errors import SettingError, TrackingError
from unregress.evidence import AuditReport, Measurement
from unregress.report.mlflow_log import FOLDER, allowed, metrics_of

mlflow = pytest.importorskip("mlflow")
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder as MLflow's tracking store, which MLflow must be told to allow: a database takes seconds to make."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(tmp_path.joinpath("mlruns").as_uri())
    yield
    mlflow.set_tracking_uri(before)


def artifacts(run_id: str) -> dict[str, str]:
    client = mlflow.MlflowClient()
    found = {}
    for each in client.list_artifacts(run_id, FOLDER):
        found[each.path] = Path(client.download_artifacts(run_id, each.path)).read_text(encoding="utf-8")
    return found


@pytest.mark.usefixtures("store")
def test_verdicts_numbers_page_and_json_are_logged_to_a_new_run(report: AuditReport, tmp_path: Path) -> None:
    run_id = report.log_mlflow()
    run = mlflow.get_run(run_id)
    assert mlflow.active_run() is None and run.info.status == "FINISHED"
    assert run.data.tags["unregress.verdict.Blindspot"] == "PASS"
    assert run.data.tags["unregress.verdict.FineTune"] == "FAIL"
    assert run.data.tags["unregress.request_digest"] == report.request_digest
    assert run.data.metrics == metrics_of(report)
    assert run.data.metrics["mae/train-forget/Blindspot"] == 60.9
    files = artifacts(run_id)
    assert sorted(files) == ["unregress/audit.html", "unregress/audit.json", "unregress/card.md"]
    assert files["unregress/audit.html"] == report.to_html()
    (tmp_path / "audit.json").write_text(files["unregress/audit.json"], encoding="utf-8")
    assert AuditReport.from_json(tmp_path / "audit.json") == report


@pytest.mark.usefixtures("store")
def test_the_active_run_and_a_given_run_are_used_and_stay_open(report: AuditReport) -> None:
    with mlflow.start_run() as run:
        assert unregress.log_mlflow(report) == run.info.run_id
        assert mlflow.active_run().info.run_id == run.info.run_id
    given = mlflow.MlflowClient().create_run("0")
    assert report.log_mlflow(given) == given.info.run_id
    assert mlflow.get_run(given.info.run_id).data.tags["unregress.verdict.original"] == "FAIL"


@pytest.mark.slow  # MLflow makes the tables of two databases
def test_the_default_store_and_the_documented_one_work_without_further_settings(
    report: AuditReport, tmp_path: Path
) -> None:
    page = (DOCS / "reading-an-audit.md").read_text(encoding="utf-8")
    (documented,) = re.findall(r"```python\n(import mlflow\n.*?)```", page, flags=re.DOTALL)
    report.to_json(tmp_path / "audit.json")
    start = "from unregress.evidence import AuditReport\nreport = AuditReport.from_json('audit.json')\n"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    for code, file in (("report.log_mlflow()", "mlflow.db"), (documented, "audits.db")):
        command = [sys.executable, "-c", start + code]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=600)
        with closing(sqlite3.connect(tmp_path / file)) as database:
            tags = dict(database.execute("SELECT key, value FROM tags"))
            (metrics,) = database.execute("SELECT count(*) FROM metrics").fetchone()
        assert tags["unregress.verdict.Blindspot"] == "PASS" and metrics == len(metrics_of(report))
    assert len(list(tmp_path.glob("mlruns/**/unregress/card.md"))) == 2


def test_a_store_that_cannot_be_written_to_is_told_with_a_remedy(
    report: AuditReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    before = mlflow.get_tracking_uri()
    try:
        for store in (tmp_path.joinpath("runs").as_uri(), "bogus://user:secret@host/audits"):
            mlflow.set_tracking_uri(store)
            with pytest.raises(TrackingError) as caught:
                report.log_mlflow()
            assert store.removeprefix("bogus://user:secret") in caught.value.found
            assert "secret" not in str(caught.value)
            assert "sqlite:///mlflow.db" in caught.value.remedy and "unregress[mlflow]" in caught.value.remedy
    finally:
        mlflow.set_tracking_uri(before)
    assert mlflow.active_run() is None


@pytest.mark.usefixtures("store")
def test_a_run_that_is_not_in_the_store_is_told(report: AuditReport) -> None:
    client = mlflow.MlflowClient()
    given = client.create_run("0")
    client.delete_run(given.info.run_id)
    with pytest.raises(TrackingError, match=given.info.run_id):
        report.log_mlflow(given)


def test_names_are_those_that_mlflow_allows_and_none_is_lost(report: AuditReport) -> None:
    from mlflow.utils.validation import _validate_metric_name

    for name in (*metrics_of(report), allowed("ärger; {x} \n" * 50), allowed("../.."), allowed("")):
        _validate_metric_name(name)
    twins = tuple(Measurement(metric="m", split="s", model=name, value=n) for n, name in enumerate(("a?", "a!")))
    assert metrics_of(replace(report, measures=twins)) == {"m/s/a_": 0, "m/s/a_ 2": 1}


def test_without_mlflow_the_error_says_what_to_install(report: AuditReport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(SettingError) as caught:
        report.log_mlflow()
    assert "unregress[mlflow]" in caught.value.remedy


def test_mlflow_is_imported_only_when_it_is_used() -> None:
    code = "import sys, unregress; unregress.render_html; unregress.log_mlflow; print('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
