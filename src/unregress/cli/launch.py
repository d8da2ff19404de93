"""Start one process for each device and wait for all of them: what `--runtime.devices 2` does.

`torchrun` would end the other processes at once when one fails, and each would say so.  Here they get time to notice,
and the command has one exit code and one message: those of the process that failed first.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from unregress.cli.exit_codes import PEER_FAILED
from unregress.cli.interrupt import Terminated, exit_code
from unregress.errors import SettingError

GRACE = 15.0
"""Seconds that processes get to clean up when one has failed, and again when they are told to end."""

Processes = Sequence[subprocess.Popen[bytes]]


def launch(words: Sequence[str], count: int) -> int:
    """Run a command in several processes on this machine, with the environment variables that `torchrun` sets.

    Rank 0 writes to the terminal.  The other processes' output is shown only if they are the cause of a failure.

    Args:
        words: the arguments after `unregress`.
        count: number of processes.

    Returns:
        The exit code of the command.
    """
    with TemporaryDirectory() as folder, ExitStack() as stack:
        logs = [Path(folder) / f"{rank}.txt" for rank in range(count)]
        processes: list[subprocess.Popen[bytes]] = []
        # No process outlives the block, even if this one is told to end.
        stack.callback(_end, processes)
        command, port = [sys.executable, "-m", "unregress", *words], free_port()
        for rank in range(count):
            silent = None if rank == 0 else subprocess.DEVNULL
            log = None if rank == 0 else stack.enter_context(logs[rank].open("wb"))
            variables = _environment(rank, count, port)
            processes.append(subprocess.Popen(command, env=variables, stdin=silent, stdout=silent, stderr=log))
        try:
            codes = _exit_codes(processes)
        except KeyboardInterrupt as stop:
            # A terminal has already interrupted all processes; they ignore this second signal.  Rank 0 reports it.
            number = signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT
            for process in processes:
                process.send_signal(number)
            _wait(processes, GRACE)
            return exit_code(number)
        return _outcome(codes, logs)


def require_room(count: int) -> None:
    """Refuse many more processes than this machine has devices or cores for.

    Raises:
        SettingError: more are asked for.
    """
    most = max(8, 4 * (os.cpu_count() or 1), torch.cuda.device_count())
    if count > most:
        raise SettingError(
            f"{count} devices are asked for, one process each",
            expected=f"at most {most} on this machine",
            remedy="`--runtime.devices '[K]'` is device number K",
        )


def free_port() -> int:
    """A port of this machine that no program listens on."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
        return port


def _environment(rank: int, count: int, port: int) -> dict[str, str]:
    """Environment variables of one process, as `torchrun` sets them; the user's own values override our defaults."""
    cores = max(1, (os.cpu_count() or 1) // count)
    # Silences a warning of PyTorch's C++ code at each training that no weight is unused.
    defaults = {"OMP_NUM_THREADS": str(cores), "TORCH_CPP_LOG_LEVEL": "ERROR"}
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "unregress"}
    return defaults | os.environ | {name: str(value) for name, value in (ranks | address).items()}


def _exit_codes(processes: Processes) -> list[int]:
    """Wait for all processes; when one fails, end the others after some time."""
    while any(process.poll() is None for process in processes):
        if any(process.poll() for process in processes):
            _wait(processes, GRACE)
            break
        time.sleep(0.1)
    _end(processes)
    return [process.wait() for process in processes]


def _wait(processes: Processes, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and any(process.poll() is None for process in processes):
        time.sleep(0.05)


def _end(processes: Processes) -> None:
    for end in (subprocess.Popen.terminate, subprocess.Popen.kill):
        running = [process for process in processes if process.poll() is None]
        for process in running:
            end(process)
        _wait(running, GRACE)


def _outcome(codes: Sequence[int], logs: Sequence[Path]) -> int:
    """The exit code of the process that caused a failure; prints its output unless it is rank 0."""
    terminated = (-signal.SIGTERM, exit_code(signal.SIGTERM))
    failed = [rank for rank, code in enumerate(codes) if code not in (0, PEER_FAILED)]
    # Processes that `_end` terminated did not cause the failure.
    causes = [rank for rank in failed if codes[rank] not in terminated] or failed
    if not causes:
        return max(codes)
    rank = causes[0]
    text = logs[rank].read_text(encoding="utf-8", errors="replace").strip() if rank > 0 else ""
    if text:
        print(f"In process {rank} of {len(codes)}:\n{text}", file=sys.stderr)
    if codes[rank] < 0:
        print(f"error: process {rank} was ended by signal {-codes[rank]}", file=sys.stderr)
    return codes[rank] if codes[rank] > 0 else 128 - codes[rank]
