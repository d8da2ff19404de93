"""A case refuses parts that do not belong together, and knows which samples are of the forgotten kind."""

from __future__ import annotations

import pickle

import cloudpickle
import numpy as np
import pandas
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from support.small_cases import Listed, case_of, mlp, numbers, table
from unregress import Case, ForgetRequest, Splits, TensorTask, UnregressError
from unregress.errors import DataError, PreflightError, RequestError

INPUTS, TARGETS = table(6)
DATA = TensorDataset(INPUTS, TARGETS)
TASK = TensorTask(mlp)
HELD_OUT = TensorDataset(INPUTS[:3], torch.tensor([10.0, 60.0, 75.0]))
BAND = ForgetRequest.band([0.0, 1.0, 2.0, 60.0, 70.0, 80.0], low=60, reason="band")


class Stream(IterableDataset):
    def __iter__(self):
        return iter(DATA)


class SizedStream(Stream):
    def __len__(self):
        return 6


class Endless(Dataset):
    """Has positions, but does not say how many."""

    def __getitem__(self, position):
        return DATA[0]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"train": TensorDataset(INPUTS[:5], TARGETS[:5])}, RequestError, "about 6 samples and `train` has 5"),
        ({"train_eval": HELD_OUT}, DataError, "`train_eval` has 3 samples and `train` 6"),
        (
            {"validation": HELD_OUT, "validation_forget_like": [3]},
            DataError,
            "`validation_forget_like` names positions outside",
        ),
        (
            {"test": HELD_OUT, "test_forget_like": [-1]},
            DataError,
            "`test_forget_like` names positions outside `test`, which has 3",
        ),
        ({"test_forget_like": [0]}, DataError, "`test`, which has 0 samples"),
    ],
)
def test_parts_that_do_not_fit_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        case_of(**({"train": DATA, "request": BAND} | options))


@pytest.mark.parametrize("split", ["train", "train_eval", "validation", "test"])
@pytest.mark.parametrize("dataset", [Stream(), SizedStream(), Endless()], ids=lambda dataset: type(dataset).__name__)
def test_a_dataset_must_have_positions_and_a_length(split, dataset):
    with pytest.raises(DataError, match=rf"`{split}` is a {type(dataset).__name__}, .*map-style"):
        Case(**({"task": TASK, "request": BAND, "train": DATA} | {split: dataset}))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_an_empty_held_out_split_is_refused(split):
    with pytest.raises(UnregressError, match=split):
        case_of(DATA, request=BAND, **{split: Listed(INPUTS[:0], TARGETS[:0])})


def test_all_complaints_come_at_once():
    with pytest.raises(PreflightError) as caught:
        case_of(TensorDataset(INPUTS[:5], TARGETS[:5]), request=BAND, train_eval=HELD_OUT, test_forget_like=[7])
    assert [type(complaint) for complaint in caught.value.complaints] == [RequestError, DataError, DataError]


@pytest.mark.parametrize("group", [[True, False], [True, False, True], np.array([False, True, True])])
def test_a_mask_is_not_taken_for_positions(group):
    """Taken as positions, [True, False] would silently mean samples 1 and 0."""
    with pytest.raises(UnregressError, match="test_forget_like"):
        case_of(DATA, request=BAND, test=HELD_OUT, test_forget_like=group)


@pytest.mark.parametrize(
    ("request_", "group", "expected"),
    [
        (BAND, None, [False, True, True]),
        (BAND, [0], [True, False, False]),
        (BAND, [], [False, False, False]),
        (ForgetRequest(size=6, forget=(1,), reason="no band"), None, [False, False, False]),
        (ForgetRequest(size=6, forget=(1,), reason="no band"), np.array([2, 0]), [True, False, True]),
    ],
)
@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_group_is_the_one_given_or_the_targets_in_the_band(request_, group, expected, split):
    case = case_of(DATA, request=request_, **{split: HELD_OUT, f"{split}_forget_like": group})
    assert case.forget_like(split).tolist() == expected


def test_the_training_group_is_the_forget_set():
    case = case_of(DATA, request=BAND)
    for split in ("train", "train_eval"):
        assert case.forget_like(split).tolist() == BAND.mask.tolist()


def test_retained_validation_leaves_the_band_out():
    assert case_of(DATA, request=BAND, validation=HELD_OUT).retained_validation().tolist() == [0]
    assert case_of(DATA, request=BAND).retained_validation() is None


def test_sources_carry_membership_and_augment_only_training():
    def augment(batch, _):
        return batch

    view = TensorDataset(INPUTS, TARGETS + 1)
    case = case_of(DATA, request=BAND, train_eval=view, test=HELD_OUT, augment=augment)
    train, evaluation, test = (case.source(split) for split in ("train", "train_eval", "test"))
    assert (train.dataset, train.augment) == (DATA, augment)
    assert (evaluation.dataset, evaluation.augment) == (view, None)
    assert (test.dataset, test.augment) == (HELD_OUT, None)
    assert train.forget.tolist() == evaluation.forget.tolist() == BAND.mask.tolist()
    assert test.forget.tolist() == [False] * 3


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_missing_split_is_asked_for(split):
    with pytest.raises(DataError, match=f"no {split} data.*`{split}`"):
        case_of(DATA, request=BAND).source(split)


def test_the_data_digest_tells_targets_and_their_order_apart():
    def digest(targets, data=TensorDataset):
        return case_of(data(INPUTS, targets), request=BAND).data_digest

    assert digest(TARGETS) == digest(TARGETS.clone()) == digest(TARGETS, Listed)
    others = [TARGETS.flip(0), TARGETS + 1, TARGETS[:, None].expand(6, 2), TARGETS[:, None]]
    assert len({digest(TARGETS), *map(digest, others)}) == 5


def test_a_case_is_sent_without_what_trainings_do_not_need():
    splits = Splits(train=DATA, ids=list("abcdef"))
    case = splits.case(TASK, BAND)
    digest = case.data_digest
    assert [len(row) for row in case.row_hashes("train_eval")] == [32] * 6
    sent = pickle.loads(cloudpickle.dumps(case.without_ids()))
    assert (sent.ids, vars(sent)["data_digest"], "_hashes" in vars(sent)) == (None, digest, False)
    assert sent.data_digest == sent.content_digest("train_eval") == digest
    assert case.ids == splits.ids


def test_what_other_requests_forgot_cannot_be_read_for_training():
    first = ForgetRequest(size=6, forget=(0,), reason="first")
    case = case_of(DATA, request=ForgetRequest(size=6, forget=(3,), reason="second").beside(first))
    assert case.rows("train").tolist() == [1, 2, 3, 4, 5]
    assert case.retained("train_eval").tolist() == [False, True, True, False, True, True]
    for split in ("train", "train_eval"):
        assert [len(batch.index) for batch in case.source(split).fetch([torch.tensor([1, 3])])] == [2]
        with pytest.raises(DataError, match="another request"):
            list(case.source(split).fetch([torch.tensor([1]), torch.tensor([2, 0])]))
    assert case.data_digest == case_of(DATA, request=first).data_digest


@pytest.mark.parametrize(
    "ids", [range(6), np.arange(6), torch.arange(6), pandas.Series(range(6)), tuple(range(6)), list(range(6))]
)
def test_ids_may_stand_in_any_list_array_or_column(ids):
    assert Splits(train=DATA, ids=ids).ids == case_of(DATA, request=BAND, ids=ids).ids == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("ids", [7, "abcdef", b"abcdef", iter("abcdef"), [[n] for n in range(6)], {1: 2}])
def test_ids_of_another_kind_are_refused(ids):
    with pytest.raises(DataError):
        Splits(train=DATA, ids=ids)


def test_there_is_one_id_for_each_sample():
    with pytest.raises(DataError, match="5 ids for 6"):
        case_of(DATA, request=BAND, ids=list("abcde"))


def test_splits_become_a_case():
    splits = Splits(train=DATA, test=HELD_OUT, ids=list("abcdef"))
    task = case_of(DATA, request=BAND).task
    case = splits.case(task, BAND)
    assert (case.train, case.test, case.validation, case.task) == (DATA, HELD_OUT, None, task)


def test_a_band_means_the_same_held_out_samples_as_trained_ones():
    # 2.2 as float32 is above 2.2 as float64: compared in float64, the sample at the limit would be lost.
    targets = torch.tensor([1.0, 2.2, 3.0])
    data = TensorDataset(numbers(3, 3), targets)
    request = ForgetRequest.band(targets, high=2.2, reason="at most 2.2")
    case = Case(task=TensorTask(mlp), request=request, train=data, validation=data, test=data)
    assert request.forget == (0, 1)
    assert case.forget_like("test").tolist() == case.forget_like("validation").tolist() == [True, True, False]
    assert case.retained_validation().tolist() == [2]
