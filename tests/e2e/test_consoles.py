"""Consoles of other encodings, readers that leave, full disks, and foreign text with escapes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.conftest import PROJECT
from support.subprocesses import environment
from unregress import __version__
from unregress.cli import main
from unregress.cli.console import say
from unregress.cli.exit_codes import __doc__ as ENDINGS
from unregress.cli.help import EXIT_CODES
from unregress.cli.streams import ResilientStream, resilient_streams
from unregress.errors.wording import printable

TRAIN = ["train", *PROJECT, "--recipe.epochs", "1"]


def program(words: list[str], redirected: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The program in a shell of its own, its output redirected."""
    command = f'"{sys.executable}" -m unregress "$@" {redirected}'
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}", "bash", *words],
        env={**environment(), **variables}, capture_output=True, text=True, errors="replace", timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize(("redirected", "code"), [("| true", 0), ("> /dev/full", 2), (">&-", 0)])
def test_work_is_finished_whatever_becomes_of_standard_output(redirected: str, code: int, tmp_path: Path) -> None:
    done = program([*TRAIN, "--output", str(tmp_path / "run")], redirected)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert ("standard output cannot be written: No space left on device" in done.stderr) == (code == 2)
    assert (tmp_path / "run" / "original.safetensors").is_file()
    assert os.listdir(tmp_path) == ["run"]


def test_a_report_is_printed_in_the_console_s_encoding(runs: Path) -> None:
    done = program(["report", str(runs / "audit")], "", PYTHONIOENCODING="ascii", COLUMNS="200")
    assert done.returncode == 0 and done.stderr == ""
    assert "x floor" in done.stdout


def test_a_report_is_printed_in_another_encoding(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with (tmp_path / "out.txt").open("w", encoding="cp1252") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        code = main(["report", str(runs / "audit")])
    assert code == 0 and capsys.readouterr().err == ""
    assert "floor" in (tmp_path / "out.txt").read_text(encoding="cp1252")


def test_characters_that_an_encoding_lacks_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.txt"
    with path.open("w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with resilient_streams():
            say("2 × floor − 1 … ≥ 3 “said” Müller’s \x1b[2J")
        assert stream.errors == "strict"
    assert path.read_text() == '2 x floor - 1 ... >= 3 "said" M\\xfcller\'s \\x1b[2J\n'


class Gone:
    """A stream whose reader has left, or whose disk is full."""

    def __init__(self, error: OSError) -> None:
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error

    def fileno(self) -> int:
        raise OSError


def test_a_stream_that_fails_is_remembered() -> None:
    closed = ResilientStream(Gone(BrokenPipeError()))  # type: ignore[arg-type]
    full = ResilientStream(Gone(OSError(28, "No space left on device")))  # type: ignore[arg-type]
    assert closed.write("text") == full.write("text") == 4
    assert closed.write_error() == ""
    assert "standard output" in full.write_error() and "No space left" in full.write_error()


def test_escapes_are_shown_and_line_breaks_kept() -> None:
    assert printable("a\x1b[31m\x07b\nc\u202e\x9b\ud800é\u2009%") == "a\\x1b[31m\\x07b\nc\\u202e\\x9b\\ud800é\u2009%"


def test_exit_codes_are_documented_alike() -> None:
    rows = [line.split("|")[1].strip() for line in (ENDINGS or "").splitlines() if line.startswith("| ")][1:]
    assert rows == [code for code in ("0", "1", "2", "3", "4", "70", "130", "143") if f" {code} " in EXIT_CODES]
    page = (Path(__file__).resolve().parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert all(f"| {code} |" in page for code in rows)


def test_the_version_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"unregress {__version__}\n"
