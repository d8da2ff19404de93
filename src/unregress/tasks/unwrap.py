"""Take a user's model out of PyTorch's wrappers, copy it, and check its weights."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.optim.swa_utils import AveragedModel

from unregress.errors import ModelError
from unregress.errors.user_code import described

WRAPPERS = ("_orig_mod", "module", "_forward_module")
"""Attributes in which wrappers keep their model: `torch.compile`; DataParallel, DDP and AveragedModel; Lightning
Fabric."""


class Transparent(nn.Module):
    """A wrapper that passes on the attributes of the model in its `module`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


def unwrapped(model: nn.Module) -> nn.Module:
    """Remove wrappers that do not change predictions; a model without such wrappers is returned as it is.

    These wrappers are DataParallel, DistributedDataParallel, `torch.compile`'s, AveragedModel (EMA and SWA weights) and
    those of `Runtime.set_up` and `Runtime.training`.

    >>> unwrapped(nn.DataParallel(AveragedModel(nn.Linear(2, 1))))
    Linear(in_features=2, out_features=1, bias=True)
    """
    while (inner := _inside(model)) is not None:
        model = inner
    return model


def _inside(model: nn.Module) -> nn.Module | None:
    if isinstance(model, (nn.DataParallel, DistributedDataParallel, AveragedModel, Transparent)):
        inner: nn.Module = model.module
        return inner
    # Compared by name, since importing the compiler takes seconds.
    return model._modules["_orig_mod"] if type(model).__name__ == "OptimizedModule" else None


def unwrapping(model: nn.Module) -> tuple[str, ...]:
    """A note for the model's record if `unwrapped` removes a wrapper; empty otherwise."""
    inner = unwrapped(model)
    if inner is model:
        return ()
    return (f"taken out of its {type(model).__name__}: the {type(inner).__name__} inside, with the same weights",)


def plain(name: str) -> str:
    """A weight's name without the parts that wrappers have added, at its start or inside.

    >>> plain("module._orig_mod.0.weight"), plain("encoder._orig_mod.bias")
    ('0.weight', 'encoder.bias')
    """
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def private_copy(model: nn.Module) -> nn.Module:
    """Copy a model without its gradients and PyTorch's wrappers; the copy shares no memory with it.

    Raises:
        ModelError: the model cannot be copied.
    """
    inner = unwrapped(model)
    # Tensors computed from weights cannot be copied with their gradient; the next forward pass computes them again.
    computed = {id(tensor): tensor.detach().clone() for tensor in _recomputed(inner)}
    try:
        copied = copy.deepcopy(inner, computed)
    except Exception as error:
        raise ModelError(
            f"The model cannot be copied: {described(error)}",
            expected="a module that `copy.deepcopy` can copy",
            remedy="Do not store computed tensors (with a gradient) as attributes of the module",
        ) from error
    copied.zero_grad(set_to_none=True)
    return copied


def _recomputed(model: nn.Module) -> list[Tensor]:
    """Tensors that each forward pass computes from weights, as hook-based weight or spectral norm and pruning do."""
    found = []
    for module in model.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, (WeightNorm, SpectralNorm, BasePruningMethod)):
                name = hook._tensor_name if isinstance(hook, BasePruningMethod) else hook.name
                found.append(getattr(module, name))
    return found


def require_weights(model: nn.Module) -> None:
    """Refuse a model with lazy layers.

    Raises:
        ModelError: some weights of the model do not exist yet.
    """
    if any(is_lazy(parameter) for parameter in model.parameters()):
        raise ModelError(
            "The task's `build_model` returns a model with lazy layers, whose weights do not exist yet",
            expected="a model whose weights exist",
            remedy="Call the model on one batch in `build_model`",
        )


def not_finite(model: nn.Module) -> list[str]:
    """Names of the parameters that hold NaN or infinity."""
    return [name for name, parameter in model.named_parameters() if not bool(parameter.isfinite().all())]
