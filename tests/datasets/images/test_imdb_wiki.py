"""IMDB-WIKI from generated .mat files in the publishers' layout: ages by hand, filter, splits, complaints."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import savemat
from torch.utils.data import TensorDataset

from unregress.datasets.images import imdb_wiki as module
from unregress.datasets.images.age_images import read_index
from unregress.datasets.images.imdb_wiki import ages, imdb_wiki, write_index
from unregress.errors import DataError, PreflightError, SettingError, UnregressError

NO_FACE = -np.inf
ALONE = np.nan


def datenum(text: str) -> int:
    """Matlab's date number: 1 January of year 1 is 367, Python's ordinal 1."""
    return datetime.date.fromisoformat(text).toordinal() + 366


def cells(values: list[Any]) -> np.ndarray[Any, np.dtype[np.object_]]:
    """A Matlab cell array, 1 x n."""
    array = np.empty((1, len(values)), dtype=object)
    array[0, :] = values
    return array


Row = tuple[str, int, str, float, float]
"""Birth, year of the photograph, path, face_score, second_face_score."""


def fields(rows: list[Row]) -> dict[str, Any]:
    """The struct's fields, in the publishers' order and types."""
    dob, taken, paths, score, second = (list(column) for column in zip(*rows, strict=True))
    return {
        "dob": np.array([[datenum(day) for day in dob]], dtype=np.int32),
        "photo_taken": np.array([taken], dtype=np.uint16),
        "full_path": cells(paths),
        "gender": np.array([[0.0, 1.0, np.nan] * len(rows)])[:, : len(rows)],
        "name": cells(["Somebody"] * len(rows)),
        "face_location": cells([np.array([[1.0, 1.0, 250.5, 250.5]])] * len(rows)),
        "face_score": np.array([score], dtype=np.float64),
        "second_face_score": np.array([second], dtype=np.float64),
    }


def write(root: Path, part: str, rows: list[Row], **changed: Any) -> None:
    """`<part>_crop/<part>.mat`; a field that is changed to None is left out."""
    folder = root / f"{part}_crop"
    folder.mkdir(parents=True, exist_ok=True)
    struct = {name: values for name, values in (fields(rows) | changed).items() if values is not None}
    savemat(folder / f"{part}.mat", {part: struct}, do_compression=True)


def people(count: int, prefix: str = "00") -> list[Row]:
    """Fit for training, aged 20 to 69."""
    return [(f"{1980 - i % 50}-03-01", 2000, f"{prefix}/{i}.jpg", 3.0, ALONE) for i in range(count)]


def table(root: Path, **options: Any) -> pd.DataFrame:
    return pd.read_csv(write_index(root, **options))


@pytest.mark.parametrize(
    ("born", "taken", "age"),
    [
        ("1970-01-01", 2000, 30),
        ("1970-06-30", 2000, 30),  # the last birthday that is over in the middle of the year
        ("1970-07-01", 2000, 29),
        ("1970-12-31", 2000, 29),
        ("1972-02-29", 2000, 28),  # leap day, photograph in a leap year
        ("1972-02-29", 2001, 29),  # and in one without a 29 February
        ("1900-02-28", 1950, 50),  # 1900 had no leap day
        ("1900-03-01", 1950, 50),
        ("2000-02-29", 2004, 4),
        ("1899-05-10", 1968, 69),
        ("1969-12-31", 1999, 29),  # the day before Unix time
        ("1968-07-01", 1968, -1),  # not yet born: no age, to be filtered
        ("1968-06-30", 1968, 0),
    ],
)
def test_ages_by_hand(born: str, taken: int, age: int) -> None:
    assert ages([datenum(born)], [taken]).tolist() == [age]


def test_a_known_date_number() -> None:
    """Matlab's manual: datenum(2000, 1, 1) is 730486."""
    assert datenum("2000-01-01") == 730486
    assert ages([730486, 730486 - 1], [2010, 2010]).tolist() == [10, 10]
    # Day 730486 + 181 is 30 June of the leap year 2000 (31 + 29 + 31 + 30 + 31 + 30 = 182nd day).
    assert ages([730486 + 181, 730486 + 181.9, 730486 + 182], [2010] * 3).tolist() == [10, 10, 9]


def test_ages_are_those_of_the_calendar() -> None:
    """Every fifth day of a century, against Python's dates."""
    days = [datetime.date(1890, 1, 1) + datetime.timedelta(n) for n in range(0, 36525, 5)]
    expected = [2000 - day.year - (day.month >= 7) for day in days]
    assert ages([day.toordinal() + 366 for day in days], [2000] * len(days)).tolist() == expected


def test_what_is_unknown_has_no_age() -> None:
    found = ages([np.nan, np.inf, -np.inf, 1e300, datenum("1970-01-01")], [2000, 2000, 2000, 2000, np.nan])
    assert np.isnan(found).all()
    # The publishers have birth dates of year 0; the photograph's year is an unsigned number.
    assert ages(np.array([47], np.int32), np.array([2000], np.uint16)).tolist() == [2000]
    assert ages(np.array([datenum("1990-01-01")], np.int32), np.array([1980], np.uint16)).tolist() == [-10]


def test_both_parts_in_one_index_in_their_order(tmp_path: Path) -> None:
    write(tmp_path, "wiki", [("1950-08-01", 1990, "17/b.jpg", 2.0, ALONE)])
    write(tmp_path, "imdb", [("1950-02-01", 1990, "01/a.jpg", 2.0, ALONE), ("1989-01-01", 1990, "02/c.jpg", 9, ALONE)])
    assert write_index(tmp_path) == tmp_path / "imdb_wiki.csv"
    assert (tmp_path / "imdb_wiki.csv").read_text().splitlines() == [
        "age,path,split",
        "40,imdb_crop/01/a.jpg,train",
        "1,imdb_crop/02/c.jpg,train",
        "39,wiki_crop/17/b.jpg,train",
    ]
    assert len(list(tmp_path.iterdir())) == 3, "nothing else is left behind"


@pytest.mark.parametrize("part", ["imdb", "wiki"])
def test_one_part_is_enough(tmp_path: Path, part: str) -> None:
    write(tmp_path, part, people(1))
    assert table(tmp_path)["path"].tolist() == [f"{part}_crop/00/0.jpg"]


def test_what_is_taken(tmp_path: Path) -> None:
    rows: list[tuple[Row, bool]] = [
        (("1950-01-01", 2000, "good", 1.5, ALONE), True),
        (("1950-01-01", 2000, "score of the threshold", 1.0, ALONE), False),
        (("1950-01-01", 2000, "low score", 0.5, ALONE), False),
        (("1950-01-01", 2000, "no face", NO_FACE, ALONE), False),
        (("1950-01-01", 2000, "infinite score", np.inf, ALONE), False),
        (("1950-01-01", 2000, "unknown score", np.nan, ALONE), False),
        (("1950-01-01", 2000, "second face", 5.0, 2.0), False),
        (("1950-01-01", 2000, "faint second face", 5.0, -1.0), False),
        (("2000-01-01", 2000, "aged 0", 5.0, ALONE), False),
        (("1999-07-01", 2000, "aged 0 until July", 5.0, ALONE), False),
        (("1999-06-30", 2000, "aged 1", 5.0, ALONE), True),
        (("1900-01-01", 2000, "aged 100", 5.0, ALONE), True),
        (("1899-07-01", 2000, "aged 100 until July", 5.0, ALONE), True),
        (("1899-06-30", 2000, "aged 101", 5.0, ALONE), False),
        (("2010-01-01", 2000, "not yet born", 5.0, ALONE), False),
        (("1950-01-01", 2000, "good", 1.5, ALONE), False),  # named twice
    ]
    write(tmp_path, "imdb", [row for row, _ in rows])
    found = table(tmp_path)
    assert found["path"].tolist() == [f"imdb_crop/{row[2]}" for row, taken in rows if taken]
    assert found["age"].tolist() == [50, 1, 100, 100]


@pytest.mark.parametrize(("min_score", "files"), [(-1e9, "abc"), (0, "bc"), (2.5, "c")])
def test_the_threshold_is_an_argument(tmp_path: Path, min_score: float, files: str) -> None:
    scores = {"a": -0.5, "b": 2.5, "c": 7.0}
    write(tmp_path, "wiki", [("1950-01-01", 2000, name, score, ALONE) for name, score in scores.items()])
    assert table(tmp_path, min_score=min_score)["path"].tolist() == [f"wiki_crop/{name}" for name in files]


def test_splits_are_a_partition_drawn_by_the_seed(tmp_path: Path) -> None:
    write(tmp_path, "imdb", people(1000))
    first, again, other = (
        table(tmp_path, index=f"{n}.csv", seed=seed) for n, seed in enumerate((0, 0, 1))
    )  # fmt: skip
    assert first.equals(again)
    assert not first["split"].equals(other["split"])
    for found in (first, other):
        # 1000 * 11022 / 213553 = 51.6
        assert found["split"].value_counts().to_dict() == {"train": 896, "val": 52, "test": 52}
        assert found["path"].is_unique and len(found) == 1000
        # At random, not a run of rows: a mean position of 500, of which the standard error is 40.
        for name in ("val", "test"):
            assert 340 < np.flatnonzero(found["split"] == name).mean() < 660


def test_held_out_splits_of_the_published_size_if_there_are_enough() -> None:
    for samples, held in ((213_553, 11_022), (400_000, 11_022), (106_776, 5_511), (9, 0), (10, 1)):
        names, counts = np.unique(module._splits(samples, 0), return_counts=True)
        expected = {"train": samples - 2 * held, "val": held, "test": held}
        assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {k: n for k, n in expected.items() if n}


def test_the_index_is_one_that_age_images_reads(tmp_path: Path) -> None:
    write(tmp_path, "imdb", people(100))
    found = read_index(write_index(tmp_path))
    assert found["split"].value_counts().to_dict() == {"train": 90, "validation": 5, "test": 5}
    assert (found["age"].min(), found["age"].max()) == (20, 69)


def test_an_index_that_is_there_wins(tmp_path: Path) -> None:
    write(tmp_path, "imdb", people(10))
    published = "age,path,split\n33,imdb_crop/00/4.jpg,train\n44,imdb_crop/00/5.jpg,test\n"
    (tmp_path / "imdb_wiki.csv").write_text(published)
    assert write_index(tmp_path, min_score=2, seed=5) == tmp_path / "imdb_wiki.csv"
    assert (tmp_path / "imdb_wiki.csv").read_text() == published
    (tmp_path / "imdb_crop" / "imdb.mat").unlink()
    assert write_index(tmp_path).read_text() == published, "and needs no .mat"


def photographs(root: Path, files: list[str]) -> None:
    for number, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (number * 10, 0, 0)).save(root / file, quality=95)


def test_images_end_to_end(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, "imdb", people(12, "01"))
    write(root, "wiki", people(8, "02"))
    files = [f"imdb_crop/01/{i}.jpg" for i in range(12)] + [f"wiki_crop/02/{i}.jpg" for i in range(8)]
    photographs(root, files)
    splits = imdb_wiki(str(root), size=16, cache=str(tmp_path / "cache"))
    index = read_index(root / "imdb_wiki.csv")
    assert splits.ids == index.loc[index["split"] == "train", "path"].tolist()
    assert len(splits.ids) == 18
    row = 0
    for part in (splits.train, splits.validation, splits.test):
        assert isinstance(part, TensorDataset)
        pixels, found = part.tensors
        for image, age in zip(pixels, found.tolist(), strict=True):
            number = files.index(index["path"][row])
            assert age == 20 + number % 12
            assert tuple(image.shape) == (16, 16, 3)
            assert abs(float(image[..., 0].float().mean()) - number * 10) < 3
            row += 1
    assert row == 20


def test_an_archive_extracted_by_half_is_said_to_be(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, "imdb", people(5))
    photographs(root, [f"imdb_crop/00/{i}.jpg" for i in range(3)])
    with pytest.raises(DataError, match=r"2 of 5 images are not under .*extracted completely"):
        imdb_wiki(str(root), cache=str(tmp_path / "cache"))


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent is not a folder.*imdb_crop/ or wiki_crop/.*https://"):
        write_index(tmp_path / "absent")
    with pytest.raises(DataError, match="holds no IMDB-WIKI"):
        write_index(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_part_without_its_file(tmp_path: Path) -> None:
    write(tmp_path, "imdb", people(3))
    (tmp_path / "wiki_crop").mkdir()
    with pytest.raises(DataError, match=r"wiki\.mat cannot be read.*Extract the archive completely"):
        write_index(tmp_path)


BREAK: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "text": lambda content: b"<html>not found</html>\n" * 40,
    "cut off in the header": lambda content: content[:100],
    "cut off": lambda content: content[:-200],
    "nothing but the header": lambda content: content[:128],
    "damaged": lambda content: content[:300] + b"\xff" * 50 + content[350:],
    "version 7.3": lambda content: content[:124] + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" + bytes(200),
}


@pytest.mark.parametrize("kind", BREAK)
def test_a_damaged_file_is_named(tmp_path: Path, kind: str) -> None:
    write(tmp_path, "imdb", people(50))
    path = tmp_path / "imdb_crop" / "imdb.mat"
    path.write_bytes(BREAK[kind](path.read_bytes()))
    with pytest.raises(DataError, match=r"imdb\.mat (cannot be read|has no struct imdb)"):
        write_index(tmp_path)
    assert not (tmp_path / "imdb_wiki.csv").exists()


@pytest.mark.parametrize("content", [{"wiki": {"dob": 1.0}}, {"imdb": np.arange(6.0)}, {"imdb": "text"}])
def test_a_file_of_something_else(tmp_path: Path, content: dict[str, Any]) -> None:
    (tmp_path / "imdb_crop").mkdir()
    savemat(tmp_path / "imdb_crop" / "imdb.mat", content)
    with pytest.raises(DataError, match=r"imdb\.mat has no struct imdb"):
        write_index(tmp_path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"dob": None, "face_score": None}, r"struct imdb of .* lacks dob, face_score"),
        ({"full_path": None}, "lacks full_path"),
        ({"photo_taken": np.array([[1990.0]])}, r"several lengths: full_path 3, dob 3, photo_taken 1"),
        ({"dob": cells(["1.1.1970"] * 3)}, "no numbers in dob"),
        ({"full_path": cells(["a", np.array([[1.0, 2.0]]), ""])}, r"2 values of full_path that are no text.* place 2"),
        ({"full_path": np.array([[1.0, 2.0, 3.0]])}, "3 values of full_path that are no text"),
    ],
)
def test_fields_that_are_not_as_they_should_be(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    write(tmp_path, "imdb", people(3), **changed)
    with pytest.raises(DataError, match=said):
        write_index(tmp_path)


def test_gender_name_and_place_are_not_needed(tmp_path: Path) -> None:
    write(tmp_path, "imdb", people(3), gender=None, name=None, face_location=None)
    assert len(table(tmp_path)) == 3


def test_complaints_about_both_parts_at_once(tmp_path: Path) -> None:
    write(tmp_path, "imdb", people(3), dob=cells(["?"] * 3), photo_taken=np.array([[1990.0]]))
    write(tmp_path, "wiki", people(3), face_score=None)
    with pytest.raises(PreflightError) as refused:
        write_index(tmp_path)
    assert [str(complaint).split(".mat ")[1].split(" ")[0] for complaint in refused.value.complaints] == [
        "has", "has", "lacks",
    ]  # fmt: skip


def test_nothing_fit_is_counted_by_reason(tmp_path: Path) -> None:
    write(
        tmp_path,
        "wiki",
        [
            ("1950-01-01", 2000, "a", NO_FACE, ALONE),
            ("1950-01-01", 2000, "b", 5.0, 4.0),
            ("1800-01-01", 2000, "c", 5.0, ALONE),
        ],
    )
    said = r"None of the 3 images .* 2 have a face with a score above 1, 2 have no second face, 2 show a person aged 1"
    with pytest.raises(DataError, match=said):
        write_index(tmp_path)
    assert not (tmp_path / "imdb_wiki.csv").exists()


def test_a_struct_without_images(tmp_path: Path) -> None:
    empty = np.zeros((1, 0))
    changed = {name: empty for name in ("dob", "photo_taken", "face_score", "second_face_score")}
    write(tmp_path, "imdb", people(1), full_path=np.empty((1, 0), object), **changed)
    with pytest.raises(DataError, match="None of the 0 images"):
        write_index(tmp_path)


@pytest.mark.parametrize("options", [{"seed": -1}, {"min_score": float("nan")}])
def test_senseless_options_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    write(tmp_path, "imdb", people(3))
    with pytest.raises(SettingError, match="Expected a number, and a seed of 0 or more"):
        write_index(tmp_path, **options)


def test_an_index_that_cannot_be_written(tmp_path: Path) -> None:
    write(tmp_path, "imdb", people(3))
    (tmp_path / "file").write_text("")
    for place in ("file/index.csv", "absent/index.csv"):
        with pytest.raises(SettingError, match=r"index\.csv cannot be written.*full path"):
            write_index(tmp_path, index=place)


def test_an_index_elsewhere(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(root, "imdb", people(2))
    photographs(root, ["imdb_crop/00/0.jpg", "imdb_crop/00/1.jpg"])
    elsewhere = str(tmp_path / "mine.csv")
    assert imdb_wiki(str(root), index=elsewhere, cache=str(tmp_path / "cache")).ids == [
        "imdb_crop/00/0.jpg",
        "imdb_crop/00/1.jpg",
    ]
    assert [path.name for path in root.iterdir()] == ["imdb_crop"]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "imdb", people(3))

    def full(self: pd.DataFrame, path: Path, **options: Any) -> None:
        Path(path).write_text("age,pa")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(UnregressError, match="No space left on device"):
        write_index(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["imdb_crop"]
