"""AgeDB's published index: the numbers of samples that the paper's experiments forget."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from unregress import ForgetRequest
from unregress.datasets.images.age_images import read_index


@pytest.fixture(scope="module")
def index(data_root: Path) -> pd.DataFrame:
    path = data_root / "agedb" / "agedb.csv"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return read_index(path)


def ages(index: pd.DataFrame, split: str) -> torch.Tensor:
    return torch.tensor(index.loc[index["split"] == split, "age"].to_numpy("float32"))


def test_the_published_split(index: pd.DataFrame) -> None:
    assert index["split"].value_counts().to_dict() == {"train": 12208, "validation": 2140, "test": 2140}
    assert index["path"].is_unique
    assert (index["age"].min(), index["age"].max()) == (1, 101)
    assert (index["age"] % 1 == 0).all(), "whole years, on which the ends of the bands below rest"


@pytest.mark.parametrize(
    ("low", "high", "train", "test"),
    [(None, 30, 2457, 488), (0, 30, 2457, 488), (60, None, 2455, 782)],
)
def test_the_bands_of_table_1_are_closed(
    index: pd.DataFrame, low: float | None, high: float | None, train: int, test: int
) -> None:
    for split, count in (("train", train), ("test", test)):
        assert len(ForgetRequest.band(ages(index, split), low=low, high=high, reason="Table 1").forget) == count


def test_the_upper_band_reaches_beyond_100(index: pd.DataFrame) -> None:
    """The paper's "60 to 100" is "60 and over": a photograph of a person aged 101 is in the numbers above."""
    beyond = {split: int((ages(index, split) > 100).sum()) for split in ("train", "validation", "test")}
    assert sum(beyond.values()) > 0
    closed = ForgetRequest.band(ages(index, "train"), low=60, high=100, reason="closed")
    assert len(closed.forget) == 2455 - beyond["train"]


@pytest.mark.parametrize(("low", "high", "count"), [(0, 10, 29), (10, 20, 303), (20, 30, 2125)])
def test_the_sequential_bands_are_open_below_and_closed_above(
    index: pd.DataFrame, low: int, high: int, count: int
) -> None:
    """(0, 10], (10, 20], (20, 30]: an age that two bands share is of the earlier request.

    Ages are whole years of 1 and over, so as closed bands they are [1, 10], [11, 20], [21, 30].
    """
    years = ages(index, "train")
    assert int(((years > low) & (years <= high)).sum()) == count
    assert len(ForgetRequest.band(years, low=low + 1, high=high, reason="sequential").forget) == count


def test_the_sequential_bands_are_the_band_to_30_in_parts(index: pd.DataFrame) -> None:
    years = ages(index, "train")
    parts = [ForgetRequest.band(years, low=low, high=low + 9, reason="part").forget for low in (1, 11, 21)]
    whole = ForgetRequest.band(years, high=30, reason="whole").forget
    assert [len(part) for part in parts] == [29, 303, 2125]
    assert sorted(i for part in parts for i in part) == list(whole)


def test_no_other_ends_give_these_numbers(index: pd.DataFrame) -> None:
    """Closed, or closed below only, the bands of ten years hold other numbers of training samples."""
    years = ages(index, "train")
    starts = (0, 10, 20)
    assert [int(((years >= low) & (years <= low + 10)).sum()) for low in starts] == [29, 308, 2226]
    assert [int(((years >= low) & (years < low + 10)).sum()) for low in starts] == [24, 207, 1901]
