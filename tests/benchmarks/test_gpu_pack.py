"""The folder that a GPU machine without a network is given."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from gpu_pack import PRESENT, ROOTS, chosen_images, needed

from support.face_images import write_faces

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_pack.py"


def pack(folder: Path, data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(folder), "--data", str(data), "--no-wheels", *words]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_faces(tmp_path / "data" / "utkface")
    (tmp_path / "data" / "stsb").mkdir()
    (tmp_path / "data" / "stsb" / "train.csv").write_text("score\n1\n", encoding="utf-8")
    return tmp_path / "data"


def test_what_the_machine_has_is_not_carried() -> None:
    versions = needed(ROOTS, PRESENT, "3.12")
    assert {"lightning", "jsonargparse", "safetensors", "pytest", "pytorch-forecasting"} <= versions.keys()
    assert not {"torch", "numpy", "scipy", "unregress", "networkx", "colorama"} & versions.keys()
    assert versions["pytest"] == version("pytest")


def test_requirements_of_requirements_are_followed_with_their_extras() -> None:
    versions = needed(["jsonargparse[signatures]"], (), "3.12")
    assert {"jsonargparse", "pyyaml", "docstring-parser", "typeshed-client"} <= versions.keys()
    assert needed(["jsonargparse[signatures]"], ["jsonargparse"], "3.12") == {}


def test_the_first_images_of_each_split_are_taken(data: Path) -> None:
    table, paths = chosen_images(data / "utkface" / "utkface.csv", 8)
    rows = [line.split(",") for line in table.splitlines()]
    assert rows[0] == ["age", "path", "split"] and [path for _, path, _ in rows[1:]] == paths
    assert [split for *_, split in rows[1:]] == ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    assert paths[:2] == ["images/000.jpg", "images/001.jpg"]
    assert len(chosen_images(data / "utkface" / "utkface.csv", None)[1]) == 144


def test_a_folder_holds_the_data_and_says_so(data: Path, tmp_path: Path) -> None:
    for _ in range(2):  # the second time replaces the first
        done = pack(tmp_path / "carry", data, "--images", "8", "--python", "3.12")
        assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "carry" / "data.zip") as archive:
        names = archive.namelist()
    assert len(names) == 1 + 12 + 1 and {"utkface/utkface.csv", "utkface/images/000.jpg", "stsb/train.csv"} <= {*names}
    contents = json.loads((tmp_path / "carry" / "contents.json").read_text())
    assert (contents["python"], contents["images"], contents["wheels"]) == ("3.12", 12, {})


def test_a_folder_that_is_too_large_or_holds_other_files_is_refused(data: Path, tmp_path: Path) -> None:
    done = pack(tmp_path / "carry", data, "--limit", "0.01")
    assert done.returncode == 1 and "at most 0.01 MiB" in done.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep", encoding="utf-8")
    done = pack(tmp_path / "mine", data)
    assert done.returncode == 1 and "holds other files" in done.stderr
    assert (tmp_path / "mine" / "notes.txt").read_text(encoding="utf-8") == "keep"
