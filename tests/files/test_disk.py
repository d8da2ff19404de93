"""A full disk: the error names the path, and nothing half-written stays."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from torch import nn

from e2e.conftest import PROJECT, REQUEST
from support.small_cases import mlp
from unregress.cli import main
from unregress.errors import RunFolderError
from unregress.files.writing import content_of, write_json, write_text
from unregress.metrics import spill
from unregress.runs import checkpoint as saving
from unregress.runs.checkpoint import save_weights
from unregress.runs.folder import new_run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KB; only the superuser of some machines may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no device /dev/full here")
@pytest.mark.parametrize("write", [lambda path: write_text(path, "x"), lambda path: write_json(path, [1])])
def test_a_note_that_does_not_fit(write: Callable[[Path], None]) -> None:
    with pytest.raises(RunFolderError, match=r"^/dev/full cannot be written: No space left"):
        write(Path("/dev/full"))


def test_a_note_that_does_not_fit_leaves_the_earlier_one(small_disk: Path) -> None:
    path = small_disk / "note.json"
    write_json(path, [1])
    with pytest.raises(RunFolderError, match=rf"{path} cannot be written: No space left"):
        write_text(path, "x" * 100_000)
    assert os.listdir(small_disk) == ["note.json"] and path.read_text() == "[\n 1\n]\n"


def test_a_note_behind_a_link_stays_behind_it(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "note")
    write_text(tmp_path / "link", "one")
    write_text(tmp_path / "link", "two")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk" / "note").read_text() == "two"
    assert os.listdir(tmp_path / "disk") == ["note"]


def test_weights_that_do_not_fit_leave_the_earlier_ones(small_disk: Path) -> None:
    path = small_disk / "w.safetensors"
    save_weights(mlp(), path)
    before = path.read_bytes()
    with pytest.raises(RunFolderError, match=rf"{path} cannot be written: .*No space left"):
        save_weights(nn.Linear(200, 200), path)
    assert os.listdir(small_disk) == ["w.safetensors"] and path.read_bytes() == before


def test_weights_that_do_not_fit_are_said_wherever_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(model: nn.Module, path: str, metadata: object) -> None:
        Path(path).write_text("half")
        raise SafetensorError("No space left on device (os error 28)")

    monkeypatch.setattr(saving, "save_model", full)
    with pytest.raises(RunFolderError) as caught:
        save_weights(mlp(), tmp_path / "w.safetensors")
    assert caught.value.found.startswith(f"{tmp_path / 'w.safetensors'} cannot be written: No space")
    assert os.listdir(tmp_path) == []


def test_a_run_that_does_not_fit_leaves_nothing_and_the_earlier_one(small_disk: Path) -> None:
    run = small_disk / "deep" / "run"
    with pytest.raises(RunFolderError, match="No space left"), new_run(run, "x" * 100_000):
        pass
    assert os.listdir(small_disk) == []
    with new_run(run, "seed: 0\n"):
        pass
    with pytest.raises(RunFolderError, match="No space left"), new_run(run, "seed: 0\n") as folder:
        write_text(folder / "x", "x" * 100_000)
    assert os.listdir(small_disk / "deep") == ["run"]
    assert sorted(os.listdir(run)) == ["config.yaml", "manifest.json"]


def test_a_manifest_that_does_not_fit(small_disk: Path) -> None:
    with (
        pytest.raises(RunFolderError, match=r"manifest\.json cannot be written"),
        new_run(small_disk / "run", "") as it,
    ):
        for number in range(600):
            (it / f"{'x' * 100}{number}").touch()
    assert os.listdir(small_disk) == []


def test_the_command_line_says_it_with_exit_code_2(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (small_disk / "ballast").write_bytes(bytes(52_000))
    words = ["forget", *PROJECT, *REQUEST, "--method", "Retrain", "--method.recipe.epochs", "1"]
    assert main([*words, "--output", str(small_disk / "run")]) == 2
    shown = capsys.readouterr().err
    assert f"{small_disk}" in shown and "cannot be written" in shown and "Traceback" not in shown
    assert os.listdir(small_disk) == ["ballast"]


def test_room_for_predictions_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spill, "SPILLED", 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(RunFolderError) as caught:
        spill.empty((10, 100), np.float64)
    assert "8,000 bytes cannot be written: No space left" in caught.value.found
    assert str(tmp_path) in caught.value.expected and "`TMPDIR`" in caught.value.remedy
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(RunFolderError, match="No such file"):
        spill.empty((10, 100), np.float64)


def test_a_pipe_is_not_replaced_by_weights(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunFolderError, match="pipe cannot be written: it is neither a file nor a folder"):
        save_weights(mlp(), tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo() and os.listdir(tmp_path) == ["pipe"]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        content_of(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"1")
    assert content_of(tmp_path / "file") == b"1"
