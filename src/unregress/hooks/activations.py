"""Record a model's inner activations with temporary forward hooks, without changing the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from unregress.data.loading import Batch
from unregress.errors import LayerError
from unregress.tasks.base import Task
from unregress.tasks.unwrap import unwrapped
from unregress.training.runtime import evaluating

Recording = dict[str, list[Tensor]]
"""Outputs by layer name, one for each call in a forward pass (a shared encoder is called more than once)."""


@contextmanager
def activations(model: nn.Module, layers: Sequence[str]) -> Iterator[Recording]:
    """Record the outputs of named layers within the block; the hooks are removed afterwards.

    Each entry has the samples on its first axis.  If a layer returns several values (an LSTM returns outputs and
    state), the first tensor is recorded.  Clear the recording between forward passes.

    Args:
        model: the model whose layers are recorded.
        layers: names of submodules.

    Raises:
        LayerError: the model has no layer of a given name, or a layer returns no tensor.
    """
    modules = dict(model.named_modules())
    recording: Recording = {}
    handles = []
    try:
        for name in layers:
            if name not in modules:
                raise _unknown_layer(name, list(modules))
            handles.append(modules[name].register_forward_hook(_recorder(recording, name)))
        yield recording
    finally:
        for handle in handles:
            handle.remove()


def _recorder(recording: Recording, name: str) -> Any:
    def hook(module: nn.Module, _: Any, output: Any) -> None:
        tensor = samples_first(module, output)
        if tensor is None:
            raise LayerError(f"Layer {name!r} ({type(module).__name__}) returns no tensor")
        recording.setdefault(name, []).append(tensor)

    return hook


def samples_first(layer: nn.Module, output: Any) -> Tensor | None:
    """The first tensor in a layer's output, with the samples on its first axis; None if there is no tensor.

    Recurrent and attention layers have time on the first axis unless `batch_first` is set.
    """
    tensor = _first_tensor(output)
    attention = getattr(layer, "self_attn", layer)
    time_first = tensor is not None and tensor.ndim == 3 and getattr(attention, "batch_first", True) is False
    return tensor.transpose(0, 1) if tensor is not None and time_first else tensor


def narrowed(features: Tensor, width: int) -> Tensor:
    """Features of at most a width, `(n, width)`: more are averaged in equal parts."""
    parts = min(width, features.shape[1])
    return nn.functional.adaptive_avg_pool1d(features.unsqueeze(1), parts).squeeze(1)


def _first_tensor(output: Any) -> Tensor | None:
    """The first tensor in a nested output; None if there is none."""
    if isinstance(output, Tensor):
        return output
    items = output.values() if isinstance(output, dict) else output if isinstance(output, (tuple, list)) else ()
    return next((found for item in items if (found := _first_tensor(item)) is not None), None)


_NORMALISING = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def execution_order(model: nn.Module, task: Task[Any], batch: Batch) -> list[str]:
    """Names of the layers with weights, in the order of their last call.

    Containers are not listed, even if they have a weight beside their layers (a class token, a position
    embedding), and neither are normalisation layers, which only rescale the layer before them.  The model is
    evaluated on the batch once, without gradients.

    Args:
        model: the model; its modes are restored.
        task: the task, which predicts the batch.
        batch: any batch.
    """
    order: list[str] = []
    handles = []

    def note(name: str) -> Any:
        inside = f"{name}." if name else ""

        def hook(*_: Any) -> None:
            if any(other != name and other.startswith(inside) for other in order):
                return
            if name in order:
                order.remove(name)
            order.append(name)

        return hook

    inner = unwrapped(model)
    for name, module in inner.named_modules():
        if "parametrizations" in name.split(".") or isinstance(module, _NORMALISING):
            continue
        # A parametrised layer (weight norm) has its weights in a submodule.
        if hasattr(module, "parametrizations") or next(module.parameters(recurse=False), None) is not None:
            handles.append(module.register_forward_hook(note(name)))
    try:
        with evaluating(inner), torch.no_grad():
            task.predict(model, batch.data)
    finally:
        for handle in handles:
            handle.remove()
    return order


def resolve_layers(wanted: int | Sequence[str], model: nn.Module, task: Task[Any], batch: Batch) -> tuple[str, ...]:
    """Resolve a choice of layers to names; a number gives them in execution order.

    Args:
        wanted: names or shell-style patterns (`layer?`), or the number of last hidden layers by
            execution order (all hidden layers if there are fewer); the output layer is not hidden.
        model: the model; it is evaluated on `batch` once if a number is given.
        task: the task, which predicts the batch.
        batch: any batch.

    Raises:
        LayerError: a name or pattern matches no layer, or there is no hidden layer.
    """
    if isinstance(wanted, int):
        hidden = execution_order(model, task, batch)[:-1]
        if wanted < 1 or not hidden:
            raise LayerError(
                f"The last {wanted} hidden layers are to be compared, and the model has {len(hidden)}",
                expected="at least one, and a model with at least one",
                remedy="Change `layers`, or set the attention weight to 0",
            )
        return tuple(hidden[-wanted:])
    names = [name for name, _ in unwrapped(model).named_modules() if name]
    chosen: list[str] = []
    for pattern in wanted:
        matching = [name for name in names if name == pattern or fnmatchcase(name, pattern)]
        if not matching:
            raise _unknown_layer(pattern, names)
        chosen += [name for name in matching if name not in chosen]
    return tuple(chosen)


def _unknown_layer(name: str, available: Sequence[str]) -> LayerError:
    shown = [other for other in available if other]
    near = get_close_matches(name, shown, n=1)
    return LayerError(
        f"The model has no layer {name!r}",
        expected=f"one of {', '.join(shown)}",
        remedy=f"Did you mean {near[0]!r}?" if near else "Name one of these, or use a pattern such as 'layer?'",
    )
