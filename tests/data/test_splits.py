"""Splits refuse datasets that do not belong together, and hash their content once."""

from __future__ import annotations

import pickle
from typing import Any

import cloudpickle
import numpy as np
import pandas
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from support.small_cases import Listed, case_of, table
from unregress import Splits
from unregress.errors import DataError, PreflightError

INPUTS, TARGETS = table(6)
DATA = TensorDataset(INPUTS, TARGETS)
HELD_OUT = TensorDataset(INPUTS[:3], torch.tensor([10.0, 60.0, 75.0]))


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(DATA)


class SizedStream(Stream):
    def __len__(self) -> int:
        return 6


class Endless(Dataset[Any]):
    """Has positions, but does not say how many."""

    def __getitem__(self, position: int) -> Any:
        return DATA[0]


@pytest.mark.parametrize("split", ["train", "train_eval", "validation", "test"])
@pytest.mark.parametrize("dataset", [Stream(), SizedStream(), Endless()], ids=lambda dataset: type(dataset).__name__)
def test_a_dataset_must_have_positions_and_a_length(split: str, dataset: Dataset[Any]) -> None:
    with pytest.raises(DataError) as refused:
        Splits(**{"train": DATA, split: dataset})  # type: ignore[arg-type]
    assert f"`{split}` is a {type(dataset).__name__}" in refused.value.found
    assert "map-style" in refused.value.expected


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_an_empty_dataset_is_refused(split: str) -> None:
    empty: Any = Listed(INPUTS[:0], TARGETS[:0])
    with pytest.raises(DataError, match=f"`{split}` has no samples"):
        Splits(**{"train": DATA, split: empty})


def test_the_evaluation_view_has_the_samples_of_the_training_set() -> None:
    with pytest.raises(DataError, match="`train_eval` has 3 samples and `train` 6"):
        Splits(train=DATA, train_eval=HELD_OUT)


def test_all_complaints_come_at_once() -> None:
    with pytest.raises(PreflightError) as caught:
        Splits(train=DATA, train_eval=HELD_OUT, ids=list("abcde"), test=Listed(INPUTS[:0], TARGETS[:0]))
    found = [complaint.found for complaint in caught.value.complaints]
    assert len(found) == 3
    assert all(word in text for word, text in zip(("5 entries for 6", "train_eval", "test"), found, strict=True))


@pytest.mark.parametrize(
    "ids", [range(6), np.arange(6), torch.arange(6), pandas.Series(range(6)), tuple(range(6)), list(range(6))]
)
def test_ids_may_stand_in_any_list_array_or_column(ids: Any) -> None:
    assert Splits(train=DATA, ids=ids).ids == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("ids", [7, "abcdef", b"abcdef", iter("abcdef"), [[n] for n in range(6)], {1: 2}])
def test_ids_of_another_kind_are_refused(ids: Any) -> None:
    with pytest.raises(DataError):
        Splits(train=DATA, ids=ids)


def test_there_is_one_id_for_each_sample() -> None:
    with pytest.raises(DataError, match="5 entries for 6"):
        Splits(train=DATA, ids=list("abcde"))


@pytest.mark.parametrize(
    "weights",
    [range(6), np.arange(6, dtype=np.float32), torch.arange(6.0), pandas.Series(range(6)), tuple(range(6))],
)
def test_weights_may_stand_in_any_list_array_or_column(weights: Any) -> None:
    found = Splits(train=DATA, weights=weights).weight_array
    assert found is not None and found.dtype == np.float64 and found.tolist() == [0, 1, 2, 3, 4, 5]


def test_weights_do_not_follow_the_array_that_was_given() -> None:
    given = np.ones(6)
    data = Splits(train=DATA, weights=given)
    given[:] = 0
    assert data.weight_array is not None and data.weight_array.sum() == 6
    assert pickle.loads(cloudpickle.dumps(data)).weight_array.sum() == 6


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1.0] * 5, "shape (5,) for 6"),
        ([[1.0]] * 6, "shape (6, 1) for 6"),
        (7, "shape () for 6"),
        ([1, 1, -0.5, 1, 1, -2], "2 weights are negative, NaN or infinite; the first, at position 2, is -0.5"),
        ([1, 1, 1, 1, 1, float("nan")], "1 weights are negative, NaN or infinite; the first, at position 5, is nan"),
        ([float("inf")] * 6, "6 weights"),
        ([0] * 6, "All weights are 0"),
        (list("abcdef"), "not numbers"),
        ([1, 1, 1, [1], 1, 1], "not numbers"),
    ],
)
def test_unusable_weights_are_refused(weights: Any, words: str) -> None:
    with pytest.raises(DataError) as caught:
        Splits(train=DATA, weights=weights)
    assert words in caught.value.found


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_missing_split_is_asked_for(split: Any) -> None:
    with pytest.raises(DataError) as refused:
        Splits(train=DATA).source(split)
    assert f"no {split} data" in refused.value.found
    assert f"`{split}`" in refused.value.remedy


def test_sources_augment_only_training_and_forget_nothing() -> None:
    def augment(batch: Any, _: torch.Generator) -> Any:
        return batch

    view = TensorDataset(INPUTS, TARGETS + 1)
    splits = Splits(train=DATA, train_eval=view, test=HELD_OUT, augment=augment)
    train, evaluation, test = (splits.source(split) for split in ("train", "train_eval", "test"))  # type: ignore[arg-type]
    assert (train.dataset, train.augment, train.name) == (DATA, augment, "train")
    assert (evaluation.dataset, evaluation.augment, evaluation.name) == (view, None, "train_eval")
    assert (test.dataset, test.augment, test.name) == (HELD_OUT, None, "test")
    assert not any(bool(source.forget.any()) or source.excluded is not None for source in (train, evaluation, test))
    assert [len(source) for source in (train, evaluation, test)] == [splits.size, 6, 3]
    assert Splits(train=DATA).source("train_eval").name == "train"


def test_the_data_digest_tells_targets_and_their_order_apart() -> None:
    def digest(targets: torch.Tensor, data: Any = TensorDataset) -> str:
        return Splits(train=data(INPUTS, targets)).data_digest

    assert digest(TARGETS) == digest(TARGETS.clone()) == digest(TARGETS, Listed)
    others = [TARGETS.flip(0), TARGETS + 1, TARGETS[:, None].expand(6, 2), TARGETS[:, None]]
    assert len({digest(TARGETS), *map(digest, others)}) == 5


def test_a_split_is_read_once_for_all_digests() -> None:
    data = Listed(INPUTS, TARGETS)
    splits = Splits(train=data)
    digest = splits.data_digest
    assert [len(row) for row in splits.row_hashes("train_eval")] == [32] * 6
    data.read.clear()
    assert splits.content_digest("train_eval") == digest
    assert len(set(splits.row_hashes("train_eval"))) == 6
    assert data.read == set()


def test_data_are_sent_without_what_trainings_do_not_need() -> None:
    splits = Splits(train=DATA, ids=list("abcdef"))
    digest = splits.data_digest
    case = case_of(DATA, ids=list("abcdef"), forget=(0,))
    assert case.without_ids().splits.ids is None
    sent = pickle.loads(cloudpickle.dumps(splits.without_ids()))
    assert (sent.ids, vars(sent)["data_digest"], "_hashes" in vars(sent)) == (None, digest, False)
    assert sent.data_digest == sent.content_digest("train_eval") == digest
    assert splits.ids == list("abcdef")
