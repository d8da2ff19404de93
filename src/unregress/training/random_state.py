"""Seed the global random state for a block of code, and restore it afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded_rng(seed: int, device: torch.device, *, double: bool) -> Iterator[None]:
    """Seed Python, NumPy and PyTorch within the block, with gradients enabled; restore their states afterwards.

    Args:
        seed: a whole number, 0 or more.
        device: its generator is seeded and restored as well as the CPU's.
        double: whether new tensors are float64.
    """
    before = random.getstate(), np.random.get_state(), torch.get_default_dtype()
    devices = [device.index or 0] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices), torch.inference_mode(False), torch.enable_grad():
            if double:
                torch.set_default_dtype(torch.float64)
            if device.type == "cpu":
                # As `torch.manual_seed`, without the other devices' generators: for each of them it formats the stack.
                torch.default_generator.manual_seed(seed)
            else:
                torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_default_dtype(before[2])
