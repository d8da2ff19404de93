"""The golds' column, bounds, small print and notes of the table, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.hand_reports import CAPPED, GOLDS, HELPER, PAIRS, with_no_gold, with_one_gold, without
from unregress.evidence import AuditReport, Measurement
from unregress.report.formatting import DASH
from unregress.report.table import (
    NO_OTHER,
    NOT_ALL_MEASURED,
    NOT_MEASURED,
    RETRAINED,
    Cell,
    Results,
    Row,
    results,
)


def row(table: Results, metric: str, split: str) -> Row:
    group = next(group for group in table.groups if group.about.metric == metric)
    return next(row for row in group.rows if row.split == split)


def cell(table: Results, metric: str, split: str, column: str) -> Cell:
    position = [c.name for c in table.columns].index(column)
    return row(table, metric, split).cells[position]


def said(table: Results, found: Cell) -> list[str]:
    return [table.notes[number - 1] for number in found.notes]


def with_w1(report: AuditReport, *golds: tuple[float | None, str]) -> Results:
    """The table where the first three golds have the given values and bounds of W1, and there are no others."""
    fewer = without(report, *GOLDS[3:])
    others = [m for m in fewer.measures if m.metric != "w1" or m.model not in GOLDS]
    made = [
        Measurement(metric="w1", split="train-forget", model=name, value=value, bound=bound)  # type: ignore[arg-type]
        for name, (value, bound) in zip(GOLDS, golds, strict=False)
    ]
    return results(replace(fewer, measures=(*others, *made)))


def test_columns_are_original_golds_methods_references(report: AuditReport) -> None:
    shuffled = replace(report, models=report.models[::-1])
    columns = results(shuffled).columns
    assert [column.name for column in columns] == [
        "original", RETRAINED, "Blindspot", "Amnesiac", "FineTune", "constant", HELPER,
    ]  # fmt: skip
    assert [column.role for column in columns] == [
        "original", "gold", "unlearned", "unlearned", "unlearned", "reference", "reference",
    ]  # fmt: skip


def test_the_golds_heading_says_what_its_numbers_are(report: AuditReport) -> None:
    asides = [results(each).columns[1].aside for each in (report, with_one_gold(report), with_no_gold(report))]
    assert asides == ["5 golds: median, range; of distances, the noise floor", "1 gold", ""]


def test_golds_are_median_and_range(report: AuditReport) -> None:
    table = results(report)
    assert cell(table, "mae", "train-forget", RETRAINED) == Cell(text="58.9", spread="57.0–60.5")
    assert cell(table, "w1", "train-forget", RETRAINED) == Cell(text="1.60", spread="1.39–2.08")
    assert cell(table, "steps", "validation-forget", RETRAINED) == Cell(text="12", spread="10–14")


def test_one_gold_has_its_value_and_no_distance(report: AuditReport) -> None:
    table = results(with_one_gold(report))
    alone = cell(table, "w1", "train-forget", RETRAINED)
    assert cell(table, "mae", "train-forget", RETRAINED) == Cell(text="58.2")
    assert (alone.text, said(table, alone)) == (DASH, [NO_OTHER])
    assert not table.shows("ratio") and not table.shows("p") and table.shows("interval")


def test_without_golds_there_is_no_such_column(report: AuditReport) -> None:
    table = results(with_no_gold(report))
    assert [column.name for column in table.columns] == [
        "original", "FineTune", "Amnesiac", "Blindspot", HELPER, "constant",
    ]  # fmt: skip


def test_ratios_to_the_floor_are_of_distances_only(report: AuditReport) -> None:
    table = results(report)
    ratios = {c.name: cell(table, "w1", "train-forget", c.name).ratio for c in table.columns}
    assert ratios == {
        "original": "14 × floor",  # 21.9 / 1.6 = 13.7
        RETRAINED: "",
        "FineTune": "0.03 × floor",
        "Amnesiac": "1.0 × floor",
        "Blindspot": "2.9 × floor",  # 4.63 / 1.6 = 2.894
        HELPER: "5.0 × floor",
        "constant": "20 × floor",
    }
    assert not any(each.ratio for split in ("train-retain", "train-forget") for each in row(table, "mae", split).cells)


def test_ratios_of_bounds(report: AuditReport) -> None:
    bounded = tuple(replace(m, bound=">=") if m.model == "Blindspot" else m for m in report.measures)
    table = results(replace(report, measures=bounded))
    assert cell(table, "w1", "train-forget", "Blindspot").ratio == "≥ 2.9 × floor"


@pytest.mark.parametrize(
    ("golds", "ratio"),
    [
        ([(2.0, "="), (1.0, "="), (8.0, ">=")], "2.3 × floor"),  # the median 2.0 is exact
        ([(2.0, ">="), (1.0, "="), (8.0, "=")], ""),  # any up to 8.0 may be the median
        ([(0.0, "="), (0.0, "="), (1.0, "=")], ""),  # no multiples of nothing
        ([(None, "="), (None, "="), (None, "=")], ""),
    ],
)
def test_no_ratio_to_a_floor_that_is_not_known(
    report: AuditReport, golds: list[tuple[float | None, str]], ratio: str
) -> None:
    assert cell(with_w1(report, *golds), "w1", "train-forget", "Blindspot").ratio == ratio


def test_intervals_and_ranks_stand_beneath_the_number(report: AuditReport) -> None:
    table = results(report)
    assert cell(table, "auc", "train-forget", "FineTune").asides == ("[0.560–0.655]", "p = 0.17")
    assert cell(table, "auc", "train-forget", "Amnesiac").asides == ("p = 1",)
    assert cell(table, "w1", "train-forget", "Blindspot").asides == ("2.9 × floor", "p = 0.5")
    assert cell(table, "auc", "train-forget", RETRAINED).asides == ("0.480–0.520",)
    assert cell(table, "mae", "train-forget", "constant").asides == ()


@pytest.mark.parametrize(
    ("golds", "text", "spread"),
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
def test_golds_of_bounds_and_missing_values(
    report: AuditReport, golds: list[tuple[float | None, str]], text: str, spread: str
) -> None:
    found = cell(with_w1(report, *golds), "w1", "train-forget", RETRAINED)
    assert (found.text, found.spread) == (text, spread)


def test_bounds_and_missing_values_are_noted(report: AuditReport) -> None:
    table = results(report)
    capped = cell(table, "steps", "validation-forget", "Blindspot")
    missing = cell(table, "steps", "validation-forget", "constant")
    assert (capped.text, said(table, capped)) == ("≥ 20", [CAPPED])
    assert (missing.text, said(table, missing)) == (DASH, [NOT_MEASURED])
    assert table.notes == (PAIRS, CAPPED, NOT_MEASURED)


def test_a_note_to_every_model_stands_at_the_row_once(report: AuditReport) -> None:
    table = results(report)
    attack = row(table, "auc", "train-forget")
    assert [table.notes[number - 1] for number in attack.notes] == [PAIRS]
    assert not any(each.notes for each in attack.cells)
    assert row(table, "steps", "validation-forget").notes == ()


def test_equal_notes_share_a_number(report: AuditReport) -> None:
    measures = tuple(replace(measure, note=PAIRS) for measure in report.measures)
    assert results(replace(report, measures=measures)).notes == (PAIRS, NOT_MEASURED)


def test_a_gold_that_was_not_measured_is_noted(report: AuditReport) -> None:
    fewer = tuple(m for m in report.measures if (m.metric, m.model) != ("w1", GOLDS[1]))
    table = results(replace(report, measures=fewer))
    found = cell(table, "w1", "train-forget", RETRAINED)
    assert (found.text, found.spread) == ("1.55", "1.39–1.80")  # of 1.39, 1.5, 1.6, 1.8
    assert said(table, found) == [NOT_ALL_MEASURED]


def test_a_measured_model_that_is_not_listed_still_has_its_column(report: AuditReport) -> None:
    extra = Measurement(metric="w1", split="train-forget", model="stranger", value=7.77)
    table = results(replace(report, measures=(*report.measures, extra)))
    assert cell(table, "w1", "train-forget", "stranger").text == "7.77"


def test_rows_of_one_metric_stand_together(report: AuditReport) -> None:
    mixed = tuple(sorted(report.measures, key=lambda measure: measure.split))
    groups = results(replace(report, measures=mixed)).groups
    shape = {group.about.metric: [row.split for row in group.rows] for group in groups}
    assert shape == {
        "mae": ["train-forget", "train-retain"],
        "w1": ["train-forget"],
        "auc": ["train-forget"],
        "steps": ["validation-forget"],
    }
