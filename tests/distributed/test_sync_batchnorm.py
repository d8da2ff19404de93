"""Batch normalisation over all processes, in a group of one; test_same_answers compares two processes with one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.testing import assert_close

from support.small_cases import numbers
from unregress.distributed.process_group import destroy_process_group
from unregress.distributed.sync_batchnorm import synchronise_batch_norm


@pytest.fixture(scope="module", autouse=True)
def group_of_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    file: Path = tmp_path_factory.mktemp("group") / "store"
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=0, world_size=1)
    yield
    destroy_process_group()


@pytest.mark.parametrize(
    ("norm", "shape"),
    [(lambda: nn.BatchNorm1d(4), (6, 4)), (lambda: nn.BatchNorm2d(4, momentum=None), (6, 4, 3, 2)),
     (lambda: nn.BatchNorm1d(4, affine=False), (6, 4, 5)),
     (lambda: nn.BatchNorm1d(4, track_running_stats=False), (6, 4))],
)  # fmt: skip
def test_synchronised_normalisation_is_pytorchs_own(norm, shape):
    its = norm().double()
    mine = synchronise_batch_norm(norm().double(), "cpu")
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


def test_on_gpus_it_is_pytorchs_synchronised_layer():
    model = synchronise_batch_norm(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), "cuda")
    assert [type(layer) for layer in model] == [nn.Linear, nn.SyncBatchNorm]
    assert isinstance(synchronise_batch_norm(nn.BatchNorm2d(4), "cuda"), nn.SyncBatchNorm)
