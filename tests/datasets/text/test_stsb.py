"""STS-B in its two layouts: values, quotation marks, complaints; and the tensors made of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from unregress.data.request import ForgetRequest
from unregress.datasets.text.stsb import read_stsb, sentence_pairs, sentences
from unregress.datasets.text.vocabulary import Vocabulary
from unregress.errors import DataError, PreflightError, SettingError

HEADER = ["index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2", "score"]
ROW = ["0", "main-captions", "MSRvid", "2012test", "0178", "none", "none", "A woman is dancing.", "A man eats.", "0.5"]


def row(**values: str) -> list[str]:
    return [values.get(name, usual) for name, usual in zip(HEADER, ROW, strict=True)]


def write(path: Path, rows: list[list[str]], header: list[str] | None = HEADER) -> None:
    lines = [header, *rows] if header else rows
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """GLUE's layout; the training file's first row has a quotation mark that nothing closes."""
    write(
        tmp_path / "train.tsv",
        [
            row(sentence1='He said: "No.', old_index="1", score="4.250"),
            row(sentence1="Yes", year="2015", old_index="2", filename="images"),
            row(genre="main-news", year="2012train", old_index="3", score="5"),
        ],
    )
    write(tmp_path / "dev.tsv", [row(sentence2="NA", score="0.000")])
    write(tmp_path / "test.tsv", [row(sentence1="null"), row(sentence2='"', year="2014")])
    return tmp_path


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """The original archive's layout: no header, and sources behind some of the rows."""
    rows = [
        ["main-captions", "MSRvid", "2012test", "0001", "5.000", "A plane.", 'An "air plane.'],
        ["main-news", "headlines", "2015", "12", "1.2", "Yes", "No", "http://a", "http://b"],
    ]
    for name in ("sts-train.csv", "sts-dev.csv", "sts-test.csv"):
        write(tmp_path / name, rows, header=None)
    return tmp_path


def tensors(dataset: object) -> tuple[Tensor, ...]:
    assert isinstance(dataset, TensorDataset)
    return dataset.tensors


def test_rows_are_read_as_they_stand(root: Path) -> None:
    tables = read_stsb(root)
    assert list(tables) == ["train", "validation", "test"]
    train = tables["train"]
    assert train["sentence1"].tolist() == ['He said: "No.', "Yes", "A woman is dancing."]
    assert train["score"].tolist() == [4.25, 0.5, 5.0]
    assert train["genre"].tolist() == ["main-captions", "main-captions", "main-news"]
    assert train["year"].tolist() == ["2012test", "2015", "2012train"]
    assert train["year_number"].tolist() == [2012, 2015, 2012]
    assert train["id"].tolist() == ["MSRvid/2012test/1", "images/2015/2", "MSRvid/2012train/3"]
    assert tables["validation"]["sentence2"].tolist() == ["NA"]
    assert tables["test"]["sentence1"].tolist() == ["null", "A woman is dancing."]
    assert tables["test"]["sentence2"].tolist() == ["A man eats.", '"']


def test_the_original_archive_is_read_too(original: Path) -> None:
    table = read_stsb(original)["test"]
    assert table["sentence1"].tolist() == ["A plane.", "Yes"]
    assert table["sentence2"].tolist() == ['An "air plane.', "No"]
    assert table["score"].tolist() == [5.0, 1.2]
    assert table["year_number"].tolist() == [2012, 2015]
    assert table["id"].tolist() == ["MSRvid/2012test/0001", "headlines/2015/12"]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(root: Path) -> None:
    text = (root / "dev.tsv").read_text(encoding="utf8")
    (root / "dev.tsv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_stsb(root)["validation"]["score"].tolist() == [0.0]


def test_missing_files_are_named_at_once(root: Path) -> None:
    (root / "dev.tsv").unlink()
    (root / "test.tsv").unlink()
    with pytest.raises(PreflightError, match=r"dev\.tsv cannot be read") as refused:
        read_stsb(root)
    assert len(refused.value.complaints) == 2
    assert "sts-test.csv without one" in str(refused.value)


def test_a_file_that_is_no_text_is_said_to_be(root: Path) -> None:
    (root / "test.tsv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match=r"test\.tsv cannot be read"):
        read_stsb(root)


def test_missing_columns_are_named(root: Path) -> None:
    write(root / "test.tsv", [ROW[:-1]], HEADER[:-1])
    with pytest.raises(DataError, match="has the columns index, genre") as refused:
        read_stsb(root)
    assert refused.value.remedy == "Add score; GLUE's test file has no scores"


@pytest.mark.parametrize("score", ["-0.1", "5.01", "high", "", "nan", "inf"])
def test_scores_that_are_none_are_refused(root: Path, score: str) -> None:
    write(root / "test.tsv", [ROW, row(score=score)])
    with pytest.raises(DataError, match=r"Line 3 of .*test\.tsv has a score that is not a number from 0 to 5"):
        read_stsb(root)


@pytest.mark.parametrize(("column", "which"), [("sentence1", "first"), ("sentence2", "second")])
@pytest.mark.parametrize("text", ["", "  "])
def test_empty_sentences_are_refused(root: Path, column: str, which: str, text: str) -> None:
    write(root / "dev.tsv", [row(**{column: text}), ROW, row(**{column: text})])
    with pytest.raises(DataError, match=rf"Lines 2, 4 of .*dev\.tsv have an empty {which} sentence"):
        read_stsb(root)


@pytest.mark.parametrize("fields", [ROW[:-1], [*ROW, "more"]])
def test_rows_with_too_few_or_many_fields_are_refused(root: Path, fields: list[str]) -> None:
    write(root / "train.tsv", [ROW, ROW, fields])
    with pytest.raises(DataError, match=r"Line 4 of .*train\.tsv does not have 10 fields"):
        read_stsb(root)


def test_short_rows_of_the_original_archive_are_refused(original: Path) -> None:
    rows = [["main-captions", "MSRvid", "2012test", "0001", "5.000", "A plane."]] * 5
    write(original / "sts-dev.csv", rows, header=None)
    with pytest.raises(DataError, match=r"Lines 1, 2, 3 and 2 more of .* do not have 7 or more fields"):
        read_stsb(original)


def test_all_complaints_about_all_files_at_once(root: Path) -> None:
    write(root / "train.tsv", [row(score="x"), ROW[:-2], row(sentence1="", year="soon")])
    write(root / "test.tsv", [])
    with pytest.raises(PreflightError) as refused:
        read_stsb(root)
    told = [str(complaint).replace(str(root), "") for complaint in refused.value.complaints]
    assert told == [
        "Line 3 of /train.tsv does not have 10 fields, separated by tabs.",
        "Line 2 of /train.tsv has a score that is not a number from 0 to 5.",
        "Line 4 of /train.tsv has an empty first sentence.",
        "Line 4 of /train.tsv has a year that does not begin with four digits.",
        "/test.tsv has no rows.",
    ]


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file_has_no_rows(root: Path, content: str) -> None:
    (root / "dev.tsv").write_text(content)
    with pytest.raises(DataError, match=r"dev\.tsv has no rows"):
        read_stsb(root)


def test_pairs_as_tensors(root: Path) -> None:
    tables = read_stsb(root)
    vocabulary = Vocabulary.of(sentences(tables["train"]))
    assert vocabulary.words == ('"', ".", ":", "a", "dancing", "eats", "he", "is", "man", "no", "said", "woman", "yes")
    splits = sentence_pairs(tables, vocabulary)
    first, second, score = tensors(splits.train)
    assert (first.dtype, second.dtype, score.dtype) == (torch.int64, torch.int64, torch.float32)
    assert first.tolist() == [[8, 12, 4, 2, 11, 3], [14, 0, 0, 0, 0, 0], [5, 13, 9, 6, 3, 0]]
    assert second.tolist() == [[5, 10, 7, 3, 0, 0]] * 3
    assert score.tolist() == [4.25, 0.5, 5.0]
    assert tensors(splits.validation)[1].tolist() == [[1, 0, 0, 0, 0, 0]]
    assert [len(tensor) for tensor in tensors(splits.test)] == [2, 2, 2]
    assert splits.ids == tables["train"]["id"].tolist()


def test_pairs_cut_to_a_length(root: Path) -> None:
    tables = read_stsb(root)
    splits = sentence_pairs(tables, Vocabulary.of(sentences(*tables.values())), length=2)
    assert {tuple(ids.shape) for ids in tensors(splits.train)[:2]} == {(3, 2)}
    assert not (tensors(splits.validation)[1] == 1).any(), "all words of all sentences are known"
    with pytest.raises(SettingError, match="length is 0"):
        sentence_pairs(tables, Vocabulary(()), length=0)


def test_training_sentences_alone_will_do(root: Path) -> None:
    splits = sentence_pairs({"train": read_stsb(root)["train"]}, Vocabulary(()))
    assert (splits.validation, splits.test) == (None, None)
    assert set(tensors(splits.train)[0].flatten().tolist()) == {0, 1}


def test_no_row_of_the_real_data_is_lost(data_root: Path) -> None:
    tables = read_stsb(data_root / "stsb")
    assert {name: len(table) for name, table in tables.items()} == {"train": 5249, "validation": 1000, "test": 1000}
    for name, low, recent in (("train", 1571, 1178), ("test", 400, 243)):
        assert (tables[name]["score"] < 2).sum() == low
        assert (tables[name]["year_number"] == 2015).sum() == recent
    for table in tables.values():
        assert table["id"].is_unique
        assert table["year_number"].between(2012, 2017).all()
    assert set(tables["train"]["genre"]) == {"main-captions", "main-news", "main-forum", "main-forums"}


def test_real_pairs_ask_for_their_forgetting(data_root: Path) -> None:
    tables = read_stsb(data_root / "stsb")
    splits = sentence_pairs(tables, Vocabulary.of(sentences(tables["train"])))
    first, second, score = tensors(splits.train)
    assert first.shape == second.shape == (5249, 65)
    assert not ((first == 1) | (second == 1)).any(), "training words are all known"
    assert (first[:, 0] != 0).all() and (second[:, 0] != 0).all()
    assert len(ForgetRequest.where((score < 2).numpy(), reason="score below 2").forget) == 1571
    assert ((tensors(splits.test)[0] == 1).any(1)).sum() == 418


def test_the_real_splits_share_as_many_pairs_as_is_said(data_root: Path) -> None:
    assert read_stsb.__doc__ is not None
    assert "15 of test and 7 of validation are also in train" in " ".join(read_stsb.__doc__.split())
    pairs = {
        name: list(zip(table["sentence1"], table["sentence2"], table["score"], strict=True))
        for name, table in read_stsb(data_root / "stsb").items()
    }
    trained = set(pairs["train"])
    assert [sum(pair in trained for pair in pairs[name]) for name in ("test", "validation")] == [15, 7]
