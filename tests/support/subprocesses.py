"""Run programs in subprocesses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from unregress.cli.launch import free_port

TESTS = Path(__file__).resolve().parents[1]


def environment() -> dict[str, str]:
    paths = [str(TESTS.parent / "src"), str(TESTS), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


def torchrun(*words: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """Run a module in several processes, as a user would with `torchrun --nproc_per_node 2 -m MODULE`."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes),
               "--master_addr", "127.0.0.1", "--master_port", str(free_port()), "-m", *words]  # fmt: skip
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
