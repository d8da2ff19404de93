"""Many jobs that do not know of each other, side by side: one failure loses nothing, and order is kept.

Where they run is joblib's business.  By default that is processes on this machine; inside a block such as
`with joblib.parallel_config(backend="dask")` or `"ray"` it is whatever that names.
"""

from __future__ import annotations

import io
import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import cloudpickle
import joblib
import torch
from joblib.parallel import get_active_backend
from numpy.typing import NDArray
from torch import Tensor

from unregress.errors import JobsError, SettingError, UnregressError

T = TypeVar("T")
Arrays = dict[tuple[Any, ...], NDArray[Any]]
SHARED = 1_000_000
"""Tensors of this many bytes and more are sent to all workers once, as joblib does with arrays."""


def run_all(jobs: Mapping[str, Callable[[], T]], *, workers: int = 1) -> Iterator[tuple[str, T]]:
    """Do every job, and hand back the results in the jobs' order.

    Each job computes on one thread, whatever the number of workers: another number of threads adds up in another
    order, and results would depend on how many jobs ran beside one another.  So on a CPU use as many workers as
    cores; on one GPU, as many as its memory holds.

    With one worker the jobs run here and now, one after the other.  Otherwise a job travels by value to another
    process, functions that exist only in a script or a notebook with it.  The large tensors it holds are written to
    a temporary file, once for all jobs, and mapped by every process of this machine, so that R trainings do not hold
    R copies of the data; other backends than joblib's own send them with each job.

    Args:
        jobs: what to do, by name.  A job draws from no generator but its own, and shares nothing with the others.
        workers: how many at a time.

    Yields:
        Name and result of each job that succeeded, as soon as those before it are done.

    Raises:
        JobsError: some jobs failed, which is said when all the others are done.
        SettingError: there is no worker, or joblib is set to threads, which share one random state.

    >>> dict(run_all({"two": lambda: 2, "three": lambda: 3}))
    {'two': 2, 'three': 3}
    """
    if type(workers) is not int or workers < 1:
        raise SettingError(f"workers is {workers!r}", expected="a whole number, 1 or more")
    failures: dict[str, _Failure] = {}
    done = map(_attempt, jobs.values()) if workers == 1 else _elsewhere(jobs, workers)
    for name, result in zip(jobs, done, strict=True):
        if isinstance(result, _Failure):
            failures[name] = result
        else:
            yield name, result
    if failures:
        raise _failed(failures, len(jobs))


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch computes on a single CPU thread while the block runs, so that its sums have one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Failure:
    """What is left of an error after a journey between processes: its words."""

    message: str
    trace: str
    """Empty for an error that the library raises on purpose."""


def _attempt(job: Callable[[], T]) -> T | _Failure:
    try:
        with one_thread():
            return job()
    except UnregressError as error:
        return _Failure(str(error), "")
    except Exception as error:
        return _Failure(f"{type(error).__name__}: {error}", traceback.format_exc())


def _failed(failures: Mapping[str, _Failure], total: int) -> JobsError:
    listed = "".join(f"\n  {name}: {failure.message.rstrip('.')}" for name, failure in failures.items())
    noun = "job" if total == 1 else "jobs"
    error = JobsError(f"{len(failures)} of {total} {noun} failed; the others are done:{listed}")
    for name, failure in failures.items():
        if failure.trace:
            error.add_note(f"{name}:\n{failure.trace}")
    return error


def _elsewhere(jobs: Mapping[str, Callable[[], T]], workers: int) -> Iterator[T | _Failure]:
    """The results of jobs that joblib's workers do."""
    backend, _ = get_active_backend()
    if getattr(backend, "uses_threads", False):
        raise SettingError(
            f"joblib is set to {type(backend).__name__} with {workers} workers",
            expected="workers that are processes: trainings seed the random state that all threads share",
            remedy="Use `workers=1`, or a backend such as loky, dask with one thread per worker, or ray",
        )
    # All of them before the first begins: that one cannot be sent must not come out hours later.
    parcels = list(_parcels(jobs))
    # Some backends can only hand back everything at the end.
    order = "generator" if backend.supports_return_generator else "list"
    # Of a mapped file, pages that are written to are copied: tensors must be writable, and the data stay as they are.
    pool = joblib.Parallel(n_jobs=workers, return_as=order, pre_dispatch="all", max_nbytes=SHARED - 1, mmap_mode="c")
    try:
        for result in pool(joblib.delayed(_unpack_and_attempt)(*parcel) for parcel in parcels):
            yield result if isinstance(result, _Failure) else pickle.loads(result)
    except BrokenExecutor as error:
        raise JobsError(
            f"A worker process ended in the middle of its job: {error}",
            expected="enough memory for all workers",
            remedy="Use fewer workers; what is in a store already is not made again",
        ) from error


def _parcels(jobs: Mapping[str, Callable[[], Any]]) -> Iterator[tuple[bytes, list[NDArray[Any]]]]:
    """Each job as bytes and the large arrays that these refer to, which are the same objects for all jobs."""
    known: Arrays = {}
    for name, job in jobs.items():
        buffer = io.BytesIO()
        packer = _Packer(buffer, known)
        try:
            packer.dump(job)
        except Exception as error:
            raise SettingError(
                f"The job {name!r} cannot be sent to another process: {error}",
                expected="a task, data and methods that can be pickled",
                remedy="Use `workers=1`, or keep open files, locks and the like out of them",
            ) from error
        yield buffer.getvalue(), packer.used


def _unpack_and_attempt(packed: bytes, arrays: list[NDArray[Any]]) -> bytes | _Failure:
    # By value both ways: PyTorch's own way between processes ends with the process that sent.
    return _attempt(lambda: bytes(cloudpickle.dumps(_Unpacker(packed, arrays).load()())))


class _Packer(cloudpickle.Pickler):  # type: ignore[misc] # untyped
    """Pickles by value, and large CPU tensors as references to arrays that share their memory."""

    def __init__(self, file: io.BytesIO, known: Arrays) -> None:
        super().__init__(file)
        self.used: list[NDArray[Any]] = []
        self._known = known
        self._places: dict[tuple[Any, ...], int] = {}

    def persistent_id(self, held: Any) -> int | None:
        """The place in `used` of a tensor that is worth sharing."""
        if type(held) is not Tensor or held.numel() * held.element_size() < SHARED:
            return None
        try:
            array = held.numpy()
        except (RuntimeError, TypeError):
            # On an accelerator, with gradients, sparse, bfloat16: what NumPy does not know travels by value.
            return None
        # The first array about a piece of memory stands for all, and keeps it from being used for anything else.
        key = (held.data_ptr(), array.shape, array.strides, array.dtype.str)
        array = self._known.setdefault(key, array)
        if key not in self._places:
            self._places[key] = len(self.used)
            self.used.append(array)
        return self._places[key]


class _Unpacker(pickle.Unpickler):
    def __init__(self, packed: bytes, arrays: list[NDArray[Any]]) -> None:
        super().__init__(io.BytesIO(packed))
        self._tensors: list[Tensor] = [torch.from_numpy(array) for array in arrays]

    def persistent_load(self, place: int) -> Tensor:
        """The tensor that `_Packer.persistent_id` put there."""
        return self._tensors[place]
