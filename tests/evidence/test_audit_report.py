"""Reports are written and read without loss, and nothing else is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import unregress
from support.bump_case import RELEARN, RUNTIME, small_case
from unregress.errors import SettingError, StaleError
from unregress.evidence import SCHEMA, AuditReport, Criterion, Measurement, Trace, Verdict
from unregress.evidence.verdict import judge
from unregress.metrics import default_metrics


@pytest.fixture(scope="module")
def report(case: unregress.Case, original: unregress.Unlearned, golds: list[unregress.Unlearned]) -> AuditReport:
    """Every kind of finding: bounds, missing values, notes, costs, thresholds, intervals, ranks, verdicts."""
    metrics = [RELEARN if isinstance(metric, unregress.Anamnesis) else metric for metric in default_metrics()]
    recipe = unregress.Recipe(epochs=1, batch_size=64)
    taught = unregress.Blindspot(layers=1, helper=recipe, recipe=recipe).unlearn(original.model, case, RUNTIME)
    models = {"original": original, "taught": taught}
    return unregress.audit(small_case(), models, RUNTIME, golds=golds[:5], metrics=metrics, caveats=["ein Häkchen ✓"])


@pytest.fixture
def written(report: AuditReport, tmp_path: Path) -> Path:
    path = tmp_path / "audit.json"
    report.to_json(path)
    return path


@pytest.mark.slow
def test_round_trip_is_exact(report: AuditReport, written: Path, tmp_path: Path) -> None:
    again = AuditReport.from_json(written)
    assert again == report
    again.to_json(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == written.read_bytes()


def test_it_holds_every_kind_of_finding(report: AuditReport) -> None:
    """Or else the round trip would show less than it seems to."""
    assert any(measure.value is None and measure.note for measure in report.measures)
    assert any(measure.interval is not None for measure in report.measures)
    assert {measure.p is None for measure in report.measures} == {True, False}
    assert any(figure.threshold is not None for figure in report.figures)
    assert any(model.cost is not None and model.deviations for model in report.models)
    criteria = [criterion for verdict in report.verdicts for criterion in verdict.criteria]
    assert {criterion.low is None for criterion in criteria} == {True, False}
    assert "FAIL" in {verdict.outcome for verdict in report.verdicts}


def test_intervals_ranks_and_verdicts_come_back_as_what_they_were(report: AuditReport, written: Path) -> None:
    again = AuditReport.from_json(written)
    assert {type(measure.interval) for measure in again.measures} == {tuple, type(None)}
    assert {type(verdict) for verdict in again.verdicts} == {Verdict}
    for verdict in again.verdicts:
        assert type(verdict.criteria) is tuple and all(type(one) is Criterion for one in verdict.criteria)
    assert judge(again, unregress.Rule()) == again.verdicts == report.verdicts


def test_bounds_notes_and_missing_values_survive(report: AuditReport, tmp_path: Path) -> None:
    odd = (
        Measurement(metric="ain", split="train-forget", model="taught", value=0.1 + 0.2, bound=">=", note="cut off"),
        Measurement(metric="ain", split="train-forget", model="original", value=None, bound="<="),
        Measurement(metric="auc", split="train-forget", model="taught", value=0.5, interval=(0.1 + 0.2, 0.7), p=1 / 3),
    )
    changed = replace(report, measures=odd, target_band=None, caveats=(), verdicts=())
    changed.to_json(tmp_path / "odd.json")
    assert AuditReport.from_json(tmp_path / "odd.json") == changed


def test_no_number_that_json_lacks_is_written(report: AuditReport, tmp_path: Path) -> None:
    nan = Measurement(metric="mae", split="train-forget", model="a", value=float("nan"))
    with pytest.raises(ValueError, match="JSON"):
        replace(report, measures=(nan,)).to_json(tmp_path / "nan.json")
    assert not (tmp_path / "nan.json").exists()


def edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[str], str]:
    def edit(text: str) -> str:
        data = json.loads(text)
        return json.dumps(change(data) or data)

    return edit


BROKEN: dict[str, Callable[[str], str]] = {
    "empty": lambda text: "",
    "cut off": lambda text: text[: len(text) // 2],
    "no JSON": lambda text: "<html></html>",
    "a list": lambda text: "[1, 2]",
    "a number": lambda text: "7",
    "another object": lambda text: '{"a": 1}',
    "another layout": edited(lambda data: data.update(schema=SCHEMA + 1)),
    "a field missing": edited(lambda data: data.pop("measures") and None),
    "a field too many": edited(lambda data: data.update(verdict="PASS")),
    "models that are none": edited(lambda data: data.update(models=[1])),
    "half a model": edited(lambda data: data["models"][0].pop("role") and None),
    "half a measure": edited(lambda data: data["measures"][0].pop("split") and None),
    "a figure without curves": edited(lambda data: data["figures"][0].pop("curves") and None),
    "half an interval": edited(lambda data: data["measures"][0].update(interval=[1.0])),
    "half a verdict": edited(lambda data: data["verdicts"][0].pop("reason") and None),
    "a verdict without criteria": edited(lambda data: data["verdicts"][0].pop("criteria")),
    "half a criterion": edited(lambda data: data["verdicts"][0]["criteria"][0].pop("gold") and None),
    "half a band": edited(lambda data: data.update(target_band=[1.0])),
    "no measures": edited(lambda data: data.update(measures=None)),
    "a cost that is a number": edited(lambda data: data["models"][0].update(cost=5)),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_report_of_this_layout_is_refused(written: Path, kind: str) -> None:
    written.write_text(BROKEN[kind](written.read_text(encoding="utf8")), encoding="utf8")
    with pytest.raises(StaleError) as refused:
        AuditReport.from_json(written)
    assert written.name in str(refused.value) and "audit again" in str(refused.value)


@pytest.mark.parametrize("layout", [3, 4])
def test_a_report_of_an_earlier_layout_keeps_the_text_on_how_models_were_made(
    report: AuditReport, written: Path, layout: int
) -> None:
    data = json.loads(written.read_text(encoding="utf8"))
    data["schema"] = layout
    for model in data["models"]:
        model["method"] = f"Made({model['name']})" if model.pop("record") else ""
        if layout == 3:
            model.pop("file")
    if layout == 3:
        data.pop("date"), data.pop("earlier")
    written.write_text(json.dumps(data), encoding="utf8")
    again = AuditReport.from_json(written)
    assert again.date == ("" if layout == 3 else report.date)
    assert replace(again, date=report.date, models=report.models) == report
    kinds = {"original": "trained", "gold": "retrained", "unlearned": "unlearned", "reference": "computed"}
    for model, before in zip(again.models, report.models, strict=True):
        assert (model.record is None) == (before.record is None)
        if model.record is not None:
            assert str(model.record) == model.record.method == f"Made({model.name})"
            assert model.record.kind == kinds[model.role]


def test_a_report_of_an_earlier_layout_is_checked_too(written: Path) -> None:
    data = json.loads(written.read_text(encoding="utf8"))
    data["schema"] = 4
    for model in data["models"]:
        model["method"] = model.pop("record") and 5
    written.write_text(json.dumps(data), encoding="utf8")
    with pytest.raises(StaleError) as refused:
        AuditReport.from_json(written)
    assert "models[0].record" in refused.value.found


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "absent.json", tmp_path, tmp_path / "binary"):
        with pytest.raises(StaleError, match="audit again"):
            AuditReport.from_json(path)


def test_rows_and_lookups(report: AuditReport) -> None:
    rows = [(about.metric, split) for about, split in report.rows()]
    assert len(rows) == len(set(rows)) and set(rows) == {(m.metric, m.split) for m in report.measures}
    first = report.measures[0]
    assert report.measure(first.metric, first.split, first.model) == first
    with pytest.raises(KeyError, match="no measure 'mea'"):
        report.value("mea", first.split, first.model)
    assert report.golds == ["retrained", "retrained #2", "retrained #3", "retrained #4", "retrained #5"]
    assert report.over_golds("w1", "train-forget") == [
        report.value("w1", "train-forget", name) for name in report.golds
    ]
    assert report.over_golds("mea", "train-forget") == []
    assert report.named("original", "unlearned") == ["original", "taught"]
    assert report.named("reference") == ["taught's helper", "constant"]
    assert report.verdict("taught") == report.verdicts[1]
    with pytest.raises(KeyError, match="no verdict on model 'retrained'"):
        report.verdict("retrained")


def test_the_only_unlearned_model_needs_no_name(report: AuditReport) -> None:
    assert report.verdict() == report.verdict("taught")
    for role in ("reference", "original"):
        models = tuple(replace(m, role=role) if m.name == "taught" else m for m in report.models)
        with pytest.raises(SettingError) as none:
            replace(report, models=models).verdict()
        assert none.value.found.startswith("The report is about 0")
    twice = tuple(replace(m, role="unlearned") if m.name == "constant" else m for m in report.models)
    with pytest.raises(SettingError) as two:
        replace(report, models=twice).verdict()
    assert "taught, constant" in two.value.found


ADDED = ("requested_by", "requested_on", "not_found", "traces")


def test_what_was_added_later_may_be_missing_and_is_checked(report: AuditReport, tmp_path: Path) -> None:
    trace = Trace(what="scaler", name="scaler.pkl", why="It was fitted on them.", sha256="ab" * 32)
    full = replace(report, requested_by="a patient", requested_on="2026-01-31", not_found=("One id.",), traces=(trace,))
    full.to_json(tmp_path / "full.json")
    assert AuditReport.from_json(tmp_path / "full.json") == full
    data = json.loads((tmp_path / "full.json").read_text())
    for name in ADDED:
        del data[name]
    for verdict in data["verdicts"]:
        del verdict["obstacle"], verdict["golds_needed"]
    (tmp_path / "old.json").write_text(json.dumps(data))
    old = AuditReport.from_json(tmp_path / "old.json")
    assert [getattr(old, name) for name in ADDED] == ["", "", (), ()]
    assert {verdict.obstacle for verdict in old.verdicts} == {None}
    for wrong in (replace(full, requested_on="31 January"), replace(full, traces=(replace(trace, sha256="ab"),))):
        wrong.to_json(tmp_path / "wrong.json")
        with pytest.raises(StaleError):
            AuditReport.from_json(tmp_path / "wrong.json")


def test_values_that_do_not_exist_are_left_out_of_the_golds(report: AuditReport) -> None:
    measures = tuple(
        replace(measure, value=None) if measure.model == "retrained #2" else measure for measure in report.measures
    )
    assert len(replace(report, measures=measures).over_golds("w1", "train-forget")) == 4
