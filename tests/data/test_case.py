"""A case refuses parts that do not belong together, and knows which samples are of the forgotten kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from support.small_cases import CPU, Listed, case_of, mlp, numbers, table, weights
from unregress import Case, ForgetRequest, Recipe, Retrain, Splits, TensorTask, audit, preflight, retrain, train
from unregress.data.splits import Split
from unregress.errors import DataError, PreflightError, RequestError, UnregressError

INPUTS, TARGETS = table(6)
DATA = TensorDataset(INPUTS, TARGETS)
TASK = TensorTask(mlp)
HELD_OUT = TensorDataset(INPUTS[:3], torch.tensor([10.0, 60.0, 75.0]))
BAND = ForgetRequest.band([0.0, 1.0, 2.0, 60.0, 70.0, 80.0], low=60, reason="band")
BRIEF = Recipe(epochs=2, lr=0.01, batch_size=4)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"train": TensorDataset(INPUTS[:5], TARGETS[:5])}, RequestError, "about 6 samples and `train` has 5"),
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
def test_parts_that_do_not_fit_are_refused(options: dict[str, Any], error: type[UnregressError], message: str) -> None:
    with pytest.raises(error, match=message):
        case_of(**({"train": DATA, "request": BAND} | options))


def test_all_complaints_come_at_once() -> None:
    with pytest.raises(PreflightError) as caught:
        case_of(TensorDataset(INPUTS[:5], TARGETS[:5]), request=BAND, test_forget_like=[7], validation_forget_like=[7])
    assert [type(complaint) for complaint in caught.value.complaints] == [RequestError, DataError, DataError]


@pytest.mark.parametrize("group", [[True, False], [True, False, True], np.array([False, True, True])])
def test_a_mask_is_not_taken_for_positions(group: Any) -> None:
    """Taken as positions, [True, False] would silently mean samples 1 and 0."""
    with pytest.raises(DataError, match="test_forget_like"):
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
def test_the_group_is_the_one_given_or_the_targets_in_the_band(
    request_: ForgetRequest, group: Sequence[int] | None, expected: list[bool], split: Any
) -> None:
    case = case_of(DATA, request=request_, **{split: HELD_OUT, f"{split}_forget_like": group})
    assert case.forget_like(split).tolist() == expected


def test_the_training_group_is_the_forget_set() -> None:
    case = case_of(DATA, request=BAND)
    assert case.forget_like("train").tolist() == case.forget_like("train_eval").tolist() == BAND.mask.tolist()


def test_retained_validation_leaves_the_band_out() -> None:
    retained = case_of(DATA, request=BAND, validation=HELD_OUT).retained_validation()
    assert retained is not None and retained.tolist() == [0]
    assert case_of(DATA, request=BAND).retained_validation() is None


def test_sources_carry_membership() -> None:
    case = case_of(DATA, request=BAND, test=HELD_OUT)
    assert case.source("train").forget.tolist() == BAND.mask.tolist()
    assert case.source("train_eval").forget.tolist() == BAND.mask.tolist()
    assert case.source("test").forget.tolist() == [False] * 3


def test_what_other_requests_forgot_cannot_be_read_for_training() -> None:
    first = ForgetRequest(size=6, forget=(0,), reason="first")
    case = case_of(DATA, request=ForgetRequest(size=6, forget=(3,), reason="second").beside(first))
    assert case.rows("train").tolist() == [1, 2, 3, 4, 5]
    assert case.retained("train_eval").tolist() == [False, True, True, False, True, True]
    splits: tuple[Split, ...] = ("train", "train_eval")
    for split in splits:
        assert [len(batch.index) for batch in case.source(split).fetch([torch.tensor([1, 3])])] == [2]
        with pytest.raises(DataError, match="another request"):
            list(case.source(split).fetch([torch.tensor([1]), torch.tensor([2, 0])]))
    assert case.splits.data_digest == case_of(DATA, request=first).splits.data_digest


def test_a_band_means_the_same_held_out_samples_as_trained_ones() -> None:
    # 2.2 as float32 is above 2.2 as float64: compared in float64, the sample at the limit would be lost.
    targets = torch.tensor([1.0, 2.2, 3.0])
    data = TensorDataset(numbers(3, 3), targets)
    request = ForgetRequest.band(targets, high=2.2, reason="at most 2.2")
    case = Case(task=TASK, splits=Splits(train=data, validation=data, test=data), request=request)
    assert request.forget == (0, 1)
    assert case.forget_like("test").tolist() == case.forget_like("validation").tolist() == [True, True, False]
    retained = case.retained_validation()
    assert retained is not None and retained.tolist() == [2]


def bare(**splits: Any) -> Case:
    """A case without a request."""
    return Case(task=TASK, splits=Splits(**({"train": DATA, "validation": HELD_OUT, "test": HELD_OUT} | splits)))


def test_without_a_request_all_training_samples_are_there_and_none_is_to_be_forgotten() -> None:
    case = bare()
    assert case.rows("train").tolist() == case.rows("train_eval").tolist() == [0, 1, 2, 3, 4, 5]
    assert case.forget_mask.tolist() == case.source("train").forget.tolist() == [False] * 6
    assert case.source("train").excluded is None


NEEDS_A_REQUEST: dict[str, Callable[[Case], object]] = {
    "requested": lambda case: case.requested,
    "forget_like": lambda case: case.forget_like("test"),
    "retained": lambda case: case.retained("train"),
    "retained_validation": lambda case: case.retained_validation(),
    "unlearn": lambda case: Retrain(recipe=BRIEF).unlearn(mlp(), case, CPU),
    "retrain": lambda case: retrain(case, BRIEF, CPU, [0]),
    "audit": lambda case: audit(case, {"original": mlp()}, CPU),
    "preflight for a method": lambda case: preflight(
        case, CPU, mlp(), method=Retrain(recipe=BRIEF), allow_overlap=True
    ),
}


@pytest.mark.parametrize("need", NEEDS_A_REQUEST)
def test_what_needs_a_request_refuses_a_case_without(need: str) -> None:
    with pytest.raises(RequestError) as refused:
        NEEDS_A_REQUEST[need](bare())
    assert "no request" in refused.value.found
    assert "ForgetRequest" in refused.value.expected
    assert "request=" in refused.value.remedy


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_training_needs_no_request(schedule: Any) -> None:
    """What is to be forgotten later does not matter to the original: not even by a plateau's validation loss."""
    recipe = Recipe(epochs=3, lr=0.01, batch_size=4, schedule=schedule)
    splits = Splits(train=DATA, validation=HELD_OUT)
    assert preflight(Case(task=TASK, splits=splits), CPU, recipe=recipe).warnings == ()
    found, asked = (train(Case(task=TASK, splits=splits, request=request), recipe, CPU) for request in (None, BAND))
    assert weights(found.model) == weights(asked.model)
    assert found.history == asked.history
    assert found.request is None


def test_training_leaves_out_what_earlier_requests_forgot() -> None:
    request = ForgetRequest(size=6, forget=(3,), reason="second").beside(
        ForgetRequest(size=6, forget=(0, 5), reason="first")
    )
    data = Listed(INPUTS, TARGETS, forbidden=(0, 5))
    made = train(case_of(data, request=request), BRIEF, CPU)
    assert (data.read, made.cost.backward) == ({1, 2, 3, 4}, 8)
