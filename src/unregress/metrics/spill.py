"""Arrays that spill to the disk: large ones are mapped to temporary files, so that their pages can leave memory."""

from __future__ import annotations

import os
import tempfile
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from unregress.errors import RunFolderError

SPILLED = 2**25
"""Size in bytes from which on an array is mapped to a temporary file."""


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An uninitialised array like `numpy.empty`: in memory, or if it is large in an unnamed temporary file.

    The file is deleted with the array.

    Raises:
        RunFolderError: the folder for temporary files has no space left, or does not exist.
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    if size < max(SPILLED, 1):
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile(prefix="unregress-") as file:
            if hasattr(os, "posix_fallocate"):
                # If the disk became full later, writing to the mapped file would kill the process.
                os.posix_fallocate(file.fileno(), 0, size)
            return np.asarray(np.memmap(file, dtype, "w+", shape=shape))
    except OSError as error:
        raise RunFolderError(
            f"A temporary file of {size:,} bytes cannot be written: {error.strerror or error}",
            expected=f"so much free space in the folder for temporary files ({tempfile.tempdir or 'none was found'})",
            remedy="Free some space, or name another folder with the environment variable `TMPDIR`",
        ) from error


def take(values: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Some rows of an array, like `values[rows]`, in an array from `empty`."""
    return np.take(values, rows, axis=0, out=empty((len(rows), *values.shape[1:]), values.dtype), mode="clip")
