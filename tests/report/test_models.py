"""The models' table: all golds as one, costs beside the typical gold's."""

from __future__ import annotations

from dataclasses import replace

from support.hand_reports import GOLDS, HELPER, passes, with_no_gold, with_one_gold
from unregress.cost import Cost
from unregress.evidence import AuditReport, ModelRecord
from unregress.report.figures import GOLD, styles
from unregress.report.models import model_rows, typical_retraining


def costing(report: AuditReport, *costs: Cost | None) -> AuditReport:
    """The report where the golds cost so much."""
    by_name = dict(zip(GOLDS, costs, strict=True))
    return replace(
        report, models=tuple(replace(m, cost=by_name[m.name]) if m.role == "gold" else m for m in report.models)
    )


def test_golds_are_one_row(report: AuditReport) -> None:
    rows = model_rows(report, styles(report))
    assert [(row.name, row.label) for row in rows] == [
        ("original", ""),
        ("retrained", "5 golds"),
        ("FineTune", "unlearned"),
        ("Amnesiac", "unlearned"),
        ("Blindspot", "unlearned"),
        (HELPER, "reference"),
        ("constant", "reference"),
    ]
    assert (rows[1].style, rows[1].method, rows[1].passes, rows[1].seconds) == (GOLD, "Retrain", "960,000", "40.3")


def test_the_typical_gold_has_the_middle_cost(report: AuditReport) -> None:
    uneven = costing(report, passes(50, 1), passes(10, 9), None, passes(30, 2), passes(40, 1))
    found = typical_retraining(uneven)
    assert found is not None and found.cost == passes(30, 2)  # of 10, 30, 40, 50 the lower middle
    assert typical_retraining(costing(report, *[None] * 5)) is None
    assert typical_retraining(with_no_gold(report)) is None


def test_shares_of_a_retraining_that_took_nothing_are_unknown(report: AuditReport) -> None:
    free = costing(report, *[Cost()] * 5)
    assert {row.share for row in model_rows(free, styles(free))} == {"–"}


def test_golds_made_in_different_ways_are_said_to_be(report: AuditReport) -> None:
    other = ModelRecord(method="Retrain", settings={"lr": 1})
    odd = tuple(replace(m, record=other) if m.name == GOLDS[3] else m for m in report.models)
    made = model_rows(replace(report, models=odd), styles(report))[1]
    assert (made.method, made.settings) == ("made in different ways", ())


def test_one_gold(report: AuditReport) -> None:
    rows = model_rows(with_one_gold(report), styles(report))
    assert (rows[1].label, rows[1].seconds, rows[1].share) == ("1 gold", "39.7", "100 %")
