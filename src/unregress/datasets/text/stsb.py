"""STS-B: pairs of sentences with a score of their similarity, from 0 to 5 (paper Sections 6.1 and 6.3, Table 2).

SemEval-2017 Task 1 (Cer et al., 2017).  Two layouts are read: GLUE's `train.tsv`, `dev.tsv`, `test.tsv` with a header,
which has genre and year of each pair, and the original archive's `sts-train.csv`, `sts-dev.csv`, `sts-test.csv`
without one.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
import torch
from torch.utils.data import TensorDataset

from unregress.data.splits import Splits
from unregress.datasets.text.vocabulary import Vocabulary
from unregress.errors import DataError, UnregressError, raise_all

SPLITS = {"train": ("train.tsv", "sts-train.csv"), "validation": ("dev.tsv", "sts-dev.csv"),
          "test": ("test.tsv", "sts-test.csv")}  # fmt: skip
ORIGINAL = ("genre", "filename", "year", "old_index", "score", "sentence1", "sentence2")
"""Columns of the original archive's files; further fields of a line name the sentences' sources."""
NEEDED = ("genre", "filename", "year", "old_index", "sentence1", "sentence2", "score")


def read_stsb(root: str | Path) -> dict[str, pd.DataFrame]:
    """Read the tables train, validation and test, with one row per line of the files.

    Columns: id (such as `MSRvid/2012test/0178`), genre (main-captions, main-news, main-forum), filename (the corpus),
    year (as in the file: `2015`, `2012train`), year_number (`2012`), sentence1, sentence2, score (0 to 5).

    Quotation marks are read as text: parsed as quotes, they would join lines.  No row is dropped.  A few pairs occur
    in two splits (in the paper's splits 15 of test and 7 of validation are also in train, with the same score);
    `unregress.preflight` reports them unless called with `allow_overlap=True`.

    Args:
        root: folder of the three files, in one of the two layouts.

    Raises:
        DataError: a file is missing or cannot be read, columns are missing, or values are invalid.
        PreflightError: several of these, all reported together.
    """
    folder, complaints = Path(root), list[UnregressError]()
    tables = {name: _table(folder, *files, complaints) for name, files in SPLITS.items()}
    raise_all(complaints)
    return tables


def sentence_pairs(tables: Mapping[str, pd.DataFrame], vocabulary: Vocabulary, length: int | None = None) -> Splits:
    """Convert the tables to tensors `(first, second, score)` in memory.

    Word ids are int64, `(n, length)`, padded with 0; scores float32, `(n,)`.  Sample ids are the table's.

    Args:
        tables: as from `read_stsb`; all but train may be absent.
        vocabulary: for an embedding that is learned, `Vocabulary.of(sentences(tables["train"]))`: of all training
            sentences, those to be forgotten among them, since original and gold must have one architecture.
        length: words per sentence, the rest is cut off; None for the longest sentence of all tables.

    Raises:
        DataError: a sentence has no word.
        SettingError: `length` is less than 1.
    """
    encoded = {
        name: [vocabulary.encode(table[column].tolist(), length) for column in ("sentence1", "sentence2")]
        for name, table in tables.items()
    }
    width = max(ids.shape[1] for pair in encoded.values() for ids in pair)
    parts = {
        name: TensorDataset(
            *(torch.nn.functional.pad(ids, (0, width - ids.shape[1])) for ids in pair),
            torch.tensor(tables[name]["score"].to_numpy(), dtype=torch.float32),
        )
        for name, pair in encoded.items()
    }
    return Splits(
        train=parts["train"],
        validation=parts.get("validation"),
        test=parts.get("test"),
        ids=tables["train"]["id"].tolist(),
    )


def sentences(*tables: pd.DataFrame) -> list[str]:
    """All sentences of some tables, for a vocabulary."""
    return [text for table in tables for column in ("sentence1", "sentence2") for text in table[column]]


def _table(folder: Path, tsv: str, original: str, complaints: list[UnregressError]) -> pd.DataFrame:
    with_header = (folder / tsv).exists() or not (folder / original).exists()
    path = folder / (tsv if with_header else original)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            lines = [(reader.line_num, fields) for fields in reader if fields]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        complaints.append(
            DataError(
                f"{path} cannot be read: {error}",
                expected=f"{tsv} with a header, or {original} without one, in UTF-8",
                remedy="Check the data root; the archive is at http://ixa2.si.ehu.eus/stswiki/index.php/STSbenchmark",
            )
        )
        return pd.DataFrame()
    columns = list(ORIGINAL)
    if with_header and lines:
        columns = lines.pop(0)[1]
        if missing := [name for name in NEEDED if name not in columns]:
            complaints.append(
                DataError(
                    f"{path} has the columns {', '.join(columns)}",
                    expected=", ".join(NEEDED),
                    remedy=f"Add {', '.join(missing)}; GLUE's test file has no scores",
                )
            )
            return pd.DataFrame()
    return _checked(path, columns, lines, with_header, complaints)


def _checked(
    path: Path, columns: list[str], lines: list[tuple[int, list[str]]], exact: bool, complaints: list[UnregressError]
) -> pd.DataFrame:
    """Convert the lines to a table; problems are added to `complaints`.

    Args:
        path: the file, for error messages.
        columns: names of the lines' first fields.
        lines: line number and fields.
        exact: whether a line must have no further fields.
        complaints: the list to add to.
    """
    wrong = [number for number, row in lines if len(row) < len(columns) or (exact and len(row) > len(columns))]
    count = f"{len(columns)}{'' if exact else ' or more'} fields, separated by tabs"
    _complain(complaints, path, wrong, f"do not have {count}")
    if not lines:
        complaints.append(DataError(f"{path} has no rows"))
    odd = set(wrong)
    numbers = [number for number, _ in lines if number not in odd]
    table = pd.DataFrame([row[: len(columns)] for number, row in lines if number not in odd], columns=columns)
    table = table.loc[:, list(NEEDED)].astype(str)
    scores = pd.to_numeric(table["score"], errors="coerce")
    years = table["year"].str.extract(r"^(\d{4})", expand=False)
    for good, kind in (
        (scores.between(0, 5), "have a score that is not a number from 0 to 5"),
        (table["sentence1"].str.strip() != "", "have an empty first sentence"),
        (table["sentence2"].str.strip() != "", "have an empty second sentence"),
        (years.notna(), "have a year that does not begin with four digits"),
    ):
        _complain(complaints, path, [numbers[row] for row in (~good).to_numpy().nonzero()[0]], kind)
    if complaints:
        return table
    ids = table["filename"] + "/" + table["year"] + "/" + table["old_index"]
    table = table.assign(id=ids, year_number=years.astype("int64"), score=scores.astype("float64"))
    return table[["id", "genre", "filename", "year", "year_number", "sentence1", "sentence2", "score"]]


def _complain(complaints: list[UnregressError], path: Path, lines: Iterable[int], kind: str) -> None:
    if found := list(lines):
        shown = ", ".join(map(str, found[:3])) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
        kind = re.sub("^have", "has", re.sub("^do not", "does not", kind)) if len(found) == 1 else kind
        complaints.append(DataError(f"Line{'s' if len(found) > 1 else ''} {shown} of {path} {kind}"))
