"""Train replicas of a model in several processes, and gather the weights afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from warnings import catch_warnings, filterwarnings

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from unregress.distributed.process_group import ProcessGroup, device_mesh
from unregress.errors import ModelError
from unregress.tasks.unwrap import Transparent

Strategy = Literal["ddp", "fsdp2"]
"""The values of `Runtime.strategy`."""


class _DataParallel(Transparent, DistributedDataParallel):
    """DistributedDataParallel that passes on the attributes of its model, which a task may use."""


def replicate(replica: nn.Module, device: torch.device, strategy: Strategy) -> nn.Module:
    """Connect this process's replica of a model to the others: gradients are averaged over processes.

    Args:
        replica: the same model in every process, on the device; changed in place with `fsdp2`.
        device: the device of this process.
        strategy: `ddp` for a whole model in each process, `fsdp2` for a shard of each weight in each process.

    Returns:
        The module to call: a wrapper with `ddp`, the replica itself with `fsdp2`.

    Raises:
        ModelError: the model cannot be sharded.
    """
    if strategy == "ddp":
        indices = [device.index] if device.type == "cuda" else None
        # A step may leave weights unused, as with one process.  `broadcast_buffers` below is called between steps:
        # within a step PyTorch would overwrite buffers that a model called twice still needs for its gradient.
        with catch_warnings():
            # Newer versions of PyTorch have renamed the argument; older versions lack the new name.
            filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
            return _DataParallel(replica, device_ids=indices, find_unused_parameters=True, broadcast_buffers=False)
    from torch.distributed.fsdp import fully_shard

    mesh = device_mesh(device.type)
    try:
        for block in _blocks(replica):
            fully_shard(block, mesh=mesh)
        fully_shard(replica, mesh=mesh)
    except (ValueError, NotImplementedError, RuntimeError, AssertionError) as error:
        raise ModelError(
            f"The model's weights cannot be sharded: {error}",
            expected="a model that `torch.distributed.fsdp.fully_shard` supports",
            remedy="Use `strategy='ddp'`",
        ) from error
    return replica


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The modules to shard separately: items of `Sequential` and `ModuleList`, innermost first.

    Modules that share a weight with the rest of the model are not sharded separately.
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
    """Check that the block calls the model as `model(...)`, where the processes synchronise.

    Raises:
        ModelError: the block called a submodule or another method of the model instead.
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
            "With several processes, the task's `predict` calls a submodule or another method of the model directly",
            expected="a call of `model(...)`, where the processes synchronise",
            remedy="Call it in the model's `forward`, or use one device",
        ) from cause


@torch.no_grad()
def broadcast_buffers(model: nn.Module, group: ProcessGroup) -> None:
    """Copy the buffers of rank 0, such as batch statistics, to every process; they depend on each process's rows."""
    if group.world_size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


@torch.no_grad()
def gather_weights(model: nn.Module, replica: nn.Module, group: ProcessGroup) -> None:
    """Gather a replica's weights and buffers from all processes, and copy them into the model."""
    from torch.distributed.tensor import DTensor

    broadcast_buffers(replica, group)
    for own, trained in zip(model.parameters(), replica.parameters(), strict=True):
        own.copy_(trained.full_tensor() if isinstance(trained, DTensor) else trained)
    for old, new in zip(model.buffers(), replica.buffers(), strict=True):
        old.copy_(new)
