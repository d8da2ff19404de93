"""The command `unregress method`, on small audits written by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from support.hand_reports import bare_report
from unregress.cli.dispatch import dispatch
from unregress.evidence import AuditedModel, Measurement, MetricInfo, Unit, Verdict

GOLDS = (30.0, 31.0, 32.0, 33.0, 34.0)
ABOUT = MetricInfo(metric="mae", title="Error", meaning="Error.", ideal="0.", unit=Unit.TARGET, source="by hand")


@pytest.fixture
def audits(tmp_path: Path) -> list[str]:
    """Three audits of two methods by the same golds: `far` errs by less than all golds, `near` as they do."""
    paths = []
    for number in range(3):
        rows = {"original": 10.0 + number, "far": 27.0 + number, "near": 31.2 + number / 2}
        rows |= {f"gold {n}": value for n, value in enumerate(GOLDS)}
        models = [
            AuditedModel(
                name=name, role={"original": "original", "far": "unlearned", "near": "unlearned"}.get(name, "gold")
            )  # type: ignore[arg-type]
            for name in rows
        ]
        found = [
            Measurement(metric="mae", split="train-forget", model=name, value=value) for name, value in rows.items()
        ]
        verdicts = tuple(
            Verdict(model=name, outcome="PASS", reason="By itself.", criteria=())
            for name in ("original", "far", "near")
        )
        report = replace(bare_report(models, found), about=(ABOUT,), verdicts=verdicts)
        paths.append(str(tmp_path / f"audit-{number}.json"))
        report.to_json(paths[-1])
    return paths


def test_audits_of_three_seeds_are_judged_together(audits: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["method", *audits, "--model", "far"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("FAIL  far: Together its models are told from retrained ones")
    assert "mae on train-forget: p = 0.0357" in said  # 2 of 56


def test_a_folder_stands_for_its_audit(audits: list[str], tmp_path: Path) -> None:
    folders = []
    for number, path in enumerate(audits):
        (folder := tmp_path / f"run-{number}").mkdir()
        Path(path).rename(folder / "audit.json")
        folders.append(str(folder))
    assert dispatch(["method", *folders, "--model", "near", "--require", "pass"]) == 0


@pytest.mark.parametrize(("model", "code"), [("far", 3), ("near", 0)])
def test_a_pass_can_be_required(audits: list[str], model: str, code: int) -> None:
    assert dispatch(["method", *audits, "--model", model, "--require", "pass"]) == code


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["{0}", "--model", "near"], "1 audits"),
        (["{0}", "{1}"], "2 unlearned models"),
        (["{0}", "{0}", "--model", "near"], "audits 1 and 2 are about the same model"),
        (["{0}", "{1}", "--model", "near", "--measures", "[mae]"], "`measures` holds 'mae'"),
        (["nowhere.json", "--model", "near"], "nowhere.json"),
    ],
)
def test_bad_input_is_refused(
    audits: list[str], words: list[str], found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["method", *(word.format(*audits) for word in words)]) == 2
    assert found in capsys.readouterr().err
