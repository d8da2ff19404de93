"""One model in several processes while it trains: a twin that shares gradients or holds a shard of the weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal
from warnings import catch_warnings, filterwarnings

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from unregress.distributed.process_group import Team
from unregress.errors import ModelError
from unregress.errors.user_code import described
from unregress.tasks.unwrap import recomputed, unwrapped

Strategy = Literal["ddp", "fsdp2"]


def private_copy(model: nn.Module) -> nn.Module:
    """A copy that shares nothing with `model`, without gradients and without PyTorch's wrappers around it.

    Raises:
        ModelError: the model cannot be copied.
    """
    inner = unwrapped(model)
    # What was computed from weights cannot be copied with its gradient, and need not be: it is computed again.
    computed = {id(tensor): tensor.detach().clone() for tensor in recomputed(inner)}
    try:
        twin = copy.deepcopy(inner, computed)
    except Exception as error:
        raise ModelError(
            f"The model cannot be copied: {described(error)}",
            expected="a module that `copy.deepcopy` copies",
            remedy="Keep tensors made by computation out of the module's attributes",
        ) from error
    twin.zero_grad(set_to_none=True)
    return twin


class _Tied(DistributedDataParallel):
    """What a task may read of its model, it may read of this."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


def replicate(twin: nn.Module, device: torch.device, strategy: Strategy) -> nn.Module:
    """Tie this process's copy of a model to those of the others; gradients become the mean over processes.

    Args:
        twin: the same model in every process, on the device already; with `fsdp2` it is changed.
        device: this process's own.
        strategy: `ddp` for a whole model in each process, `fsdp2` for a shard of each weight.

    Returns:
        What is to be called, around the twin or the twin itself.

    Raises:
        ModelError: the model cannot be sharded.
    """
    if strategy == "ddp":
        places = [device.index] if device.type == "cuda" else None
        # Weights that a step does not use are no error with one process.  Buffers are made alike by `align`, since
        # within a step PyTorch would overwrite what a model that is called twice still needs for its gradient.
        with catch_warnings():
            # Newer versions of PyTorch have another name for it, which older ones do not know.
            filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
            return _Tied(twin, device_ids=places, find_unused_parameters=True, broadcast_buffers=False)
    try:
        for block in _blocks(twin):
            fully_shard(block, mesh=_mesh(device.type))
        fully_shard(twin, mesh=_mesh(device.type))
    except (ValueError, NotImplementedError, RuntimeError, AssertionError) as error:
        raise ModelError(
            f"The model's weights cannot be sharded: {error}",
            expected="a model that `torch.distributed.fsdp.fully_shard` takes",
            remedy="Use `strategy='ddp'`",
        ) from error
    return twin


@cache
def _mesh(kind: str) -> DeviceMesh:
    return init_device_mesh(kind, (dist.get_world_size(),))


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The items of sequences and module lists, innermost first: one at a time of them is whole while it computes.

    Blocks that share a weight with the rest of the model stay a part of it.
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
def require_forward_call(model: nn.Module, team: Team) -> Iterator[None]:
    """See to it that a model in several processes is called as a function, without which they would not work together.

    Raises:
        ModelError: within the block a part or a method of it was called instead.
    """
    if team.size == 1:
        yield
        return
    calls: list[bool] = []
    handle = model.register_forward_pre_hook(lambda *_: calls.append(True))
    foreign: RuntimeError | None = None
    try:
        yield
    except RuntimeError as error:
        if calls and not any(words in str(error) for words in ("forward method", "Tensor and DTensor")):
            raise
        foreign = error
    finally:
        handle.remove()
    if foreign is not None or not calls:
        raise ModelError(
            "With several processes, the task's `predict` calls a part or a method of the model by itself",
            expected="`model(...)`, through which the processes work together",
            remedy="Let the model's `forward` call it, or use one device",
        ) from foreign


@torch.no_grad()
def align(model: nn.Module, team: Team) -> None:
    """Give every process the first one's buffers, batch statistics of its own rows among them: all answer alike."""
    if team.size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


@torch.no_grad()
def gather_weights(model: nn.Module, twin: nn.Module, team: Team) -> None:
    """Copy a twin's weights and buffers, put together from all processes, into the model it was copied from."""
    align(twin, team)
    for mine, its in zip(model.parameters(), twin.parameters(), strict=True):
        mine.copy_(its.full_tensor() if isinstance(its, DTensor) else its)
    for old, new in zip(model.buffers(), twin.buffers(), strict=True):
        old.copy_(new)
