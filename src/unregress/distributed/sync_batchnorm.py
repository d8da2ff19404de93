"""Synchronise batch normalisation over the rows of all processes."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.nn.modules.batchnorm import _BatchNorm

from unregress.distributed.process_group import device_mesh


def synchronise_batch_norm(model: nn.Module, kind: str) -> nn.Module:
    """Let batch normalisation compute its statistics over the rows of all processes.

    On GPUs this is `torch.nn.SyncBatchNorm`, which does not support CPUs.

    Args:
        model: changed in place.
        kind: kind of device, `cpu` or `cuda`.

    Returns:
        The model, or its replacement if it is itself a batch normalisation layer.
    """
    if kind == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return converted
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.forward = partial(_normalise, module, device_mesh(kind))  # type: ignore[method-assign]
    return model


def _normalise(module: _BatchNorm, mesh: DeviceMesh, values: Tensor) -> Tensor:
    """Forward pass of a batch normalisation layer, with statistics over all processes while it trains."""
    if not (module.training or module.running_mean is None):
        unchanged: Tensor = type(module).forward(module, values)
        return unchanged
    axes = [0, *range(2, values.ndim)]
    shape = [1, -1, *(1 for _ in range(2, values.ndim))]
    wide = values if values.dtype == torch.float64 else values.float()
    count = _sum(wide.new_tensor(values.numel() // values.shape[1]), mesh)
    if count < 2:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {list(values.shape)}")
    mean = _sum(wide.sum(axes), mesh) / count
    centred = wide - mean.view(shape)
    variance = _sum(centred.square().sum(axes), mesh) / count
    _update_running_statistics(module, mean.detach(), variance.detach() * count / (count - 1))
    normal = centred * torch.rsqrt(variance + module.eps).view(shape)
    if module.affine:
        normal = normal * module.weight.view(shape) + module.bias.view(shape)
    rescaled: Tensor = normal.to(values.dtype)
    return rescaled


def _sum(values: Tensor, mesh: DeviceMesh) -> Tensor:
    """Sum over all processes; its gradient is the sum of the gradients of all processes."""
    from torch.distributed.tensor import DTensor, Partial, Replicate

    total = DTensor.from_local(values, mesh, [Partial()], run_check=False).redistribute(mesh, [Replicate()])
    local: Tensor = total.to_local(grad_placements=[Partial()])
    return local


@torch.no_grad()
def _update_running_statistics(module: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Update the running statistics with those of a batch, as PyTorch does."""
    if module.running_mean is None or module.running_var is None or not module.training:
        return
    if module.num_batches_tracked is not None:
        module.num_batches_tracked.add_(1)
    seen = module.num_batches_tracked
    factor = module.momentum if module.momentum is not None else 1 / float(seen if seen is not None else 1)
    module.running_mean.lerp_(mean.to(module.running_mean.dtype), factor)
    module.running_var.lerp_(variance.to(module.running_var.dtype), factor)
