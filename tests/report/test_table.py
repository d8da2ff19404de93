"""The noise floor, bounds and notes of the table, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from report.by_hand import SELF, without
from unregress.evidence import AuditReport, Measure
from unregress.report.table import DASH, NO_FLOOR, NOT_MEASURED, Cell, Results, results


def cell(table: Results, metric: str, split: str, column: str) -> Cell:
    position = [c.name for c in table.columns].index(column)
    group = next(group for group in table.groups if group.about.metric == metric)
    return next(row for row in group.rows if row.split == split).cells[position]


def with_floor(report: AuditReport, *floor: tuple[float | None, str]) -> Cell:
    """The floor's cell where the further golds have the given values and bounds of W1."""
    names = ("gold 2", "gold 3", "gold 4")
    others = [m for m in report.measures if m.metric != "w1" or m.model not in names]
    made = [
        Measure(metric="w1", split="train-forget", model=name, value=value, bound=bound)  # type: ignore[arg-type]
        for name, (value, bound) in zip(names, floor, strict=True)
    ]
    table = results(replace(report, measures=(*others, *made)))
    return cell(table, "w1", "train-forget", "noise floor")


def test_columns_are_original_gold_floor_methods(report: AuditReport) -> None:
    shuffled = replace(report, models=report.models[::-1])
    names = [column.name for column in results(shuffled).columns]
    assert names == ["original", "gold", "noise floor", "Blindspot", "FineTune"]


def test_floor_is_median_and_range_of_further_golds(report: AuditReport) -> None:
    table = results(report)
    # sorted: 57, 59.75, 60.5, gold's own 58.25 left out
    assert cell(table, "mae", "train-forget", "noise floor") == Cell(text="59.8", spread="57.0–60.5")
    assert cell(table, "w1", "train-forget", "noise floor") == Cell(text="1.50", spread="1.39–2.08")
    assert cell(table, "steps", "validation-forget", "noise floor") == Cell(text="13", spread="10–14")


def test_floor_of_one_gold_has_no_range(report: AuditReport) -> None:
    table = results(without(report, "gold 3", "gold 4"))
    assert cell(table, "mae", "train-forget", "noise floor") == Cell(text="57.0")


def test_without_further_golds_the_floor_is_said_to_be_missing(report: AuditReport) -> None:
    table = results(without(report, "gold 2", "gold 3", "gold 4"))
    floor = cell(table, "mae", "train-forget", "noise floor")
    assert (floor.text, [table.notes[n - 1] for n in floor.notes]) == (DASH, [NO_FLOOR])


@pytest.mark.parametrize(
    ("floor", "text", "spread"),
    [
        # The third gold was cut off above the middle: the median stays exact, only the end is open.
        ([(3.0, "="), (5.0, "="), (8.0, ">=")], "5.00", "3.00 to ≥ 8.00"),
        # Cut off at the bottom: any of the three may be the median, and only 3 is sure.
        ([(3.0, ">="), (5.0, "="), (8.0, "=")], "≥ 5.00", "≥ 3.00 to ≥ 8.00"),
        ([(3.0, "<="), (5.0, "="), (8.0, "=")], "5.00", "≤ 3.00 to 8.00"),
        ([(5.0, "<="), (5.0, ">="), (5.0, "<=")], "≤ 5.00", "≤ 5.00 to ≥ 5.00"),
        ([(4.0, "<="), (6.0, ">="), (None, "=")], "≈ 5.00", "≤ 4.00 to ≥ 6.00"),
        ([(-3.0, "="), (5.0, "="), (None, "=")], "1.00", "−3.00 to 5.00"),
        ([(None, "="), (None, "="), (4.0, "=")], "4.00", ""),
        ([(None, "="), (None, "="), (None, "=")], DASH, ""),
    ],
)
def test_floor_of_bounds_and_missing_values(
    report: AuditReport, floor: list[tuple[float | None, str]], text: str, spread: str
) -> None:
    found = with_floor(report, *floor)
    assert (found.text, found.spread) == (text, spread)


def test_bounds_missing_values_and_their_notes(report: AuditReport) -> None:
    table = results(report)
    itself = cell(table, "w1", "train-forget", "gold")
    capped = cell(table, "steps", "validation-forget", "Blindspot")
    assert (itself.text, [table.notes[n - 1] for n in itself.notes]) == (DASH, [SELF])
    assert (capped.text, [table.notes[n - 1] for n in capped.notes]) == ("≥ 20", ["Cut off after 20 steps."])
    assert table.notes == (SELF, "Cut off after 20 steps.")


def test_equal_notes_share_a_number(report: AuditReport) -> None:
    measures = tuple(replace(measure, note=SELF) for measure in report.measures)
    table = results(replace(report, measures=measures))
    assert table.notes == (SELF,)


def test_what_was_not_measured_is_noted(report: AuditReport) -> None:
    fewer = tuple(m for m in report.measures if (m.metric, m.model) not in {("w1", "FineTune"), ("w1", "gold 2")})
    table = results(replace(report, measures=fewer))
    missing = cell(table, "w1", "train-forget", "FineTune")
    floor = cell(table, "w1", "train-forget", "noise floor")
    assert (missing.text, [table.notes[n - 1] for n in missing.notes]) == (DASH, [NOT_MEASURED])
    assert (floor.text, floor.spread) == (
        "1.79",
        "1.50–2.08",
    )  # of 1.5 and 2.08: the gold that is left out is noted
    assert [table.notes[n - 1] for n in floor.notes] == [NOT_MEASURED]


def test_a_measured_model_that_is_not_listed_still_has_its_column(report: AuditReport) -> None:
    extra = Measure(metric="w1", split="train-forget", model="constant", value=7.77)
    table = results(replace(report, measures=(*report.measures, extra)))
    assert cell(table, "w1", "train-forget", "constant").text == "7.77"


def test_rows_of_one_metric_stand_together(report: AuditReport) -> None:
    mixed = tuple(sorted(report.measures, key=lambda measure: measure.split))
    groups = results(replace(report, measures=mixed)).groups
    shape = {group.about.metric: [row.split for row in group.rows] for group in groups}
    assert shape == {
        "mae": ["train-forget", "train-retain"],
        "w1": ["train-forget"],
        "steps": ["validation-forget"],
    }
