"""No edit of a single field of an audit.json ends in a traceback or puts control characters or tags on the page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from support.hand_reports import GOLDS, HELPER, without
from support.report_edits import edits
from unregress.cli import main
from unregress.cli.commands.audit import report as command
from unregress.errors import StaleError
from unregress.evidence import AuditReport


@pytest.fixture
def data(report: AuditReport) -> dict[str, Any]:
    """A report with one of everything: smaller than the other tests', for it is edited in every field."""
    few = without(report, *GOLDS[2:], "FineTune", "Amnesiac", HELPER)
    chosen = {("mae", "train-forget"), ("auc", "train-forget"), ("steps", "validation-forget")}
    few = replace(
        few,
        about=tuple(about for about in few.about if about.metric != "w1"),
        measures=tuple(m for m in few.measures if (m.metric, m.split) in chosen),
        figures=(replace(few.figures[1], curves=few.figures[1].curves[:1]),),
        verdicts=tuple(replace(verdict, criteria=verdict.criteria[1:3]) for verdict in few.verdicts),
    )
    plain: dict[str, Any] = json.loads(json.dumps(asdict(few)))
    return plain


@pytest.mark.slow
def test_every_edit_is_shown_or_refused_by_name(
    data: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fourth of all edits: four is no divisor of the number of kinds, so that each kind and each field occur."""
    path, page = tmp_path / "audit.json", tmp_path / "page.html"
    outcomes: Counter[str] = Counter()
    for edit in islice(edits(data), 0, None, 4):
        edited = edit.of(data)
        if edit.path[0] != "figures" and edited.get("figures"):
            edited["figures"] = []  # drawing takes long, and nothing outside a figure decides how
        path.write_text(json.dumps(edited), encoding="utf-8")
        try:
            command(path, output=page)
        except StaleError as refused:
            assert edit.field in str(refused), edit
            outcomes["refused"] += 1
            continue
        outcomes["shown"] += 1
        html, table = page.read_text(encoding="utf-8"), capsys.readouterr().out
        assert not set("\x00\x1b\r\x9b\u202e") & set(html + table), edit
        assert "<script" not in html, edit
    assert outcomes.total() >= 705
    assert outcomes["refused"] > outcomes["shown"] > 100


NOT_A_REPORT: dict[str, Callable[[str], str | bytes]] = {
    "100,000 brackets": lambda text: "[" * 100_000,
    "100,000 objects": lambda text: '{"a":' * 100_000,
    "brackets in a setting": lambda text: text.replace('"seed": 7', f'"seed": {"[" * 90}{"]" * 90}'),
    "not UTF-8": lambda text: b"\xff" + text.encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "a number": lambda text: "7",
    "null": lambda text: "null",
    "NaN": lambda text: text.replace("41.5", "NaN"),
    "an infinity": lambda text: text.replace("41.5", "-Infinity"),
    "a number beyond the range": lambda text: text.replace("41.5", "1e999"),
    "a field twice": lambda text: text.replace('"version":', '"version": "9", "version":'),
    "a layout that is text": lambda text: text.replace('"schema": 5', '"schema": "5"'),
}


@pytest.mark.parametrize("kind", NOT_A_REPORT)
def test_what_is_not_a_report_is_refused(
    kind: str, data: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, path = json.dumps(data), tmp_path / "audit.json"
    edited = NOT_A_REPORT[kind](text)
    assert edited != text
    path.write_bytes(edited.encode() if isinstance(edited, str) else edited)
    assert main(["report", str(path)]) == 2
    assert "audit.json" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]


CONTRADICTIONS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "two models of one name": (lambda data: data["models"][1].update(name="original"), "models[1].name repeats"),
    "no original": (lambda data: data["models"][0].update(role="unlearned"), "0 of role 'original'"),
    "two originals": (lambda data: data["models"][1].update(role="original"), "2 of role 'original'"),
    "a measure twice": (lambda data: data["measures"].append(data["measures"][0]), "repeats measures[0]"),
    "a measure that nothing explains": (lambda data: data["measures"][0].update(metric="x"), "measures[0].metric"),
    "a measure of a stranger": (lambda data: data["measures"][0].update(model="x"), "measures[0].model is 'x'"),
    "a curve of a stranger": (lambda data: data["figures"][0]["curves"][0].update(model="x"), "curves[0].model"),
    "half a curve": (lambda data: data["figures"][0]["curves"][0]["x"].pop(), "figures[0].curves[0] has"),
    "a verdict on a stranger": (lambda data: data["verdicts"][0].update(model="x"), "verdicts[0].model is 'x'"),
    "a verdict left out": (lambda data: data["verdicts"].pop(), "verdicts holds none for the model 'Blindspot'"),
    "a FAIL made a PASS": (lambda data: data["verdicts"][1].update(outcome="PASS"), "verdicts[1].outcome is 'PASS'"),
    "a criterion that nothing explains": (
        lambda data: data["verdicts"][0]["criteria"][0].update(metric="x"), "verdicts[0].criteria[0].metric",
    ),
    "limits upside down": (lambda data: data.update(target_band=[2, 1]), "target_band has low 2 and high 1"),
    "fewer than no samples": (lambda data: data["samples"].update(test=-1), "samples['test'] is -1"),
    "a cost below nothing": (lambda data: data["models"][0]["cost"].update(forward=-1), "models[0].cost"),
    "no probability": (lambda data: data["measures"][0].update(p=1.5), "measures[0].p is 1.5"),
    "a digest that is none": (lambda data: data["models"][0]["file"].update(sha256="AB"), "models[0].file.sha256"),
    "a file without a name": (lambda data: data["models"][0]["file"].update(name=""), "models[0].file.name"),
    "a day that is none": (lambda data: data.update(date="2026-02-30"), "date is '2026-02-30'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_what_contradicts_itself_is_refused(kind: str, data: dict[str, Any], tmp_path: Path) -> None:
    change, named = CONTRADICTIONS[kind]
    change(data)
    (tmp_path / "audit.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(StaleError) as refused:
        AuditReport.from_json(tmp_path / "audit.json")
    assert named in str(refused.value)


def test_several_fields_are_named_at_once(data: dict[str, Any], tmp_path: Path) -> None:
    data["verdicts"][1]["criteria"][0]["value"] = "text"
    del data["reason"]
    (tmp_path / "audit.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(StaleError, match=r"reason is missing; verdicts\[1\]\.criteria\[0\]\.value is 'text', expected"):
        AuditReport.from_json(tmp_path / "audit.json")
