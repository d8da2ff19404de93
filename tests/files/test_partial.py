"""What is being written is hidden; what killed processes leave is removed or put back, and nothing of the living."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from unregress.files.partial import put, sweep, unfinished
from unregress.runs.folder import new_run

WAITS = """
import sys, time
from pathlib import Path
from unregress.runs.folder import new_run
with new_run(sys.argv[1], "seed: 0\\n") as folder:
    (folder / "x").write_text("half")
    print("ready", flush=True)
    time.sleep(600)
"""
DIES = """
import os, sys
from unregress.runs.folder import new_run
rename, count = os.rename, 0
def counted(*paths):
    global count
    count += 1
    if count > int(sys.argv[2]):
        os._exit(9)
    rename(*paths)
os.rename = counted
with new_run(sys.argv[1], "seed: 0\\n") as folder:
    (folder / "x").write_text("new")
os._exit(9)
"""


@contextmanager
def waiting(output: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of a run."""
    process = subprocess.Popen([sys.executable, "-c", WAITS, str(output)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def run(path: Path, text: str = "old") -> None:
    with new_run(path, "seed: 0\n") as folder:
        (folder / "x").write_text(text)


def test_what_a_killed_process_left_is_removed_by_the_next_in_the_same_folder(tmp_path: Path) -> None:
    with waiting(tmp_path / "a") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert [name.rpartition(".")[2] for name in sorted(os.listdir(tmp_path))] == ["partial", "lock"]
    run(tmp_path / "b")
    assert os.listdir(tmp_path) == ["b"]


def test_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    with waiting(tmp_path / "a"):
        before = sorted(os.listdir(tmp_path))
        run(tmp_path / "b")
        sweep(tmp_path)
        assert sorted(os.listdir(tmp_path)) == sorted([*before, "b"]) and len(before) == 2
    run(tmp_path / "b")
    assert os.listdir(tmp_path) == ["b"]


def test_a_run_inside_another_in_the_same_folder_leaves_it_alone(tmp_path: Path) -> None:
    with new_run(tmp_path / "a", "") as folder:
        (folder / "x").write_text("1")
        run(tmp_path / "b")
        assert (folder / "x").read_text() == "1"
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize(("renames", "kept"), [(0, "old"), (1, "old"), (2, "new")])
def test_a_kill_while_a_run_is_replaced_loses_neither(renames: int, kept: str, tmp_path: Path) -> None:
    """Killed before the earlier run is set aside, before the new one takes its place, and before the earlier goes."""
    run(tmp_path / "run")
    # In the last case the process dies behind the block, when all is done.
    done = subprocess.run([sys.executable, "-c", DIES, str(tmp_path / "run"), str(renames)], check=False)
    assert done.returncode == 9
    assert (tmp_path / "run").exists() == (renames != 1)
    sweep(tmp_path)
    assert os.listdir(tmp_path) == ["run"] and (tmp_path / "run" / "x").read_text() == kept
    run(tmp_path / "run", "again")
    assert os.listdir(tmp_path) == ["run"] and (tmp_path / "run" / "x").read_text() == "again"


def test_an_earlier_run_is_removed_where_only_that_was_left_to_do(tmp_path: Path) -> None:
    run(tmp_path / "run", "new")
    (tmp_path / ".run.0123abcd.replaced").mkdir()
    (tmp_path / ".run.0123abcd.partial.lock").touch()
    sweep(tmp_path)
    assert os.listdir(tmp_path) == ["run"]


def test_nothing_is_removed_where_somebody_else_took_the_place(tmp_path: Path) -> None:
    """Neither the earlier run, which nothing has replaced, nor what is there now."""
    for name in (".run.0123abcd.replaced", ".run.0123abcd.partial", "run"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(name)
    (tmp_path / ".run.0123abcd.partial.lock").touch()
    for _ in range(2):
        sweep(tmp_path)
        assert (tmp_path / ".run.0123abcd.replaced" / "x").exists()
        assert (tmp_path / "run" / "x").read_text() == "run"
    shutil.rmtree(tmp_path / "run")
    sweep(tmp_path)
    assert os.listdir(tmp_path) == ["run"] and (tmp_path / "run" / "x").read_text() == ".run.0123abcd.replaced"


def test_only_what_was_named_so_here_is_removed(tmp_path: Path) -> None:
    names = [".a.lock", ".a.0123abcd.lock", "a.0123abcd.partial.lock", ".a.0123abcd.partial", ".a.xyz.partial.lock"]
    for name in names:
        (tmp_path / name).touch()
    sweep(tmp_path)
    sweep(tmp_path / "gone")
    assert sorted(os.listdir(tmp_path)) == sorted(names)


def test_what_an_interrupt_of_the_cleaning_left_is_removed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: Path, ignore_errors: bool) -> None:
        raise KeyboardInterrupt

    run(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run", "new")
    assert len(os.listdir(tmp_path)) == 3 and (tmp_path / "run" / "x").read_text() == "new"
    sweep(tmp_path)
    assert os.listdir(tmp_path) == ["run"] and (tmp_path / "run" / "x").read_text() == "new"


def test_what_cannot_be_put_in_place_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    rename = os.rename

    def refused(source: Path, target: Path) -> None:
        if str(source).endswith(".partial"):
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refused)
    with pytest.raises(OSError, match="No space"), unfinished(tmp_path / "run") as hidden:
        hidden.mkdir()
        put(hidden, tmp_path / "run")
    assert os.listdir(tmp_path) == ["run"]


def test_a_file_is_written_beside_its_place_too(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), unfinished(tmp_path / "file") as hidden:
        hidden.write_text("half")
        lock = hidden.with_name(f"{hidden.name}.lock")
        with pytest.raises(TimeoutError):
            FileLock(lock, timeout=0).acquire()
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []
