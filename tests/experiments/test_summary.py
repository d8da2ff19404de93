"""Means, spreads, floors and bounds by hand; the paper's numbers in the right cells and in no other."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from support.face_images import FAMILY
from support.hand_experiments import FIRST, SECOND, experiment, report, reports
from unregress.evidence import RETRAINED
from unregress.experiments.summary import DASH, Cell, Row, comma_separated, judged, markdown, summarise

RUNS = [f"run {number}" for number in range(1, 5)]


@pytest.fixture
def rows() -> tuple[Row, ...]:
    return summarise(experiment(), FAMILY, [reports()])


def row(rows: tuple[Row, ...], metric: str, split: str, stage: int = 1) -> Row:
    (found,) = [each for each in rows if (each.stage, each.metric, each.split) == (stage, metric, split)]
    return found


def test_every_measure_is_a_row_in_its_order(rows: tuple[Row, ...]) -> None:
    assert [(each.metric, each.split) for each in rows] == list(FIRST)
    assert {each.stage for each in rows} == {1}
    assert row(rows, "w1", "train-forget").title == "Wasserstein distance"


def test_values_mean_and_spread_by_hand(rows: tuple[Row, ...]) -> None:
    cells = row(rows, "mae", "train-forget").cells
    assert list(cells) == ["original", RETRAINED, "FineTune", "constant"]
    assert cells["original"].values == (2.0, 4.0)
    assert cells["original"].mean == 3.0
    assert cells["original"].spread == pytest.approx(2**0.5)  # sqrt(((2-3)² + (4-3)²) / (2-1))
    assert cells["FineTune"].mean == 5.5 and cells["FineTune"].spread == pytest.approx(4.5**0.5)
    assert cells["FineTune"].text() == "5.50 ± 2.12"


def test_the_golds_are_one_cell_over_golds(rows: tuple[Row, ...]) -> None:
    # Of the first seed's audit: every audit has the same golds.
    assert row(rows, "mae", "train-forget").cells[RETRAINED].values == (9.0, 8.0, 12.0, 9.5)
    assert row(rows, "w1", "train-forget").cells[RETRAINED].values == (None, 0.5, 2.0, 1.0)
    assert row(rows, "mae", "test-retain").cells[RETRAINED].values == (5.5, 6.0, 6.0, 6.0)
    assert row(rows, "ain", "validation-forget").cells[RETRAINED].mean == 1.0  # the others have none


def test_without_golds_their_cell_is_empty() -> None:
    none = tuple(
        replace(each, models=tuple(model for model in each.models if model.role != "gold"), verdicts=())
        for each in reports()
    )
    rows = summarise(experiment(), FAMILY, [none])
    assert {each.cells[RETRAINED].text() for each in rows} == {DASH}
    assert judged([none]) == ()


def test_over_seeds_verdicts_are_counted_and_a_method_is_judged() -> None:
    found = judged([reports()])
    assert [(each.stage, each.model, each.outcomes) for each in found] == [
        (1, "original", ("FAIL", "FAIL")),
        (1, "FineTune", ("FAIL", "PASS")),
    ]
    assert [each.text() for each in found] == ["FAIL 2", "INCONCLUSIVE (p = 0.12)"]
    assert found[1].reason == "FineTune for a reason."
    assert judged([reports()[1:]])[1].text() == "PASS"


def test_what_one_seed_lacks_is_none(rows: tuple[Row, ...]) -> None:
    cells = row(rows, "w1", "train-forget").cells
    assert cells["FineTune"].values == (3.0, None)
    assert (cells["FineTune"].mean, cells["FineTune"].spread, cells["FineTune"].text()) == (3.0, None, "3.00")
    own = row(rows, "ain", "validation-forget").cells["original"]
    assert (own.values, own.mean, own.spread, own.text()) == ((None, None), None, None, DASH)


def test_the_paper_s_numbers_stand_where_they_belong_and_nowhere_else(rows: tuple[Row, ...]) -> None:
    paper = experiment().paper
    expected = {
        ("mae", "test-retain"): ("err_Dt_r", paper["err_Dt_r"]),
        # Said to be of the training set by the caption, measured on the test set by the code.
        ("mae", "train-forget"): ("err_Dt_f", paper["err_Dt_f"]),
        ("mae", "test-forget"): ("err_Dt_f", paper["err_Dt_f"]),
        ("w1", "train-forget"): ("w_dist", paper["w_dist"]),
        ("attack", "train-forget"): ("att_prob", paper["att_prob"]),
        ("ain", "validation-forget"): ("AIN", paper["AIN"]),
    }
    for each in rows:
        name, numbers = expected.get((each.metric, each.split), (None, {}))
        assert each.published == name
        found = {model: cell.paper for model, cell in each.cells.items() if cell.paper is not None}
        assert found == numbers


@pytest.mark.parametrize(("error", "metric"), [("mae", "mae"), ("rmse", "rmse"), ("loss", None)])
def test_the_family_says_in_which_measure_the_paper_states_errors(error: str, metric: str | None) -> None:
    rows = summarise(experiment(), replace(FAMILY, error=error), [reports()])  # type: ignore[arg-type] # one of three
    stated = {each.metric for each in rows if each.published in ("err_Dt_r", "err_Dt_f")}
    assert stated == ({metric} if metric else set())


def test_without_published_numbers_the_columns_of_the_paper_stay_empty() -> None:
    rows = summarise(experiment(paper={}), FAMILY, [reports()])
    assert all(cell.paper is None for each in rows for cell in each.cells.values())
    assert "paper" not in markdown(rows)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (("=", "="), "="),
        (("=", ">="), ">="),
        (("<=", "<="), "<="),
        (("<=", ">="), "~"),
    ],
)
def test_a_bound_on_any_seed_is_a_bound_on_the_mean(bounds: tuple[str, str], expected: str) -> None:
    both = [
        report(FIRST, bounds={("ain", "FineTune"): bounds[0]}),
        report(SECOND, bounds={("ain", "FineTune"): bounds[1]}),
    ]
    cell = row(summarise(experiment(), FAMILY, [both]), "ain", "validation-forget").cells["FineTune"]
    assert (cell.bound, cell.mean) == (expected, 0.625)
    sign = {"=": "", ">=": "≥ ", "<=": "≤ ", "~": "≈ "}[expected]
    assert cell.text() == f"{sign}0.625 ± 0.177"


def test_a_bound_of_what_has_no_value_is_none() -> None:
    both = [report(FIRST), report(SECOND, bounds={("w1", "FineTune"): ">="})]  # SECOND's is None
    assert row(summarise(experiment(), FAMILY, [both]), "w1", "train-forget").cells["FineTune"].bound == "="


def test_cells_alone() -> None:
    assert Cell(values=()).text() == DASH
    assert Cell(values=(1.0,)).spread is None
    assert Cell(values=(1.0, 1.0)).spread == 0.0
    assert Cell(values=(1.0, 1.0)).text() == "1.00 ± 0"
    assert Cell(values=(0.0,)).text() == "0"


def test_markdown_word_by_word(rows: tuple[Row, ...]) -> None:
    lines = markdown(rows, judged([reports()])).splitlines()
    assert lines[0] == "| measure | | original | retrained | FineTune | constant |"
    assert lines[1] == "|---|---|---|---|---|---|"
    # Golds: 9, 8, 12, 9.5 have mean 9.625 and squares of deviations .390625 + 2.640625 + 5.640625 + .015625 = 8.6875.
    place = lines.index(
        "| Mean absolute error, train-forget | ours | 3.00 ± 1.41 | 9.62 ± 1.70 | 5.50 ± 2.12 | 64.0 ± 0 |"
    )
    assert lines[place + 1] == "| err_Dt_f | paper | 21.5 | 22.5 | 23.5 | – |"
    # 0.5, 2, 1 have mean 1.167 and standard deviation 0.764.
    place = lines.index("| Wasserstein distance, train-forget | ours | 8.00 ± 1.41 | 1.17 ± 0.764 | 3.00 | 64.0 ± 0 |")
    assert lines[place + 1] == "| w_dist | paper | 41.5 | – | 0 | – |"
    place = lines.index("| Anamnesis index, validation-forget | ours | – | 1.00 | ≥ 0.625 ± 0.177 | 64.0 ± 0 |")
    assert lines[place + 1] == "| AIN | paper | – | – | 0.51 | – |"
    assert lines[-1] == "| Verdict | | FAIL 2 | – | INCONCLUSIVE (p = 0.12) | – |"
    # Nine measures, six of them published.
    assert len(lines) == 2 + 9 + 6 + 1
    assert all(line.count("|") == 7 for line in lines)


def test_brief_markdown_is_the_paper_s_measures_and_the_paired_difference(rows: tuple[Row, ...]) -> None:
    lines = markdown(rows, brief=True).splitlines()
    ours = [line.split(" | ")[0].removeprefix("| ") for line in lines[2:] if " | ours | " in line]
    assert ours == [
        *(f"Mean absolute error, {split}" for split in ("train-forget", "test-retain", "test-forget")),
        *("Wasserstein distance, train-forget", "Paired difference, train-forget", "Attack, train-forget"),
        "Anamnesis index, validation-forget",
    ]


def test_several_requests_are_several_tables() -> None:
    first, second = reports()
    rows = summarise(experiment(), FAMILY, [[first], [second], [first]])
    assert [each.stage for each in rows] == [1] * 9 + [2] * 9 + [3] * 9
    assert row(rows, "mae", "train-forget", 2).cells["original"].values == (4.0,)
    text = markdown(rows)
    assert [line for line in text.splitlines() if line.startswith("Request")] == ["Request 1", "Request 2", "Request 3"]
    assert text.count("| measure | |") == 3


def test_csv_value_by_value(rows: tuple[Row, ...]) -> None:
    table = list(csv.DictReader(io.StringIO(comma_separated(rows))))
    assert list(table[0]) == ["stage", "metric", "split", "model", "mean", "sd", "bound", "paper", *RUNS]
    assert len(table) == sum(len(each.cells) for each in rows)
    for each in rows:
        for model, cell in each.cells.items():
            (line,) = [
                line
                for line in table
                if (line["metric"], line["split"], line["model"]) == (each.metric, each.split, model)
            ]
            # Four golds, two seeds: those of fewer are left empty.
            names = ("mean", "sd", "paper", *RUNS[: len(cell.values)])
            written = [None if not line[name] else float(line[name]) for name in names]
            assert written == [cell.mean, cell.spread, cell.paper, *cell.values]  # exact, not rounded
            assert not any(line[name] for name in RUNS[len(cell.values) :])
            assert (line["stage"], line["bound"]) == ("1", cell.bound)


def test_csv_of_nothing_is_its_head() -> None:
    assert comma_separated(()) == "stage,metric,split,model,mean,sd,bound,paper\n"
