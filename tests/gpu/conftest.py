"""The device that the GPU tests run on."""

from __future__ import annotations

import os

import pytest
import torch


@pytest.fixture(scope="session")
def device() -> str:
    """`cuda`, or what UNREGRESS_TEST_DEVICE names; skips where the machine has no CUDA device."""
    wanted = os.environ.get("UNREGRESS_TEST_DEVICE") or "cuda"
    if wanted == "cuda" and not torch.cuda.is_available():
        pytest.skip("PyTorch sees no CUDA device; UNREGRESS_TEST_DEVICE=cpu runs these tests on the CPU")
    return wanted
