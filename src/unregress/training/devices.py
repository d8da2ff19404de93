"""The device of a process, and moving batches to it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unregress.distributed.process_group import require_process_group
from unregress.errors import SettingError
from unregress.tasks.nested import map_leaves

ACCELERATORS = ("auto", "cpu", "cuda", "mps")
"""What a runtime's `accelerator` may be."""


def choose_device(accelerator: str, devices: int | list[int]) -> torch.device:
    """The device of this process.

    Args:
        accelerator: one of `ACCELERATORS`; `auto` is `mps` or `cuda` where there is one, `cpu` elsewhere.
        devices: how many, one process each, or their numbers.

    Raises:
        SettingError: there is no such device, or the job has not one process for each device.
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
    """Move a batch, however nested: its tensors, and objects with a method `to` of their own."""
    waits = device.type in ("cpu", "mps")  # PyTorch's moves to MPS may be read too early otherwise

    def moved(part: Any) -> Any:
        return part.to(device) if waits or not isinstance(part, Tensor) else part.to(device, non_blocking=True)

    return map_leaves(moved, batch, lambda part: callable(getattr(type(part), "to", None)))
