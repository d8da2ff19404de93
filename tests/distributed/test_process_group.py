"""Who is on a team, what each one's share is, and how one reads it; several real processes are in tests/processes."""

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
from unregress.cli.launch import LEFT_ALONE, _verdict
from unregress.data.loading import own_part, own_rows
from unregress.distributed import process_group as processes
from unregress.distributed import sync_batchnorm as batchnorm
from unregress.distributed.process_group import ALONE, Team, own_device, peer_failed, require_team, team
from unregress.distributed.replicas import _blocks
from unregress.distributed.sync_batchnorm import synchronise_batch_norm
from unregress.errors import SettingError

TASK = TensorTask(build_model=lambda: nn.Linear(3, 1))


@given(st.integers(0, 40), st.integers(1, 6))
def test_shares_make_up_the_batch_and_differ_by_one_row_at_most(rows, size):
    shares = [Team(rank, size).share(torch.arange(rows)) for rank in range(size)]
    assert torch.cat(shares).tolist() == list(range(rows))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(st.integers(1, 40), st.integers(1, 6))
def test_the_parts_of_a_mean_make_up_the_mean(rows, size):
    losses = numbers(rows).double()
    parts = [Team(rank, size).mean(Team(rank, size).share(losses), rows) for rank in range(size)]
    assert_close(torch.stack(parts).mean(), losses.mean())  # gradients are averaged over processes


def test_alone_nothing_is_sent():
    values = numbers(3)
    assert ALONE.total(values) is values
    assert ALONE.broadcast(7) == 7 and ALONE.gathered([1, 2]) == [1, 2]
    ALONE.wait()
    assert ALONE.first and torch.equal(ALONE.mean(values, 3), values.mean())


@pytest.mark.parametrize("read", ["all", "own"])
@pytest.mark.parametrize("dataset", [TensorDataset, Listed])
def test_a_share_is_the_same_whether_all_or_only_its_own_is_read(dataset, read):
    inputs, targets = table(9)
    source, chunk = case_of(dataset(inputs, targets), forget=(4, 7)).source("train"), torch.tensor([8, 7, 0, 4, 2])
    for rank, rows in enumerate(([8, 7], [0, 4], [2])):
        who = Team(rank, 3)
        (batch,) = source.fetch([chunk if read == "all" else own_rows(chunk, who)])
        part = own_part(batch, chunk, who, TASK)
        assert part.index.tolist() == rows and part.forget.tolist() == [row in (4, 7) for row in rows]
        assert torch.equal(part.data[0], inputs[rows]) and torch.equal(part.data[1], targets[rows])
        assert not part.is_padding


def test_a_batch_that_does_not_go_round_is_a_row_that_does_not_count():
    source = case_of(TensorDataset(*table(9)), forget=(4,)).source("train")
    (batch,) = source.fetch([torch.tensor([4])])
    parts = [own_part(batch, torch.tensor([4]), Team(rank, 2), TASK) for rank in range(2)]
    assert [(part.index.tolist(), part.is_padding) for part in parts] == [([4], False), ([4], True)]


def as_torchrun(monkeypatch, rank=1, size=4, local=1, here=2):
    found = {
        "RANK": rank,
        "WORLD_SIZE": size,
        "LOCAL_RANK": local,
        "LOCAL_WORLD_SIZE": here,
        "TORCHELASTIC_RUN_ID": "x",
    }
    for name, value in found.items():
        monkeypatch.setenv(name, str(value))


def test_the_team_is_the_one_that_torchrun_started(monkeypatch):
    assert team() == ALONE
    monkeypatch.setenv("WORLD_SIZE", "4")  # as other launchers leave it
    assert team() == ALONE
    as_torchrun(monkeypatch)
    assert team() == Team(rank=1, size=4, local=1, here=2)


def test_devices_are_those_of_the_machine(monkeypatch):
    as_torchrun(monkeypatch)
    assert require_team(1).size == require_team(2).size == require_team([5, 7]).size == 4
    assert own_device([5, 7], on_cpu=False) == [7]
    assert own_device(2, on_cpu=False) == [1]
    assert own_device(2, on_cpu=True) == 1
    for devices in (3, [0], [0, 1, 2]):
        with pytest.raises(SettingError, match="2 processes"):
            require_team(devices)
    monkeypatch.undo()
    assert own_device([3], on_cpu=False) == [3]


def test_many_trainings_are_not_for_several_processes(monkeypatch):
    as_torchrun(monkeypatch)
    with pytest.raises(SettingError, match=r"4 processes.*`workers` in place of `devices`"):
        retrain(case_of(TensorDataset(*table(9)), forget=(4,)), Recipe(), Runtime(accelerator="cpu"), [1, 2])


def test_only_devices_that_can_talk_to_each_other_work_together():
    with pytest.raises(SettingError, match=r"'mps'.*`cpu` or `cuda`"):
        processes.meet(torch.device("mps"))


def test_errors_that_only_tell_of_another_s_end():
    assert peer_failed(RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer"))
    assert peer_failed(DistBackendError("NCCL communicator was aborted"))
    assert not peer_failed(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not peer_failed(ValueError("gloo"))


@pytest.mark.parametrize(
    ("codes", "code", "said"),
    [
        ([0, 0], 0, ""),
        ([2, 2], 2, ""),  # what the first one says is heard already
        ([LEFT_ALONE, 1], 1, "In process 1 of 2:\nwords of 1\n"),
        ([LEFT_ALONE, LEFT_ALONE], LEFT_ALONE, ""),
        ([-15, 3], 3, "In process 1 of 2:\nwords of 1\n"),
        ([143, -9], 137, "In process 1 of 2:\nwords of 1\nerror: process 1 was ended by signal 9\n"),
        ([-15, -15], 143, "error: process 0 was ended by signal 15\n"),
    ],
)
def test_the_first_reason_decides_the_exit_code(tmp_path, capsys, codes, code, said):
    told = [tmp_path / str(rank) for rank in range(2)]
    for rank, file in enumerate(told):
        file.write_text(f"words of {rank}\n")
    assert _verdict(codes, told) == code
    assert capsys.readouterr().err == said


class Shared(nn.Module):
    """Two blocks, the second of which shares its weight with the output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Linear(3, 3)])
        self.out = nn.Linear(3, 3)
        self.out.weight = self.blocks[1].weight


def test_blocks_are_sharded_inside_out_and_shared_weights_stay_together():
    model = Shared()
    assert list(_blocks(model)) == [model.blocks[0][0], model.blocks[0]]


@pytest.mark.parametrize(
    ("norm", "shape"),
    [(lambda: nn.BatchNorm1d(4), (6, 4)), (lambda: nn.BatchNorm2d(4, momentum=None), (6, 4, 3, 2)),
     (lambda: nn.BatchNorm1d(4, affine=False), (6, 4, 5)),
     (lambda: nn.BatchNorm1d(4, track_running_stats=False), (6, 4))],
)  # fmt: skip
def test_synchronised_normalisation_is_pytorchs_own(monkeypatch, norm, shape):
    """For one process; with several, tests/processes compares with one."""
    monkeypatch.setattr(batchnorm.dist, "all_reduce", lambda values: None)
    mine, its = norm().double(), norm().double()
    synchronise_batch_norm(mine)
    for step in range(3):
        one, other = (numbers(*shape, seed=step).double().mul_(3).add_(7).requires_grad_() for _ in range(2))
        made, expected = mine(one), its(other)
        (made**3).sum().backward()
        (expected**3).sum().backward()
        assert_close(made, expected)
        assert_close(one.grad, other.grad)
    assert_close(dict(mine.named_buffers()), dict(its.named_buffers()))
    mine.eval(), its.eval()
    assert_close(mine(numbers(*shape).double()), its(numbers(*shape).double()))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        mine.train()(torch.zeros(1, 4, dtype=torch.float64)) if len(shape) == 2 else mine.train()(
            torch.zeros(1, *shape[1:2], *(1 for _ in shape[2:]), dtype=torch.float64)
        )
