"""Run the GPU tests and the benchmark jobs within a time budget, without a network (`make gpu`).

    python benchmarks/gpu_run.py runs/gpu-carry --output runs/gpu.json

Takes PyTorch from the Python that runs it and everything else that is missing from the folder that `gpu_pack.py`
wrote.  Results are written after each step, so that a run that is stopped leaves what it has found.  The exit code is
0 if all tests passed and no job failed, 1 if not, 2 if the machine is not ready; jobs for which no time was left are
named in the results and are no failure.  This file imports the standard library alone, since it installs packages.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUDGET = 450.0
"""Seconds for everything: below 8 minutes with some to spare for the last step's end."""
TEST_SHARE = 0.45
"""Largest share of the budget that tests may take."""
LEAST = 0.03
"""A job is not started with less than this share of the budget left."""
JOBS = {
    "training": 5, "blindspot": 4, "features": 3, "text": 2, "anamnesis": 4, "audit": 5, "audit-rows": 3, "golds": 2,
    "series": 4, "golds-lstm": 2, "anamnesis-all": 4, "import": 2,
}  # fmt: skip
"""Jobs of `bench.py` in the order in which they run, and their weights when what is left of the budget is divided."""
GOAL = ("training", "script ≥ 10 × ours")
"""The goal on a GPU: a training job, and the ratio that `bench.py` reports for it there."""
READY = """
import json, torch
print(json.dumps({"torch": torch.__version__, "cuda": torch.cuda.is_available()}))
"""
MACHINE = """
import json, sys
import hypothesis, pandas, pytest, pytorch_forecasting, torch, torchvision
from harness import machine
from unregress import Runtime
print(json.dumps(machine(Runtime(accelerator=sys.argv[1]).device, torch.get_num_threads())))
"""


class NotReady(Exception):
    """The machine or the folder lacks something that every step needs."""


@dataclass
class Run:
    """One run: where its results go, what it has found, and how much time is left."""

    output: Path
    budget: float
    started: float = field(default_factory=lambda: time.monotonic())
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def left(self) -> float:
        """Seconds left of the budget."""
        return self.budget - (time.monotonic() - self.started)

    def note(self, **entries: Any) -> None:
        """Add entries to the results and write them all."""
        self.results.update(entries, seconds=round(time.monotonic() - self.started, 2))
        self.output.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.results, indent=1, ensure_ascii=False) + "\n"
        unfinished = self.output.with_name(self.output.name + ".unfinished")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(self.output)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int | None
    """Exit code; None if its time was over."""
    seconds: float
    text: str
    """The end of what it wrote."""


def command(words: Sequence[str], limit: float, env: Mapping[str, str], log: Path) -> Ended:
    """Run a command in the checkout, at most so many seconds; what it started ends with it."""
    started = time.monotonic()
    with log.open("w+", encoding="utf-8", errors="replace") as written:
        process = subprocess.Popen(
            words, cwd=ROOT, env=env, stdout=written, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code: int | None = process.wait(timeout=max(0.1, limit))
        except subprocess.TimeoutExpired:
            code = None
        finally:
            end_group(process)
    text = log.read_text(encoding="utf-8", errors="replace")
    return Ended(code, round(time.monotonic() - started, 2), text[-4000:])


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End the process and those that it started, which are its session's."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sent)
        except ProcessLookupError:
            break
        if sent is signal.SIGTERM:
            time.sleep(0.5)
    process.wait()


def require_torch(device: str) -> dict[str, Any]:
    """Ask this Python for PyTorch and, unless the device is the CPU, for a GPU that PyTorch can use."""
    done = subprocess.run([sys.executable, "-c", READY], capture_output=True, text=True)
    remedy = "Name the Python that holds it: make gpu PYTHON=/path/to/python3."
    if done.returncode != 0:
        raise NotReady(f"{sys.executable} cannot import PyTorch. Expected: PyTorch with CUDA on this machine. {remedy}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if device == "cuda" and not found["cuda"]:
        raise NotReady(
            f"PyTorch {found['torch']} of {sys.executable} sees no CUDA device. Expected: a GPU, and PyTorch built for "
            f"CUDA. {remedy} DEVICE=cpu tries the script on the CPU."
        )
    return found


def install(carried: Path, scratch: Path) -> dict[str, str]:
    """Install the carried wheels beside this Python's packages and unpack the data.

    Returns:
        Environment of the steps: this checkout's code first, then carried packages, then this Python's own.
    """
    if not (carried / "data.zip").exists():
        raise NotReady(f"{carried} has no data.zip. Expected: a folder that `make gpu-carry` wrote.")
    with zipfile.ZipFile(carried / "data.zip") as data:
        data.extractall(scratch / "data")
    site = scratch / "site"
    site.mkdir()
    if wheels := sorted((carried / "wheels").glob("*.whl")):
        # Into a folder of their own and not into a virtual environment: one made by a Python that is in a virtual
        # environment itself would not see that one's PyTorch.
        pip = [sys.executable, "-m", "pip", "--isolated", "install", "--quiet", "--disable-pip-version-check"]
        options = ["--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--target", str(site)]
        done = subprocess.run([*pip, *options, *map(str, wheels)], capture_output=True, text=True)
        if done.returncode != 0:
            raise NotReady(f"The carried wheels cannot be installed: {done.stderr.strip()[-1000:]}")
    paths = [ROOT / "src", ROOT / "benchmarks", site]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*map(str, paths), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "XDG_CACHE_HOME": str(scratch / "cache"),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }


def describe(device: str, env: Mapping[str, str]) -> dict[str, Any]:
    """Import every package that the steps need, and describe the machine and the versions in use."""
    done = subprocess.run([sys.executable, "-c", MACHINE, device], env=env, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise NotReady(
            f"A package is missing, or the library cannot use {device!r}: {done.stderr.strip()[-1000:]}\n"
            "Expected: each package on this machine or in the folder. Pack again without the missing one in --present."
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_tests(run: Run, args: argparse.Namespace, env: Mapping[str, str], scratch: Path) -> dict[str, Any]:
    """Run the tests marked `gpu`, and collect each one's outcome."""
    outcomes = scratch / "outcomes"
    outcomes.touch()
    env = {**env, "UNREGRESS_TEST_DEVICE": args.device, "UNREGRESS_OUTCOME_LOG": str(outcomes)}
    words = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "outcome_log", "-p", "no:cacheprovider"]
    limit = min(run.left, TEST_SHARE * run.budget)
    ended = command([*words, *args.tests], limit, env, scratch / "tests.log")
    tests: dict[str, dict[str, Any]] = {}
    for line in outcomes.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        tests[entry.pop("test")] = entry
    counts = {kind: sum(test["outcome"] == kind for test in tests.values()) for kind in ("passed", "failed", "skipped")}
    outcome = "cut off" if ended.code is None else "passed" if ended.code == 0 and counts["passed"] else "failed"
    return {"outcome": outcome, **counts, "seconds": ended.seconds, "limit": round(limit, 2), "tests": tests,
            "end_of_output": "" if outcome == "passed" else ended.text}  # fmt: skip


def run_job(name: str, limit: float, args: argparse.Namespace, env: Mapping[str, str], scratch: Path) -> dict[str, Any]:
    """Measure one job in a process of its own."""
    folder = scratch / f"bench-{name}"
    words = [sys.executable, str(ROOT / "benchmarks" / "bench.py"), name, "--data", str(scratch / "data"),
             "--output", str(folder), "--device", args.device, "--steps", str(args.steps),
             "--rounds", str(args.rounds)]  # fmt: skip
    ended = command(words, limit, env, scratch / f"{name}.log")
    found = {"seconds": ended.seconds, "limit": round(limit, 2)}
    if ended.code == 0:
        (file,) = folder.glob("*.json")
        return {"outcome": "measured", **found, "result": json.loads(file.read_text(encoding="utf-8"))["jobs"][name]}
    return {"outcome": "cut off" if ended.code is None else "failed", **found, "end_of_output": ended.text}


def run_jobs(run: Run, args: argparse.Namespace, env: Mapping[str, str], scratch: Path) -> None:
    """Measure the jobs in turn; what one leaves of its share goes to the others."""
    jobs: dict[str, Any] = {}
    for place, name in enumerate(args.jobs):
        if run.left < LEAST * run.budget:
            jobs[name] = {"outcome": "no time left"}
        else:
            weights = [JOBS[other] for other in args.jobs[place:]]
            # Twice the share: most jobs take less than theirs.
            limit = min(run.left, 2 * run.left * weights[0] / sum(weights))
            jobs[name] = run_job(name, limit, args, env, scratch)
        print(f"{name}: {jobs[name]['outcome']}", flush=True)
        run.note(jobs=jobs)


def goal(jobs: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured of the goal on a GPU; its value is None where it was not."""
    name, text = GOAL
    goals = jobs.get(name, {}).get("result", {}).get("goals", [])
    value = next((each["value"] for each in goals if each["goal"].startswith("script ≥") and
                  each["goal"].endswith("× ours")), None)  # fmt: skip
    return {"job": name, "goal": text, "value": value, "met": None if value is None else value >= 10}


def left_out(results: Mapping[str, Any]) -> list[str]:
    """Names of what was not finished for want of time."""
    cut = [name for name, job in results["jobs"].items() if job["outcome"] in ("cut off", "no time left")]
    return [*(["tests"] if results["tests"]["outcome"] == "cut off" else []), *cut]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder that gpu_pack.py wrote")
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "gpu.json", help="file or folder of the results")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu tries the script without a GPU")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds for everything")
    parser.add_argument("--tests", nargs="*", default=["tests/gpu"], help="files or folders of tests")
    parser.add_argument("--jobs", nargs="*", default=list(JOBS), choices=list(JOBS), help="jobs of bench.py, in order")
    parser.add_argument("--steps", type=int, default=20, help="training steps of one measurement, as in bench.py")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of one measurement, as in bench.py")
    return parser.parse_args()


def main() -> int:
    args = parsed()
    output = args.output / "gpu.json" if args.output.is_dir() else args.output
    run = Run(output.resolve(), args.budget)
    run.note(budget=args.budget, device=args.device, error=None)
    with tempfile.TemporaryDirectory(prefix="unregress-gpu-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        try:
            run.note(torch=require_torch(args.device))
            env = install(args.folder.resolve(), scratch)
            run.note(machine=describe(args.device, env))
        except NotReady as error:
            run.note(error=str(error))
            print(f"error: {error}", file=sys.stderr)
            return 2
        print(f"ready after {run.results['seconds']:.0f} s: {run.results['machine']['device']}", flush=True)
        run.note(tests=run_tests(run, args, env, scratch))
        tests = run.results["tests"]
        print(f"tests: {tests['outcome']}, {tests['passed']} passed, {tests['failed']} failed", flush=True)
        run_jobs(run, args, env, scratch)
    run.note(goal=goal(run.results["jobs"]), left_out=left_out(run.results))
    print(f"Wrote {output}: {run.results['seconds']:.0f} s of {args.budget:.0f} s; left out for want of time: "
          f"{', '.join(run.results['left_out']) or 'nothing'}")  # fmt: skip
    failed = any(job["outcome"] == "failed" for job in run.results["jobs"].values())
    return 1 if failed or tests["outcome"] != "passed" else 0


if __name__ == "__main__":
    sys.exit(main())
