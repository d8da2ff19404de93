"""Requests on disk are of records: they hold when rows are deleted, added or reordered, and know those before them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from unregress import Case, ForgetRequest, Splits, TensorTask
from unregress.data.ids import salted
from unregress.errors import DataError, RequestError, StaleError
from unregress.files.typed_json import build
from unregress.runs.record_matching import KEPT, Sketch, TrainingRecords
from unregress.runs.request_chain import Chain
from unregress.runs.request_record import RequestRecord, read_request, read_requests, write_request

TASK = TensorTask(build_model=lambda: torch.nn.Linear(1, 1))


def data(rows, names=None):
    """Training data whose rows are told apart by their number; `names` gives each row's id."""
    numbers = torch.tensor([float(row) for row in rows])
    ids = None if names is None else [names[row] for row in rows]
    return Splits(train=TensorDataset(numbers[:, None], numbers), ids=ids)


def case(splits, forget, others=()):
    made = ForgetRequest(size=splits.size, forget=tuple(forget), reason="letter 17", target_band=(1.0, None))
    return Case(task=TASK, splits=splits, request=made.beside(*others) if others else made)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_request_finds_its_samples_wherever_they_are_now(draw):
    """By brute force: a row is found if it was forgotten, or its id was forgotten as a whole."""
    size = draw.draw(st.integers(2, 12))
    names = {row: f"p{draw.draw(st.integers(0, 5))}" for row in range(size + 3)}
    forget = draw.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=size - 1, unique=True))
    record = RequestRecord.of(case(data(range(size), names), forget))
    read = build(RequestRecord, json.loads(json.dumps(asdict(record))))
    assert read == record
    kept = draw.draw(st.lists(st.sampled_from(range(size)), unique=True))
    today = draw.draw(st.permutations([*kept, *range(size, size + 3)]))
    whole = {names[i] for i in forget if all(names[j] != names[i] or j in forget for j in range(size))}
    expected = [p for p, row in enumerate(today) if row in forget or names[row] in whole]
    found = read.find(TrainingRecords(data(today, names)))
    assert list(found.positions) == expected
    present = {names[row] for row in today}
    gone = [name for name in whole if name not in present]
    gone += [row for row in forget if names[row] not in whole and row not in today]
    assert found.absent == len(gone)


def test_what_is_absent_or_added_is_said():
    names = dict(enumerate(["ann", "bob", "cyd", "dan", "ann", "bob"]))
    record = RequestRecord.of(case(data(range(4), names), [0, 1]))
    found = record.find(TrainingRecords(data([0, 2, 3], names)))
    assert (found.positions, found.absent) == ((0,), 1)
    (note,) = found.notes
    assert "'letter 17', 1 of 2 ids" in note
    added = record.find(TrainingRecords(data(range(6), names)))
    assert (added.positions, added.absent) == ((0, 1, 4, 5), 0)
    (note,) = added.notes
    assert "2 samples were added" in note
    gone = record.find(TrainingRecords(data([2, 3], names)))
    assert (gone.positions, gone.absent) == ((), 2)
    with pytest.raises(RequestError):
        gone.request(2)


def test_some_samples_of_an_id_are_known_by_their_content():
    names = dict.fromkeys(range(3), "ann") | {3: "bob"}
    record = RequestRecord.of(case(data(range(4), names), [1]))
    assert (record.ids, list(map(len, record.samples.values()))) == ((), [1])
    assert record.find(TrainingRecords(data([3, 2, 1], names))).positions == (2,)
    assert record.find(TrainingRecords(data([3, 2, 0], names))).absent == 1


def test_an_id_and_a_person_of_one_text_are_told_apart():
    numbers = torch.arange(4.0)
    splits = Splits(
        train=TensorDataset(numbers[:, None], numbers), ids=["1", "2", "3", "4"], subjects=["4", "4", "1", "1"]
    )
    record = RequestRecord.of(
        Case(task=TASK, splits=splits, request=ForgetRequest(size=4, forget=(0,), reason="letter 17"))
    )
    chain = Chain(TrainingRecords(splits), (record,))
    assert chain.names("1", "samples")
    assert not chain.names("1", "subjects")
    assert not chain.names("4", "subjects")


def test_samples_of_one_id_and_one_content_are_forgotten_together():
    numbers = torch.tensor([1.0, 1.0, 2.0, 3.0])
    splits = Splits(train=TensorDataset(numbers[:, None], numbers), ids=["ann", "ann", "ann", "bob"])
    record = RequestRecord.of(case(splits, [0, 1]))
    found = record.find(TrainingRecords(splits))
    assert (found.positions, found.absent) == ((0, 1), 0)
    assert found.request(4).forget == (0, 1)


@pytest.mark.parametrize("today", [[0, 1, 2], [1, 0, 2, 3], [0, 1, 2, 4]])
def test_without_ids_only_the_very_data_will_do(today):
    """Positions say nothing about other data, also of the same size: other people would be forgotten."""
    record = RequestRecord.of(case(data(range(4)), [1]))
    assert (record.salt, record.find(TrainingRecords(data(range(4)))).positions) == ("", (1,))
    for splits in (data(today), data(today, dict(enumerate("abcde")))):
        with pytest.raises(StaleError):
            record.find(TrainingRecords(splits))


def test_ids_that_the_data_no_longer_give_are_missed():
    record = RequestRecord.of(case(data(range(4), dict(enumerate("abcd"))), [1]))
    assert record.find(TrainingRecords(data(range(4)))).positions == (1,)
    with pytest.raises(StaleError):
        record.find(TrainingRecords(data(range(3))))


def test_no_id_stands_in_the_file_and_equal_data_give_equal_bytes(tmp_path):
    names = dict(enumerate(["ann", "bob", "cyd", "dan"]))
    for folder in ("first", "again"):
        (tmp_path / folder).mkdir()
        write_request(tmp_path / folder, case(data(range(4), names), [1, 3]))
    texts = [(tmp_path / folder / "request.json").read_text() for folder in ("first", "again")]
    assert texts[0] == texts[1]
    assert not any(name in texts[0] for name in names.values())


def test_who_asked_and_when_is_read_again(tmp_path):
    splits = data(range(6), dict(enumerate("abcdef")))
    one = case(splits, [1, 2])
    asked = replace(one, request=replace(one.request, requested_by="a patient", requested_on="2026-01-31"))
    write_request(tmp_path, asked)
    record = read_request(tmp_path)
    assert (record.requested_by, record.requested_on) == ("a patient", "2026-01-31")
    found = record.find(TrainingRecords(splits)).request(6)
    assert (found.requested_by, found.requested_on) == ("a patient", "2026-01-31")
    written = json.loads((tmp_path / "request.json").read_text())
    del written["requested_by"], written["requested_on"]
    (tmp_path / "request.json").write_text(json.dumps(written))
    assert read_request(tmp_path) == replace(record, requested_by="", requested_on="")


def test_a_chain_is_read_from_its_last_folder(tmp_path):
    names = dict(enumerate("abcdef"))
    splits = data(range(6), names)
    first, second = case(splits, [0]), case(splits, [1, 2], [ForgetRequest(size=6, forget=(0,), reason="letter 17")])
    for folder, one in (("first", first), ("second", second)):
        (tmp_path / folder).mkdir()
        write_request(tmp_path / folder, one, read_requests(tmp_path / "first"))
    assert [each.forget for each in read_requests(tmp_path / "second")] == [(0,), (1, 2)]
    assert read_request(tmp_path / "second").excluded == (0,)
    assert len({each.salt for each in read_requests(tmp_path / "second")}) == 1
    # Row 0 is gone, row 1 has moved.
    today = TrainingRecords(data([5, 4, 3, 2, 1], names))
    chain = Chain.of([tmp_path / "second", tmp_path / "first"], today)
    assert [found.positions for found in chain.found] == [(), (3, 4)]
    assert chain.positions == {3, 4}
    assert [each.forget for each in chain.requests()] == [(3, 4)]
    assert chain.requests(but=[4, 3]) == []
    assert [each.forget for each in chain.before([3, 4])] == [(0,)]
    assert chain.last().forget == (3, 4)


def test_a_request_is_known_again_although_an_earlier_one_had_forgotten_some_of_it(tmp_path):
    splits = data(range(6), dict(enumerate("abcdef")))
    one = ForgetRequest(size=6, forget=(0, 1), reason="letter 17", target_band=(1.0, None))
    write_request(tmp_path, case(splits, [1, 2, 3], [one]), [RequestRecord.of(case(splits, [0, 1]))])
    chain = Chain.of([tmp_path], TrainingRecords(splits))
    assert [each.forget for each in chain.requests(but=[1, 2, 3])] == [(0, 1)]
    assert [each.forget for each in chain.before([1, 2, 3])] == [(0, 1)]
    assert [each.forget for each in chain.requests(but=[0, 1])] == [(2, 3)]
    assert [each.forget for each in chain.requests(but=[4])] == [(0, 1), (2, 3)]


@pytest.mark.parametrize(
    "change",
    [
        {"forget": [1]},
        {"forget": [1, 9]},
        {"forget": []},
        {"size": 3},
        {"digest": "0" * 64},
        {"excluded": [0]},
        {"reason": ""},
        {"salt": ""},
        {"ids": 7},
        {"samples": []},
        {"before": None},
        {"before": [{}]},
        {"before": 1},
        {"target_band": [1]},
        {"more": 1},
    ],
)
def test_a_changed_record_is_refused(change, tmp_path):
    write_request(tmp_path, case(data(range(4), dict(enumerate("abcd"))), [1, 3]))
    file = tmp_path / "request.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(StaleError) as caught:
        read_request(tmp_path)
    assert str(file) in caught.value.found


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b"{}", b"null"])
def test_what_is_no_request_is_refused(content, tmp_path):
    (tmp_path / "request.json").write_bytes(content)
    with pytest.raises(StaleError):
        read_request(tmp_path)


def test_ids_are_matched_as_texts_which_must_tell_them_apart():
    splits = Splits(train=TensorDataset(torch.zeros(3, 1), torch.zeros(3)), ids=[1, "1", 2])
    with pytest.raises(DataError):
        RequestRecord.of(case(splits, [0]))


@pytest.mark.parametrize(("samples", "kept"), [(40, 0.5), (3000, 0.7)])
def test_a_sketch_estimates_how_many_samples_are_still_there(samples, kept):
    names = {row: f"person {row}" for row in range(samples)}
    sketch = Sketch.of(TrainingRecords(data(range(samples), names)))
    assert (sketch.samples, len(sketch.lowest)) == (samples, min(samples, KEPT))
    rows = np.random.default_rng(0).choice(samples, round(kept * samples), replace=False)
    share = sketch.present(TrainingRecords(data(rows.tolist(), names)))
    # All hashes are kept of the small one; of the others four standard errors.
    assert share == pytest.approx(kept, abs=0 if samples <= KEPT else 4 * (kept * (1 - kept) / KEPT) ** 0.5)
    assert Sketch.of(TrainingRecords(data(range(samples)))) is None


def test_samples_under_the_same_ids_with_other_content_are_others():
    sketch = Sketch.of(TrainingRecords(data(range(8), dict(enumerate("abcdefgh")))))
    other = Splits(train=TensorDataset(torch.zeros(8, 1), torch.arange(8.0) + 1), ids=list("abcdefgh"))
    assert sketch.present(TrainingRecords(other)) == 0


def named_splits(train, test):
    """Data whose samples have their ids as inputs."""
    made = [torch.tensor([float(name) for name in names]) for names in (train, test)]
    parts = [TensorDataset(each[:, None], each) for each in made]
    return Splits(train=parts[0], test=parts[1], ids=train, test_ids=test)


def test_held_out_records_are_found_by_their_ids_too():
    splits = named_splits([0, 1, 2, 3], [10, 11, 12])
    made = ForgetRequest(size=4, forget=(1, 2), test=(0, 2), reason="letter 17")
    record = RequestRecord.of(Case(task=TASK, splits=splits, request=made))
    assert list(record.held_out_ids) == ["test"] and len(record.held_out_ids["test"]) == 2
    assert record == build(RequestRecord, json.loads(json.dumps(asdict(record))))
    found = record.find(TrainingRecords(named_splits([3, 2, 1, 0], [12, 11, 10])))
    assert found.request(4).digest == made.digest
    again = record.find(TrainingRecords(named_splits([2, 3], [11, 12])))
    assert (again.positions, again.held_out["test"], again.absent) == ((0,), (1,), 1)


def test_records_of_floats_are_found_among_whole_numbers():
    """Earlier versions hashed the text 7.0 of ids that a table held as floats."""
    splits = named_splits([0, 1, 2, 3], [10])
    record = RequestRecord.of(Case(task=TASK, splits=splits, request=ForgetRequest(size=4, forget=(1,), reason="a")))
    old = replace(record, ids=(salted(record.salt, "1.0"),))
    assert old.find(TrainingRecords(named_splits([3, 1, 2], [10]))).positions == (1,)
    texts = Splits(train=splits.train, ids=["1", "1.0", "2", "3"])
    assert old.find(TrainingRecords(texts)).positions == (1,)
