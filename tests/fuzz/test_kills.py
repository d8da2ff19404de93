"""A command that is ended at any point damages nothing, and a rerun makes what it would have made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("how", ["fork", "real"])
def test_nothing_is_damaged_and_the_rerun_makes_the_same(how: str, tmp_path: Path) -> None:
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-m", "fuzz.kills", how], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, check=True
    )
    kills = json.loads(ended.stdout)
    assert len(kills) >= (20 if how == "fork" else 6)
    print(f"\n{len(kills)} kills, {sum(bool(each['wrong']) for each in kills)} bad")
    assert [each for each in kills if each["wrong"]] == []
