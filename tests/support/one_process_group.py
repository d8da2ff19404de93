"""Compare trainings in a process group of one process with those without a group: `-m support.one_process_group`.

Started by `torchrun --nproc_per_node 1` with the device's type as its argument; prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from support.contract_subjects import convolutional
from support.small_cases import mlp, numbers
from unregress.distributed.process_group import ProcessGroup, destroy_process_group, init_process_group
from unregress.distributed.replicas import Strategy, gather_weights, private_copy, replicate
from unregress.distributed.sync_batchnorm import synchronise_batch_norm

STEPS = 3


def trained(model: nn.Module, called: Any, inputs: Tensor) -> None:
    """Take `STEPS` steps of Adam on the mean absolute prediction."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        called(inputs).abs().mean().backward()
        optimizer.step()


def apart(one: nn.Module, other: nn.Module) -> float:
    """Largest difference between two models' weights and buffers."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)


def strategy_error(strategy: Strategy, build: Callable[[], nn.Module], inputs: Tensor, *, sync: bool) -> float:
    """Largest difference between weights trained with a strategy and without a process group."""
    plain = build().double().to(inputs.device)
    model = private_copy(plain)
    trained(plain, plain, inputs)
    twin = private_copy(model)
    if sync:
        twin = synchronise_batch_norm(twin, inputs.device.type)
    tied = replicate(twin, inputs.device, strategy)
    trained(twin, tied, inputs)
    gather_weights(model, twin, ProcessGroup())
    return apart(model, plain)


def main(kind: str) -> dict[str, Any]:
    device = torch.device(kind, 0) if kind == "cuda" else torch.device(kind)
    init_process_group(device)
    summed = torch.arange(3.0, device=device)
    dist.all_reduce(summed)
    held = ["kept"]
    dist.broadcast_object_list(held, src=0)
    gathered: list[Any] = [None]
    dist.all_gather_object(gathered, {"rank": dist.get_rank()})
    table, images = numbers(8, 3).double().to(device), numbers(8, 2, 6, 6).double().to(device)
    torch.manual_seed(0)
    return {
        "backends": dist.get_backend_config(),
        "all_reduce": summed.tolist(),
        "broadcast": held,
        "gathered": gathered,
        "ddp": strategy_error("ddp", mlp, table, sync=False),
        "fsdp2": strategy_error("fsdp2", mlp, table, sync=False),
        "batchnorm": strategy_error("ddp", convolutional, images, sync=True),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])), flush=True)
    destroy_process_group()
    os._exit(0)
