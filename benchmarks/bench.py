"""`make bench`: how long jobs take, beside the bare passes they cannot do without and beside a research script.

A job has *sides*: `ours`; `floor`, the same number of forward and backward passes over batches that are ready on the
device; `script`, the job as in `research_script.py`.  The sides take turns, in another order each round, after one
round to warm up.  What is reported is the median over rounds of the ratio within a round: seconds of one machine are
hardly those of another, and of a busy machine not even its own.  Where time grows with steps, a few steps are
measured and counted up to the whole job; what a job needs once is measured by itself and counted once.

    python benchmarks/bench.py                          # every job, a quarter of an hour on two idle cores
    python benchmarks/bench.py training features --steps 2 --rounds 1
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from unregress import Runtime

ROOT = Path(__file__).resolve().parents[1]
PAGE, RESULTS = ROOT / "docs" / "benchmarks.md", ROOT / "results" / "bench"
PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "pytorch-forecasting")


@dataclass(frozen=True)
class Scene:
    """Where and how large to measure."""

    data: Path
    runtime: Runtime
    steps: int
    """Training steps of a measurement, where time grows with them."""

    @property
    def device(self) -> torch.device:
        return self.runtime.device

    @property
    def accelerated(self) -> bool:
        return self.device.type != "cpu"


@dataclass(frozen=True)
class Goal:
    """One side's seconds over another's (or, without one, seconds), at most or at least so many."""

    over: str
    under: str | None
    limit: float
    most: bool = True

    @property
    def text(self) -> str:
        of = "s" if self.under is None else f" × {self.under}"
        return f"{self.over} {'≤' if self.most else '≥'} {self.limit:g}{of}"

    def met(self, value: float) -> bool:
        return value <= self.limit if self.most else value >= self.limit


@dataclass(frozen=True)
class Side:
    """A way to do the job, and how its seconds become those of the whole job."""

    run: Callable[[], object]
    times: float = 1.0
    """The whole job's size in units of what is run."""
    once: Callable[[], object] | None = None
    """The part of `run` that a job of any size does once."""


@dataclass(frozen=True)
class Bench:
    """A job that is ready to be measured."""

    whole: str
    """The job that the seconds stand for."""
    sides: Mapping[str, Side]
    goals: tuple[Goal, ...]
    check: Callable[[], str] = lambda: ""
    """That the sides do the same: says how it was seen, or raises AssertionError."""
    rounds: int | None = None
    """Fewer rounds than asked for, where one takes long."""


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def measured(bench: Bench, scene: Scene, rounds: int) -> dict[str, Any]:
    """Seconds of each side by round, and what follows from them."""
    names = list(bench.sides)
    for side in bench.sides.values():
        side.run()
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(min(rounds, bench.rounds or rounds)):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            side = bench.sides[name]
            fixed = seconds_of(side.once, scene.device) if side.once is not None else 0.0
            taken = seconds_of(side.run, scene.device)
            found[name].append(min(fixed, taken) + max(0.0, taken - fixed) * side.times)
    try:
        same = bench.check()
    except AssertionError as error:
        same = f"THE SIDES DIFFER: {error}"
    goals = []
    for goal in bench.goals:
        below = found[goal.under] if goal.under is not None else [1.0] * len(found[goal.over])
        ratios = [over / under for over, under in zip(found[goal.over], below, strict=True)]
        value = statistics.median(ratios)
        goals.append({"goal": goal.text, "value": value, "rounds": ratios, "met": goal.met(value)})
    return {
        "whole": bench.whole,
        "seconds": {name: statistics.median(values) for name, values in found.items()},
        "rounds": found,
        "goals": goals,
        "check": same,
    }


def machine(device: torch.device, threads: int) -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu": named[1].strip() if named else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        **{name: version(name) for name in ("unregress", *PACKAGES)},
    }


def table(jobs: Mapping[str, Any]) -> str:
    """The jobs as a table in Markdown."""
    lines = ["| job | ours | floor | script | goal | measured | |", "|---|---|---|---|---|---|---|"]
    for job in jobs.values():
        seconds = {name: f"{value:.3g} s" for name, value in job["seconds"].items()}
        for row, goal in enumerate(job["goals"]):
            cells = [job["whole"], *(seconds.get(name, "") for name in ("ours", "floor", "script"))]
            unit = " s" if goal["goal"].endswith("s") and "×" not in goal["goal"] else ""
            shown = [goal["goal"], f"{goal['value']:.3g}{unit}", "met" if goal["met"] else "missed"]
            lines.append(f"| {' | '.join([*(cells if row == 0 else [''] * 4), *shown])} |")
    return "\n".join(lines)


def into_page(kind: str, text: str) -> None:
    """Put a machine's table into the page, where the page has a place for it."""
    begin, end = f"<!-- bench {kind} -->", "<!-- end -->"
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if begin in page:
        before, rest = page.split(begin, 1)
        PAGE.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}", encoding="utf-8")


def main() -> None:
    from bench_audits import AUDITS
    from bench_images import IMAGES
    from bench_others import OTHERS

    jobs: dict[str, Callable[[Scene], Bench]] = {**IMAGES, **AUDITS, **OTHERS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", metavar="job", help=f"which; by default all: {', '.join(jobs)}")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the datasets")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="folder of the results; the page shows the default's"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps or auto")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--steps", type=int, default=6, help="training steps of one measurement")
    parser.add_argument("--rounds", type=int, default=3, help="rounds to measure, after one to warm up")
    args = parser.parse_args()
    if unknown := [name for name in args.jobs if name not in jobs]:
        parser.error(f"there is no job {', '.join(unknown)}; there are {', '.join(jobs)}")
    torch.set_num_threads(args.threads)
    scene = Scene(args.data, Runtime(accelerator=args.device), args.steps)
    here = machine(scene.device, args.threads)
    kind = "cpu" if not scene.accelerated else re.sub(r"\W+", "-", here["device"]).lower()
    file = args.output / f"{kind}-{here['cores']}-cores.json"
    # Jobs of an earlier run on the same machine with the same versions stand beside those of this one.
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    results: dict[str, Any] = known["jobs"] if known.get("machine") == here else {}
    for name in args.jobs or jobs:
        started = time.perf_counter()
        done = measured(jobs[name](scene), scene, args.rounds)
        results[name] = {**done, "steps": args.steps, "load": os.getloadavg() if hasattr(os, "getloadavg") else None}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"machine": here, "jobs": results}, indent=1) + "\n", encoding="utf-8")
        print(f"\n{name} ({time.perf_counter() - started:.0f} s)\n{table({name: done})}\n{done['check']}", flush=True)
    ordered = {name: results[name] for name in jobs if name in results}
    file.with_suffix(".md").write_text(table(ordered) + "\n", encoding="utf-8")
    # A trial elsewhere is not for the page.
    if args.output == RESULTS:
        into_page(file.stem, table(ordered))


if __name__ == "__main__":
    main()
