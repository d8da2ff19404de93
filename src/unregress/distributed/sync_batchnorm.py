"""Batch normalisation over the rows of all processes."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def synchronise_batch_norm(model: nn.Module) -> None:
    """Let batch normalisation take its statistics over the rows of all processes.

    PyTorch's own `SyncBatchNorm` does not compute on CPUs.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.forward = partial(_normalise, module)  # type: ignore[method-assign]


def _normalise(module: _BatchNorm, values: Tensor) -> Tensor:
    if not (module.training or module.running_mean is None):
        return _plain(module, values)
    axes = [0, *range(2, values.ndim)]
    shape = [1, -1, *(1 for _ in range(2, values.ndim))]
    wide = values if values.dtype == torch.float64 else values.float()
    count = _Total.apply(wide.new_tensor(values.numel() // values.shape[1]))
    if count < 2:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {list(values.shape)}")
    mean = _Total.apply(wide.sum(axes)) / count
    centred = wide - mean.view(shape)
    variance = _Total.apply(centred.square().sum(axes)) / count
    _remember(module, mean.detach(), variance.detach() * count / (count - 1))
    normal = centred * torch.rsqrt(variance + module.eps).view(shape)
    if module.affine:
        normal = normal * module.weight.view(shape) + module.bias.view(shape)
    rescaled: Tensor = normal.to(values.dtype)
    return rescaled


def _plain(module: _BatchNorm, values: Tensor) -> Tensor:
    normal: Tensor = type(module).forward(module, values)
    return normal


@torch.no_grad()
def _remember(module: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Take a batch's statistics into the running ones, as PyTorch does."""
    if module.running_mean is None or module.running_var is None or not module.training:
        return
    if module.num_batches_tracked is not None:
        module.num_batches_tracked.add_(1)
    seen = module.num_batches_tracked
    factor = module.momentum if module.momentum is not None else 1 / float(seen if seen is not None else 1)
    module.running_mean.lerp_(mean.to(module.running_mean.dtype), factor)
    module.running_var.lerp_(variance.to(module.running_var.dtype), factor)


class _Total(torch.autograd.Function):
    """The sum over all processes; whatever any of them makes of it counts for everybody's gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        summed = values.clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous().clone()
        dist.all_reduce(summed)
        return summed
