"""Several processes that do one job together: which of them this one is, and what they tell each other.

They are started by `torchrun` or by the command line, and find each other through the environment that `torchrun`
sets.  Every one of them runs the same program; what they must not do several times, the first one does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from unregress.errors import SettingError

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """The processes of a job.  Most often there is one, and nothing that is said here costs anything."""

    rank: int = 0
    """Which process this is, counted from 0."""
    size: int = 1
    """How many there are."""
    local: int = 0
    """Which process of this machine this is, counted from 0: the number of its device."""
    here: int = 1
    """How many there are on this machine."""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """This process's part of a batch: parts differ by one row at most, and may be empty.

        >>> [Team(rank, 3).share(torch.arange(5)).tolist() for rank in range(3)]
        [[0, 1], [2, 3], [4]]
        """
        return rows.tensor_split(self.size)[self.rank]

    def mean(self, losses: Tensor, count: int) -> Tensor:
        """This process's part of the mean loss of a batch, to be back-propagated.

        Args:
            losses: of this process's samples, `(n,)`.
            count: samples in the whole batch.
        """
        # Gradients become the mean over processes, and each knows its own part of the sum only.
        return losses.mean() if self.size == 1 else losses.sum() * (self.size / count)

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, element by element; the same bytes in each."""
        if self.size > 1:
            values = values.detach().clone()
            dist.all_reduce(values)
        return values

    def broadcast(self, value: T) -> T:
        """The first process's value, so that all decide alike."""
        if self.size == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def gathered(self, values: list[T]) -> list[T]:
        """The lists of all processes one after the other."""
        if self.size == 1:
            return values
        lists: list[Any] = [None] * self.size
        dist.all_gather_object(lists, values)
        return [value for each in lists for value in each]

    def wait(self) -> None:
        """Go on when all processes have come here; fails if one of them has failed."""
        if self.size > 1:
            # Not a barrier, which on GPUs would only be queued.
            self.gathered([self.rank])


ALONE = Team()


def team() -> Team:
    """The team that this process was started in; they need not have met yet."""
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        return ALONE
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    return Team(*(int(os.environ[name]) for name in names))


def meet(device: torch.device) -> None:
    """Let the processes find each other, once; each waits for all.

    Args:
        device: this process's own.

    Raises:
        SettingError: processes on such devices cannot talk to each other.
    """
    if device.type not in ("cpu", "cuda"):
        raise SettingError(
            f"Several processes are to compute on {device.type!r}",
            expected="`cpu` or `cuda`",
            remedy="Name one as `accelerator`, or use one device",
        )
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group(backend)


def part() -> None:
    """The end of a job that all have done."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def require_team(devices: int | list[int]) -> Team:
    """The team, if it is as large as asked for; one device asks for nothing.

    Raises:
        SettingError: this machine has another number of processes.
    """
    asked, found = len(devices) if isinstance(devices, list) else devices, team()
    if asked == found.here or (asked == 1 and not isinstance(devices, list)):
        return found
    raise SettingError(
        f"{asked} devices are asked for with devices={devices!r}, and on this machine the job has "
        f"{'one process' if found.here == 1 else f'{found.here} processes'}",
        expected="one process for each device",
        remedy=f"Start the script with `torchrun --nproc_per_node {asked}`; the command line starts them by itself",
    )


def own_device(devices: int | list[int], *, on_cpu: bool) -> int | list[int]:
    """Which device is this process's own, as Fabric understands it.

    Args:
        devices: as asked for.
        on_cpu: whether all processes compute on the CPU.
    """
    found = require_team(devices)
    if found.size == 1:
        # A CPU has no number.
        return 1 if on_cpu and isinstance(devices, list) else devices
    return 1 if on_cpu else [devices[found.local] if isinstance(devices, list) else found.local]


def peer_failed(error: BaseException) -> bool:
    """Whether an error only says that another process of the team has ended."""
    if isinstance(error, dist.DistError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(word in text for word in ("gloo", "NCCL", "ProcessGroup"))
