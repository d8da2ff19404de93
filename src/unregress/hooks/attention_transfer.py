"""Distance between two models' activations: attention transfer, and the paper's Eq. 8 as printed.

Attention transfer is after Zagoruyko and Komodakis, "Paying More Attention to Attention" (ICLR 2017).
An activation is read as `(n, channels, positions)`.  Which axis holds the channels is decided once per
layer, from its type, and recorded.
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
        channel_axis: the axis to average; None for activations without channels, such as `(n, features)`.

    >>> attention_map(torch.tensor([[1.0, 0.0], [3.0, 2.0]]), None)[1]
    tensor([0.9138, 0.4061])
    """
    energy = _wide(activation).square()
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
    distance: Tensor = torch.linalg.vector_norm(_wide(first - second).flatten(1), dim=1)
    return distance


def _wide(values: Tensor) -> Tensor:
    """At least float32: half precision overflows when squared."""
    return values if values.dtype == torch.float64 else values.float()


class AttentionLoss:
    """Sum over layers, and over the calls of each layer, of the distance between two recordings.

    Args:
        axes: channel axis per layer name; None for no channels.
        raw: use Eq. 8 as printed instead of attention transfer.
    """

    def __init__(self, axes: Mapping[str, int | None], *, raw: bool) -> None:
        self.axes, self.raw = axes, raw

    def __call__(self, student: Recording, teacher: Recording) -> Tensor:
        """Per-sample distances, `(n,)`, without λ; the recordings hold the same samples."""
        terms = [
            raw_distance(mine, its) if self.raw else transfer_distance(mine, its, axis)
            for name, axis in self.axes.items()
            for mine, its in zip(student[name], teacher[name], strict=True)
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
    """The channel axis of each layer: as stated, or by the layer's type and its output's rank.

    Two axes `(n, features)`: no channels, features are positions.  Four or five (images, volumes):
    axis 1.  Three: axis 1 behind a convolution or batch normalisation `(n, channels, length)`, the
    last axis behind linear, recurrent and attention layers `(n, time, features)`.  Where only one
    position is left, as in the last block of a ResNet18 on small images, the layer is a vector: no channels.

    Raises:
        LayerError: an axis is stated for another layer, a layer's axis cannot be told, its output lacks
            a sample axis, it does not run, or it is a single number per sample, whose normalised map is
            always 1 (unless `raw`).
    """
    inner = unwrapped(model)
    modules = dict(inner.named_modules())
    with evaluating(inner), torch.no_grad(), activations(inner, names) as recording:
        samples = len(task.predict(model, batch.data))
    if unused := [name for name in stated if name not in names]:
        raise LayerError(
            f"channel_axis names {', '.join(map(repr, unused))}, and the layers compared are {', '.join(names)}",
            remedy="Correct the name, or add it to `layers`",
        )
    axes: dict[str, int | None] = {}
    for name in names:
        if name not in recording:
            raise LayerError(f"Layer {name!r} does not run when the model predicts", remedy="Choose another")
        example = recording[name][0]
        if example.ndim < 2 or len(example) != samples:
            raise LayerError(
                f"Layer {name!r} returns shape {tuple(example.shape)} for {samples} samples",
                expected="samples on the first axis and at least one more axis (a packed sequence has neither)",
                remedy="Choose another layer, or set the attention weight to 0",
            )
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


def _axis(name: str, module: nn.Module, example: Tensor, stated: Mapping[str, int]) -> int | None:
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
        f"Layer {name!r} ({type(module).__name__}) returns shape {tuple(example.shape)}, whose channel "
        "axis its type does not tell",
        remedy=f"State it: `channel_axis={{{name!r}: 1}}` or -1",
    )
