"""SIGTERM as Ctrl-C: an exit code and a line of its own, nothing left behind, a second signal ignored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

from support.subprocesses import environment
from support.tiny_project import make_model
from unregress import TensorTask
from unregress.cli import main
from unregress.cli.interrupt import Terminated, stoppable

TRAIN = ["train", "--task", "e2e.test_signals.signalled", "--data", "support.tiny_project.load_data"]
NUMBERS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


def signalled(number: int = 15) -> TensorTask:
    """A task whose model gets a signal while it is made, which another library takes for an error of its own.

    Args:
        number: of the signal.
    """

    def build() -> nn.Module:
        try:
            os.kill(os.getpid(), number)
        except BaseException as error:
            raise ImportError("multiarray failed to import") from error
        return make_model()

    return TensorTask(build_model=build)


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """A suite that runs in a shell's background ignores interrupts, and libraries of other tests handle signals."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        # None: a library in C handled it, which Python cannot put back.
        if handler is not None:
            signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_ends_a_command_with_its_own_code(
    number: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(each) for each in NUMBERS]
    code = main([*TRAIN, "--task.number", str(int(number)), "--output", str(tmp_path / "deep" / "run")])
    shown = capsys.readouterr()
    assert (code, shown.out) == (128 + number, "")
    assert shown.err == f"error: {NUMBERS[number]}; no unfinished run folder is left behind.\n"
    assert list(tmp_path.iterdir()) == []
    assert [signal.getsignal(each) for each in NUMBERS] == before


@pytest.mark.parametrize("number", NUMBERS)
def test_a_second_signal_does_not_cut_clearing_up_short(number: signal.Signals) -> None:
    cleared = False
    with pytest.raises(KeyboardInterrupt) as caught, stoppable() as stop:
        try:
            signal.raise_signal(number)
        finally:
            for each in NUMBERS:
                signal.raise_signal(each)
            cleared = True
    assert cleared and stop.number == number
    assert isinstance(caught.value, Terminated) == (number == signal.SIGTERM)


class Dropping:
    """An object in whose `__del__` a signal arrives: Python drops exceptions there."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_whose_exception_python_drops_is_raised_again(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt) as caught, stoppable() as stop:
        Dropping(number)
        time.sleep(30)
    assert stop.number == number and isinstance(caught.value, Terminated) == (number == signal.SIGTERM)
    assert capsys.readouterr().err == "" and sys.unraisablehook is usual


def test_a_signal_that_is_somebody_else_s_business_stays_so() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stoppable() as stop:
            signal.raise_signal(signal.SIGTERM)
        assert stop.number is None
    finally:
        signal.signal(signal.SIGTERM, before)


IMPORTED = "import os, signal, time\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(30)\n"


def test_a_program_that_is_told_to_end_while_it_imports_says_so(tmp_path: Path) -> None:
    (tmp_path / "jsonargparse.py").write_text(IMPORTED)
    done = subprocess.run(
        [sys.executable, "-m", "unregress", *TRAIN], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (143, "")
    assert done.stderr == "error: terminated; no unfinished run folder is left behind.\n"


def test_all_processes_of_a_job_end_with_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    words = [*TRAIN, "--runtime.devices", "2", "--output", str(tmp_path / "run")]
    assert main(words) == 143
    assert list(tmp_path.iterdir()) == []
