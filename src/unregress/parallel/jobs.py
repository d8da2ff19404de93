"""Run independent jobs in parallel; a failure does not affect the others, and results keep the jobs' order.

joblib decides where they run.  By default that is processes on this machine; inside a block such as
`with joblib.parallel_config(backend="dask")` or `"ray"` it is that backend.
"""

from __future__ import annotations

import pickle
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import cloudpickle
import joblib
import numpy as np
import torch
from joblib.parallel import get_active_backend

from unregress.errors import JobsError, SettingError, UnregressError
from unregress.errors.user_code import described
from unregress.parallel.pickling import SHARED, Array, Known, pack, unpack

T = TypeVar("T")
Parcel = tuple[bytes, list[Array]]
_ONE_JOB = threading.Lock()
"""Lets a worker process run one job at a time: its threads would share one random state."""


def _ignore() -> None:
    """Do nothing."""


def run_all(
    jobs: Mapping[str, Callable[[], T]], *, workers: int = 1, ended: Callable[[], object] = _ignore
) -> Iterator[tuple[str, T]]:
    """Run independent jobs, and yield their results in the order of the jobs.

    Each job computes on one CPU thread, whatever the number of workers: the number of threads decides the order of
    floating-point sums, and results must not depend on how many jobs ran in parallel.  So use as many workers as there
    are CPU cores, or on one GPU as many as fit into its memory.

    With one worker the jobs run in this process, one after the other.  Otherwise each job is pickled by value,
    functions of scripts and notebooks included, and sent to another process.  Large tensors and arrays are written to a
    temporary file, once for all jobs, and memory-mapped by every process of this machine, so that R trainings do not
    hold R copies of the data.  An `np.memmap` is mapped again by each process.  Dask sends large arrays once to each
    of its workers, Ray with each job; a job there works on a copy.

    Args:
        jobs: functions without arguments, by name.  A job uses no shared random generator and no shared state.
        workers: number of jobs that run at the same time; with Dask, any number above 1 means all its workers.
        ended: called after each job, whether it succeeded or failed, in the order in which they end.

    Yields:
        Name and result of each successful job, as soon as all jobs before it have ended.

    Raises:
        JobsError: some jobs failed (raised after all others have ended), or a worker was lost.
        SettingError: `workers` is below 1, or joblib is set to threads, which share one random state, or to a backend
            that is not installed.

    >>> dict(run_all({"two": lambda: 2, "three": lambda: 3}))
    {'two': 2, 'three': 3}
    """
    if type(workers) is not int or workers < 1:
        raise SettingError(f"workers is {workers!r}", expected="a whole number, 1 or more")
    failures: dict[str, _Failure] = {}
    done = enumerate(map(_attempt, jobs.values())) if workers == 1 else _in_workers(jobs, workers)
    names, waiting = list(jobs), dict[int, T | _Failure]()
    position = 0
    for number, outcome in done:
        ended()
        waiting[number] = outcome
        while position in waiting:
            name, result = names[position], waiting.pop(position)
            position += 1
            if isinstance(result, _Failure):
                failures[name] = result
            else:
                yield name, result
    if failures:
        raise _failed(failures, len(jobs))


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit PyTorch to one CPU thread inside the block, so that the order of sums is fixed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Failure:
    """The error of a job as text, which can be sent between processes."""

    message: str
    trace: str
    """Traceback; empty for an `UnregressError`."""


def _attempt(job: Callable[[], T]) -> T | _Failure:
    try:
        with one_thread():
            return job()
    except UnregressError as error:
        return _Failure(str(error), "")
    except (Exception, SystemExit) as error:
        # Errors of the user's code, and `sys.exit`, which would end a worker silently.
        return _Failure(described(error), traceback.format_exc())


def _failed(failures: Mapping[str, _Failure], total: int) -> JobsError:
    listed = "".join(f"\n  {name}: {failure.message.rstrip('.')}" for name, failure in failures.items())
    noun = "job" if total == 1 else "jobs"
    error = JobsError(f"{len(failures)} of {total} {noun} failed; the others are done:{listed}")
    for name, failure in failures.items():
        if failure.trace:
            error.add_note(f"{name}:\n{failure.trace}")
    return error


def _in_workers(jobs: Mapping[str, Callable[[], T]], workers: int) -> Iterator[tuple[int, T | _Failure]]:
    """Run the jobs in joblib's workers; yield number and result of each in the order in which they end."""
    backend, _ = get_active_backend()
    if getattr(backend, "uses_threads", False):
        raise SettingError(
            f"joblib is set to {type(backend).__name__} with {workers} workers",
            expected="worker processes: threads share one random state, which trainings seed",
            remedy="Use `workers=1`, or a backend such as loky, dask with one thread per worker, or ray",
        )
    # Pickle all jobs before the first one starts, so that one that cannot be sent fails now and not hours later.
    parcels = list(_parcels(jobs))
    try:
        # Errors of jobs come as results; an exception here concerns the workers.
        yield from _by_dask(backend, parcels) if hasattr(backend, "client") else _by_joblib(backend, parcels, workers)
    except Exception as error:
        raise JobsError(
            f"A worker process ended in the middle of its job, or was lost: {_first_line(error)}",
            expected="enough memory for all workers",
            remedy="Use fewer workers; models in a store are not trained again",
        ) from error


def _by_joblib(backend: Any, parcels: list[Parcel], workers: int) -> Iterator[tuple[int, Any]]:
    # Some backends cannot return results before the end.
    order = "generator_unordered" if backend.supports_return_generator else "list"
    # Mode "c" copies on write: tensors must be writable, and the file must not change.
    pool = joblib.Parallel(
        n_jobs=workers, return_as=order, pre_dispatch="all", batch_size=1, max_nbytes=SHARED - 1, mmap_mode="c"
    )
    for number, result in pool(joblib.delayed(_unpack_and_attempt)(*each, sys.path) for each in enumerate(parcels)):
        yield number, _unpickled(result)


def _by_dask(backend: Any, parcels: list[Parcel]) -> Iterator[tuple[int, Any]]:
    """Submit the jobs to joblib's Dask client directly: joblib waits forever for a job whose worker died."""
    from distributed import as_completed

    arrays = {id(array): array for _, held in parcels for array in held}
    # Dask refuses to scatter an empty list.
    futures = backend.client.scatter(list(arrays.values()), broadcast=True, hash=False) if arrays else []
    sent = dict(zip(arrays, futures, strict=True))
    jobs = {}
    for number, (packed, held) in enumerate(parcels):
        parcel = packed, [sent[id(array)] for array in held]
        job = backend.client.submit(_unpack_and_attempt, number, parcel, sys.path, pure=False, **backend.submit_kwargs)
        jobs[job] = number
    try:
        for job in as_completed(jobs):  # type: ignore[no-untyped-call]
            if job.status == "finished":
                yield jobs[job], _unpickled(job.result()[1])
            else:
                why = "the data were lost with it" if job.status == "cancelled" else _first_line(job.exception())
                yield jobs[job], _Failure(f"a worker process ended in the middle of it: {why}", "")
    finally:
        backend.client.cancel(list(jobs))


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")


def _unpickled(result: bytes | _Failure) -> Any:
    return result if isinstance(result, _Failure) else pickle.loads(result)


def _parcels(jobs: Mapping[str, Callable[[], Any]]) -> Iterator[Parcel]:
    """Pickle each job without its large arrays; jobs that use the same array share one object."""
    known: Known = {}
    for name, job in jobs.items():
        try:
            yield pack(job, known)
        except Exception as error:
            raise SettingError(
                f"The job {name!r} cannot be sent to another process: {error}",
                expected="a task, data and methods that can be pickled",
                remedy="Use `workers=1`, or remove open files, locks and other objects that cannot be pickled",
            ) from error


def _unpack_and_attempt(number: int, parcel: Parcel, paths: Sequence[str]) -> tuple[int, bytes | _Failure]:
    packed, arrays = parcel
    # A worker may be older than an entry of this process's `sys.path`.
    sys.path.extend(path for path in paths if path not in sys.path)
    # Pickle the result by value too: memory that PyTorch shares ends with the process that sent it.
    with _ONE_JOB:
        return number, _attempt(lambda: bytes(cloudpickle.dumps(unpack(packed, [_writable(a) for a in arrays])())))


def _writable(array: Array) -> Array:
    """The array itself if it is a private view of a file, as from joblib; otherwise a copy of the backend's array."""
    return array if isinstance(array, np.memmap) and array.mode == "c" else array.copy()
