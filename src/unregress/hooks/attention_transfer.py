"""Distance between two models' activations: attention transfer, and the paper's Eq. 8 as printed.

Attention transfer is after Zagoruyko and Komodakis, "Paying More Attention to Attention" (ICLR 2017).
An activation has axes for samples, channels and positions.  The channel axis is decided once per layer, from
its type, and recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from unregress.data.loading import Batch
from unregress.errors import LayerError
from unregress.hooks.activations import Recording, activations
from unregress.tasks.base import Task
from unregress.tasks.losses import mean_over_outputs
from unregress.tasks.unwrap import unwrapped
from unregress.training.runtime import evaluating

_CHANNELS_LAST = (
    nn.Linear,
    nn.RNNBase,
    nn.LayerNorm,
    nn.Embedding,
    nn.MultiheadAttention,
    nn.TransformerEncoder,
    nn.TransformerEncoderLayer,
)
_CHANNELS_SECOND = (_ConvNd, _BatchNorm)


def attention_map(activation: Tensor, channel_axis: int | None) -> Tensor:
    """Q(a): the mean over channels of a², flattened and normalised to length 1; shape `(n, positions)`.

    Args:
        activation: `(n, ...)`.
        channel_axis: the axis to average over; None for activations without channels, such as `(n, features)`.

    >>> attention_map(torch.tensor([[1.0, 0.0], [3.0, 2.0]]), None)[1]
    tensor([0.9138, 0.4061])
    """
    energy = _at_least_float32(activation).square()
    if channel_axis is not None:
        energy = energy.mean(channel_axis)
    energy = energy.flatten(1)
    # As `functional.normalize` does: an all-zero activation stays zero instead of becoming NaN.
    length = torch.linalg.vector_norm(energy, dim=1, keepdim=True).clamp_min(1e-12)
    normalised: Tensor = energy / length
    return normalised


def transfer_distance(first: Tensor, second: Tensor, channel_axis: int | None) -> Tensor:
    """Mean squared difference of two attention maps (published code); shape `(n,)`."""
    return mean_over_outputs((attention_map(first, channel_axis) - attention_map(second, channel_axis)).square())


def raw_distance(first: Tensor, second: Tensor) -> Tensor:
    """Euclidean norm of the activations' difference (paper Eq. 8 as printed); shape `(n,)`."""
    distance: Tensor = torch.linalg.vector_norm(_at_least_float32(first - second).flatten(1), dim=1)
    return distance


def _at_least_float32(values: Tensor) -> Tensor:
    """Convert to float32 at least, since half precision overflows when squared."""
    return values if values.dtype == torch.float64 else values.float()


class AttentionLoss:
    """Distance between two recordings of activations, summed over layers and the calls of each layer.

    Args:
        axes: channel axis by layer name; None for activations without channels.
        raw: use Eq. 8 as printed instead of attention transfer.
    """

    def __init__(self, axes: Mapping[str, int | None], *, raw: bool) -> None:
        self.axes, self.raw = axes, raw

    def __call__(self, student: Recording, teacher: Recording) -> Tensor:
        """Distance of each sample, `(n,)`, not multiplied by λ; both recordings are of the same samples."""
        terms = [
            raw_distance(own, other) if self.raw else transfer_distance(own, other, axis)
            for name, axis in self.axes.items()
            for own, other in zip(student[name], teacher[name], strict=True)
        ]
        return torch.stack(terms).sum(0)


def channel_axes(
    model: nn.Module,
    names: Sequence[str],
    stated: Mapping[str, int],
    task: Task[Any],
    batch: Batch,
    *,
    raw: bool,
) -> dict[str, int | None]:
    """Determine the channel axis of each layer: as stated, or from its type and the number of axes of its output.

    Two axes `(n, features)`: no channels; features are positions.  Four or five (images, volumes): axis 1.
    Three: axis 1 of convolutions and batch normalisation `(n, channels, length)`, the last axis of linear,
    recurrent and attention layers `(n, time, features)`.  An output with a single position, as in the last block
    of a ResNet18 on small images, is a vector: no channels.

    Args:
        model: the model; evaluated on `batch` once.
        names: names of the layers to compare.
        stated: channel axis by layer name, where the user has given one.
        task: the task, which predicts the batch.
        batch: any batch.
        raw: whether activations are compared by Eq. 8 as printed.

    Returns:
        The channel axis by layer name; None for a layer without channels.

    Raises:
        LayerError: an axis is stated for another layer, the axis of a layer is ambiguous, its output has
            no sample axis, it does not run, or it returns a single number per sample, whose normalised map
            is always 1 (unless `raw`).
    """
    inner = unwrapped(model)
    modules = dict(inner.named_modules())
    with evaluating(inner), torch.no_grad(), activations(inner, names) as recording:
        samples = len(task.predict(model, batch.data))
    if unused := [name for name in stated if name not in names]:
        raise LayerError(
            f"channel_axis names {', '.join(map(repr, unused))}, and the compared layers are {', '.join(names)}",
            remedy="Correct the name, or add it to `layers`",
        )
    axes: dict[str, int | None] = {}
    for name in names:
        example = _example(name, recording, samples)
        axis = _axis(name, modules[name], example, stated)
        one_position = axis is not None and example[0].numel() == example.shape[axis]
        axes[name] = None if one_position else axis
        if not raw and example[0].numel() < 2:
            raise LayerError(
                f"Layer {name!r} returns one number per sample, whose normalised attention map is always 1",
                expected="a layer with two values or more",
                remedy="Choose another layer, or `attention='raw'`",
            )
    return axes


def _example(name: str, recording: Recording, samples: int) -> Tensor:
    """A layer's first recorded output.

    Raises:
        LayerError: the layer did not run, or its output has no sample axis.
    """
    if name not in recording:
        raise LayerError(f"Layer {name!r} does not run when the model predicts", remedy="Choose another layer")
    example = recording[name][0]
    if example.ndim < 2 or len(example) != samples:
        raise LayerError(
            f"Layer {name!r} returns shape {tuple(example.shape)} for {samples} samples",
            expected="samples on the first axis and at least one more axis (a packed sequence has neither)",
            remedy="Choose another layer, or set the attention weight to 0",
        )
    return example


def _axis(name: str, module: nn.Module, example: Tensor, stated: Mapping[str, int]) -> int | None:
    """The channel axis of one layer, as stated or from its type; None if its output is `(n, features)`.

    Raises:
        LayerError: the stated axis does not exist, or the type does not determine the axis.
    """
    if name in stated:
        axis = stated[name]
        if not -example.ndim < axis < example.ndim or axis == 0:
            raise LayerError(
                f"channel_axis of {name!r} is {axis}, and the layer returns shape {tuple(example.shape)}",
                expected=f"an axis from 1 to {example.ndim - 1}",
            )
        return axis
    if example.ndim == 2:
        return None
    if example.ndim >= 4 or isinstance(module, _CHANNELS_SECOND):
        return 1
    if isinstance(module, _CHANNELS_LAST):
        return -1
    raise LayerError(
        f"Layer {name!r} ({type(module).__name__}) returns shape {tuple(example.shape)}, and its type does "
        "not determine the channel axis",
        remedy=f"State it: `channel_axis={{{name!r}: 1}}` or -1",
    )
