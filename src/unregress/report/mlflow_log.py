"""Log an audit to MLflow: verdicts as tags, numbers as metrics, page and JSON as artifacts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from unregress.errors import SettingError, TrackingError
from unregress.evidence import AuditReport
from unregress.report.card import model_card
from unregress.report.conclusion import conclusion
from unregress.report.render import render_html

if TYPE_CHECKING:
    from mlflow.entities import Run

FOLDER = "unregress"
"""Folder of the artifacts in a run."""
_LONGEST_TAG = 5000
_MOST_METRICS = 1000
"""Largest number of metrics that one call of MLflow's interface takes."""


def log_mlflow(report: AuditReport, run: Run | None = None) -> str:
    """Log an audit to a run of MLflow.

    Tags: `unregress.verdict.MODEL`, and `unregress.conclusion`, `.request_digest` and `.data_digest`.  Metrics:
    `METRIC/PART/MODEL`, with letters that MLflow does not allow replaced by `_`.  Artifacts, in the folder `unregress`:
    `audit.html`, `audit.json` and `card.md`.  Who asked is in `audit.json` and `audit.html` only.

    MLflow keeps runs in its tracking store, by default the SQLite file `mlflow.db` in the working folder; the extra
    `mlflow` brings the packages for it.  `mlflow.set_tracking_uri` and the environment's `MLFLOW_TRACKING_URI` name
    another.

    Args:
        report: the report of an audit.
        run: the run to log to; by default the active run, or a new one if there is none.

    Returns:
        The id of the run.

    Raises:
        SettingError: MLflow is not installed.
        TrackingError: MLflow cannot write to its tracking store, or to this run.
    """
    try:
        import mlflow  # takes seconds
    except ImportError as error:
        raise SettingError(
            "MLflow is not installed",
            expected="the package `mlflow-skinny`",
            remedy="`pip install 'unregress[mlflow]'`",
        ) from error
    with TemporaryDirectory() as place:
        _write(report, Path(place))
        try:
            return _log(report, run, place)
        except Exception as error:  # MLflow's, its database's, its artifact store's or the system's
            raise _not_logged(mlflow.get_tracking_uri(), error) from error


def _write(report: AuditReport, folder: Path) -> None:
    report.to_json(folder / "audit.json")
    render_html(report, folder / "audit.html")
    (folder / "card.md").write_text(model_card(report), encoding="utf-8")


def _log(report: AuditReport, run: Run | None, place: str) -> str:
    """Log tags, metrics and the files of a folder; the id of the run."""
    import mlflow

    if run is not None or (run := mlflow.active_run()) is not None:
        _log_to(run.info.run_id, report, place)
        return str(run.info.run_id)
    with mlflow.start_run(run_name=f"audit: {report.reason}"[:200]) as made:
        _log_to(made.info.run_id, report, place)
    return str(made.info.run_id)


def _log_to(run_id: str, report: AuditReport, place: str) -> None:
    import time

    from mlflow import MlflowClient
    from mlflow.entities import Metric, RunTag

    client, now = MlflowClient(), int(time.time() * 1000)
    metrics = [Metric(name, value, now, 0) for name, value in metrics_of(report).items()]
    tags = [RunTag(name, value) for name, value in tags_of(report).items()]
    client.log_batch(run_id, tags=tags)
    for start in range(0, len(metrics), _MOST_METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + _MOST_METRICS])
    client.log_artifacts(run_id, place, artifact_path=FOLDER)


def _not_logged(store: str, error: Exception) -> TrackingError:
    """The error of a store that cannot be written to, without passwords in addresses."""
    said = re.split(r"(?<=\.)\s|\n", str(error).strip(), maxsplit=1)[0] or type(error).__name__
    return TrackingError(
        re.sub(r"://[^/@\s]*@", "://…@", f"MLflow cannot log to {store}: {said}"),
        expected="a tracking store, and a run in it, that MLflow can write to",
        remedy="With the packages that `pip install 'unregress[mlflow]'` brings, "
        '`mlflow.set_tracking_uri("sqlite:///mlflow.db")` names one, a file',
    )


def tags_of(report: AuditReport) -> dict[str, str]:
    """The tags that are logged: the verdicts and what identifies the audit."""
    verdicts = {f"unregress.verdict.{allowed(verdict.model)}": str(verdict.outcome) for verdict in report.verdicts}
    own = {
        "unregress.conclusion": conclusion(report).headline,
        "unregress.reason": report.reason,
        "unregress.request_digest": report.request_digest,
        "unregress.data_digest": report.data_digest,
        "unregress.version": report.version,
    }
    return {name: value[:_LONGEST_TAG] for name, value in (verdicts | own).items()}


def metrics_of(report: AuditReport) -> dict[str, float]:
    """The metrics that are logged, by name; measurements without a value are left out."""
    return dict(_numbered(report))


def _numbered(report: AuditReport) -> Iterator[tuple[str, float]]:
    """Names and values; a name that occurs again gets a number, so that no value is lost."""
    seen: dict[str, int] = {}
    for measure in report.measures:
        if measure.value is None:
            continue
        name = allowed("/".join(part for part in (measure.metric, measure.split, measure.model) if part))
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name} {seen[name]}", measure.value


def allowed(name: str) -> str:
    """A name as MLflow allows it: letters, digits, `_`, `-`, `.`, space, `:` and `/`, at most 250 of them.

    >>> allowed("mae/train-forget/Blindspot's helper"), allowed("retrained #2")
    ('mae/train-forget/Blindspot_s helper', 'retrained _2')
    """
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII).strip("/. ")[:240] or "_"
