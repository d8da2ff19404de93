"""Measure how long jobs take, beside bare forward and backward passes and beside a research script (`make bench`).

A job has *sides*: `ours` is the library; `floor` is the same number of forward and backward passes over batches that
are already on the device; `script` is the job as written in `research_script.py`.  The sides run in turn, in rotated
order, after one round to warm up.  The reported figure is the median over rounds of the ratio within a round, since
seconds differ between machines and with a machine's load.  Where time grows with the number of steps, a few steps are
measured and scaled up to the whole job; fixed costs are measured separately and counted once.

    python benchmarks/bench.py                          # every job, a quarter of an hour on two idle cores
    python benchmarks/bench.py training features --steps 2 --rounds 1
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from bench_audits import AUDITS
from bench_images import IMAGES
from bench_others import OTHERS
from bench_rows import ROW_JOBS
from harness import Bench, Scene, machine, measured

from unregress import Runtime

ROOT = Path(__file__).resolve().parents[1]
PAGE, RESULTS = ROOT / "docs" / "benchmarks.md", ROOT / "results" / "bench"
JOBS: dict[str, Callable[[Scene], Bench]] = {**IMAGES, **AUDITS, **ROW_JOBS, **OTHERS}


def table(jobs: Mapping[str, Any]) -> str:
    """Format the jobs' results as a Markdown table."""
    lines = ["| job | ours | floor | script | goal | measured | |", "|---|---|---|---|---|---|---|"]
    for job in jobs.values():
        seconds = {name: f"{value:.3g} s" for name, value in job["seconds"].items()}
        for row, goal in enumerate(job["goals"]):
            cells = [job["whole"], *(seconds.get(name, "") for name in ("ours", "floor", "script"))]
            unit = " s" if goal["goal"].endswith("s") and "×" not in goal["goal"] else ""
            shown = [goal["goal"], f"{goal['value']:.3g}{unit}", "met" if goal["met"] else "missed"]
            lines.append(f"| {' | '.join([*(cells if row == 0 else [''] * 4), *shown])} |")
    return "\n".join(lines)


def update_page(kind: str, text: str) -> None:
    """Replace the table of one kind of machine in docs/benchmarks.md, if the page has a marker for it."""
    begin, end = f"<!-- bench {kind} -->", "<!-- end -->"
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if begin in page:
        before, rest = page.split(begin, 1)
        PAGE.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}", encoding="utf-8")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", metavar="job", help=f"jobs to measure; default: {', '.join(JOBS)}")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the datasets")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="folder of the results; the default also updates the page"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps or auto")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--steps", type=int, default=6, help="training steps of one measurement")
    parser.add_argument("--rounds", type=int, default=3, help="rounds to measure, after one to warm up")
    args = parser.parse_args()
    if unknown := [name for name in args.jobs if name not in JOBS]:
        parser.error(f"there is no job {', '.join(unknown)}; there are {', '.join(JOBS)}")
    return args


def main() -> None:
    args = parsed()
    torch.set_num_threads(args.threads)
    scene = Scene(args.data, Runtime(accelerator=args.device), args.steps)
    here = machine(scene.device, args.threads)
    kind = re.sub(r"\W+", "-", here["device"]).lower() if scene.accelerated else "cpu"
    file = args.output / f"{kind}-{here['cores']}-cores.json"
    # Results of other jobs are kept if they were measured on the same machine with the same versions.
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    results: dict[str, Any] = known["jobs"] if known.get("machine") == here else {}
    for name in args.jobs or JOBS:
        started = time.perf_counter()
        done = measured(JOBS[name](scene), scene, args.rounds)
        results[name] = {**done, "steps": args.steps, "load": os.getloadavg() if hasattr(os, "getloadavg") else None}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"machine": here, "jobs": results}, indent=1) + "\n", encoding="utf-8")
        print(f"\n{name} ({time.perf_counter() - started:.0f} s)\n{table({name: done})}\n{done['check']}", flush=True)
    ordered = {name: results[name] for name in JOBS if name in results}
    file.with_suffix(".md").write_text(table(ordered) + "\n", encoding="utf-8")
    if args.output == RESULTS:
        update_page(file.stem, table(ordered))


if __name__ == "__main__":
    main()
