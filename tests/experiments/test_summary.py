"""Means, spreads, floors and bounds by hand; the paper's numbers in the right cells and in no other."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from experiments.by_hand import FIRST, SECOND, experiment, report, reports
from experiments.small import FAMILY
from unregress.experiments.summary import DASH, FLOOR, Cell, Row, comma_separated, markdown, summarise


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
    assert list(cells) == ["original", "retrained", FLOOR, "FineTune"]
    assert cells["original"].values == (2.0, 4.0)
    assert cells["original"].mean == 3.0
    assert cells["original"].spread == pytest.approx(2**0.5)  # sqrt(((2-3)² + (4-3)²) / (2-1))
    assert cells["FineTune"].mean == 5.5 and cells["FineTune"].spread == pytest.approx(4.5**0.5)
    assert cells["FineTune"].text() == "5.50 ± 2.12"


def test_the_floor_is_the_median_over_further_golds_of_each_seed(rows: tuple[Row, ...]) -> None:
    assert row(rows, "mae", "train-forget").cells[FLOOR].values == (9.5, 8.0)  # of 8, 12, 9.5 and of 7, 8, 30
    assert row(rows, "w1", "train-forget").cells[FLOOR].values == (1.0, 3.5)  # of 0.5, 2, 1 and of 3, 4
    assert row(rows, "mae", "test-retain").cells[FLOOR].values == (6.0, 6.0)
    assert FLOOR not in row(rows, "ain", "validation-forget").cells  # every one of them is None


def test_without_further_golds_there_is_no_floor() -> None:
    single = tuple(
        replace(
            each,
            models=tuple(model for model in each.models if model.role != "floor"),
            measures=tuple(measure for measure in each.measures if "#" not in measure.model),
        )
        for each in reports()
    )
    rows = summarise(experiment(), FAMILY, [single])
    assert all(list(each.cells) == ["original", "retrained", "FineTune"] for each in rows)


def test_what_one_seed_lacks_is_none(rows: tuple[Row, ...]) -> None:
    cells = row(rows, "w1", "train-forget").cells
    assert cells["FineTune"].values == (3.0, None)
    assert (cells["FineTune"].mean, cells["FineTune"].spread, cells["FineTune"].text()) == (3.0, None, "3.00")
    assert cells["retrained"].values == (None, None)
    assert (cells["retrained"].mean, cells["retrained"].spread, cells["retrained"].text()) == (None, None, DASH)


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
    lines = markdown(rows).splitlines()
    assert lines[0] == "| measure | | original | retrained | noise floor | FineTune |"
    assert lines[1] == "|---|---|---|---|---|---|"
    place = lines.index(
        "| Mean absolute error, train-forget | ours | 3.00 ± 1.41 | 10.0 ± 1.41 | 8.75 ± 1.06 | 5.50 ± 2.12 |"
    )
    assert lines[place + 1] == "| err_Dt_f | paper | 21.5 | 22.5 | – | 23.5 |"
    place = lines.index("| Wasserstein distance, train-forget | ours | 8.00 ± 1.41 | – | 2.25 ± 1.77 | 3.00 |")
    assert lines[place + 1] == "| w_dist | paper | 41.5 | – | – | 0 |"
    place = lines.index("| Attack, train-forget | ours | 0.900 ± 0 | 0.250 ± 0 | 0.375 ± 0 | 0.500 ± 0 |")
    assert lines[place + 1] == "| att_prob | paper | 0.31 | 0.32 | – | 0.0005 |"
    place = lines.index("| Anamnesis index, validation-forget | ours | – | 1.00 ± 0 | – | ≥ 0.625 ± 0.177 |")
    assert lines[place + 1] == "| AIN | paper | – | – | – | 0.51 |"
    # Nine measures, six of them published.
    assert len(lines) == 2 + 9 + 6
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
    assert list(table[0]) == ["stage", "metric", "split", "model", "mean", "sd", "bound", "paper", "run 1", "run 2"]
    assert len(table) == sum(len(each.cells) for each in rows)
    for each in rows:
        for model, cell in each.cells.items():
            (line,) = [
                line
                for line in table
                if (line["metric"], line["split"], line["model"]) == (each.metric, each.split, model)
            ]
            written = [
                None if line[name] == "" else float(line[name]) for name in ("mean", "sd", "paper", "run 1", "run 2")
            ]
            assert written == [cell.mean, cell.spread, cell.paper, *cell.values]  # exact, not rounded
            assert (line["stage"], line["bound"]) == ("1", cell.bound)


def test_csv_of_nothing_is_its_head() -> None:
    assert comma_separated(()) == "stage,metric,split,model,mean,sd,bound,paper\n"
