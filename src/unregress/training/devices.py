"""Choose the device of a process, and move batches to it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unregress.distributed.process_group import require_process_group
from unregress.errors import SettingError
from unregress.tasks.nested import map_leaves

ACCELERATORS = ("auto", "cpu", "cuda", "mps")
"""The values of `Runtime.accelerator`."""


def choose_device(accelerator: str, devices: int | list[int]) -> torch.device:
    """Choose the device of this process.

    Args:
        accelerator: one of `ACCELERATORS`; `auto` is `mps` or `cuda` if present, otherwise `cpu`.
        devices: number of devices, with one process each, or a list of device indices.

    Raises:
        SettingError: there is no such device, or the number of processes is not that of the devices.
    """
    group = require_process_group(devices)
    if accelerator == "cpu":
        return torch.device("cpu")
    found = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    kind = next(name for name in ("mps", "cuda", "cpu") if found[name]) if accelerator == "auto" else accelerator
    if kind == "cpu":
        return torch.device("cpu")
    number = devices[group.local_rank] if isinstance(devices, list) else group.local_rank
    if number >= found[kind]:
        raise SettingError(
            f"Device {number} of accelerator {kind!r} cannot be used: PyTorch finds {found[kind] or 'none'} here",
            expected="an accelerator that is present on this machine",
            remedy="Set `accelerator` to `auto` or `cpu`, or `devices` to the number of a device that is present",
        )
    return torch.device(kind, number)


def to_device(batch: Any, device: torch.device) -> Any:
    """Move a nested batch to a device: its tensors, and objects that have a method `to`."""
    waits = device.type in ("cpu", "mps")  # a non-blocking copy to MPS may be read before it has finished

    def moved(part: Any) -> Any:
        return part.to(device) if waits or not isinstance(part, Tensor) else part.to(device, non_blocking=True)

    return map_leaves(moved, batch, lambda part: callable(getattr(type(part), "to", None)))
