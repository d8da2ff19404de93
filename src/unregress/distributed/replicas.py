"""Replicas of a model in several processes: tied together for a training, and gathered again afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from warnings import catch_warnings, filterwarnings

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from unregress.distributed.process_group import ProcessGroup, device_mesh
from unregress.errors import ModelError
from unregress.tasks.unwrap import Transparent

Strategy = Literal["ddp", "fsdp2"]


class _DataParallel(Transparent, DistributedDataParallel):
    """Data parallelism that gives a task the attributes of the model inside."""


def replicate(replica: nn.Module, device: torch.device, strategy: Strategy) -> nn.Module:
    """Tie this process's replica of a model to those of the others: gradients are averaged over processes.

    Args:
        replica: the same model in every process, on the device already; changed with `fsdp2`.
        device: of this process.
        strategy: `ddp` for a whole model in each process, `fsdp2` for a shard of each weight.

    Returns:
        The module to call: a wrapper with `ddp`, the replica itself with `fsdp2`.

    Raises:
        ModelError: the model cannot be sharded.
    """
    if strategy == "ddp":
        numbers = [device.index] if device.type == "cuda" else None
        # A step need not use all weights, as with one process.  `broadcast_buffers` below is called between steps:
        # within a step PyTorch would overwrite what a model that is called twice still needs for its gradient.
        with catch_warnings():
            # Newer versions of PyTorch have renamed it; older ones do not know the new name.
            filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
            return _DataParallel(replica, device_ids=numbers, find_unused_parameters=True, broadcast_buffers=False)
    mesh = device_mesh(device.type)
    try:
        for block in _blocks(replica):
            fully_shard(block, mesh=mesh)
        fully_shard(replica, mesh=mesh)
    except (ValueError, NotImplementedError, RuntimeError, AssertionError) as error:
        raise ModelError(
            f"The model's weights cannot be sharded: {error}",
            expected="a model that `torch.distributed.fsdp.fully_shard` takes",
            remedy="Use `strategy='ddp'`",
        ) from error
    return replica


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The modules to shard one by one: items of `Sequential` and `ModuleList`, innermost first.

    Blocks that share a weight with the rest of the model are not sharded by themselves.
    """
    owners: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    listed = {
        id(item)
        for module in model.modules()
        if isinstance(module, (nn.Sequential, nn.ModuleList))
        for item in module.children()
    }
    for module in reversed(list(model.modules())):
        if id(module) not in listed or isinstance(module, nn.ModuleList):
            continue
        held = [p for part in module.modules() for p in part.parameters(recurse=False)]
        if held and all(owners[id(parameter)] == 1 for parameter in held):
            yield module


@contextmanager
def require_forward_call(model: nn.Module, group: ProcessGroup) -> Iterator[None]:
    """Check that a model in several processes is called as `model(...)`, which is where the processes synchronise.

    Raises:
        ModelError: within the block a part or a method of it was called instead.
    """
    if group.world_size == 1:
        yield
        return
    calls: list[bool] = []
    handle = model.register_forward_pre_hook(lambda *_: calls.append(True))
    cause: RuntimeError | None = None
    try:
        yield
    except RuntimeError as error:
        if calls and not any(words in str(error) for words in ("forward method", "Tensor and DTensor")):
            raise
        cause = error
    finally:
        handle.remove()
    if cause is not None or not calls:
        raise ModelError(
            "With several processes, the task's `predict` calls a part or a method of the model directly",
            expected="`model(...)`, where the processes synchronise",
            remedy="Let the model's `forward` call it, or use one device",
        ) from cause


@torch.no_grad()
def broadcast_buffers(model: nn.Module, group: ProcessGroup) -> None:
    """Give every process the buffers of rank 0, such as batch statistics, which differ with each process's rows."""
    if group.world_size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


@torch.no_grad()
def gather_weights(model: nn.Module, replica: nn.Module, group: ProcessGroup) -> None:
    """Copy a replica's weights and buffers, gathered from all processes, into the model that it was copied from."""
    broadcast_buffers(replica, group)
    for own, trained in zip(model.parameters(), replica.parameters(), strict=True):
        own.copy_(trained.full_tensor() if isinstance(trained, DTensor) else trained)
    for old, new in zip(model.buffers(), replica.buffers(), strict=True):
        old.copy_(new)
