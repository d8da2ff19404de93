"""Digest of a model's architecture and weights."""

from __future__ import annotations

import hashlib

from torch import Tensor, nn, uint8

from unregress.errors.wording import without_addresses
from unregress.tasks.unwrap import unwrapped


def weights_of(model: nn.Module) -> str:
    """SHA-256 of a model's architecture and weights, in hexadecimal digits; wrappers of PyTorch do not count."""
    inner = unwrapped(model)
    total = hashlib.sha256(without_addresses(str(inner)).encode())
    for name, value in inner.state_dict().items():
        total.update(name.encode() + _bytes(value))
    return total.hexdigest()


def _bytes(value: object) -> bytes:
    # Viewed as bytes, since NumPy lacks some of PyTorch's types; a module's extra state may be any object.
    if not isinstance(value, Tensor):
        return without_addresses(repr(value)).encode()
    content: bytes = value.to_dense().cpu().contiguous().reshape(-1).view(uint8).numpy().tobytes()
    return content
