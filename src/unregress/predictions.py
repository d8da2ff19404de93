"""A model's answers, frozen: the only food of metrics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unregress.activations import execution_order
from unregress.errors import DataError, ModelError
from unregress.loading import Batch, Source, chunked
from unregress.request import Index
from unregress.runtime import Runtime, bare
from unregress.task import Task

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What one model says about some samples of one split; on the CPU, sorted by index.

    Raises:
        DataError: the arrays' lengths differ, or the index is not ascending and free of repetition.
        ModelError: a prediction is not finite.
    """

    index: Index
    """Positions in the dataset, `(n,)`, ascending."""
    prediction: Values
    """Point predictions in target units, `(n, *out)`."""
    target: Values
    """True targets, `(n, *out)`."""
    loss: Values
    """The task's loss per sample, `(n,)`."""
    activation: NDArray[np.float32] | None = None
    """Input of the final linear layer, `(n, features)`, if it was collected."""
    gradient: NDArray[np.float32] | None = None
    """Gradient of the sample's loss by the final linear layer's weight and bias, `(n, parameters)`."""

    def __post_init__(self) -> None:
        lengths = {
            len(values)
            for values in (self.index, self.prediction, self.target, self.loss, self.activation, self.gradient)
            if values is not None
        }  # fmt: skip
        if len(lengths) != 1 or self.prediction.shape != self.target.shape:
            raise DataError(
                f"Predictions {self.prediction.shape}, targets {self.target.shape}, losses "
                f"{self.loss.shape} and index {self.index.shape} do not belong together"
            )
        if len(self.index) > 1 and not np.all(np.diff(self.index) > 0):
            raise DataError("The index of predictions is not ascending, or repeats a sample")
        if not np.all(np.isfinite(self.prediction)):
            bad = self.index[~np.isfinite(self.prediction).reshape(len(self.index), -1).all(axis=1)]
            raise ModelError(
                f"The model predicts NaN or infinity for {len(bad)} samples, the first at position {bad[0]}",
                expected="finite predictions",
                remedy="Check the weights and that inputs are finite",
            )

    def __len__(self) -> int:
        return len(self.index)

    def at(self, index: NDArray[Any]) -> Predictions:
        """The predictions for some of the samples, joined by index.

        Args:
            index: ascending positions in the dataset.

        Raises:
            DataError: a position was not predicted.
        """
        if not np.all(np.isin(index, self.index)):
            raise DataError(
                "Some of the samples asked for were not predicted",
                remedy="Collect predictions for the same samples from every model",
            )
        found = np.searchsorted(self.index, index)
        return replace(
            self,
            index=self.index[found],
            prediction=self.prediction[found],
            target=self.target[found],
            loss=self.loss[found],
            activation=None if self.activation is None else self.activation[found],
            gradient=None if self.gradient is None else self.gradient[found],
        )


def require_aligned(first: Predictions, second: Predictions) -> None:
    """Refuse to compare predictions about different samples.

    Raises:
        DataError: the indices differ.
    """
    if not np.array_equal(first.index, second.index):
        raise DataError(
            f"Two models' predictions are about different samples ({len(first)} and {len(second)})",
            expected="the same index on both sides",
            remedy="Join them with `Predictions.at` first",
        )


def collect(
    model: nn.Module,
    task: Task[Any],
    source: Source,
    runtime: Runtime,
    *,
    rows: Index | None = None,
    features: bool = False,
) -> Predictions:
    """Ask a model about samples, in evaluation mode and without augmentation.

    The model is copied, so that its weights, mode, gradients and hooks stay as they are.

    Args:
        model: whom to ask.
        task: how to ask.
        source: which split.
        runtime: where.
        rows: ascending positions; None for all.
        features: also collect the final linear layer's input and the loss gradient by its
            parameters, for membership attacks.  Both come out of the same single forward pass:
            with layer output z = W a + b, the gradient is ∂ℓ/∂z ⊗ (a, 1), and ∂ℓ/∂z needs only the
            few operations behind the layer.

    Raises:
        ModelError: features are asked for and the model does not end in a linear layer.
    """
    chosen = torch.arange(len(source)) if rows is None else torch.from_numpy(np.asarray(rows, np.int64))
    chunks = chunked(chosen, runtime.evaluation_batch_size)
    twin = runtime.set_up(runtime.private_copy(model))
    twin.eval()
    parts: list[dict[str, Tensor]] = []
    head: nn.Linear | None = None
    for batch in runtime.load(source, chunks):
        if features and head is None:
            head = final_linear(twin, task, batch)
        parts.append(_predict(twin, task, batch, head))
    joined = {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}
    wide = {name: joined[name].double().numpy() for name in ("prediction", "target", "loss")}
    narrow = {name: joined[name].float().numpy() for name in ("activation", "gradient") if name in joined}
    return Predictions(index=chosen.numpy(), **wide, **narrow)


def _predict(model: nn.Module, task: Task[Any], batch: Batch, head: nn.Linear | None) -> dict[str, Tensor]:
    lease: dict[str, Tensor] = {}

    def cut(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        # From here on, and only from here on, autograd watches: the backbone keeps no graph.
        torch.set_grad_enabled(True)
        lease["input"], lease["output"] = inputs[0].detach(), output.detach().requires_grad_()
        return lease["output"]

    handle = head.register_forward_hook(cut) if head is not None else None
    try:
        with torch.no_grad():
            prediction = task.predict(model, batch.data)
            target = task.target(batch.data)
            loss = task.checked_loss(prediction, target)
            found = {"prediction": task.point(prediction).detach(), "target": target, "loss": loss.detach()}
            if head is not None:
                (delta,) = torch.autograd.grad(loss.sum(), lease["output"])
                found |= _features(lease["input"], delta, len(target), bias=head.bias is not None)
    finally:
        if handle is not None:
            handle.remove()
    return found


def _features(inputs: Tensor, delta: Tensor, samples: int, *, bias: bool) -> dict[str, Tensor]:
    """Closed-form features of the final linear layer, from its input and the loss gradient by its output.

    Axes between the sample's and the feature's (time steps) share the layer's parameters, so their
    gradients add up; the activation keeps them side by side.
    """
    steps = inputs.reshape(samples, -1, inputs.shape[-1])
    deltas = delta.reshape(samples, -1, delta.shape[-1])
    gradient = torch.einsum("nto,ntf->nof", deltas, steps).flatten(1)
    if bias:
        gradient = torch.cat([gradient, deltas.sum(1)], dim=1)
    return {"activation": steps.flatten(1), "gradient": gradient}


def final_linear(model: nn.Module, task: Task[Any], batch: Batch) -> nn.Linear:
    """The linear layer that runs last.

    Raises:
        ModelError: the last layer with weights is not linear.
    """
    order = execution_order(model, task, batch)
    last = bare(model).get_submodule(order[-1]) if order else bare(model)
    if not isinstance(last, nn.Linear):
        raise ModelError(
            f"The model's last layer with weights is {order[-1] if order else 'not there'!r}, a {type(last).__name__}",
            expected="a final `torch.nn.Linear`, whose input and gradients the attack uses",
            remedy="Use the attack with `features=('loss',)`",
        )
    return last
