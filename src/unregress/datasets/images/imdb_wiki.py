"""IMDB-WIKI: faces of people in the public eye, with ages from 1 to 100 (Rothe et al., 2018; paper Section 6.1).

The publishers give out two archives of cropped faces, for research only (`PAGE`).  Extracted beside each other they
are `imdb_crop/` with `imdb.mat` and `wiki_crop/` with `wiki.mat`.  From these files an index in AgeDB's layout is made,
which `age_images` opens.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from unregress.data.splits import Splits
from unregress.datasets.images.age_images import age_images
from unregress.errors import DataError, SettingError, UnregressError, raise_all

PAGE = "https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/"
PARTS = {"imdb": "imdb_crop", "wiki": "wiki_crop"}
"""The struct's and file's name, and the folder of each half."""
NUMBERS = ("dob", "photo_taken", "face_score", "second_face_score")
AGES = (1, 100)
HELD_OUT, PUBLISHED = 11_022, 213_553
"""Images in validation and in test, each, and in all, of the split that the literature uses (Yang et al., 2021)."""
EPOCH = 719_529
"""1970-01-01 as a Matlab date number: they count from year 0, 366 days earlier than Python's ordinals do."""


def imdb_wiki(
    root: str,
    index: str = "imdb_wiki.csv",
    min_score: float = 1.0,
    seed: int = 0,
    size: int = 32,
    padding: int = 4,
    cache: str | None = None,
) -> Splits:
    """The splits of IMDB-WIKI as resident tensors `(pixels, age)`, as from `age_images`.

    Args:
        root: folder that holds `imdb_crop/`, `wiki_crop/` or both.
        index: see `write_index`; so are min_score and seed.
        min_score: see `write_index`.
        seed: see `write_index`.
        size: side of the square images in pixels.
        padding: pixels of the random crop's padding.
        cache: folder for the decoded table; by default `unregress` in the user's cache folder.

    Raises:
        DataError, PreflightError, SettingError: as for `write_index` and `age_images`.
    """
    write_index(root, index, min_score, seed)
    return age_images(root, index, size, padding, cache)


def write_index(root: str | Path, index: str = "imdb_wiki.csv", min_score: float = 1.0, seed: int = 0) -> Path:
    """Write an index (columns age, path, split) of the images that are fit for training; return its path.

    **An existing index is used unchanged**, and the other arguments are ignored.  This allows for the published index
    of the Deep Imbalanced Regression benchmark (Yang et al., 2021: 191,509 train, 11,022 validation, 11,022 test) in
    `root`.  For other arguments name another `index`, or remove the file.

    The index lists images of people aged 1 to 100 in which a face was found with a score above `min_score`, and no
    second face (the age might be another person's).  If a path occurs twice, its first row is used.  The split is drawn
    at random: 11,022 images each for validation and test, or the same share (5.16 %) of fewer than 213,553.  Unlike
    the published split, it is not balanced over the ages.  As there, one person's photographs can be in several splits.

    Args:
        root: folder that holds `imdb_crop/`, `wiki_crop/` or both.
        index: name of the index file in `root`, or its full path if `root` is read-only.
        min_score: lower bound (exclusive) of the face detector's score; scores are about 0 to 7.
        seed: of the split.

    Raises:
        DataError: no folder or .mat file, one that cannot be read or lacks fields, or no image is fit.
        PreflightError: several of these, all at once.
        SettingError: min_score is not a number, seed is negative, or the index cannot be written.
    """
    path = Path(root) / index
    if path.exists():
        return path
    if np.isnan(min_score) or seed < 0:
        raise SettingError(f"min_score is {min_score} and seed {seed}", expected="a number, and a seed of 0 or more")
    table = _fit(_records(Path(root)), min_score, Path(root))
    table["split"] = _splits(len(table), seed)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        table.to_csv(unfinished, index=False)
        os.replace(unfinished, path)
    except OSError as error:
        raise SettingError(
            f"The index {path} cannot be written: {error.strerror or error}",
            remedy="Name a file elsewhere by its full path with `index`",
        ) from error
    finally:
        with suppress(OSError):  # gone already, or never there
            unfinished.unlink()
    return path


def ages(dob: ArrayLike, photo_taken: ArrayLike) -> NDArray[np.float64]:
    """Full years from birth to the middle of the year of the photograph, `(n,)`; NaN where either is unknown.

    Only the year of a photograph is known.  Taken to be of the end of June, it shows a person born from January to
    June after that year's birthday, and one born from July to December (1 July included) before it.  The publishers
    compute `datevec(datenum(photo_taken, 7, 1) - dob)`, which reads a number of days as a date counted from year 0.
    That is the same, but for some of those born on 29 or 30 June, whom it makes a year younger.

    Args:
        dob: days of birth as Matlab date numbers, of which 1 is 1 January of year 0; a part of a day is dropped.
        photo_taken: years.

    >>> ages([719529, 719529 + 180, 719529 + 181], [2000, 2000, 2000]).tolist()  # 1 January, 30 June, 1 July 1970
    [30.0, 30.0, 29.0]
    """
    days, years = np.asarray(dob, np.float64), np.asarray(photo_taken, np.float64)
    known = np.isfinite(days) & (np.abs(days) < 1e7)
    # Months since January 1970: floor division and remainder are right for earlier ones, too.
    born = (np.floor(np.where(known, days, EPOCH)) - EPOCH).astype("datetime64[D]").astype("datetime64[M]")
    months = born.astype(np.int64)
    found = years - (1970 + months // 12) - (months % 12 >= 6)
    return np.where(known & np.isfinite(found), found, np.nan)


def _records(root: Path) -> pd.DataFrame:
    """The .mat files' rows: path under the root, age, face_score, second_face_score."""
    complaints = list[UnregressError]()
    present = {name: root / folder for name, folder in PARTS.items() if (root / folder).is_dir()}
    if not present:
        raise DataError(
            f"{root} is not a folder" if not root.is_dir() else f"{root} holds no IMDB-WIKI",
            expected=f"a folder with {' or '.join(f'{folder}/' for folder in PARTS.values())}",
            remedy=f"Extract the archives of faces there, {PAGE}",
        )
    tables = [_part(folder / f"{name}.mat", name, complaints) for name, folder in present.items()]
    raise_all(complaints)
    return pd.concat(tables, ignore_index=True)


def _part(path: Path, name: str, complaints: list[UnregressError]) -> pd.DataFrame:
    """One file's rows; problems with it are added to `complaints`."""
    fields = _struct(path, name, complaints)
    if not fields:
        return pd.DataFrame()
    lengths = {field: len(values) for field, values in fields.items()}
    found = list[str]()
    if len(set(lengths.values())) > 1:
        found.append("has fields of several lengths: " + ", ".join(f"{f} {n}" for f, n in lengths.items()))
    if bad := [field for field in NUMBERS if fields[field].dtype.kind not in "uif"]:
        found.append(f"has no numbers in {', '.join(bad)}")
    paths = [_text(cell) for cell in fields["full_path"].tolist()]
    if absent := paths.count(""):
        found.append(f"has {absent} values of full_path that are no text, the first in place {paths.index('') + 1}")
    complaints.extend(DataError(f"{path} {what}", remedy=f"Fetch it again, {PAGE}") for what in found)
    if found:
        return pd.DataFrame()
    return pd.DataFrame(
        {
            "age": ages(fields["dob"], fields["photo_taken"]),
            "path": [f"{path.parent.name}/{file}" for file in paths],
            "face_score": fields["face_score"],
            "second_face_score": fields["second_face_score"],
        }
    )


def _struct(path: Path, name: str, complaints: list[UnregressError]) -> dict[str, NDArray[Any]]:
    """The required fields, each flattened; empty if one is missing."""
    try:
        struct = loadmat(path, variable_names=[name]).get(name)
    # Exceptions of scipy for damaged files; NotImplementedError: version 7.3, which the publishers do not use.
    except (OSError, ValueError, TypeError, LookupError, NotImplementedError, OverflowError, MemoryError,
            zlib.error, MatReadError) as error:  # fmt: skip
        complaints.append(
            DataError(
                f"{path} cannot be read: {str(error).rstrip('.')}",
                expected=f"the file of the archive {path.parent.name}.tar, a Matlab file of version 5 to 7",
                remedy=f"Extract the archive completely, or fetch it again, {PAGE}",
            )
        )
        return {}
    names: Sequence[str] = (struct.dtype.names or ()) if isinstance(struct, np.ndarray) and struct.size == 1 else ()
    missing = [field for field in ("full_path", *NUMBERS) if field not in names]
    if isinstance(struct, np.ndarray) and not missing:
        return {field: np.asarray(struct[field].item()).ravel() for field in ("full_path", *NUMBERS)}
    what = f"the struct {name} of {path} lacks {', '.join(missing)}" if names else f"{path} has no struct {name}"
    complaints.append(DataError(what[0].upper() + what[1:], remedy=f"Fetch the file again, {PAGE}"))
    return {}


def _text(cell: object) -> str:
    """The text of a Matlab cell, an array of one string; empty if it is something else."""
    if isinstance(cell, np.ndarray):
        cell = cell.item() if cell.size == 1 else ""
    return cell.strip() if isinstance(cell, str) else ""


def _fit(records: pd.DataFrame, min_score: float, root: Path) -> pd.DataFrame:
    """Ages and paths of the images that are fit for training."""
    low, high = AGES
    tests = {
        f"have a face with a score above {min_score:g}": np.isfinite(records["face_score"])
        & (records["face_score"] > min_score),
        "have no second face": records["second_face_score"].isna(),
        f"show a person aged {low} to {high}": records["age"].between(low, high),
    }
    chosen = records.loc[np.logical_and.reduce(list(tests.values())), ["age", "path"]].drop_duplicates("path")
    if chosen.empty:
        counts = ", ".join(f"{int(passed.sum())} {what}" for what, passed in tests.items())
        raise DataError(
            f"None of the {len(records)} images that the .mat files under {root} name is fit for training: {counts}",
            expected="images for which all three are true",
            remedy="Lower `min_score`, or fetch the files again",
        )
    return chosen.astype({"age": np.int64})


def _splits(samples: int, seed: int) -> NDArray[np.str_]:
    """The split of each sample: train, val or test."""
    held = min(HELD_OUT, round(samples * HELD_OUT / PUBLISHED))
    splits = np.full(samples, "train")
    drawn = np.random.default_rng(seed).permutation(samples)
    splits[drawn[:held]], splits[drawn[held : 2 * held]] = "val", "test"
    return splits
