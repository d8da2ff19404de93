"""Files of ids or people: a file without a heading is refused, or its first line would be nobody's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from unregress import Project
from unregress.data.records_file import read_column
from unregress.errors import RequestError

KNOWN = ("r0", "r1", "r2", "7")


def written(folder: Path, text: str, name: str = "a.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize("text", ["r0\nr1\nr2\n", "r0\n", "r0\nsomebody\n", "100\n101\n", "7.5\n8\n", "7\nr1\n"])
def test_a_file_without_a_heading_is_refused(tmp_path: Path, text: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(RequestError) as caught:
        read_column(file, None, KNOWN)
    assert repr(text.split("\n")[0]) in caught.value.found and "`column`" in caught.value.remedy


def test_a_heading_that_is_named_is_one(tmp_path: Path) -> None:
    assert read_column(written(tmp_path, "r0\nr1\n"), "r0", KNOWN) == ["r1"]
    assert read_column(written(tmp_path, "2024\n5\n"), "2024", KNOWN) == ["5"]


@pytest.mark.parametrize("text", ["id\nr0\n", "record\nr0\nr1\n", "2024\nr0\n"])
def test_other_first_lines_are_headings(tmp_path: Path, text: str) -> None:
    assert read_column(written(tmp_path, text), None, KNOWN) == text.split()[1:]


def test_formats_that_name_their_columns_have_a_heading(tmp_path: Path) -> None:
    assert read_column(written(tmp_path, '{"0": 5}\n', "a.jsonl"), None, KNOWN) == ["5"]
    pd.DataFrame({"0": [5, 6]}).to_parquet(tmp_path / "a.parquet")
    assert read_column(tmp_path / "a.parquet", None, KNOWN) == ["5", "6"]


@pytest.mark.parametrize(("way", "text"), [("ids", "p3\np4\n"), ("subjects", "100\n101\n"), ("subjects", "100.0\nx\n")])
def test_a_project_s_own_ids_and_people_are_known(tmp_path: Path, way: str, text: str) -> None:
    from support.tiny_project import load_data, make_task
    from unregress import Recipe

    data: Any = load_data()
    people = [100 + row // 2 for row in range(data.size)]
    project = Project(
        task=make_task(), training=Recipe(epochs=1), train=data.train, ids=data.ids, subjects=people, log=lambda _: None
    )
    with pytest.raises(RequestError, match="no heading"):
        project.request(**{way: written(tmp_path, text)}, reason="test")
    headed = written(tmp_path, f"who\n{text}".replace("x\n", ""))
    assert len(project.request(**{way: headed}, reason="test").forget) == (4 if "101" in text else 2)
