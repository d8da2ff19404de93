"""The gradients of a closed-form edit's predictions: their products, and the change of weights that they give."""

from __future__ import annotations

from math import ceil
from typing import Literal

import torch
from torch import Tensor, nn

from unregress.cost import Cost
from unregress.data.case import Case
from unregress.data.loading import chunked
from unregress.hooks.changeable_layers import Changeable
from unregress.hooks.gram import LayerRecord
from unregress.hooks.raw_predictions import gradients_of, raw_predictions
from unregress.training.runtime import Runtime

Group = Literal["least drift", "all", "first", "last"]
"""Which layers to change."""


def layers_of(layers: dict[str, nn.Module], group: str) -> dict[str, nn.Module]:
    """The layers of a group, by name: `all`, the `first`, or the `last` two."""
    names = list(layers)
    chosen = {"all": names, "first": names[:1], "last": names[-2:]}[group]
    return {name: layers[name] for name in chosen}


class EditGradients:
    """J, the gradients of some samples' predictions by the weights of layers, as far as it is held.

    Args:
        model: the model in evaluation mode, on the runtime's device.
        case: task and data.
        runtime: where to run.
        rows: positions of the training samples.
        changeable: the model's layers.
    """

    def __init__(self, model: nn.Module, case: Case, runtime: Runtime, rows: Tensor, changeable: Changeable) -> None:
        self.model, self.case, self.runtime, self.rows, self.changeable = model, case, runtime, rows, changeable
        self.cost = Cost()
        self._held: dict[str, LayerRecord] = {}

    def products(self, layers: dict[str, nn.Module]) -> tuple[dict[str, Tensor], Tensor]:
        """J Jᵀ of each layer, `(n k, n k)`, and the present predictions, `(n, k)`; what they are made of is held."""
        self._held = {}  # released before as much is held again
        made = self.changeable.products(self.model, layers, self.case, self.rows, self.runtime)
        done = made.passes * len(self.rows)
        self.cost += Cost(forward=done, backward=done * made.outputs.shape[1])
        self._held = made.held
        return made.by_layer, made.outputs

    def direction(self, layers: dict[str, nn.Module], factors: Tensor) -> dict[nn.Parameter, Tensor]:
        """Jᵀ x for the weights of some layers: of the J that is held, or else by a pass at the present weights.

        Args:
            layers: the layers, by name.
            factors: x, `(n, k)`.
        """
        if layers.keys() <= self._held.keys():
            # The other half of a backward pass is the gradients by what goes into the layers, which are held.
            self.cost += Cost(backward=ceil(len(self.rows) / 2))
            return {weight: sum_ for name in layers for weight, sum_ in self._held[name].weighted(factors).items()}
        weights = [weight for layer in layers.values() for weight in layer.parameters() if weight.requires_grad]
        total = [torch.zeros_like(weight) for weight in weights]
        done = 0
        with torch.enable_grad():
            for batch in self.runtime.load(
                self.case.source("train_eval"), chunked(self.rows, self.changeable.size.chunk)
            ):
                raw = raw_predictions(self.case, self.model, batch)
                factor = factors[done : done + len(raw)].to(raw)
                done += len(raw)
                found = gradients_of((raw * factor).sum(), weights)
                # Otherwise what is left of the graph would stay until the next chunk's is complete.
                del raw
                for sum_, piece in zip(total, found, strict=True):
                    sum_ += piece
        self.cost += Cost(forward=len(self.rows), backward=len(self.rows))
        return dict(zip(weights, total, strict=True))

    def hold(self, layers: dict[str, nn.Module]) -> None:
        """Release what is held of all other layers."""
        self._held = {name: self._held[name] for name in layers if name in self._held}
