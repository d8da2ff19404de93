"""Unfinished leave-out tables are known by their place, names and tensors, and nothing else is deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from unregress.runs.deletion import delete
from unregress.runs.remainder import Remainder
from unregress.runs.unfinished_tables import discard, parts_in, remove_empty, unfinished_of

KEYS = ("0123456789abcdef", "fedcba9876543210")


def write_part(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: torch.zeros(2) for name in names or ("own", "unseen")}, path)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A folder of tables with two unfinished ones beside it."""
    folder = tmp_path / "table"
    for key in KEYS:
        write_part(unfinished_of(folder) / key / "0.safetensors")
        write_part(unfinished_of(folder) / key / "11.safetensors")
    return folder


def test_what_no_call_continues_is_deleted(table: Path) -> None:
    place = unfinished_of(table)
    assert place == table.with_name("table.unfinished")
    assert discard(table, but=[KEYS[0]]) == 1 and [each.name for each in place.iterdir()] == [KEYS[0]]
    assert discard(table) == 1 and not place.exists()
    assert discard(table) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "notes.txt").write_text("mine"),
        lambda folder: (folder / "below").mkdir(),
        lambda folder: (folder / "2.safetensors").symlink_to(folder / "0.safetensors"),
        lambda folder: (folder / "2.safetensors").write_text("mine"),
        lambda folder: write_part(folder / "2.safetensors", "weight"),
        lambda folder: write_part(folder / "model.safetensors"),
    ],
)
def test_a_folder_with_anything_else_is_kept(table: Path, change: Callable[[Path], object]) -> None:
    folder = unfinished_of(table) / KEYS[0]
    change(folder)
    before = sorted(folder.iterdir())
    assert parts_in(folder) == () and discard(table) == 1
    assert sorted(folder.iterdir()) == before


def test_folders_of_other_names_are_kept(tmp_path: Path) -> None:
    table = tmp_path / "table"
    for name in ("table.unfinished/mine", "table.unfinished/0123", f"table/{KEYS[0]}", f"mine/{KEYS[0]}"):
        assert parts_in(write_part(tmp_path / name / "0.safetensors").parent) == ()
    linked = unfinished_of(table) / KEYS[0]
    linked.symlink_to(unfinished_of(write_part(tmp_path / "mine.safetensors").parent / "table") / "mine")
    assert discard(table) == 0 and len(list(tmp_path.rglob("0.safetensors"))) == 4


def test_only_folders_of_unfinished_tables_are_removed_when_empty(tmp_path: Path) -> None:
    for name in ("mine/below", "table.unfinished/mine"):
        (tmp_path / name).mkdir(parents=True)
        remove_empty(tmp_path / name)
        assert (tmp_path / name).is_dir()


def test_its_folders_go_with_its_last_file(table: Path, tmp_path: Path) -> None:
    files = [path for key in KEYS for path in parts_in(unfinished_of(table) / key)]
    assert len(files) == 4
    log = tmp_path / "deletions.json"
    delete([Remainder.at(path, "unfinished leave-out table", "why") for path in files[:3]], log)
    assert [each.name for each in unfinished_of(table).iterdir()] == [KEYS[1]]
    delete([Remainder.at(files[3], "unfinished leave-out table", "why")], log)
    assert not unfinished_of(table).exists()
