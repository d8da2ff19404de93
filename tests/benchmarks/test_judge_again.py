"""Committed verdicts are those of the present rule, and a table holds what an audit's verdict reads."""

from __future__ import annotations

import json

import pytest
import table_reports
from judge_again import RESULTS, judged_again

from unregress import Rule
from unregress.evidence import CONSTANT, AuditReport

AUDITED = sorted(each.parent.name for each in RESULTS.glob("*/audits"))
TABLED = sorted(each.parent.name for each in RESULTS.glob("*/result.json") if each.parent.name not in AUDITED)


@pytest.mark.parametrize("name", AUDITED)
def test_an_audit_s_verdicts_are_the_present_rule_s(name: str) -> None:
    found = AuditReport.from_json(RESULTS / name / "audits" / "seed-0.json")
    assert judged_again(found, Rule()).verdicts == found.verdicts


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLED)
def test_without_audits_they_are_those_of_the_table(name: str) -> None:
    record = json.loads((RESULTS / name / "result.json").read_text(encoding="utf-8"))
    stages = [[judged_again(report, Rule()) for report in seeds] for seeds in table_reports.reports(record)]
    assert record["verdicts"]
    for each in record["verdicts"]:
        of_seeds = [report.verdict(each["model"]) for report in stages[each["stage"] - 1]]
        assert [verdict.outcome for verdict in of_seeds] == each["outcomes"]
        assert of_seeds[0].reason == each["reason"]


@pytest.mark.parametrize("name", [*AUDITED, *TABLED])
def test_a_constant_passes_on_no_data_set(name: str) -> None:
    """Where golds have no more skill on what is kept than a constant, as below 2 on STS-B, nobody can be judged."""
    told = json.loads((RESULTS / name / "result.json").read_text(encoding="utf-8"))["verdicts"]
    (constant,) = {outcome for each in told if each["model"] == CONSTANT for outcome in each["outcomes"]}
    assert constant == ("INCONCLUSIVE" if name.startswith("stsb-0-2") else "FAIL")


@pytest.mark.parametrize("name", ["utkface-60-100", "stsb-random-1000-tuned"])
def test_a_table_gives_the_outcomes_of_its_audits(name: str) -> None:
    """But for reasons: of golds it holds the first seed's draws."""
    folder = RESULTS / name
    ((first, *_),) = table_reports.reports(json.loads((folder / "result.json").read_text(encoding="utf-8")))
    audit = AuditReport.from_json(folder / "audits" / "seed-0.json")
    rebuilt = judged_again(first, Rule())
    assert {each.model: each.outcome for each in rebuilt.verdicts} == {
        each.model: each.outcome for each in audit.verdicts
    }
    assert first.golds == audit.golds
