"""Pickle objects with large arrays stored out of band, so that arrays shared by many jobs are sent once.

A memory-mapped array (`np.memmap`) is sent as the name of its file.
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
"""Smallest size in bytes of tensors and arrays that are stored out of band; joblib's default for arguments."""

Array = NDArray[Any]
Known = dict[tuple[Any, ...], Array]
"""Arrays by memory address and layout.  The entry represents all arrays of that memory, and keeps it from being freed.
"""


class Mapped(NamedTuple):
    """The position of a memory-mapped array in its file."""

    path: str
    mode: str
    start: int
    """Offset of the array's first entry in bytes."""
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def open(self) -> Array:
        """Map the file again, as `np.memmap`."""
        last = sum(step * (size - 1) for step, size in zip(self.strides, self.shape, strict=True))
        length = last + self.dtype.itemsize
        plain: Array = np.memmap(self.path, dtype=np.uint8, mode=self.mode, offset=self.start, shape=(length,))  # type: ignore[call-overload]
        first = plain[: self.dtype.itemsize].view(self.dtype)
        found: Array = np.lib.stride_tricks.as_strided(first, self.shape, self.strides, subok=True)
        return found


def mapped(array: Array) -> Mapped | None:
    """The position of a memory-mapped array in its file; None for any other array.

    None also for copy-on-write maps (mode `c`), whose changes exist in this process only.  A file that this process
    writes to is mapped copy-on-write by the others.
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
    """Pickle an object by value, and its large arrays and CPU tensors out of band.

    By value includes functions that are defined in a script or notebook.

    Args:
        held: any object that can be pickled.
        known: the arrays of objects packed earlier; this object's arrays are added.  Equal arrays are shared.

    Returns:
        Bytes and arrays for `unpack`.
    """
    buffer = io.BytesIO()
    packer = _Packer(buffer, known)
    packer.dump(held)
    return buffer.getvalue(), packer.used


def unpack(packed: bytes, arrays: list[Array]) -> Any:
    """Restore an object from `pack`; it shares memory with `arrays` and may write to it.

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
        """Kind and position of a large array or tensor; None for objects that are pickled in band."""
        if type(held) is Tensor:
            # A file keeps no strides, and convolutions of channels-last weights round differently without them.
            if held.numel() * held.element_size() < SHARED or not held.is_contiguous():
                return None
            try:
                return "tensor", self._place(held.numpy())
            except (RuntimeError, TypeError):
                # NumPy has no view of tensors on an accelerator, with gradients, sparse or bfloat16.
                return None
        if type(held) not in (np.ndarray, np.memmap) or held.nbytes < SHARED:
            return None
        if (where := mapped(held)) is not None:
            return type(held).__name__ + " of a file", tuple(where)
        # Arrays of objects have no bytes to share; an overlapping view has more bytes than memory.
        if held.dtype.hasobject or 0 in held.strides:
            return None
        return type(held).__name__, (self._place(np.asarray(held)), held.flags.writeable)

    def _place(self, array: Array) -> int:
        """The array's index in `used`, equal for all arrays of the same memory."""
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
        """The object for an id from `_Packer.persistent_id`; the same object each time."""
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
