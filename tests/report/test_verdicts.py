"""Verdicts and their criteria as the reader sees them, by hand."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from math import inf

import pytest

from support.hand_reports import HELPER, criteria, with_no_gold
from unregress.evidence import AuditReport, Unit, Verdict
from unregress.evidence.rule import Rule
from unregress.report.verdicts import RULE, CriterionRow, rule_settings, verdict_rows

CRITERION = criteria(1.0, 1.0, 0.5, 1.0)[0]


def test_original_then_unlearned_then_references(report: AuditReport) -> None:
    found = verdict_rows(report)
    assert [(row.model, row.outcome) for row in found] == [
        ("original", "FAIL"),
        ("FineTune", "FAIL"),
        ("Amnesiac", "INCONCLUSIVE"),
        ("Blindspot", "PASS"),
        ("constant", "FAIL"),
        (HELPER, "FAIL"),
    ]
    assert [row.reason for row in found[:2]] == ["Reason for original.", "Reason for FineTune."]


def test_costs_stand_beside_where_they_are_known_and_were_for_forgetting(report: AuditReport) -> None:
    shares = {row.model: row.share for row in verdict_rows(report)}
    assert shares == {
        "original": "",
        "FineTune": "8.33 %",  # 80,000 of 960,000
        "Amnesiac": "",
        "Blindspot": "4.27 %",  # 41,000 of 960,000
        "constant": "",
        HELPER: "",
    }


def test_a_criterion_by_hand(report: AuditReport) -> None:
    criteria = verdict_rows(report)[1].criteria
    assert criteria[1] == CriterionRow(
        metric="mae",
        title="Mean absolute error",
        split="train-forget",
        question="Its error on the forgotten samples",
        value="50.0",
        gold="58.5",
        limits="53.4–63.6",
        outcome="remembers",
        crossed=True,
        noticed="more than 30 % kept",
    )
    assert criteria[0].question == "The distance from the retrained models'"
    assert [criterion.limits for criterion in criteria] == ["at most 5.66", "53.4–63.6", "0.250–0.750", "at most 33.0"]
    assert [criterion.crossed for criterion in criteria] == [False, True, False, False]


@pytest.mark.parametrize(("unit", "said"), [("kg", "kg"), (Unit.TARGET_SPREAD, "spreads")])
def test_a_unit_stands_after_the_values_of_errors_and_distances(report: AuditReport, unit: str, said: str) -> None:
    about = tuple(replace(each, unit=unit) if each.unit == Unit.TARGET else each for each in report.about)
    distance, error, attack, _ = verdict_rows(replace(report, about=about))[1].criteria
    assert (error.value, error.gold, error.limits) == (f"50.0 {said}", f"58.5 {said}", f"53.4–63.6 {said}")
    assert (distance.value, distance.limits) == (f"0.0481 {said}", f"at most 5.66 {said}")
    assert (attack.value, attack.gold, attack.limits) == ("0.610", "0.500", "0.250–0.750")
    none = Verdict(model="original", outcome="FAIL", reason="", criteria=(replace(CRITERION, low=None, high=None),))
    assert verdict_rows(replace(report, about=about, verdicts=(none,)))[0].criteria[0].limits == "–"


def test_what_would_be_noticed(report: AuditReport) -> None:
    criteria = verdict_rows(report)[0].criteria
    assert [criterion.noticed for criterion in criteria] == [
        "more than 25 % kept", "more than 30 % kept", "not even the original", "–",
    ]  # fmt: skip


@pytest.mark.parametrize(("low", "high", "limits"), [(None, None, "–"), (1.0, None, "at least 1.00")])
def test_limits_on_one_side_or_none(report: AuditReport, low: float | None, high: float | None, limits: str) -> None:
    criterion = replace(CRITERION, low=low, high=high)
    assert criterion.resolution == inf
    verdict = Verdict(model="original", outcome="FAIL", reason="", criteria=(criterion,))
    (criterion,) = verdict_rows(replace(report, verdicts=(verdict,), about=()))[0].criteria
    assert (criterion.limits, criterion.noticed, criterion.title) == (limits, "not even the original", "")


def test_every_setting_of_the_rule_is_explained(report: AuditReport) -> None:
    recorded = replace(report, settings={"rule": asdict(Rule())})
    assert [name for name, _, _ in rule_settings(recorded)] == [field.name for field in fields(Rule)]
    assert set(RULE) == {field.name for field in fields(Rule)}
    assert rule_settings(report)[0] == ("level", "0.05", RULE["level"])
    assert rule_settings(replace(report, settings={})) == ()


def test_without_golds_there_are_none(report: AuditReport) -> None:
    assert verdict_rows(with_no_gold(report)) == ()
