"""Forget requests: what they select, what they refuse, and what they leave to other requests."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unregress import ForgetRequest, UnregressError
from unregress.errors import PreflightError, RequestError


def request(forget, size=5, **more):
    return ForgetRequest(size=size, forget=forget, reason="test", **more)


@st.composite
def requests(draw):
    size = draw(st.integers(2, 60))
    forget = draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=size - 1, unique=True))
    return request(tuple(forget), size=size)


@given(requests())
def test_forget_and_retain_partition_the_training_set(made):
    assert sorted([*made.forget, *made.retain.tolist()]) == list(range(made.size))
    assert np.flatnonzero(made.mask).tolist() == list(made.forget) == sorted(made.forget)
    assert np.flatnonzero(~made.mask).tolist() == made.retain.tolist()


@given(requests())
def test_every_way_to_ask_for_the_same_is_the_same(made):
    names = [f"record {i}" for i in range(made.size)]
    targets = np.where(made.mask, 1.0, 0.0)
    same = [
        ForgetRequest.where(made.mask, reason="mask"),
        ForgetRequest.ids(names, [names[i] for i in reversed(made.forget)], reason="ids"),
        ForgetRequest.band(targets, low=0.5, reason="band"),
        request(tuple(reversed(made.forget)), size=made.size),
    ]
    assert {other.forget for other in same} == {made.forget}
    assert {other.digest for other in same} == {made.digest}


@given(requests(), requests())
def test_digests_differ_exactly_where_the_forgetting_differs(first, second):
    same = (first.size, first.forget) == (second.size, second.forget)
    assert (first.digest == second.digest) == same
    assert replace(first, reason="another").digest == first.digest


@pytest.mark.parametrize(
    ("forget", "message"),
    [
        ((), "forgets nothing"),
        ((5,), "out of range: 5"),
        ((-1,), "out of range: -1"),
        ((1, 1), "repeated: 1"),
        (range(5), "forgets all 5"),
    ],
)
def test_what_cannot_be_forgotten_is_refused(forget, message):
    with pytest.raises(RequestError, match=message):
        request(tuple(forget))


def test_all_complaints_come_at_once():
    with pytest.raises(PreflightError, match=r"(?s)2 problems.*out of range: 7, 7.*repeated: 7"):
        request((7, 7))


@pytest.mark.parametrize("position", [1.7, "1", None])
def test_a_position_that_is_no_whole_number_is_refused(position):
    """Truncation would forget somebody else's record."""
    with pytest.raises(UnregressError, match="position"):
        request((position,))


@pytest.mark.parametrize("positions", [np.array([1, 3]), torch.tensor([3, 1]), [3, 1], range(1, 4, 2)])
def test_positions_may_come_from_any_library(positions):
    made = request(positions, size=np.int64(5))
    assert made.forget == (1, 3)
    assert made.digest == request((1, 3)).digest


def test_an_id_forgets_all_of_its_records():
    made = ForgetRequest.ids(["ann", "bob", "ann", 4, "eve"], ["ann", 4], reason="erasure")
    assert made.forget == (0, 2, 3)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["zoe"], "not in the training set, 1 of 1: 'zoe'"),
        (["4"], "text and numbers differ"),
        (["ann", "ann"], "more than once: 'ann'"),
        (["zoe", "ann", "zed"], "not in the training set, 2 of 3: 'zoe', 'zed'"),
        (["ann", "bob", "ann", "bob"], "more than once: 'ann', 'bob'"),
        ([], "forgets nothing"),
    ],
)
def test_ids_that_do_not_fit_are_named(wanted, message):
    with pytest.raises(RequestError, match=message):
        ForgetRequest.ids(["ann", "bob", 4], wanted, reason="erasure")


def test_numbers_of_another_type_are_not_called_text():
    with pytest.raises(RequestError) as caught:
        ForgetRequest.ids([3, 4], np.array([5]), reason="erasure")
    assert "text and numbers" not in caught.value.remedy


def test_unknown_and_repeated_ids_are_reported_together():
    with pytest.raises(PreflightError) as caught:
        ForgetRequest.ids(["ann", "bob"], ["zoe", "ann", "ann"], reason="erasure")
    assert [type(complaint) for complaint in caught.value.complaints] == [RequestError, RequestError]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(2, 3, (1, 2)), (3, None, (2, 3)), (None, 1, (0,)), (2, 2, (1,)), (-np.inf, 1, (0,))],
)
@pytest.mark.parametrize("form", [list, np.array, torch.tensor, lambda v: np.array(v)[:, None]])
def test_band_limits_are_closed(low, high, expected, form):
    assert ForgetRequest.band(form([1.0, 2.0, 3.0, 4.0]), low=low, high=high, reason="band").forget == expected


@pytest.mark.parametrize("number", [np.float16, np.float32, np.float64])
def test_band_limits_are_closed_in_the_targets_own_precision(number):
    """As float32, 1.3 is 1.29999995 and 2.2 is 2.20000005, yet whoever stored them so means 1.3 and 2.2."""
    targets = np.array([1.0, 1.3, 2.2, 4.0], dtype=number)
    made = ForgetRequest.band(targets, low=1.3, high=2.2, reason="band")
    assert made.forget == (1, 2)
    assert made.in_target_band(targets).tolist() == [False, True, True, False]


@pytest.mark.parametrize("limit", [np.float32(2.5), np.float64(2.5), np.int64(3), torch.tensor(2.5)])
def test_band_limits_of_any_library_can_be_written_down(limit):
    made = ForgetRequest.band([1.0, 2.0, 3.0, 4.0], low=limit, reason="band")
    assert json.loads(json.dumps(made.target_band)) == [float(limit), None]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no limits"),
        ({"low": 3, "high": 2}, "lower limit 3.* is above its upper limit 2"),
        ({"low": 9}, "range, 1 to 4"),
        ({"low": 0}, "forgets all 4"),
    ],
)
def test_bands_that_select_nothing_sensible_are_refused(options, message):
    with pytest.raises(RequestError, match=message):
        ForgetRequest.band([1.0, 2.0, 3.0, 4.0], **options, reason="band")


def test_a_band_needs_one_target_per_sample():
    with pytest.raises(RequestError, match=r"shape \(3, 2\)"):
        ForgetRequest.band(np.ones((3, 2)), low=0, reason="band")


def test_a_band_knows_which_held_out_samples_are_alike():
    band = ForgetRequest.band([10.0, 60.0, 75.0], low=60, high=70, reason="band")
    assert band.in_target_band([59.9, 60.0, 70.0, 70.1]).tolist() == [False, True, True, False]
    assert band.in_target_band(np.array([[60.0], [1.0]])).tolist() == [True, False]
    assert request((1,)).in_target_band([60.0, 1.0]).tolist() == [False, False]


@pytest.mark.parametrize("mask", [[0, 1], [[True, False]], [0.0, 1.0], [None, True]])
def test_a_mask_is_one_boolean_per_sample(mask):
    with pytest.raises(RequestError, match="one boolean per training sample"):
        ForgetRequest.where(mask, reason="mask")


@given(st.integers(2, 40), st.data())
def test_random_requests_are_repeatable_draws_without_replacement(size, data):
    count = data.draw(st.integers(1, size - 1))
    first, again = (ForgetRequest.random(size, count, seed=3, reason="random") for _ in range(2))
    assert first == again
    assert len(set(first.forget)) == count


def test_random_requests_differ_by_seed_and_have_limits():
    drawn = {ForgetRequest.random(100, 10, seed=seed, reason="random").forget for seed in range(5)}
    assert len(drawn) == 5
    for count in (0, 100, -1):
        with pytest.raises(RequestError, match="between 1 and 99"):
            ForgetRequest.random(100, count, seed=0, reason="random")


@pytest.mark.parametrize("text", ["12", b"12"])
def test_one_id_must_stand_in_a_list(text):
    """A text is a collection of its letters: customers 1 and 2 would be forgotten in place of customer 12."""
    customers = [str(number) for number in range(1, 21)]
    with pytest.raises(RequestError) as caught:
        ForgetRequest.ids(customers, text, reason="customer 12 withdraws")
    assert "list of ids" in caught.value.expected
    with pytest.raises(RequestError):
        ForgetRequest.ids("abcdef", ["a"], reason="letters are no ids")


def test_an_unknown_id_tells_nobody_elses():
    with pytest.raises(RequestError) as caught:
        ForgetRequest.ids(["ann", "bob"], ["zoe"], reason="erasure")
    assert "ann" not in str(caught.value) and "bob" not in str(caught.value)


@pytest.mark.parametrize("reason", ["", "  ", "\n"])
def test_a_request_says_why(reason):
    with pytest.raises(RequestError, match="no reason"):
        ForgetRequest(size=3, forget=(0,), reason=reason)


@given(requests(), st.data())
def test_what_other_requests_forget_is_neither_retained_nor_forgotten(made, data):
    rest = made.retain.tolist()
    gone = data.draw(st.lists(st.sampled_from(rest), max_size=len(rest) - 1, unique=True))
    also = data.draw(st.lists(st.sampled_from(made.forget), max_size=len(made.forget) - 1, unique=True))
    others = [request((i,), size=made.size) for i in sorted({*gone, *also})]
    beside = made.beside(*others)
    assert set(beside.forget) == set(made.forget) - set(also)
    assert beside.excluded.tolist() == sorted({*gone, *also})
    assert sorted([*beside.forget, *beside.retain, *beside.excluded]) == list(range(made.size))
    assert beside.members.tolist() == sorted([*beside.forget, *beside.retain])
    assert (beside.digest == made.digest) == (not others)
    assert beside.beside(*others) == beside


def test_a_request_that_is_carried_out_already_is_refused():
    with pytest.raises(RequestError, match="already"):
        request((1, 2)).beside(request((1,)), request((2, 3)))


def test_requests_beside_each_other_are_about_one_training_set_and_leave_something():
    with pytest.raises(RequestError, match="same training set"):
        request((1,)).beside(request((2,), size=6))
    with pytest.raises(RequestError, match="something to retain"):
        request((1, 2)).beside(request((0, 3, 4)))
    with pytest.raises(RequestError, match="in common"):
        request((1,), others=(request((1, 2)),))


def test_a_third_request_knows_the_first():
    second = request((1,)).beside(request((0,)))
    third = request((2,)).beside(second)
    assert [other.forget for other in third.others] == [(0,), (1,)]
    assert third.retain.tolist() == [3, 4]


def test_who_asked_and_when_is_kept_and_does_not_change_the_digest():
    plain = ForgetRequest(size=6, forget=(0, 4), reason="letter")
    asked = replace(plain, requested_by="a patient", requested_on="2026-01-31")
    assert asked.digest == plain.digest
    beside = asked.beside(ForgetRequest(size=6, forget=(0,), reason="first"))
    assert (beside.requested_by, beside.requested_on, beside.forget) == ("a patient", "2026-01-31", (4,))


@pytest.mark.parametrize("day", ["31 January", "2026-02-30", "20260131", " "])
def test_the_day_of_a_request_is_a_day(day):
    with pytest.raises(RequestError) as refused:
        ForgetRequest(size=6, forget=(0,), reason="letter", requested_on=day)
    assert repr(day) in refused.value.found
