"""Call the command line in forks of one process that has imported it, so that a call costs hundredths of a second."""

from __future__ import annotations

import gc
import importlib
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from fuzz.trial import Ending, Trial, snapshot

PROCESSOR_SECONDS, SECONDS = 30, 240
"""After these a command counts as one that does not end; the second is for a machine that is busy."""


def imported() -> None:
    """Import all that commands need, here, in one thread: a fork has no other threads than the one that forks."""
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "100"}
    sys.dont_write_bytecode = True
    import torch

    torch.set_num_threads(1)
    # The first optimizer of a process imports torch's compiler, which takes longer than most trials.
    torch.optim.Adam(torch.nn.Linear(1, 1).parameters())
    import docstring_parser

    # A third of what a command takes to begin, and the same each time.
    docstring_parser.parse_from_object = cache(docstring_parser.parse_from_object)
    import unregress.cli.dispatch
    import unregress.metrics  # noqa: F401

    # What the library imports where it is used.
    for name in ("scipy.stats", "sklearn.linear_model", "sklearn.model_selection", "sklearn.pipeline", "sklearn.svm"):
        importlib.import_module(name)


def warmed(folder: Path) -> None:
    """Do here what every fork would do for the first time: import on first use, read docstrings, load fonts.

    Args:
        folder: holds `runs/audit`, whose page is rendered.
    """
    from fuzz.project import PROJECT, audit, forget
    from unregress.cli import main
    from unregress.evidence import AuditReport
    from unregress.report import render_html

    render_html(AuditReport.from_json(folder / "runs" / "audit" / "audit.json"))
    with open(os.devnull, "w", encoding="utf-8") as sink, redirect_stdout(sink), redirect_stderr(sink):
        main(["report", str(folder / "runs" / "audit")])
        main(["forget", "--method", "Blindspot", "--request.band", "[1, 2]"])
        for words in (("train", *PROJECT, "--output", "out"), forget(), audit()):
            main([*words, "--print_config"])
    # Collections would touch all objects, and each fork would have to copy them.
    gc.collect()
    gc.freeze()


def fork(work: Callable[[], object]) -> int:
    """Start a copy of this process that works and ends with what the work returns, or as `sys.exit` says."""
    sys.stdout.flush()
    sys.stderr.flush()
    if child := os.fork():
        return child
    code = 1
    try:
        found = work()
        code = found if isinstance(found, int) else 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        # As Python does; that nothing of the kind gets so far is what is tested.
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                code = code or 120  # as Python does
        os._exit(code)


def call(words: Iterable[str], folder: Path) -> int:
    """What `python -m unregress WORDS` does in a folder."""
    os.chdir(folder)
    sys.argv = ["unregress", *words]
    from unregress.cli import main

    return main()


def redirected(folder: Path, output: str = "", encoding: str = "utf-8") -> None:
    """Let this process write to files `stdout` and `stderr` beside a folder, or to somewhere that takes nothing.

    Args:
        folder: the trial's folder.
        output: as `Trial.output`.
        encoding: of both streams.
    """
    if output == "closed":
        reader, target = os.pipe()
        os.close(reader)
    else:
        target = os.open(output or f"{folder}.stdout", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number, source in ((1, target), (2, os.open(f"{folder}.stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC))):
        os.dup2(source, number)
    sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding=encoding, closefd=False, errors="backslashreplace")  # noqa: SIM115


@dataclass
class _Running:
    trial: Trial
    folder: Path
    before: dict[str, str]
    child: int
    started: float


def endings(trials: Iterable[Trial], runs: Path, *, at_once: int = 2) -> Iterator[tuple[Trial, Ending]]:
    """How each command ended, in any order.

    Args:
        trials: what to call.
        runs: folder that each trial finds a copy of, as `runs`.
        at_once: processes side by side.
    """
    scratch = Path(mkdtemp(prefix="unregress-fuzz-"))
    waiting, running = iter(enumerate(trials)), dict[int, _Running]()
    more = True
    try:
        while more or running:
            while more and len(running) < at_once:
                if (following := next(waiting, None)) is None:
                    more = False
                    break
                started = _start(following[1], scratch / str(following[0]), runs)
                running[started.child] = started
            if not running:
                break
            child, status = _ended(running)
            done = running.pop(child)
            yield done.trial, _ending(done, os.waitstatus_to_exitcode(status))
            _removed(done.folder)
    finally:
        for child in running:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        _removed(scratch)


def _start(trial: Trial, folder: Path, runs: Path) -> _Running:
    shutil.copytree(runs, folder / "runs", symlinks=True)
    trial.prepare(folder)
    before = snapshot(folder)

    def work() -> int:
        redirected(folder, trial.output, trial.encoding)
        resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))
        if trial.largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (trial.largest, trial.largest))
        os.environ["XDG_CACHE_HOME"] = os.environ["HOME"] = str(folder / "home")
        return call(trial.words, folder)

    return _Running(trial, folder, before, fork(work), time.monotonic())


def _ended(running: dict[int, _Running]) -> tuple[int, int]:
    """Wait for the next of some children to end; those that do not are killed."""
    while True:
        for child, each in running.items():
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                return found, status
            if time.monotonic() - each.started > SECONDS:
                os.kill(child, signal.SIGKILL)
        time.sleep(0.002)


def _ending(done: _Running, code: int) -> Ending:
    out, err = (Path(f"{done.folder}.{name}") for name in ("stdout", "stderr"))
    return Ending(
        code=code,
        out=out.read_text(encoding=done.trial.encoding, errors="replace") if out.exists() else "",
        err=err.read_text(encoding=done.trial.encoding, errors="replace"),
        seconds=time.monotonic() - done.started,
        before=done.before,
        after=snapshot(done.folder),
    )


def _removed(folder: Path) -> None:
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                os.chmod(path, 0o700)
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("stdout", "stderr"):
        Path(f"{folder}.{name}").unlink(missing_ok=True)
