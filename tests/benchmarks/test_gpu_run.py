"""`make gpu`, tried on the CPU with a small folder: what it leaves, and what it says of what failed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bench
import gpu_run
import pytest
import torch
from gpu_run import JOBS, Run, command, goal, left_out, run_jobs

from support.face_images import write_faces

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def script(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    # A training step of few samples: on a CPU one of 256 takes most of a minute in bfloat16.
    env = {**os.environ, "UNREGRESS_BENCH_BATCH": "8"}
    return subprocess.run([sys.executable, str(BENCHMARKS / name), *words], env=env, capture_output=True, text=True)


def read(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder without wheels and with enough small faces for a step of the training job."""
    folder = tmp_path_factory.mktemp("gpu")
    write_faces(folder / "data" / "utkface", each=2)
    done = script("gpu_pack.py", str(folder / "carry"), "--data", str(folder / "data"), "--no-wheels")
    assert done.returncode == 0, done.stderr
    return folder / "carry"


@pytest.mark.slow
def test_a_dry_run_on_the_cpu_measures_and_reports(carried: Path, tmp_path: Path) -> None:
    precision = "tests/gpu/test_precision.py::test_training_in"
    tests = ["tests/gpu/test_process_group.py", f"{precision}_bf16_is_close", f"{precision}_fp16_learns"]
    done = script("gpu_run.py", str(carried), "--output", str(tmp_path), "--device", "cpu", "--budget", "1800",
                  "--steps", "1", "--rounds", "1", "--tests", *tests,
                  "--jobs", "training", "import", "text")  # fmt: skip
    assert done.returncode == 1, done.stderr  # the folder has no texts
    found = read(tmp_path / "gpu.json")
    assert (found["budget"], found["device"], found["error"], found["left_out"]) == (1800.0, "cpu", None, [])
    assert found["torch"] == {"torch": torch.__version__, "cuda": torch.cuda.is_available()}
    assert found["machine"]["device"] == "cpu" and found["machine"]["torch"] == version("torch")
    ran = found["tests"]
    # One precision is for GPUs only.
    assert (ran["outcome"], ran["failed"], ran["skipped"]) == ("passed", 0, 1)
    assert (ran["passed"], len(ran["tests"])) == (5, 6)
    (skipped,) = (test for test in ran["tests"].values() if test["outcome"] == "skipped")
    assert "on a GPU only" in skipped["text"]
    assert list(found["jobs"]) == ["training", "import", "text"]
    assert [job["outcome"] for job in found["jobs"].values()] == ["measured", "measured", "failed"]
    training = found["jobs"]["training"]["result"]
    assert set(training["seconds"]) == {"ours", "floor", "script", "ours in bf16"}
    ratio = training["rounds"]["script"][0] / training["rounds"]["ours"][0]
    assert found["goal"]["value"] == pytest.approx(ratio) and found["goal"]["met"] == (ratio >= 10)
    assert "stsb" in found["jobs"]["text"]["end_of_output"]


@pytest.mark.slow
def test_tests_that_take_too_long_are_cut_off(carried: Path, tmp_path: Path) -> None:
    """Set-up alone takes longer than what tests may take of this budget, and what is left is less than a job needs."""
    output = tmp_path / "runs" / "gpu.json"
    done = script("gpu_run.py", str(carried), "--output", str(output), "--device", "cpu", "--budget", "0.001",
                  "--jobs", "training", "import")  # fmt: skip
    assert done.returncode == 1, done.stderr
    found = read(output)
    assert found["tests"]["outcome"] == "cut off" and found["tests"]["passed"] == 0
    assert found["jobs"] == {"training": {"outcome": "no time left"}, "import": {"outcome": "no time left"}}
    assert found["left_out"] == ["tests", "training", "import"]
    assert found["goal"] == {"job": "training", "goal": "script ≥ 10 × ours", "value": None, "met": None}


@pytest.mark.slow
def test_a_machine_or_folder_that_is_not_ready_is_named(tmp_path: Path, carried: Path) -> None:
    done = script("gpu_run.py", str(tmp_path), "--output", str(tmp_path / "gpu.json"), "--device", "cpu")
    assert done.returncode == 2 and "has no data.zip" in done.stderr and "Traceback" not in done.stderr
    assert "has no data.zip" in read(tmp_path / "gpu.json")["error"]
    if not torch.cuda.is_available():
        done = script("gpu_run.py", str(carried), "--output", str(tmp_path / "gpu.json"))
        assert done.returncode == 2 and "sees no CUDA device" in done.stderr
        assert "sees no CUDA device" in read(tmp_path / "gpu.json")["error"]


@pytest.mark.slow
def test_a_command_that_takes_too_long_ends_with_what_it_started(tmp_path: Path) -> None:
    ended = command(["sh", "-c", "sleep 600 & echo $!; wait"], 5, os.environ, tmp_path / "log")
    assert ended.code is None
    assert not running(int(ended.text))


def running(pid: int) -> bool:
    """Whether a process exists and has not ended; one that nobody has waited for yet has ended."""
    status = Path(f"/proc/{pid}/stat")
    try:
        os.kill(pid, 0)
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_command_s_exit_code_and_output_are_kept(tmp_path: Path) -> None:
    ended = command([sys.executable, "-c", "print('x' * 5000); raise SystemExit(3)"], 600, os.environ, tmp_path / "log")
    assert ended.code == 3 and ended.text == "x" * 3999 + "\n"


def test_time_left_by_one_job_goes_to_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, limits = 0.0, {}
    monkeypatch.setattr(gpu_run.time, "monotonic", lambda: now)

    def takes(seconds: float, name: str, limit: float) -> dict[str, Any]:
        nonlocal now
        now += min(seconds, limit)
        limits[name] = limit
        return {"outcome": "measured" if seconds <= limit else "cut off"}

    needs = {"training": 10.0, "text": 1000.0, "import": 5.0, "golds": 1000.0, "series": 1.0}
    monkeypatch.setattr(gpu_run, "run_job", lambda name, limit, *rest: takes(needs[name], name, limit))
    run = Run(tmp_path / "gpu.json", budget=100.0)
    names = list(needs)
    run_jobs(run, Namespace(jobs=names), {}, tmp_path)
    weights = [JOBS[name] for name in names]
    assert limits["training"] == pytest.approx(2 * 100 * weights[0] / sum(weights))
    assert limits["text"] == pytest.approx(2 * 90 * weights[1] / sum(weights[1:]))
    assert limits["golds"] <= 100 - 10 - limits["text"] - 5
    found = read(tmp_path / "gpu.json")["jobs"]
    assert [found[name]["outcome"] for name in names[:4]] == ["measured", "cut off", "measured", "cut off"]
    assert left_out({"tests": {"outcome": "passed"}, "jobs": found})[:2] == ["text", "golds"]
    assert now <= 100


def test_the_goal_is_read_from_the_training_job() -> None:
    goals = [{"goal": "ours ≤ 1.1 × floor", "value": 1.0}, {"goal": "script ≥ 10 × ours", "value": 12.5},
             {"goal": "script ≥ 10 × ours in bf16", "value": 30.0}]  # fmt: skip
    assert goal({"training": {"result": {"goals": goals}}}) == {
        "job": "training", "goal": "script ≥ 10 × ours", "value": 12.5, "met": True,
    }  # fmt: skip
    assert goal({"training": {"outcome": "cut off"}})["met"] is None


def test_every_job_of_the_benchmarks_has_a_weight() -> None:
    assert set(JOBS) == set(bench.JOBS)
