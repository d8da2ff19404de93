"""Large arrays apart from the objects that hold them: types, views, files, and what is shared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unregress.parallel.jobs import run_all
from unregress.parallel.pickling import SHARED, Known, mapped, pack, unpack

ENTRIES = SHARED // 8 + 7


def sent(held: Any) -> tuple[Any, int, int]:
    """What arrives, how many bytes travel with the job, and how many arrays apart from it."""
    packed, arrays = pack(held, {})
    return unpack(packed, [array.copy() for array in arrays]), len(packed), len(arrays)


def file_of(path: Path, mode: str = "r") -> np.memmap[Any, Any]:
    np.arange(2 * ENTRIES, dtype=np.float64).tofile(path)
    return np.memmap(path, dtype=np.float64, mode=mode)  # type: ignore[call-overload, no-any-return]


def test_arrays_arrive_as_they_were_and_travel_apart() -> None:
    plain = np.arange(float(ENTRIES))
    frozen = plain + 1
    frozen.flags.writeable = False
    found, size, apart = sent({"plain": plain, "frozen": frozen, "small": plain[:5].copy()})
    assert size < 2000 and apart == 2
    assert all(type(array) is np.ndarray for array in found.values())
    np.testing.assert_array_equal(found["plain"], plain)
    np.testing.assert_array_equal(found["frozen"], frozen)
    assert found["plain"].flags.writeable and not found["frozen"].flags.writeable


def test_jobs_share_an_array_and_a_job_s_views_of_the_same_memory_stay_the_same() -> None:
    plain, known = np.arange(float(ENTRIES)), Known()
    tensor = torch.from_numpy(plain)
    parcels = [pack((plain, tensor, n), known) for n in range(3)]
    assert [len(arrays) for _, arrays in parcels] == [1] * 3 and len(known) == 1
    assert all(np.shares_memory(arrays[0], plain) for _, arrays in parcels)
    array, twin, number = unpack(parcels[2][0], [plain.copy()])
    twin[0] = -5
    assert array[0] == -5 and number == 2 and plain[0] == 0


def test_layouts_and_types() -> None:
    square = np.arange(4.0 * ENTRIES).reshape(4, -1)
    for array in (square.T, square[::2], square[:, ::-1], np.asfortranarray(square), square.astype(">f4")):
        found, size, apart = sent(array)
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype and size < 2000 and apart == 1
    pairs = np.zeros(ENTRIES, dtype=[("a", "f8"), ("b", "i4")])
    assert sent((pairs, pairs.view([("c", "f8"), ("d", "i4")])))[0][1].dtype.names == ("c", "d")
    # By value: objects are no bytes; a sub-class may hold more than its numbers.
    for array in (np.array(["text"] * SHARED, dtype=object), np.ma.masked_array(square)):
        found, _, apart = sent(array)
        assert apart == 0 and type(found) is type(array) and (found == array).all()
    assert sent(np.broadcast_to(np.float64(2), (ENTRIES,)))[0].sum() == 2 * ENTRIES


@pytest.mark.parametrize("view", ["whole", "rows", "steps", "columns", "plain", "back"])
def test_an_array_of_a_file_travels_as_its_name(view: str, tmp_path: Path) -> None:
    table = file_of(tmp_path / "table").reshape(2, -1)
    array = {
        "whole": table,
        "rows": table[1:],
        "steps": table[:, 3::2],
        "columns": table.T,
        "plain": np.asarray(table),
        "back": table[::-1],
    }[view]
    found, size, apart = sent(array)
    np.testing.assert_array_equal(found, array)
    assert type(found) is type(array) and size < 2000 and apart == (view == "back")
    if apart == 0:
        assert not found.flags.writeable and mapped(found) is not None


def test_what_a_job_writes_into_a_file_s_array_stays_with_the_job(tmp_path: Path) -> None:
    table = file_of(tmp_path / "table", "r+")
    table[3] = -1
    found, _, apart = sent(table)
    assert apart == 0 and found[3] == -1
    found[4] = -2
    assert table[4] == 4 and np.fromfile(tmp_path / "table")[4] == 4


def test_an_array_that_its_file_does_not_hold_is_sent(tmp_path: Path) -> None:
    changed, gone = file_of(tmp_path / "changed", "c"), file_of(tmp_path / "gone")
    changed[0] = 7
    for array in (changed, file_of(tmp_path / "other")[np.arange(ENTRIES)]):
        found, _, apart = sent(array)
        assert apart == 1 and type(found) is type(array) and (found == array).all()
    if sys.platform != "win32":
        (tmp_path / "gone").unlink()
        assert sent(gone)[2] == 1


def test_worker_processes_map_arrays(tmp_path: Path) -> None:
    plain, table = np.arange(float(ENTRIES)), file_of(tmp_path / "table")

    def work() -> tuple[float, float, bool, bool]:
        before = float(plain.sum())
        plain[:] = 0
        return before, float(table[-1]), type(plain) is np.ndarray, type(table) is np.memmap

    found = dict(run_all({f"{n}": work for n in range(3)}, workers=2))
    assert list(found.values()) == [(ENTRIES * (ENTRIES - 1) / 2, 2.0 * ENTRIES - 1, True, True)] * 3
    assert plain[-1] == ENTRIES - 1
