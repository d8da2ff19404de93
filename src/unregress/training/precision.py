"""Floating-point precision of a model's weights and of its computation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unregress.tasks.nested import map_leaves
from unregress.tasks.unwrap import Transparent

Precision = Literal["32-true", "64-true", "16-mixed", "bf16-mixed", "bf16-true"]
"""`true`: weights and computation in that precision.  `mixed`: float32 weights, computation by `torch.autocast`."""
PRECISIONS: tuple[Precision, ...] = ("32-true", "64-true", "16-mixed", "bf16-mixed", "bf16-true")

_WEIGHTS = {"64-true": torch.float64, "bf16-true": torch.bfloat16}


def convert_weights(model: nn.Module, precision: Precision) -> None:
    """Convert weights and buffers in place; with `32-true` and `mixed` they stay as they are."""
    if precision in _WEIGHTS:
        model.to(_WEIGHTS[precision])


def in_precision(model: nn.Module, precision: Precision, device: torch.device) -> nn.Module:
    """Wrap a model so that it computes in the given precision; with `32-true` it is returned as it is.

    Args:
        model: a model on the device, with converted weights.
        precision: precision of the computation.
        device: device of the model.  On a CPU `16-mixed` computes in bfloat16, since float16 is slow there.
    """
    return model if precision == "32-true" else _InPrecision(model, precision, device)


def loss_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Loss scaling against float16 gradients that vanish; disabled in all other precisions."""
    return torch.amp.GradScaler(device.type, enabled=precision == "16-mixed" and device.type != "cpu")


class _InPrecision(Transparent):
    """A wrapper that converts a model's inputs, and its outputs back to float32 (float64 with `64-true`).

    It passes on the model's attributes.
    """

    def __init__(self, module: nn.Module, precision: Precision, device: torch.device) -> None:
        super().__init__()
        self.module = module
        half = torch.float16 if precision == "16-mixed" and device.type != "cpu" else torch.bfloat16
        self._mixed, self._device = precision.endswith("mixed"), device
        self._computed = _WEIGHTS.get(precision, half)
        self._returned = torch.float64 if precision == "64-true" else torch.float32

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = _cast((args, kwargs), self._computed)
        with self._computing():
            output = self.module(*args, **kwargs)
        return _cast(output, self._returned)

    def _computing(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device.type, self._computed) if self._mixed else default_dtype(self._computed)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make new floating-point tensors in a given precision within the block."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _cast(data: Any, dtype: torch.dtype) -> Any:
    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return map_leaves(cast, data)
