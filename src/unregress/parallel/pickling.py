"""Pickle objects with large arrays stored out of band, so that arrays shared by many jobs are sent once.

An array of a file (`np.memmap`) is sent as the file's name.
"""

from __future__ import annotations

import io
import mmap
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy

SHARED = 1_000_000
"""Tensors and arrays of this many bytes and more are sent once, as joblib does with arguments."""

Array = NDArray[Any]
Known = dict[tuple[Any, ...], Array]
"""Arrays by memory and layout: the first one of a piece of memory represents all, and keeps it from being freed."""


class Mapped(NamedTuple):
    """The place of an array in a file."""

    path: str
    mode: str
    start: int
    """Byte of the array's first entry."""
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def open(self) -> Array:
        """Map the array again, as `np.memmap`."""
        last = sum(step * (size - 1) for step, size in zip(self.strides, self.shape, strict=True))
        length = last + self.dtype.itemsize
        plain: Array = np.memmap(self.path, dtype=np.uint8, mode=self.mode, offset=self.start, shape=(length,))  # type: ignore[call-overload]
        first = plain[: self.dtype.itemsize].view(self.dtype)
        found: Array = np.lib.stride_tricks.as_strided(first, self.shape, self.strides, subok=True)
        return found


def mapped(array: Array) -> Mapped | None:
    """The place in a file of an array that maps the file; None for any other array.

    None also for a private copy of a file (mode `c`), whose changes exist in this process only.  Of a file that this
    process writes to, others map a private copy.
    """
    root: Any = array
    while root is not None and not (isinstance(root, np.memmap) and isinstance(root.base, mmap.mmap)):
        root = getattr(root, "base", None)
    if root is None or root.filename is None or root.mode == "c" or not Path(root.filename).is_file():
        return None
    if min(array.strides, default=0) < 0 or array.dtype.hasobject:
        return None
    if root.mode != "r":
        root.flush()
    start = root.offset + array.ctypes.data - root.ctypes.data
    mode = "r" if root.mode == "r" else "c"
    return Mapped(str(Path(root.filename).resolve()), mode, start, array.dtype, array.shape, array.strides)


def pack(held: Any, known: Known) -> tuple[bytes, list[Array]]:
    """Pickle an object by value, with functions of scripts and notebooks, without its large arrays and CPU tensors.

    Args:
        held: anything that can be pickled.
        known: arrays that are shared already; the object's arrays are added.  Objects with the same array share it.

    Returns:
        Bytes and arrays for `unpack`.
    """
    buffer = io.BytesIO()
    packer = _Packer(buffer, known)
    packer.dump(held)
    return buffer.getvalue(), packer.used


def unpack(packed: bytes, arrays: list[Array]) -> Any:
    """The inverse of `pack`.  The object's tensors and arrays are writable, so `arrays` must not be used elsewhere.

    Args:
        packed: bytes from `pack`.
        arrays: the arrays from `pack`, or copies of them.
    """
    return _Unpacker(packed, arrays).load()


class _Packer(cloudpickle.Pickler):  # type: ignore[misc] # untyped
    def __init__(self, file: io.BytesIO, known: Known) -> None:
        super().__init__(file)
        self.used: list[Array] = []
        self._known = known
        self._places: dict[tuple[Any, ...], int] = {}

    def persistent_id(self, held: Any) -> tuple[str, Any] | None:
        """For a large array or tensor, its kind and its place."""
        if type(held) is Tensor:
            # A file keeps no strides, and convolutions round differently if weights are not channels-last any more.
            if held.numel() * held.element_size() < SHARED or not held.is_contiguous():
                return None
            try:
                return "tensor", self._place(held.numpy())
            except (RuntimeError, TypeError):
                # On an accelerator, with gradients, sparse, bfloat16: unknown to NumPy, so pickled by value.
                return None
        if type(held) not in (np.ndarray, np.memmap) or held.nbytes < SHARED:
            return None
        if (where := mapped(held)) is not None:
            return type(held).__name__ + " of a file", tuple(where)
        # Arrays of objects have no bytes to share, and an overlapping view has more bytes than memory.
        if held.dtype.hasobject or 0 in held.strides:
            return None
        return type(held).__name__, (self._place(np.asarray(held)), held.flags.writeable)

    def _place(self, array: Array) -> int:
        """The array's place in `used`, the same for all arrays of the same memory."""
        key = (array.ctypes.data, array.shape, array.strides, array.dtype)
        array = self._known.setdefault(key, array)
        if key not in self._places:
            self._places[key] = len(self.used)
            self.used.append(array)
        return self._places[key]


class _Unpacker(pickle.Unpickler):
    def __init__(self, packed: bytes, arrays: list[Array]) -> None:
        super().__init__(io.BytesIO(packed))
        self._arrays = [np.asarray(array) for array in arrays]
        self._found: dict[tuple[str, Any], Any] = {}

    def persistent_load(self, named: tuple[str, Any]) -> Any:
        """The object that `_Packer.persistent_id` named; the same one each time."""
        if named not in self._found:
            self._found[named] = self._load(*named)
        return self._found[named]

    def _load(self, kind: str, where: Any) -> Any:
        if kind == "tensor":
            return from_numpy(self._arrays[where])
        if kind.endswith("of a file"):
            array = Mapped(*where).open()
            return array if kind.startswith("memmap") else np.asarray(array)
        place, writeable = where
        array = self._arrays[place].view(np.memmap if kind == "memmap" else np.ndarray)
        array.flags.writeable = writeable
        return array
