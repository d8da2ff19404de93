"""The process group of a job, and the collective operations of its processes.

The processes are started by `torchrun` or by the command line (`unregress.cli.launch`), run the same program, and
connect through the environment variables that `torchrun` sets.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from unregress.errors import SettingError

T = TypeVar("T")


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a job; with a single process every operation returns its argument at no cost."""

    rank: int = 0
    """Index of this process, counted from 0."""
    world_size: int = 1
    """Number of processes."""
    local_rank: int = 0
    """Index of this process on its machine, counted from 0; also the index of its device."""
    local_world_size: int = 1
    """Number of processes on this machine."""

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and prints (rank 0)."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """This process's share of a batch; shares differ in size by one row at most and may be empty.

        >>> [ProcessGroup(rank, 3).share(torch.arange(5)).tolist() for rank in range(3)]
        [[0, 1], [2, 3], [4]]
        """
        return rows.tensor_split(self.world_size)[self.rank]

    def mean_loss(self, losses: Tensor, count: int) -> Tensor:
        """The loss to back-propagate in this process; averaged over processes, its gradient is that of the batch mean.

        Args:
            losses: losses of this process's samples, `(n,)`.
            count: number of samples in the whole batch.
        """
        return losses.mean() if self.world_size == 1 else losses.sum() * (self.world_size / count)

    def all_reduce(self, values: Tensor) -> Tensor:
        """Element-wise sum over all processes, without a gradient; every process gets the same bytes."""
        if self.world_size > 1:
            values = values.detach().clone()
            dist.all_reduce(values)
        return values

    def broadcast(self, value: T) -> T:
        """The value of rank 0."""
        if self.world_size == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def all_gather(self, values: list[T]) -> list[T]:
        """The lists of all processes, concatenated in order of rank."""
        if self.world_size == 1:
            return values
        lists: list[Any] = [None] * self.world_size
        dist.all_gather_object(lists, values)
        return [value for each in lists for value in each]

    def barrier(self) -> None:
        """Wait until all processes have reached this point; fails if one of them has failed."""
        if self.world_size > 1:
            # On GPUs `dist.barrier` is only queued, and does not wait.
            self.all_gather([self.rank])


SINGLE = ProcessGroup()
"""The group of a job with a single process."""


def current_process_group() -> ProcessGroup:
    """The group that this process was started in, whether or not it is initialised."""
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        return SINGLE
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    return ProcessGroup(*(int(os.environ[name]) for name in names))


def init_process_group(device: torch.device) -> None:
    """Connect the processes, unless they are connected already; each waits for all others.

    Args:
        device: the device of this process.

    Raises:
        SettingError: there is no backend for this kind of device.
    """
    if device.type not in ("cpu", "cuda"):
        raise SettingError(
            f"Several processes cannot compute on {device.type!r} together",
            expected="`cpu` or `cuda`",
            remedy="Set `accelerator` to one of these, or use one device",
        )
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group(backend)


@cache
def device_mesh(kind: str) -> DeviceMesh:
    """The initialised group as a one-dimensional mesh, for DTensor and FSDP.

    Args:
        kind: kind of device, `cpu` or `cuda`.
    """
    return init_device_mesh(kind, (dist.get_world_size(),))


def destroy_process_group() -> None:
    """Disconnect the processes, if they are connected; call it when all have finished."""
    if dist.is_available() and dist.is_initialized():
        device_mesh.cache_clear()
        dist.destroy_process_group()


def require_process_group(devices: int | list[int]) -> ProcessGroup:
    """The current group, checked to have one process per device on this machine; `devices=1` accepts any size.

    Args:
        devices: number of devices, or a list of device indices.

    Raises:
        SettingError: the number of processes on this machine is not that of the devices.
    """
    asked, group = len(devices) if isinstance(devices, list) else devices, current_process_group()
    if asked == group.local_world_size or (asked == 1 and not isinstance(devices, list)):
        return group
    running = "one process" if group.local_world_size == 1 else f"{group.local_world_size} processes"
    raise SettingError(
        f"devices={devices!r} asks for {asked} devices, and on this machine the job has {running}",
        expected="one process for each device",
        remedy=f"Start the script with `torchrun --nproc_per_node {asked}`; the command line starts the processes "
        "itself",
    )


def peer_failed(error: BaseException) -> bool:
    """Whether an error only reports that the connection to another process of the group was lost."""
    if isinstance(error, dist.DistError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(word in text for word in ("gloo", "NCCL", "ProcessGroup"))
