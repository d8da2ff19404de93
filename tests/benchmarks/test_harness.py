"""The benchmarks' arithmetic: seconds scaled up to the whole job, medians of ratios, goals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from harness import Bench, Goal, Scene, Side, installed, measured, seconds_of

from unregress import Runtime

SCENE = Scene(Path(), Runtime(accelerator="cpu"), steps=1)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Callable[[], None]]:
    """Makes jobs that move a clock of their own forward by so many seconds."""
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    def of(*seconds: float) -> Callable[[], None]:
        queue: Iterator[float] = iter(seconds)
        last = seconds[-1]

        def run() -> None:
            nonlocal now
            now += next(queue, last)

        return run

    return of


def test_seconds_of_a_call(work: Callable[..., Callable[[], None]]) -> None:
    assert seconds_of(work(2.5), torch.device("cpu")) == 2.5


def test_fixed_costs_are_counted_once(work: Callable[..., Callable[[], None]]) -> None:
    # 5 s of which 2 s are spent once, and a whole job that is four times as large: 2 + 3 * 4.
    done = measured(Bench("job", {"ours": Side(work(5), 4, work(2))}, ()), SCENE, rounds=2)
    assert done["rounds"] == {"ours": [14.0, 14.0]} and done["seconds"] == {"ours": 14.0}


def test_a_fixed_cost_never_exceeds_what_the_whole_run_took(work: Callable[..., Callable[[], None]]) -> None:
    done = measured(Bench("job", {"ours": Side(work(3), 4, work(9))}, ()), SCENE, rounds=1)
    assert done["seconds"] == {"ours": 3.0}


def test_the_median_of_the_ratios_decides(work: Callable[..., Callable[[], None]]) -> None:
    # After a round to warm up the ratios are 3, 8 and 4.
    sides = {"ours": Side(work(100, 1, 1, 2)), "script": Side(work(100, 3, 8, 8))}
    goals = (Goal("script", "ours", 4, most=False), Goal("script", "ours", 3.5), Goal("ours", None, 1.0))
    first, second, third = measured(Bench("job", sides, goals), SCENE, rounds=3)["goals"]
    assert first == {"goal": "script ≥ 4 × ours", "value": 4.0, "rounds": [3.0, 8.0, 4.0], "met": True}
    assert (second["goal"], second["met"]) == ("script ≤ 3.5 × ours", False)
    assert (third["goal"], third["value"], third["met"]) == ("ours ≤ 1s", 1.0, True)


def test_a_job_with_long_rounds_takes_fewer(work: Callable[..., Callable[[], None]]) -> None:
    done = measured(Bench("job", {"ours": Side(work(1))}, (), rounds=2), SCENE, rounds=5)
    assert len(done["rounds"]["ours"]) == 2


def test_sides_that_do_other_work_are_reported(work: Callable[..., Callable[[], None]]) -> None:
    def check() -> str:
        raise AssertionError("3 samples, 4 samples")

    done = measured(Bench("job", {"ours": Side(work(1))}, (), check), SCENE, rounds=1)
    assert done["check"] == "THE SIDES DIFFER: 3 samples, 4 samples"


def test_packages_that_are_not_installed_have_no_version() -> None:
    assert installed("no-such-package-anywhere") is None
    assert installed("torch") is not None
