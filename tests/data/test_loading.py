"""Batches: every row once, in order, with its membership, and the same by whichever path."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator
from torch.utils.data import TensorDataset, default_collate

from support.small_cases import CPU, Listed, case_of, numbers, table
from unregress import Runtime, TensorTask
from unregress.data.loading import Source, chunked, read_targets


def generator_of(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def source_of(dataset, **more) -> Source:
    return Source(dataset, torch.arange(len(dataset)) % 3 == 0, **more)


@given(st.integers(1, 80), st.integers(1, 20), st.integers(0, 3))
def test_shuffling_neither_drops_nor_repeats_rows(size, batch_size, seed):
    rows = torch.arange(size) * 2 + 1
    chunks = chunked(rows, batch_size, shuffle=generator_of(seed))
    assert sorted(torch.cat(chunks).tolist()) == rows.tolist()
    assert all(len(chunk) <= batch_size + 1 for chunk in chunks)
    if batch_size > 1 and size > 1:
        assert all(len(chunk) > 1 for chunk in chunks)


@given(st.integers(1, 80), st.integers(1, 20))
def test_without_shuffling_rows_stay_in_order(size, batch_size):
    chunks = chunked(torch.arange(size), batch_size)
    assert torch.cat(chunks).tolist() == list(range(size))
    assert {len(chunk) for chunk in chunks[:-1]} <= {batch_size}
    assert 1 <= len(chunks[-1]) <= batch_size


@pytest.mark.parametrize(
    ("size", "batch_size", "lengths"),
    [(9, 4, [4, 5]), (8, 4, [4, 4]), (10, 4, [4, 4, 2]), (1, 4, [1]), (5, 4, [5]), (3, 1, [1, 1, 1])],
)
def test_a_last_single_row_joins_the_batch_before(size, batch_size, lengths):
    assert [len(chunk) for chunk in chunked(torch.arange(size), batch_size, shuffle=generator_of())] == lengths


def test_shuffles_follow_their_generator():
    rows = torch.arange(50)
    generator = generator_of(1)
    first, second = (torch.cat(chunked(rows, 8, shuffle=generator)).tolist() for _ in range(2))
    again = torch.cat(chunked(rows, 8, shuffle=generator_of(1))).tolist()
    assert first == again != second


CHUNKS = [torch.tensor([4, 0, 7]), torch.tensor([3]), torch.tensor([7, 1])]


@pytest.mark.parametrize("workers", [0, 2])
def test_resident_and_streaming_batches_are_the_same(workers):
    tensors = (numbers(8, 2, 3), torch.arange(8), numbers(8).double())
    resident = list(source_of(TensorDataset(*tensors)).fetch(CHUNKS))
    streaming = list(source_of(Listed(*tensors)).fetch(CHUNKS, workers=workers))
    assert len(resident) == len(streaming) == 3
    for left, right, chunk in zip(resident, streaming, CHUNKS, strict=True):
        assert left.index.tolist() == right.index.tolist() == chunk.tolist()
        assert left.forget.tolist() == right.forget.tolist() == (chunk % 3 == 0).tolist()
        for mine, its, whole in zip(left.data, right.data, tensors, strict=True):
            assert mine.dtype == its.dtype
            assert torch.equal(mine, its)
            assert torch.equal(mine, whole[chunk])


def test_a_batch_knows_its_rows_by_membership():
    (batch,) = source_of(TensorDataset(numbers(8))).fetch([torch.tensor([4, 0, 7, 6])])
    assert batch.forgotten.tolist() == [1, 3]
    assert batch.retained.tolist() == [0, 2]


def test_resident_batches_do_not_alias_the_dataset():
    data = TensorDataset(numbers(8, 2))
    (batch,) = source_of(data).fetch([torch.arange(8)])
    batch.data[0].zero_()
    assert torch.equal(data.tensors[0], numbers(8, 2))


class Doubling(TensorDataset):
    """A transform in a sub-class of `TensorDataset`, as many projects write it."""

    def __getitem__(self, position):
        inputs, target = super().__getitem__(position)
        return inputs * 2, target


def test_a_sub_class_of_tensor_dataset_keeps_its_transform():
    inputs, targets = table(8)
    (batch,) = source_of(Doubling(inputs, targets)).fetch([torch.arange(8)])
    assert torch.equal(batch.data[0], inputs * 2)


@pytest.mark.parametrize("dataset", [TensorDataset, Listed])
def test_the_collate_function_makes_the_batch(dataset):
    def collate(rows):
        inputs, targets = default_collate(rows)
        return {"x": inputs, "y": targets}

    inputs, targets = table(8)
    (batch,) = source_of(dataset(inputs, targets), collate=collate).fetch([torch.tensor([2, 5])])
    assert torch.equal(batch.data["x"], inputs[[2, 5]])
    assert torch.equal(batch.data["y"], targets[[2, 5]])


@pytest.mark.parametrize("workers", [0, 2])
def test_streaming_leaves_the_users_random_draws_alone(workers):
    """A `DataLoader` left to itself draws its workers' seed from the global state."""
    before = torch.get_rng_state()
    list(source_of(Listed(*table(8))).fetch(CHUNKS, workers=workers))
    assert torch.equal(torch.get_rng_state(), before)


def test_read_targets_are_in_order_and_of_the_rows_asked_for():
    inputs, targets = table(9)
    task = TensorTask(build_model=lambda: torch.nn.Linear(3, 1))
    for dataset in (TensorDataset(inputs, targets), Listed(inputs, targets)):
        assert torch.equal(read_targets(source_of(dataset), task), targets)
        assert torch.equal(read_targets(source_of(dataset), task, torch.tensor([5, 2])), targets[[5, 2]])


def test_augmentation_is_for_training_batches_and_seeded():
    def jitter(data, generator):
        inputs, targets = data
        return [inputs + torch.rand(inputs.shape, generator=generator), targets]

    inputs, targets = table(8)
    source = case_of(TensorDataset(inputs, targets), augment=jitter, forget=(0,)).source("train")
    plain, first, again, other = (
        next(CPU.load(source, [torch.arange(8)], augmentation=generator)).data[0]
        for generator in (None, generator_of(1), generator_of(1), generator_of(2))
    )
    assert torch.equal(plain, inputs)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert float((first - inputs).abs().max()) <= 1


def test_worker_processes_give_the_same_batches_through_the_runtime():
    source = source_of(Listed(*table(8)))
    alone, helped = (list(Runtime(accelerator="cpu", workers=n).load(source, CHUNKS)) for n in (0, 2))
    for left, right in zip(alone, helped, strict=True):
        assert all(torch.equal(mine, its) for mine, its in zip(left.data, right.data, strict=True))
