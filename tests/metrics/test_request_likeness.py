"""Requests whose samples are alike cannot be judged by leave-out predictions; random ones can."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from unregress import Case, ForgetRequest, Splits, TensorTask
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.sample_keys import sample_keys
from unregress.metrics.memory_kept import MemoryKept, of_new_people
from unregress.metrics.request_likeness import ALIKE_LEVEL, Likeness, alike

PEOPLE = 120


def data(seed: int = 0, *, as_number: bool = False) -> tuple[Splits, np.ndarray]:
    """People with three rows each, the first half in training; each belongs to one of ten companies."""
    rng = np.random.default_rng(seed)
    company = rng.integers(10, size=PEOPLE)
    nr = np.repeat(np.arange(PEOPLE), 3)
    coded = company[nr][:, None] if as_number else np.eye(10)[company[nr]]
    x = torch.tensor(np.concatenate([rng.normal(size=(len(nr), 2)), coded], axis=1), dtype=torch.float32)
    y = torch.tensor(rng.normal(size=len(nr)), dtype=torch.float32)
    half = nr < PEOPLE // 2
    train, test = (TensorDataset(x[rows], y[rows]) for rows in (half, ~half))
    splits = Splits(train=train, test=test, subjects=nr[half].tolist(), test_subjects=nr[~half].tolist())
    return splits, company


def case_of(splits: Splits, request: ForgetRequest) -> Case:
    return Case(task=TensorTask(build_model=lambda: nn.Linear(1, 1), loss="mse"), splits=splits, request=request)


def table_of(splits: Splits) -> LeaveOutTable:
    """A table of one fold that knows all samples and predicts nothing."""
    keys, unseen = (tuple(sample_keys(splits, split)) for split in ("train_eval", "test"))
    zeros = torch.zeros(len(keys))
    return LeaveOutTable(
        keys=keys, predictions=zeros, folds=zeros.long(), unseen=torch.zeros(len(unseen)), unseen_keys=unseen
    )


@pytest.mark.parametrize("as_number", [False, True])
def test_a_company_is_no_random_group_of_people(as_number: bool) -> None:
    splits, company = data(as_number=as_number)
    rows = np.arange(len(splits.test_subjects or ()))
    asked = [person for person in range(PEOPLE // 2) if company[person] == 3]
    assert len(asked) >= 4
    case = case_of(splits, ForgetRequest.subjects(splits, asked, reason="company"))
    like = Likeness(case, rows)
    assert like.kind == "people" and "alike" in like.unfit
    other = case_of(splits, ForgetRequest.subjects(splits, list(range(len(asked))), reason="random"))
    assert Likeness(other, rows).unfit == ""
    # The same rows by a condition, with and without their people.
    mask = np.isin(np.array(splits.subjects), asked)
    for known, kind in ((splits, "people"), (replace(splits, subjects=None, test_subjects=None), "random")):
        like = Likeness(case_of(known, ForgetRequest.where(mask, reason="company")), rows)
        assert like.kind == kind and "alike" in like.unfit
    mask[np.flatnonzero(mask)[0]] = False
    assert "a part of" in Likeness(case_of(splits, ForgetRequest.where(mask, reason="company")), rows).unfit


def test_a_single_person_is_never_alike() -> None:
    splits, _ = data()
    rows = np.arange(len(splits.test_subjects or ()))
    for person in range(20):
        assert Likeness(case_of(splits, ForgetRequest.subjects(splits, [person], reason="one")), rows).unfit == ""


def test_people_are_counted_and_not_their_rows() -> None:
    splits, _ = data()
    case = case_of(splits, ForgetRequest.subjects(splits, [0], reason="one"))
    # 39 people with three rows each are 117 rows.
    assert Likeness(case, np.arange(39 * 3)).unfit.endswith("1 forgotten ask for 40, and there are 39")
    assert Likeness(case, np.arange(40 * 3)).unfit == ""


def test_people_with_training_samples_are_not_never_seen() -> None:
    """Most of a table's models were trained on them; by golds, which all were, they can be compared with."""
    splits, _ = data()
    trained, there = sorted(set(splits.subjects or ())), list(splits.test_subjects or ())
    names = [trained[10 + place // 3] if place < 90 else person for place, person in enumerate(there)]
    mixed = replace(splits, test_subjects=names)
    case = case_of(mixed, ForgetRequest.subjects(mixed, [0], reason="one"))
    assert Likeness(case, np.arange(len(there))).unfit == ""
    rows = np.arange(len(there))
    new = rows[of_new_people(case, rows)]
    assert new.tolist() == list(range(90, len(there)))
    found = Likeness(case, new, besides=", besides others").unfit
    assert found.endswith("ask for 40, and there are 30, besides others")
    assert of_new_people(case_of(splits, case.requested), rows).all()
    assert "there are 30, besides those of people with training samples" in MemoryKept(table_of(mixed)).doubt(case)


def test_copies_of_training_samples_are_not_never_seen() -> None:
    """Ninety of the 180 test samples are training samples too."""
    splits = replace(data()[0], subjects=None, test_subjects=None)
    (x, y), (own_x, own_y) = splits.test[:], splits.train[:]
    both = TensorDataset(torch.cat([own_x[:90], x[90:]]), torch.cat([own_y[:90], y[90:]]))
    doubts = []
    for test in (splits.test, both):
        known = replace(splits, test=test)
        case = case_of(known, ForgetRequest(size=180, forget=tuple(range(0, 180, 3)), reason="sixty"))
        doubts.append(MemoryKept(table_of(known)).doubt(case))
    assert doubts[0] == ""
    assert doubts[1].endswith("ask for 120, and there are 90, besides copies of training samples")
    # So it is where they are said to be of other people.
    own = replace(data()[0], test=both)
    people = case_of(own, ForgetRequest.subjects(own, [0], reason="one"))
    assert "besides copies of training samples" in MemoryKept(table_of(own)).doubt(people)


def test_a_band_of_targets_is_compared_with_samples_of_its_targets() -> None:
    splits = replace(data()[0], subjects=None, test_subjects=None)
    rows = np.arange(PEOPLE // 2 * 3)
    x, targets = splits.train.tensors  # type: ignore[attr-defined]
    for order in (torch.arange(len(targets)), targets.argsort()):  # a table that is sorted by its targets is no series
        train = TensorDataset(x[order], targets[order])
        case = case_of(replace(splits, train=train), ForgetRequest.band(targets[order].numpy(), 1.0, reason="high"))
        like = Likeness(case, rows)
        assert like.kind == "matched" and like.unfit == ""


def test_unknown_targets_are_matched_as_zero() -> None:
    splits = replace(data()[0], subjects=None, test_subjects=None)
    targets = splits.train.tensors[1].numpy()  # type: ignore[attr-defined]
    case = case_of(splits, ForgetRequest.band(targets, 1.0, reason="high"))
    count, rows = len(case.requested.forget), np.arange(PEOPLE // 2 * 3)
    rng = np.random.default_rng(0)
    both = rng.normal(size=(count, 2)), rng.normal(size=(len(rows), 2))
    both[0][0, 1] = both[1][::7, 1] = np.nan
    like = Likeness(case, rows, both)
    assert like.kind == "matched" and like.groups(10, rng).positions.shape == (10, count)


def test_consecutive_rows_are_a_stretch_only_where_never_seen_ones_have_an_order_too() -> None:
    rng = np.random.default_rng(0)
    walk, noise = rng.normal(size=(400, 3)).cumsum(axis=0), rng.normal(size=(400, 3))
    company = np.zeros((400, 1))
    company[40:60] = 1
    for values, kind in ((walk, "stretches"), (np.concatenate([noise, company], axis=1), "random")):
        x = torch.tensor(values, dtype=torch.float32)
        y = torch.tensor(rng.normal(size=400), dtype=torch.float32)
        splits = Splits(train=TensorDataset(x[:200], y[:200]), test=TensorDataset(x[200:], y[200:]))
        request = ForgetRequest.where(np.isin(np.arange(200), np.arange(40, 60)), reason="a block")
        assert Likeness(case_of(splits, request), np.arange(200)).kind == kind


def test_people_named_otherwise_are_compared_with_people() -> None:
    """Their samples have much in common, so that random samples would seldom lean as far."""
    splits, _ = data()
    mask = np.isin(np.array(splits.subjects), [3, 8])
    like = Likeness(case_of(splits, ForgetRequest.where(mask, reason="two")), np.arange(PEOPLE // 2 * 3))
    assert like.groups(10, np.random.default_rng(0)).how == "never-seen people"


@pytest.mark.slow
@pytest.mark.parametrize("rare", [False, True])
def test_random_groups_are_taken_for_alike_as_often_as_stated(rare: bool) -> None:
    """Also where columns are rare categories, of which a random group holds one that no other has."""
    rng = np.random.default_rng(1)

    def units(count: int) -> np.ndarray:
        values = rng.normal(size=(count, 5))
        return np.concatenate([values, np.eye(60)[rng.integers(60, size=count)]], axis=1) if rare else values

    found = [alike(units(4), units(50), rng) <= ALIKE_LEVEL for _ in range(300)]
    assert np.mean(found) <= 0.055
