"""One process for each device, started and watched by the first: what `--runtime.devices 2` does."""

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

from unregress.cli.exit_codes import LEFT_ALONE
from unregress.cli.interrupt import Terminated, exit_code
from unregress.errors import SettingError

GRACE = 15.0
"""Seconds that processes get to clear up when one has failed, and again when they are told to end."""


def launch(words: Sequence[str], processes: int) -> int:
    """Run a command in several processes on this machine, as `torchrun` would, with the exit code that one would have.

    The first process writes to the terminal.  Of the others one hears only if they have a reason of their own to fail.

    Args:
        words: the words after `unregress`.
        processes: how many.
    """
    with TemporaryDirectory() as folder, ExitStack() as stack:
        told = [Path(folder) / f"{rank}.txt" for rank in range(processes)]
        started: list[subprocess.Popen[bytes]] = []
        # No process outlives the block, even if this one is told to end.
        stack.callback(_end, started)
        port = free_port()
        for rank in range(processes):
            quiet = None if rank == 0 else subprocess.DEVNULL
            heard = None if rank == 0 else stack.enter_context(told[rank].open("wb"))
            command, own = [sys.executable, "-m", "unregress", *words], _environment(rank, processes, port)
            started.append(subprocess.Popen(command, env=own, stdin=quiet, stdout=quiet, stderr=heard))
        try:
            codes = _watch(started)
        except KeyboardInterrupt as stop:
            # A terminal interrupts all of them, which then do not mind another time; the first one says so.
            number = signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT
            for process in started:
                process.send_signal(number)
            _wait(started, GRACE)
            return exit_code(number)
        return _verdict(codes, told)


def require_room(processes: int) -> None:
    """Refuse many more processes than this machine has devices or cores for.

    Raises:
        SettingError: so many are asked for.
    """
    room = max(8, 4 * (os.cpu_count() or 1), torch.cuda.device_count())
    if processes > room:
        raise SettingError(
            f"{processes} devices are asked for, one process each",
            expected=f"at most {room} on this machine",
            remedy="`--runtime.devices '[K]'` is device number K",
        )


def _environment(rank: int, processes: int, port: int) -> dict[str, str]:
    """What `torchrun` sets, and by which PyTorch knows that it did."""
    cores = str(max(1, (os.cpu_count() or 1) // processes))
    # PyTorch's C++ warns each training that no weight was found unused, which it could not know before.
    defaults = {"OMP_NUM_THREADS": cores, "TORCH_CPP_LOG_LEVEL": "ERROR"}
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes, "GROUP_RANK": 0}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "unregress"}
    return defaults | os.environ | {name: str(value) for name, value in (place | meeting).items()}


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
        return port


def _watch(started: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """The exit codes of all processes; when one fails, the others are given some time and then ended."""
    while any(process.poll() is None for process in started):
        if any(process.poll() for process in started):
            _wait(started, GRACE)
            break
        time.sleep(0.1)
    _end(started)
    return [process.wait() for process in started]


def _wait(started: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and any(process.poll() is None for process in started):
        time.sleep(0.05)


def _end(started: Sequence[subprocess.Popen[bytes]]) -> None:
    for end in (subprocess.Popen.terminate, subprocess.Popen.kill):
        running = [process for process in started if process.poll() is None]
        for process in running:
            end(process)
        _wait(running, GRACE)


def _verdict(codes: Sequence[int], told: Sequence[Path]) -> int:
    """The exit code of the first process that failed for a reason of its own; says which, if that was not heard yet."""
    causes = [rank for rank, code in enumerate(codes) if code not in (0, LEFT_ALONE)]
    # Those that were ended by us only followed.
    causes = [rank for rank in causes if codes[rank] not in (-signal.SIGTERM, exit_code(signal.SIGTERM))] or causes
    if not causes:
        return max(codes)
    rank = causes[0]
    text = told[rank].read_text(encoding="utf-8", errors="replace").strip() if rank > 0 else ""
    if text:
        print(f"In process {rank} of {len(codes)}:\n{text}", file=sys.stderr)
    if codes[rank] < 0:
        print(f"error: process {rank} was ended by signal {-codes[rank]}", file=sys.stderr)
    return codes[rank] if codes[rank] > 0 else 128 - codes[rank]
