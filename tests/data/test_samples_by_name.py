"""Requests that name people, conditions on columns, and stretches of time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from support.tiny_project import make_task, people_data
from unregress import Case, ForgetRequest, Splits
from unregress.data.conditions import matching, touching
from unregress.data.subsets import part_of
from unregress.errors import DataError, RequestError

DATA = people_data()


def case_of(request: ForgetRequest) -> Case:
    return Case(task=make_task(), splits=DATA, request=request)


def test_all_samples_of_a_person_in_every_split() -> None:
    request = ForgetRequest.subjects(DATA, [3, 5], reason="test")
    assert request.forget == (3, 5, 23, 25, 43, 45)
    assert request.test == (6, 7, 10, 11) and request.validation == () and request.by == "subjects"
    case = case_of(request)
    assert np.flatnonzero(case.forget_like("test")).tolist() == [6, 7, 10, 11]
    assert case.retained("test").sum() == 26 and len(case.rows("test")) == 30


def test_a_person_s_validation_samples_are_not_monitored() -> None:
    data = replace(DATA, validation_subjects=[3, 3, *range(100, 128)])
    case = Case(task=make_task(), splits=data, request=ForgetRequest.subjects(data, [3], reason="test"))
    assert case.retained_validation().tolist() == list(range(2, 30))


def test_held_out_samples_of_earlier_people_are_used_no_more() -> None:
    first = ForgetRequest.subjects(DATA, [3], reason="first")
    second = ForgetRequest.subjects(DATA, [5], reason="second").beside(first)
    case = case_of(second)
    assert second.excluded.tolist() == [3, 23, 43] and second.excluded_from("test").tolist() == [6, 7]
    assert case.rows("test").tolist() == [row for row in range(30) if row not in (6, 7)]
    assert not case.retained("test")[[6, 7, 10, 11]].any()
    with pytest.raises(DataError, match="forgot would be read"):
        list(case.source("test").fetch([torch.tensor([6])]))


def test_the_digest_covers_held_out_samples_and_is_unchanged_without() -> None:
    plain = ForgetRequest(size=60, forget=(3, 23, 43), reason="test")
    person = ForgetRequest.subjects(DATA, [3], reason="test")
    assert person.digest != plain.digest == replace(person, test=(), by="samples").digest


@pytest.mark.parametrize(
    ("people", "found"),
    [
        ([99], "1 of 1"),
        (["3"], "int"),
        ([3, 3], "more than once"),
        ([100], "not in the data"),
        ("3", "the text '3'"),
    ],
)
def test_wrong_people_are_refused(people: object, found: str) -> None:
    data = replace(DATA, validation_subjects=[200 + n // 2 for n in range(30)])
    with pytest.raises(RequestError, match=found):
        ForgetRequest.subjects(data, people, reason="test")


def test_people_with_held_out_samples_only_are_said_apart() -> None:
    with pytest.raises(RequestError, match="held-out samples only, 1 of 2: 100"):
        ForgetRequest.subjects(DATA, [3, 100], reason="test")


def test_data_without_people_are_refused() -> None:
    with pytest.raises(RequestError, match="whose record"):
        ForgetRequest.subjects(Splits(train=DATA.train), [3], reason="test")


TRAIN = TensorDataset(torch.zeros(3, 1), torch.zeros(3))


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"subjects": [1, 2]}, "2 entries for 3"),
        ({"subjects": [1, None, 2]}, "1 missing values, the first at position 1"),
        ({"subjects": [1.0, 2.0, float("nan")]}, "the first at position 2"),
        ({"subjects": [1, 2, 3], "test": TRAIN}, "`test_subjects` is not"),
        ({"subjects": [1, 2, 3], "test": TRAIN, "test_subjects": ["1", "2", "3"]}, "str and `subjects` int"),
        ({"columns": {"city": ["Basel"]}}, "1 values for 3"),
        ({"test": TRAIN, "test_columns": {"city": ["Basel"]}}, "1 values for 3 test"),
    ],
)
def test_faulty_columns_are_refused(fields: dict[str, object], found: str) -> None:
    with pytest.raises(DataError, match=found):
        Splits(train=TRAIN, **fields)


COLUMNS = {"city": ["Basel", "Bern", "Basel"], "year": [2014, 2016, 2018]}


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"city": "Basel"}, [True, False, True]),
        ({"city": ["Bern", "Chur"]}, [False, True, False]),
        ({"year": {"min": 2016}}, [False, True, True]),
        ({"year": {"min": 2015, "max": 2016}}, [False, True, False]),
        ({"city": "Basel", "year": {"max": 2014}}, [True, False, False]),
    ],
)
def test_conditions(where: dict[str, object], found: list[bool]) -> None:
    assert matching(COLUMNS, where).tolist() == found


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"town": "Basel"}, "'town'"),
        ({}, "no conditions"),
        ({"year": {"above": 3}}, "'above'"),
        ({"year": {"min": "2014"}}, "cannot be compared"),
    ],
)
def test_wrong_conditions_are_refused(where: dict[str, object], found: str) -> None:
    with pytest.raises(RequestError, match=found):
        matching(COLUMNS, where)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)), min_size=1, max_size=20),
    st.integers(0, 30),
    st.integers(0, 8),
)
def test_a_window_touches_a_stretch_if_they_have_a_moment_in_common(
    windows: list[tuple[int, int]], first: int, length: int
) -> None:
    starts, ends, last = [w[0] for w in windows], [w[0] + w[1] for w in windows], first + length
    expected = [bool(set(range(s, e + 1)) & set(range(first, last + 1))) for s, e in zip(starts, ends, strict=True)]
    if last < min(starts) or first > max(ends):
        with pytest.raises(RequestError, match="outside of the series"):
            touching(starts, ends, first, last)
    else:
        assert touching(starts, ends, first, last).tolist() == expected


def test_a_reversed_stretch_is_refused() -> None:
    with pytest.raises(RequestError, match="the beginning first"):
        touching([0], [5], 4, 3)


def test_a_part_of_the_data_keeps_its_people() -> None:
    request = ForgetRequest(size=3, forget=(0,), reason="part")
    part = part_of(case_of(ForgetRequest.subjects(DATA, [3], reason="test")), [5, 25, 7], request)
    assert part.splits.subjects == [5, 5, 7] and part.splits.columns == {} and part.splits.size == 3
