"""Hashes of samples' content, independent of batching: to tell datasets apart and to find duplicates."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from operator import add
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Column = Tensor | Sequence[str]
"""One tensor or list of texts of a batch, with one entry per sample."""
BLOCK = 2**20
"""Bytes of samples that are copied at a time."""
WIDE = 512
"""Bytes of a sample from which on copying it by itself is no slower."""


def columns(data: Any, samples: int) -> Iterator[Column]:
    """All tensors and lists of texts in a nested batch that have one entry per sample.

    Args:
        data: a batch: a tensor, list, tuple, mapping or dataclass, nested in any way.
        samples: number of samples of the batch.
    """
    if isinstance(data, Tensor):
        if data.ndim and len(data) == samples:
            yield data
    elif isinstance(data, (list, tuple)) and len(data) == samples and all(isinstance(text, str) for text in data):
        yield data
    elif isinstance(data, (list, tuple, Mapping)):
        for item in data.values() if isinstance(data, Mapping) else data:
            yield from columns(item, samples)
    elif dataclasses.is_dataclass(data):
        for field in dataclasses.fields(data):
            yield from columns(getattr(data, field.name), samples)


def row_hashes(batch_columns: Sequence[Column], samples: int) -> list[bytes]:
    """SHA-256 of each sample's content, from the columns of a batch."""
    return hashes_apart(batch_columns, samples, [False] * len(batch_columns))[0]


def hashes_apart(
    batch_columns: Sequence[Column], samples: int, aside: Sequence[bool]
) -> tuple[list[bytes], list[bytes]]:
    """SHA-256 of each sample's content, and of its content without some of the columns.

    Args:
        batch_columns: the columns of a batch.
        samples: number of samples of the batch.
        aside: for each column, whether the second hash leaves it out.
    """
    whole = _hashes(batch_columns, samples)
    if not any(aside):
        return whole, whole
    return whole, _hashes([column for column, apart in zip(batch_columns, aside, strict=True) if not apart], samples)


def _hashes(batch_columns: Sequence[Column], samples: int) -> list[bytes]:
    """SHA-256 of each sample's bytes, column after column; they are copied a block of samples at a time."""
    flat = [_bytes_of(column, samples) for column in batch_columns]
    width = sum(content.shape[1] for _, content in flat if not isinstance(content, list))
    block = max(1, BLOCK // max(1, width))
    found: list[bytes] = []
    for start in range(0, samples, block):
        rows = [b""] * min(block, samples - start)
        for kind, content in flat:
            part = content[start : start + block]
            own = part if isinstance(part, list) else _rows(kind, part)
            rows = list(map(add, rows, own))
        found += [hashlib.sha256(row).digest() for row in rows]
    return found


def _bytes_of(column: Column, samples: int) -> tuple[bytes, NDArray[np.uint8] | list[bytes]]:
    """What stands before each sample's bytes, and these: `(samples, width)`, or of texts a list."""
    if not isinstance(column, Tensor):
        return b"", [f"{len(text)} {text}".encode() for text in column]
    # Viewed as bytes by PyTorch, since NumPy has no bfloat16.
    content = column.detach().cpu().contiguous().reshape(samples, -1).view(torch.uint8).numpy()
    return f"{tuple(column.shape[1:])} {column.dtype} ".encode(), content


def _rows(kind: bytes, content: NDArray[np.uint8]) -> list[bytes]:
    """Each row's bytes after `kind`; narrow rows are copied all at once."""
    if content.shape[1] > WIDE:
        return [kind + row.tobytes() for row in content]
    before = np.broadcast_to(np.frombuffer(kind, np.uint8), (len(content), len(kind)))
    joined, width = np.hstack([before, content]).tobytes(), len(kind) + content.shape[1]
    return [joined[start : start + width] for start in range(0, len(joined), width)]


def holds_target(column: Column, target: Tensor) -> bool:
    """Whether a column is the target that a task takes from the batch: the same memory, or equal numbers."""
    if not isinstance(column, Tensor):
        return False
    if column.untyped_storage().data_ptr() == target.untyped_storage().data_ptr():
        return True
    same = column.numel() == target.numel() and column.device == target.device
    return same and bool((column.flatten() == target.flatten()).all())


def digest_of(rows: Sequence[bytes]) -> str:
    """SHA-256 over the hashes of a dataset's samples, in order, as hexadecimal digits."""
    return hashlib.sha256(b"".join(rows)).hexdigest()
