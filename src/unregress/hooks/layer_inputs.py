"""Record what a model's linear and convolution layers are given, sample by sample."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unregress.data.loading import Source, chunked
from unregress.hooks.activations import narrowed
from unregress.tasks.base import Task
from unregress.tasks.unwrap import unwrapped
from unregress.training.runtime import Runtime, evaluating

WIDTH = 1024
"""Largest number of features of a layer; more are averaged in equal parts."""
LAYERS = 32
"""Largest number of layers; of more, as many at equal distances in the model's order."""
KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def layer_inputs(
    model: nn.Module, task: Task[Any], source: Source, rows: Tensor, runtime: Runtime
) -> dict[str, Tensor]:
    """Inputs of a model's linear and convolution layers, by the layer's name, `(n, features)` each.

    Inputs of a convolution are averaged over space, those of a linear layer over all axes but the first and the last,
    such as time.  Of a layer that is called several times for a batch the last call is recorded.  Layers whose inputs
    do not have the samples on their first axis are left out.

    Args:
        model: the model, on the runtime's device, in evaluation mode afterwards as before.
        task: predicts a batch.
        source: the data, read without augmentation.
        rows: positions of the samples, `(n,)`.
        runtime: where to run.
    """
    named = [(name, layer) for name, layer in unwrapped(model).named_modules() if isinstance(layer, KINDS)]
    chosen = [named[place] for place in torch.linspace(0, len(named) - 1, min(LAYERS, len(named))).round().int()]
    found: dict[str, list[Tensor]] = {name: [] for name, _ in chosen}
    last: dict[str, Tensor] = {}

    def recorder(name: str) -> Any:
        def hook(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
            if inputs and isinstance(inputs[0], Tensor):
                last[name] = _by_sample(layer, inputs[0].detach())

        return hook

    handles = [layer.register_forward_pre_hook(recorder(name)) for name, layer in chosen]
    try:
        with evaluating(model), torch.no_grad():
            for batch in runtime.load(source, chunked(rows, runtime.evaluation_batch_size)):
                last.clear()
                task.predict(model, batch.data)
                for name in list(found):
                    if name in last and len(last[name]) == len(batch.index):
                        found[name].append(last[name].cpu())
                    else:
                        del found[name]
    finally:
        for handle in handles:
            handle.remove()
    return {name: torch.cat(parts) for name, parts in found.items() if parts}


def _by_sample(layer: nn.Module, inputs: Tensor) -> Tensor:
    """A layer's inputs, averaged over space or time, `(n, features)`."""
    if isinstance(layer, nn.Linear):
        features = inputs.float().reshape(len(inputs), -1, inputs.shape[-1]).mean(1)
    else:
        features = inputs.float().flatten(2).mean(2) if inputs.ndim > 2 else inputs.float()
    return narrowed(features, WIDTH)
