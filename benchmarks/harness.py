"""Measure a job's alternatives side by side: seconds of each, and ratios between them."""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from unregress import Runtime

PACKAGES = ("unregress", "torch", "torchvision", "numpy", "scikit-learn", "pytorch-forecasting")


@dataclass(frozen=True)
class Scene:
    """Data, device and size of a measurement."""

    data: Path
    """Folder of the datasets."""
    runtime: Runtime
    steps: int
    """Training steps of one measurement, for jobs whose time grows with the number of steps."""

    @property
    def device(self) -> torch.device:
        return self.runtime.device

    @property
    def accelerated(self) -> bool:
        return self.device.type != "cpu"


@dataclass(frozen=True)
class Goal:
    """An upper or lower limit on the ratio of two sides' seconds, or on one side's seconds."""

    over: str
    """Name of the side in the numerator."""
    under: str | None
    """Name of the side in the denominator; None compares the numerator's seconds."""
    limit: float
    most: bool = True
    """Whether `limit` is the largest value allowed; otherwise the smallest."""

    @property
    def text(self) -> str:
        of = "s" if self.under is None else f" × {self.under}"
        return f"{self.over} {'≤' if self.most else '≥'} {self.limit:g}{of}"

    def met(self, value: float) -> bool:
        return value <= self.limit if self.most else value >= self.limit


@dataclass(frozen=True)
class Side:
    """One way to do the job, and how its measured seconds are scaled up to the whole job."""

    run: Callable[[], object]
    times: float = 1.0
    """Size of the whole job divided by the size of what `run` does."""
    once: Callable[[], object] | None = None
    """The part of `run` whose time does not grow with the job's size; it is not scaled."""


@dataclass(frozen=True)
class Bench:
    """A job that is ready to be measured."""

    whole: str
    """Description of the whole job, for which the seconds are reported."""
    sides: Mapping[str, Side]
    goals: tuple[Goal, ...]
    check: Callable[[], str] = lambda: ""
    """Verify that the sides do the same work; return how, or raise AssertionError."""
    rounds: int | None = None
    """Largest number of rounds, for jobs whose rounds are long."""


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """Wall-clock seconds of a call, including the work that it queued on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def measured(bench: Bench, scene: Scene, rounds: int) -> dict[str, Any]:
    """Run all sides in turn, after one round to warm up.

    Args:
        bench: the job.
        scene: data, device and size.
        rounds: number of measured rounds; the order of the sides is rotated from round to round.

    Returns:
        `whole`, `seconds` (median of each side), `rounds` (seconds of each side and round), `goals` (median over
        rounds of the ratio within a round, and whether the goal is met) and `check`.
    """
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
    return {
        "whole": bench.whole,
        "seconds": {name: statistics.median(values) for name, values in found.items()},
        "rounds": found,
        "goals": [compared(goal, found) for goal in bench.goals],
        "check": same,
    }


def compared(goal: Goal, seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """Compare a goal with the seconds of each side and round."""
    below = seconds[goal.under] if goal.under is not None else [1.0] * len(seconds[goal.over])
    ratios = [over / under for over, under in zip(seconds[goal.over], below, strict=True)]
    value = statistics.median(ratios)
    return {"goal": goal.text, "value": value, "rounds": ratios, "met": goal.met(value)}


def machine(device: torch.device, threads: int) -> dict[str, Any]:
    """Describe the device, the processor and the versions of the packages that decide the speed."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cpu": named[1].strip() if named else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        **{name: installed(name) for name in PACKAGES},
    }


def installed(name: str) -> str | None:
    """Version of an installed package; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
