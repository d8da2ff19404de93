"""Tables in files: three formats, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from unregress.errors import DataError
from unregress.files.tables import read_columns

FRAME = pd.DataFrame({"id": [7, 8], "prediction": [0.1, 1e-17]})


def test_each_format_holds_the_same_numbers(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    FRAME.to_json(tmp_path / "a.jsonl", orient="records", lines=True, double_precision=15)
    FRAME.to_parquet(tmp_path / "a.parquet")
    assert read_columns(tmp_path / "a.csv") == {"id": ["7", "8"], "prediction": ["0.1", "1e-17"]}
    assert read_columns(tmp_path / "a.parquet") == {"id": [7, 8], "prediction": [0.1, 1e-17]}
    assert list(read_columns(tmp_path / "a.jsonl")) == ["id", "prediction"]
    assert read_columns(tmp_path / "a.jsonl")["id"] == [7, 8]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separator_and_byte_order_mark(separator: str, tmp_path: Path) -> None:
    rows = ["id, prediction".replace(",", separator), separator.join(["a", "1"]), ""]
    (tmp_path / "a.csv").write_text("\ufeff" + "\r\n".join(rows), encoding="utf-8")
    assert read_columns(tmp_path / "a.csv") == {"id": ["a"], "prediction": ["1"]}


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.csv", b"id,prediction\n1,2\n3\n4,5,6\n", "2 rows"),
        ("a.csv", b"id,id\n1,2\n", "'id' twice"),
        ("a.csv", b"\xff\xfe\x00", "not UTF-8"),
        ("a.jsonl", b'{"id": 1}\n[2]\n', "line 2"),
        ("a.jsonl", b'{"id": 1}\n{"id": 1, "x": 2}\n', "line 2"),
        ("a.jsonl", b"{\n", "line 1"),
        ("a.parquet", b"PAR1", "not a Parquet file"),
    ],
)
def test_what_is_no_table_is_refused(name: str, content: bytes, found: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as refused:
        read_columns(tmp_path / name)
    assert found in refused.value.found


@pytest.mark.parametrize("name", ["none.csv", "none.parquet", "none.jsonl"])
def test_a_missing_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        read_columns(tmp_path / name)
    assert "cannot be read" in refused.value.found


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").mkdir()
    with pytest.raises(DataError) as refused:
        read_columns(tmp_path / "a.parquet")
    assert "not a file" in refused.value.found


def test_an_empty_file_has_no_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("")
    assert read_columns(tmp_path / "a.csv") == {}
