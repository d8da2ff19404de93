"""Jobs side by side: order, failures, lambdas, shared tensors, threads."""

from __future__ import annotations

import importlib
import os
import pickle
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import joblib
import pytest
import torch
from torch import nn

from unregress.errors import DivergenceError, JobsError, SettingError
from unregress.parallel.jobs import _parcels, run_all
from unregress.parallel.pickling import SHARED

WORKERS = pytest.mark.parametrize("workers", [1, 2])


@WORKERS
def test_results_come_by_name_in_order(workers: int) -> None:
    jobs = {f"job {n}": (lambda n=n: n * n) for n in range(5)}
    assert list(run_all(jobs, workers=workers)) == [(f"job {n}", n * n) for n in range(5)]


def test_jobs_run_in_other_processes() -> None:
    pids = dict(run_all({"a": os.getpid, "b": os.getpid}, workers=2))
    assert os.getpid() not in pids.values()
    assert dict(run_all({"a": os.getpid}))["a"] == os.getpid()


@WORKERS
def test_a_failure_is_named_and_loses_nothing(workers: int) -> None:
    def diverge() -> int:
        raise DivergenceError("The loss became nan", expected="finite losses")

    jobs: dict[str, Callable[[], int]] = {
        "first": lambda: 1,
        "second": diverge,
        "third": lambda: 1 // 0,
        "fourth": lambda: 4,
    }
    done = []
    with pytest.raises(JobsError) as caught:
        for name, result in run_all(jobs, workers=workers):
            done.append((name, result))
    assert done == [("first", 1), ("fourth", 4)]
    place = f"({__file__}:{jobs['third'].__code__.co_firstlineno}, in <lambda>)"
    assert str(caught.value) == (
        "2 of 4 jobs failed; the others are done:\n"
        "  second: The loss became nan. Expected finite losses\n"
        f"  third: ZeroDivisionError: integer division or modulo by zero {place}."
    )
    # Only what nobody raised on purpose needs a traceback.
    (note,) = caught.value.__notes__
    assert note.startswith("third:\nTraceback") and "1 // 0" in note


@pytest.mark.slow
def test_a_worker_that_dies_is_told_from_a_job_that_fails() -> None:
    with pytest.raises(JobsError, match=r"(?s)worker process ended.*fewer workers"):
        list(run_all({"a": lambda: os._exit(1), "b": lambda: 2}, workers=2))
    # And the next ones find new workers.
    assert dict(run_all({"a": lambda: 1, "b": lambda: 2}, workers=2)) == {"a": 1, "b": 2}


def test_what_cannot_be_sent_is_refused_by_name() -> None:
    lock = threading.Lock()
    jobs = {"plain": lambda: 1, "locked": lambda: lock.locked()}
    with pytest.raises(SettingError, match=r"'locked' cannot be sent.*workers=1"):
        list(run_all(jobs, workers=2))
    assert dict(run_all(jobs)) == {"plain": 1, "locked": False}


def test_threads_share_a_random_state_and_are_refused() -> None:
    jobs = {"a": lambda: 1, "b": lambda: 2}
    with joblib.parallel_config(backend="threading"):
        with pytest.raises(SettingError, match="threads share"):
            list(run_all(jobs, workers=2))
        assert dict(run_all(jobs)) == {"a": 1, "b": 2}


def test_a_backend_that_hands_back_everything_at_the_end() -> None:
    with joblib.parallel_config(backend="multiprocessing"):
        assert dict(run_all({"a": lambda: 1, "b": lambda: 2}, workers=2)) == {"a": 1, "b": 2}


@pytest.mark.parametrize("workers", [0, -1, 1.5])
def test_the_number_of_workers_is_checked(workers: int) -> None:
    with pytest.raises(SettingError, match="workers is"):
        list(run_all({"a": lambda: 1}, workers=workers))


def test_no_jobs() -> None:
    assert list(run_all({}, workers=2)) == list(run_all({})) == []


@WORKERS
def test_every_job_computes_on_one_thread(workers: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = dict(run_all({"a": torch.get_num_threads, "b": torch.get_num_threads}, workers=workers))
        assert found == {"a": 1, "b": 1} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_large_tensors_are_sent_once_for_all_jobs() -> None:
    large, small = torch.arange(SHARED // 4 + 1, dtype=torch.float32), torch.arange(10)
    model = nn.Linear(1000, 300)
    jobs = {f"{n}": partial(sum, [large, small, large], n) for n in range(3)}
    jobs["model"] = partial(model.to)
    parcels = list(_parcels(jobs))
    assert [len(arrays) for _, arrays in parcels] == [1, 1, 1, 1]
    assert len({id(arrays[0]) for _, arrays in parcels[:3]}) == 1
    assert parcels[0][1][0].ctypes.data == large.data_ptr()
    assert parcels[3][1][0].ctypes.data == model.weight.data_ptr()
    assert all(len(packed) < 10_000 for packed, _ in parcels)


def test_sent_tensors_are_the_same_writable_and_private() -> None:
    large = torch.arange(SHARED, dtype=torch.float32)
    half = torch.ones(SHARED, dtype=torch.bfloat16)

    def work() -> tuple[float, bool, torch.dtype]:
        seen = float(large.double().sum() + half.double().sum())
        large.zero_()
        return seen, bool((large == 0).all()), half.dtype

    results = list(dict(run_all({f"{n}": work for n in range(3)}, workers=2)).values())
    assert large[-1] == SHARED - 1
    # A process that had two of the jobs has mapped the tensor anew for the second.
    assert results == [(SHARED * (SHARED - 1) / 2 + SHARED, True, torch.bfloat16)] * 3


def test_weights_keep_how_they_lie_in_memory() -> None:
    """Convolutions round by it, so that a training would end elsewhere in a worker than here."""
    layer = nn.Conv2d(128, 256, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload] # it is one
    assert layer.weight.numel() * 4 >= SHARED
    ((_, strides),) = run_all({"a": partial(layer.weight.stride)}, workers=2)
    assert strides == layer.weight.stride() == (1152, 1, 384, 128)


def test_workers_find_modules_that_came_after_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dict(run_all({"first": lambda: 1, "second": lambda: 2}, workers=2))  # they are kept for what follows
    (tmp_path / "a_module_of_somebodys.py").write_text("def answer():\n    return 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    answer = importlib.import_module("a_module_of_somebodys").answer
    assert dict(run_all({"a": answer, "b": answer}, workers=2)) == {"a": 42, "b": 42}


def test_results_survive_the_worker() -> None:
    ((_, model),) = run_all({"a": lambda: nn.Linear(500, 500)}, workers=2)
    assert isinstance(model, nn.Linear) and torch.isfinite(model.weight.sum())
    assert pickle.loads(pickle.dumps(model)).weight.shape == (500, 500)
