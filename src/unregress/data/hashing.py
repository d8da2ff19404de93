"""Hashes of samples' content, independent of batching: to tell datasets apart and to find duplicates."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Column = Tensor | Sequence[str]
"""One tensor or list of texts of a batch, with one entry per sample."""


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
    whole = [hashlib.sha256() for _ in range(samples)]
    # The same objects until a column is left out: the target mostly comes last, and then all else is hashed once.
    rest = whole
    for column, left_out in zip(batch_columns, aside, strict=True):
        if left_out and rest is whole:
            rest = [digest.copy() for digest in whole]
        for place, row in enumerate(_bytes_of(column, samples)):
            whole[place].update(row)
            if rest is not whole and not left_out:
                rest[place].update(row)
    return [digest.digest() for digest in whole], [digest.digest() for digest in rest]


def _bytes_of(column: Column, samples: int) -> Iterator[bytes]:
    if not isinstance(column, Tensor):
        yield from (f"{len(text)} {text}".encode() for text in column)
        return
    # Viewed as bytes by PyTorch, since NumPy has no bfloat16.
    flat = column.detach().cpu().contiguous().reshape(samples, -1).view(torch.uint8)
    kind = f"{tuple(column.shape[1:])} {column.dtype} ".encode()
    yield from (kind + row.tobytes() for row in flat.numpy())


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
