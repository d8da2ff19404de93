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
_ALONE = threading.Lock()
"""Held while a job of another process runs in this one, whose threads share one random state."""


def _ignore() -> None:
    """Do nothing."""


def run_all(
    jobs: Mapping[str, Callable[[], T]], *, workers: int = 1, ended: Callable[[], object] = _ignore
) -> Iterator[tuple[str, T]]:
    """Run every job, and yield the results in the jobs' order.

    Each job computes on one thread, whatever the number of workers: another number of threads adds up in another
    order, and results would depend on how many jobs ran beside one another.  So on a CPU use as many workers as
    cores; on one GPU, as many as its memory holds.

    With one worker the jobs run in this process, one after the other.  Otherwise a job is pickled by value and sent to
    another process, with functions that exist only in a script or a notebook.  Its large tensors and arrays are
    written to a temporary file, once for all jobs, and mapped by every process of this machine, so that R trainings
    do not hold R copies of the data.  An `np.memmap` is mapped again by each process.  Dask sends large arrays to each
    of its workers, Ray with each job, and a job there works on a copy.

    Args:
        jobs: what to do, by name.  A job draws from no generator but its own, and shares nothing with the others.
        workers: how many at a time; with Dask, as many as the cluster has, if this is more than one.
        ended: called when a job has succeeded or failed, in the order in which they end.

    Yields:
        Name and result of each job that succeeded, as soon as those before it are done.

    Raises:
        JobsError: some jobs failed (raised when all the others are done), or a worker was lost.
        SettingError: `workers` is below 1, or joblib is set to threads, which share one random state, or to a backend
            that is not installed.

    >>> dict(run_all({"two": lambda: 2, "three": lambda: 3}))
    {'two': 2, 'three': 3}
    """
    if type(workers) is not int or workers < 1:
        raise SettingError(f"workers is {workers!r}", expected="a whole number, 1 or more")
    failures: dict[str, _Failure] = {}
    done = enumerate(map(_attempt, jobs.values())) if workers == 1 else _elsewhere(jobs, workers)
    names, early = list(jobs), dict[int, T | _Failure]()
    next_one = 0
    for number, found in done:
        ended()
        early[number] = found
        while next_one in early:
            name, result = names[next_one], early.pop(next_one)
            next_one += 1
            if isinstance(result, _Failure):
                failures[name] = result
            else:
                yield name, result
    if failures:
        raise _failed(failures, len(jobs))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute on a single CPU thread in the block, so that sums have one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Failure:
    """An error as text, as it is sent between processes."""

    message: str
    trace: str
    """Empty for an error that the library raises on purpose."""


def _attempt(job: Callable[[], T]) -> T | _Failure:
    try:
        with one_thread():
            return job()
    except UnregressError as error:
        return _Failure(str(error), "")
    except (Exception, SystemExit) as error:
        # Raised by the user's code; `sys.exit` would end a worker silently.
        return _Failure(described(error), traceback.format_exc())


def _failed(failures: Mapping[str, _Failure], total: int) -> JobsError:
    listed = "".join(f"\n  {name}: {failure.message.rstrip('.')}" for name, failure in failures.items())
    noun = "job" if total == 1 else "jobs"
    error = JobsError(f"{len(failures)} of {total} {noun} failed; the others are done:{listed}")
    for name, failure in failures.items():
        if failure.trace:
            error.add_note(f"{name}:\n{failure.trace}")
    return error


def _elsewhere(jobs: Mapping[str, Callable[[], T]], workers: int) -> Iterator[tuple[int, T | _Failure]]:
    """Number and result of each job, from joblib's workers, in the order in which they end."""
    backend, _ = get_active_backend()
    if getattr(backend, "uses_threads", False):
        raise SettingError(
            f"joblib is set to {type(backend).__name__} with {workers} workers",
            expected="workers that are processes: trainings seed the random state that all threads share",
            remedy="Use `workers=1`, or a backend such as loky, dask with one thread per worker, or ray",
        )
    # All are pickled before the first one begins, so that a job that cannot be sent fails now, not hours later.
    parcels = list(_parcels(jobs))
    try:
        # An error within a job is its result; an exception here concerns the workers.
        yield from _by_dask(backend, parcels) if hasattr(backend, "client") else _by_joblib(backend, parcels, workers)
    except Exception as error:
        raise JobsError(
            f"A worker process ended in the middle of its job, or was lost: {_words(error)}",
            expected="enough memory for all workers",
            remedy="Use fewer workers; models that are in a store are not trained again",
        ) from error


def _by_joblib(backend: Any, parcels: list[Parcel], workers: int) -> Iterator[tuple[int, Any]]:
    # Some backends can only return all results at the end.
    order = "generator_unordered" if backend.supports_return_generator else "list"
    # Of a mapped file, pages that are written to are copied: tensors must be writable, and the data stay as they are.
    pool = joblib.Parallel(
        n_jobs=workers, return_as=order, pre_dispatch="all", batch_size=1, max_nbytes=SHARED - 1, mmap_mode="c"
    )
    for number, result in pool(joblib.delayed(_unpack_and_attempt)(*each, sys.path) for each in enumerate(parcels)):
        yield number, _opened(result)


def _by_dask(backend: Any, parcels: list[Parcel]) -> Iterator[tuple[int, Any]]:
    """Submit to joblib's Dask client directly: joblib waits forever for a job whose worker died."""
    from distributed import as_completed

    arrays = {id(array): array for _, held in parcels for array in held}
    # Dask refuses to scatter an empty list.
    there = backend.client.scatter(list(arrays.values()), broadcast=True, hash=False) if arrays else []
    sent = dict(zip(arrays, there, strict=True))
    jobs = {}
    for number, (packed, held) in enumerate(parcels):
        parcel = packed, [sent[id(array)] for array in held]
        job = backend.client.submit(_unpack_and_attempt, number, parcel, sys.path, pure=False, **backend.submit_kwargs)
        jobs[job] = number
    try:
        for job in as_completed(jobs):  # type: ignore[no-untyped-call]
            if job.status == "finished":
                yield jobs[job], _opened(job.result()[1])
            else:
                why = "the data were lost with it" if job.status == "cancelled" else _words(job.exception())
                yield jobs[job], _Failure(f"a worker process ended in the middle of it: {why}", "")
    finally:
        backend.client.cancel(list(jobs))


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")


def _opened(result: bytes | _Failure) -> Any:
    return result if isinstance(result, _Failure) else pickle.loads(result)


def _parcels(jobs: Mapping[str, Callable[[], Any]]) -> Iterator[Parcel]:
    """Each job as bytes with the large arrays that they refer to, which are the same objects for all jobs."""
    known: Known = {}
    for name, job in jobs.items():
        try:
            yield pack(job, known)
        except Exception as error:
            raise SettingError(
                f"The job {name!r} cannot be sent to another process: {error}",
                expected="a task, data and methods that can be pickled",
                remedy="Use `workers=1`, or keep open files, locks and the like out of them",
            ) from error


def _unpack_and_attempt(number: int, parcel: Parcel, paths: Sequence[str]) -> tuple[int, bytes | _Failure]:
    packed, arrays = parcel
    # A worker may have been started before the folders of the user's modules were added to the path.
    sys.path.extend(path for path in paths if path not in sys.path)
    # The result is pickled by value too: tensors that PyTorch shares end with the process that sent them.
    with _ALONE:
        return number, _attempt(lambda: bytes(cloudpickle.dumps(unpack(packed, [_own(array) for array in arrays])())))


def _own(array: Array) -> Array:
    """The array where it is a private view of a file, as joblib hands it over; a copy of what a backend keeps."""
    return array if isinstance(array, np.memmap) and array.mode == "c" else array.copy()
