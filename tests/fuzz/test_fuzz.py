"""The command line answers bad input with a documented exit code and a clear message, and damages nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fuzz.run import GROUPS, summary, told

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = 33
"""Percent of the trials that every run of the tests makes; the others are slow."""
DRAWS = 1
"""Trials of each kind that is drawn at random, such as values of one option; `python -m fuzz.run` tries all of them."""


class Server:
    """A process that has imported the library, and tries groups; it serves all tests of this file."""

    def __init__(self, scratch: Path) -> None:
        paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "TMPDIR": str(scratch)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fuzz.run", "-"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=scratch,
        )  # fmt: skip
        self.results: list[dict[str, Any]] = []

    def tried(self, group: str, part: tuple[int, int]) -> dict[str, Any]:
        """What came of a group, see `fuzz.run.tried`."""
        assert self.process.stdin and self.process.stdout
        print(group, *part, DRAWS, file=self.process.stdin, flush=True)
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        self.results.append(found)
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Ends with a line of how many trials there were."""
    started = Server(tmp_path_factory.mktemp("fuzz"))
    yield started
    assert started.process.stdin
    started.process.stdin.close()
    started.process.wait()
    print(f"\nfuzz: {summary(started.results)}")


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("part", [(0, SAMPLE), (SAMPLE, 100)])
def test_bad_input_is_answered_well(group: str, part: tuple[int, int], server: Server) -> None:
    found = server.tried(group, part)
    assert found["cases"] >= 15
    assert not found["bad"], "\n".join(map(told, found["bad"]))
