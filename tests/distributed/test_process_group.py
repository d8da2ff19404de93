"""Which processes a job has, each one's share of a batch, and operations between them.

Jobs of several real processes are in test_same_answers and test_launch.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributed import DistBackendError
from torch.testing import assert_close
from torch.utils.data import TensorDataset

from support.small_cases import Listed, case_of, numbers, table
from unregress import Recipe, Runtime, TensorTask, retrain
from unregress.data.loading import own_part, own_rows
from unregress.distributed.process_group import (
    SINGLE,
    ProcessGroup,
    current_process_group,
    init_process_group,
    peer_failed,
    require_process_group,
)
from unregress.errors import SettingError

TASK = TensorTask(build_model=lambda: nn.Linear(3, 1))


@given(st.integers(0, 40), st.integers(1, 6))
def test_shares_make_up_the_batch_and_differ_by_one_row_at_most(rows, size):
    shares = [ProcessGroup(rank, size).share(torch.arange(rows)) for rank in range(size)]
    assert torch.cat(shares).tolist() == list(range(rows))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(st.integers(1, 40), st.integers(1, 6))
def test_mean_losses_averaged_over_processes_are_the_batch_mean(rows, size):
    losses = numbers(rows).double()
    groups = [ProcessGroup(rank, size) for rank in range(size)]
    means = [group.mean_loss(group.share(losses), rows) for group in groups]
    assert_close(torch.stack(means).mean(), losses.mean())


def test_one_process_communicates_nothing():
    values = numbers(3)
    assert SINGLE.all_reduce(values) is values
    assert SINGLE.broadcast(7) == 7 and SINGLE.all_gather([1, 2]) == [1, 2]
    SINGLE.barrier()
    assert SINGLE.is_main and torch.equal(SINGLE.mean_loss(values, 3), values.mean())


@pytest.mark.parametrize("read", ["all", "own"])
@pytest.mark.parametrize("dataset", [TensorDataset, Listed])
def test_a_share_is_the_same_whether_all_or_only_its_own_is_read(dataset, read):
    inputs, targets = table(9)
    source, chunk = case_of(dataset(inputs, targets), forget=(4, 7)).source("train"), torch.tensor([8, 7, 0, 4, 2])
    for rank, rows in enumerate(([8, 7], [0, 4], [2])):
        who = ProcessGroup(rank, 3)
        (batch,) = source.fetch([chunk if read == "all" else own_rows(chunk, who)])
        part = own_part(batch, chunk, who, TASK)
        assert part.index.tolist() == rows and part.forget.tolist() == [row in (4, 7) for row in rows]
        assert torch.equal(part.data[0], inputs[rows]) and torch.equal(part.data[1], targets[rows])
        assert not part.is_padding


def test_a_batch_that_does_not_go_round_is_a_row_that_does_not_count():
    source = case_of(TensorDataset(*table(9)), forget=(4,)).source("train")
    (batch,) = source.fetch([torch.tensor([4])])
    parts = [own_part(batch, torch.tensor([4]), ProcessGroup(rank, 2), TASK) for rank in range(2)]
    assert [(part.index.tolist(), part.is_padding) for part in parts] == [([4], False), ([4], True)]


def as_torchrun(monkeypatch, rank=1, size=4, local_rank=1, local_size=2):
    found = {
        "RANK": rank,
        "WORLD_SIZE": size,
        "LOCAL_RANK": local_rank,
        "LOCAL_WORLD_SIZE": local_size,
        "TORCHELASTIC_RUN_ID": "x",
    }
    for name, value in found.items():
        monkeypatch.setenv(name, str(value))


def test_the_group_is_the_one_that_torchrun_started(monkeypatch):
    assert current_process_group() == SINGLE
    monkeypatch.setenv("WORLD_SIZE", "4")  # as other launchers leave it
    assert current_process_group() == SINGLE
    as_torchrun(monkeypatch)
    assert current_process_group() == ProcessGroup(rank=1, world_size=4, local_rank=1, local_world_size=2)


def test_devices_are_those_of_the_machine(monkeypatch):
    as_torchrun(monkeypatch)
    assert [require_process_group(devices).world_size for devices in (1, 2, [5, 7])] == [4, 4, 4]
    for devices in (3, [0], [0, 1, 2]):
        with pytest.raises(SettingError, match="2 processes"):
            require_process_group(devices)


def test_many_trainings_are_not_for_several_processes(monkeypatch):
    as_torchrun(monkeypatch)
    with pytest.raises(SettingError, match=r"4 processes.*`workers` in place of `devices`"):
        retrain(case_of(TensorDataset(*table(9)), forget=(4,)), Recipe(), Runtime(accelerator="cpu"), [1, 2])


def test_processes_on_devices_without_a_backend_are_refused():
    with pytest.raises(SettingError) as refused:
        init_process_group(torch.device("mps"))
    assert "'mps'" in refused.value.found and refused.value.expected == "`cpu` or `cuda`"


def test_errors_that_only_tell_of_another_process_s_end():
    assert peer_failed(RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer"))
    assert peer_failed(DistBackendError("NCCL communicator was aborted"))
    assert not peer_failed(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not peer_failed(ValueError("gloo"))
