"""A person's request, and the next one, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from unregress.cli import main

TASK = ["--task", "support.tiny_project.make_task", "--runtime.accelerator", "cpu"]
DATA = ["--data", "support.tiny_project.people_data"]
SHORT = ["--method", "FineTune", "--method.recipe.epochs", "1"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people") / "original"
    assert main(["train", *TASK, *DATA, "--recipe.epochs", "3", "--output", str(folder)]) == 0
    return folder


def forget(original: Path, output: Path, *words: str, data: list[str] = DATA) -> int:
    words = (*words, "--request.reason", "Art. 17")
    return main(["forget", *TASK, *data, "--checkpoint", str(original), *SHORT, *words, "--output", str(output)])


def request_in(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "request.json").read_text())
    return found


def test_people_by_name_and_by_file(original: Path, tmp_path: Path) -> None:
    table = pd.DataFrame({"nr": [3, 5], "ticket": ["a", "b"]})
    table.to_csv(tmp_path / "people.csv", index=False)
    table.to_parquet(tmp_path / "people.parquet")
    table.to_json(tmp_path / "people.jsonl", orient="records", lines=True)
    assert forget(original, tmp_path / "list", "--request.subjects", "[3, 5]") == 0
    wanted = request_in(tmp_path / "list")
    assert wanted["forget"] == [3, 5, 23, 25, 43, 45] and wanted["test"] == [6, 7, 10, 11]
    assert wanted["by"] == "subjects" and len(wanted["ids"]) == 2 and wanted["samples"] == {}
    for ending in ("csv", "parquet", "jsonl"):
        words = ["--request.file", str(tmp_path / f"people.{ending}"), "--request.column", "nr"]
        assert forget(original, tmp_path / ending, *words) == 0
        assert request_in(tmp_path / ending) == wanted


def test_the_next_request_after_rows_were_deleted_and_reordered(original: Path, tmp_path: Path) -> None:
    assert forget(original, tmp_path / "first", "--request.subjects", "[3]") == 0
    later = [*DATA, "--data.shuffled", "1"]
    assert forget(tmp_path / "first", tmp_path / "second", "--request.subjects", "[5]", data=later) == 0
    second = request_in(tmp_path / "second")
    from support.tiny_project import people_data

    now = people_data(shuffled=1)
    assert [now.subjects[row] for row in second["forget"]] == [5, 5, 5]
    assert [now.subjects[row] for row in second["excluded"]] == [3, 3, 3]
    assert second["excluded_held_out"] == {"test": [6, 7]}
    gone = [*DATA, "--data.without", "3"]
    assert forget(tmp_path / "first", tmp_path / "third", "--request.subjects", "[5]", data=gone) == 0
    assert request_in(tmp_path / "third")["excluded"] == []
    # Their test samples stay out also where only the training samples were deleted.
    half = [*gone, "--data.kept", "true"]
    assert forget(tmp_path / "first", tmp_path / "fourth", "--request.subjects", "[5]", data=half) == 0
    assert request_in(tmp_path / "fourth")["excluded_held_out"] == {"test": [6, 7]}
    assert main(["verify", str(tmp_path / "fourth")]) == 0
    words = ["audit", *TASK, *later, "--request.from_run", str(tmp_path / "second"), "--metrics", "[Errors]",
             "--models.original", str(original), "--models.mine", str(tmp_path / "second")]  # fmt: skip
    assert main([*words, "--output", str(tmp_path / "audit")]) == 0
    report = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert report["samples"] == {"train-retain": 54, "train-forget": 3, "test-retain": 26, "test-forget": 2}
    assert main(["verify", str(tmp_path / "second")]) == 0


def test_conditions_on_columns(original: Path, tmp_path: Path) -> None:
    words = ["--request.where", "{city: Basel, year: {min: 2002}}"]
    assert forget(original, tmp_path / "run", *words) == 0
    assert request_in(tmp_path / "run")["forget"] == list(range(41, 60, 2))


def test_a_time_range_of_one_city(original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = "{start: year, end: year, from: %s, to: %s, where: {city: Basel}}"
    assert forget(original, tmp_path / "run", "--request.times", times % (2002, 2009)) == 0
    assert request_in(tmp_path / "run")["forget"] == list(range(41, 60, 2))
    assert forget(original, tmp_path / "outside", "--request.times", times % (1990, 1991)) == 2
    assert "2000" in capsys.readouterr().err and not (tmp_path / "outside").exists()


def test_people_who_are_not_there_are_an_error_or_a_note(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--request.subjects", "[3, 77, 78]"]
    assert forget(original, tmp_path / "run", *words) == 2
    assert "2 of 3" in capsys.readouterr().err and not (tmp_path / "run").exists()
    assert forget(original, tmp_path / "run", *words, "--request.missing", "report") == 0
    assert "2 people of the request are not in the data" in capsys.readouterr().out
    assert request_in(tmp_path / "run")["forget"] == [3, 23, 43]
    words = ["--request.from_run", str(tmp_path / "run"), "--models.original", str(original)]
    words += ["--models.mine", str(tmp_path / "run"), "--metrics", "[Errors]", "--output", str(tmp_path / "audit")]
    assert main(["audit", *TASK, *DATA, *words]) == 0
    told = json.loads((tmp_path / "audit" / "audit.json").read_text())["not_found"]
    assert told == ["2 people of the request are not in the data."]


def test_people_with_held_out_samples_only(original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert forget(original, tmp_path / "run", "--request.subjects", "[3, 100]") == 2
    assert "held-out samples only, 1 of 2: 100" in capsys.readouterr().err
    words = ["--request.subjects", "[3, 100]", "--request.missing", "report"]
    assert forget(original, tmp_path / "run", *words) == 0
    assert "1 people of the request have held-out samples only" in capsys.readouterr().out
    assert request_in(tmp_path / "run")["validation"] == [0, 1]


@pytest.mark.parametrize(
    ("content", "words", "found"),
    [
        ("nr,x\n3,1\n", ["--request.column", "number"], "'number'"),
        ("nr,x\n3,1\n", [], "nr"),
        ("nr,x\n3,1\n,2\n", ["--request.column", "nr"], "1 of 2 rows"),
        ("nr,x\n", ["--request.column", "nr"], "no rows"),
        ("", ["--request.column", "nr"], "no columns"),
    ],
)
def test_a_faulty_file_is_refused(
    content: str, words: list[str], found: str, original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "people.csv").write_text(content)
    assert forget(original, tmp_path / "run", "--request.file", str(tmp_path / "people.csv"), *words) == 2
    assert found in capsys.readouterr().err and not (tmp_path / "run").exists()
