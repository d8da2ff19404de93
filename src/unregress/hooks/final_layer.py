"""Attack features of the final linear layer: its input and the gradient of the loss by its parameters, per sample.

One forward pass gives both for a whole batch: with layer output z = W a + b, the gradient by (W, b) is
∂ℓ/∂z ⊗ (a, 1), and ∂ℓ/∂z needs only the operations after the layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from unregress.data.loading import Batch
from unregress.errors import ModelError
from unregress.hooks.activations import execution_order
from unregress.tasks.base import Task
from unregress.tasks.unwrap import unwrapped


@dataclass(frozen=True)
class Head:
    """A model's final linear layer, and the sample axis of its input."""

    layer: nn.Linear
    sample_axis: int


def final_linear(model: nn.Module, task: Task[Any], batch: Batch) -> Head:
    """Find the linear layer that runs last.

    Args:
        model: the model; evaluated on a few samples.
        task: the task, which predicts the batch.
        batch: any batch.

    Raises:
        ModelError: the last layer with weights is not linear, or its input has no clear sample axis.
    """
    remedy = "Do not use `Representation`, and use the paper's attack with `Membership(features=('loss',))`"
    # Two samples show the order of layers as well as a whole batch.
    few = replace(batch, data=task.select(batch.data, torch.zeros(2, dtype=torch.int64, device=_device(model))))
    order = execution_order(model, task, few)
    last = unwrapped(model).get_submodule(order[-1]) if order else unwrapped(model)
    if not isinstance(last, nn.Linear):
        raise ModelError(
            f"The model's last layer with weights is {order[-1] if order else 'missing'!r}, a {type(last).__name__}",
            expected="a final `torch.nn.Linear`, whose input and gradients the attack uses",
            remedy=remedy,
        )
    # The time axis may come first and have as many steps as there are samples: only another batch size shows which
    # axis is which.  Two and three samples, since some models squeeze the axis of a single sample.
    two, three = (_input_shape(model, last, task, batch, rows) for rows in ([0, 0], [0, 0, 0]))
    changed = [axis for axis, (a, b) in enumerate(zip(two, three, strict=False)) if a != b]
    if len(changed) != 1 or len(two) != len(three):
        raise ModelError(
            f"The final linear layer has input of shape {tuple(two)} for two samples and {tuple(three)} for three",
            expected="one axis that grows with the number of samples",
            remedy=remedy,
        )
    return Head(last, changed[0])


def _input_shape(model: nn.Module, layer: nn.Linear, task: Task[Any], batch: Batch, rows: list[int]) -> torch.Size:
    """Shape of the layer's input in its last call, when the model predicts rows of a batch."""
    shapes: list[torch.Size] = []
    handle = layer.register_forward_hook(
        lambda _, args, kwargs, __: shapes.append((args[0] if args else kwargs["input"]).shape), with_kwargs=True
    )
    try:
        with torch.no_grad():
            task.predict(model, task.select(batch.data, torch.tensor(rows, device=_device(model))))
    finally:
        handle.remove()
    return shapes[-1]


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


@dataclass(frozen=True)
class Watch:
    """Recorded inputs and outputs of the head, one for each of its calls in a forward pass."""

    head: Head
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)

    def features(self, losses: Tensor) -> dict[str, Tensor]:
        """Activation `(n, features)` and gradient `(n, parameters)` of each sample, given the losses `(n,)`.

        Repeated calls of the layer, and axes between samples and features (time steps), share its
        parameters: their gradients are summed, while their activations are concatenated.
        """
        # A call whose output the loss does not use has gradient zero.
        found: tuple[Tensor | None, ...] = torch.autograd.grad(losses.sum(), self.outputs, allow_unused=True)
        deltas = [
            torch.zeros_like(output) if delta is None else delta
            for output, delta in zip(self.outputs, found, strict=True)
        ]
        activation, delta = self._steps(self.inputs, len(losses)), self._steps(deltas, len(losses))
        gradient = torch.einsum("nto,ntf->nof", delta, activation).flatten(1)
        if self.head.layer.bias is not None:
            gradient = torch.cat([gradient, delta.sum(1)], dim=1)
        return {"activation": activation.flatten(1), "gradient": gradient}

    def _steps(self, values: list[Tensor], samples: int) -> Tensor:
        """Concatenate the values of all calls and time steps; `(n, steps, features)`, float32 at least."""
        axis = self.head.sample_axis
        rows = [value.movedim(axis, 0).reshape(samples, -1, value.shape[-1]) for value in values]
        joined = torch.cat(rows, dim=1)
        return joined if joined.dtype == torch.float64 else joined.float()


@contextmanager
def watched(head: Head) -> Iterator[Watch]:
    """Record the head's calls during one forward pass under `torch.no_grad`.

    Autograd is enabled from the head's output on, so that no graph is kept of the layers before it.
    """
    watch = Watch(head)

    def record(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> Tensor:
        torch.set_grad_enabled(True)
        watch.inputs.append((args[0] if args else kwargs["input"]).detach())
        # Where a head is called again on its own output, the graph continues through all its calls.
        watch.outputs.append(output if output.requires_grad else output.detach().requires_grad_())
        # A copy, since the model may modify the output in place.
        return watch.outputs[-1].clone()

    handle = head.layer.register_forward_hook(record, with_kwargs=True)
    try:
        yield watch
    finally:
        handle.remove()
