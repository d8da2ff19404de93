"""What samples contain, whatever batch they come in: to tell datasets apart and to find the same sample twice."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def columns(data: Any, samples: int) -> Iterator[Tensor | Sequence[str]]:
    """The tensors and lists of texts of a batch, however nested, that have one entry per sample."""
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


def row_hashes(found: Sequence[Tensor | Sequence[str]], samples: int) -> list[bytes]:
    """A hash of each sample's content, from the columns of a batch."""
    digests = [hashlib.sha256() for _ in range(samples)]
    for column in found:
        if isinstance(column, Tensor):
            # Bytes of the tensor itself: also for bfloat16, which NumPy does not know.
            flat = column.detach().cpu().contiguous().reshape(samples, -1).view(torch.uint8)
            kind = f"{tuple(column.shape[1:])} {column.dtype} ".encode()
            rows = [kind + row.tobytes() for row in flat.numpy()]
        else:
            rows = [f"{len(text)} {text}".encode() for text in column]
        for digest, row in zip(digests, rows, strict=True):
            digest.update(row)
    return [digest.digest() for digest in digests]


def digest_of(rows: Sequence[bytes]) -> str:
    """SHA-256 over the hashes of a dataset's samples, in order."""
    return hashlib.sha256(b"".join(rows)).hexdigest()
