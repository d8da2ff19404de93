"""Gradients of single samples by one layer's weights, from what went into the layer and what came back to it.

They are made in blocks of bounded memory, or whole, for linear, embedding and convolution layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv1d_weight, conv2d_weight

BLOCK = 32_000_000
"""Largest number of values of a block of per-sample gradients."""


class UnequalUseError(ValueError):
    """Samples use a layer in different ways, so that its products are not known in closed form."""


@dataclass
class Trace:
    """What went into a layer and what came back, of one call in a forward pass."""

    inputs: Tensor
    """`(n, ...)`, or `(n, positions)` of an embedding."""
    gradients: Tensor
    """Gradient of each output component of each sample's prediction by the layer's output; `(n, k, ...)`."""


def weight_gradients(layer: nn.Module, calls: Sequence[Trace]) -> Tensor:
    """The per-sample gradients by all trained weights of a layer.

    Args:
        layer: a linear, embedding or convolution layer.
        calls: its calls in one forward pass; at least one.

    Returns:
        `(n k, weights)`, ordered by sample and then output component.

    Raises:
        UnequalUseError: the samples are not on the first axis.
    """
    if len({len(part) for call in calls for part in (call.inputs, call.gradients)}) != 1:
        raise UnequalUseError("a layer does not have the samples on its first axis")
    if isinstance(layer, nn.Embedding):
        # Other chunks have other tokens, so that all of them get a place.
        tokens, gradients = _tokens(layer, calls)
        return _summed_by_token(gradients, tokens, layer.num_embeddings)
    return torch.cat(list(BLOCKS[type(layer)](layer, calls)), 1)


def trained_weights(layer: nn.Module) -> list[nn.Parameter]:
    """A layer's weight, and its bias if it has one, as far as they are trained.

    The order in which a layer registered them may be another one, as after pruning.
    """
    weights = (getattr(layer, name, None) for name in ("weight", "bias"))
    return [weight for weight in weights if isinstance(weight, nn.Parameter) and weight.requires_grad]


def weighted_gradients(layer: nn.Module, calls: Sequence[Trace], factors: Tensor) -> list[Tensor]:
    """The sum over samples and output components of a factor times the gradient, by each of `trained_weights`.

    Args:
        layer: a linear, embedding or convolution layer.
        calls: its calls in one forward pass.
        factors: `(n, k)`.
    """
    weights = trained_weights(layer)
    total = [torch.zeros_like(weight) for weight in weights]
    for call in calls:
        n, k = call.gradients.shape[:2]
        # Copies of inputs and gradients are as large as a block.
        chunk = max(1, BLOCK * n // (call.inputs.numel() + call.gradients.numel()))
        for rows in torch.arange(n).split(chunk):
            first, end = int(rows[0]), int(rows[-1]) + 1
            inputs, gradients = call.inputs[first:end], call.gradients[first:end].to(weights[0])
            back = torch.einsum("nk,nkv->nv", factors[first:end].to(gradients), gradients.reshape(end - first, k, -1))
            for sum_, piece in zip(total, _summed(layer, inputs, back.view_as(gradients[:, 0])), strict=True):
                sum_ += piece
    return total


def _summed(layer: nn.Module, inputs: Tensor, back: Tensor) -> Iterator[Tensor]:
    """The gradients of a layer's trained weights by one call: weight, and bias if there is one."""
    if isinstance(layer, nn.Embedding):
        tokens, rows = inputs.flatten(), back.reshape(-1, back.shape[-1])
        if layer.padding_idx is not None:
            rows = rows * (tokens != layer.padding_idx)[:, None]
        yield torch.zeros_like(layer.weight).index_add_(0, tokens, rows)
    elif isinstance(layer, nn.Linear):
        rows = back.reshape(-1, layer.out_features)
        if layer.weight.requires_grad:
            yield rows.T @ inputs.to(back).reshape(-1, layer.in_features)
        if has_bias(layer):
            yield rows.sum(0)
    else:
        yield from _summed_by_convolution(cast(nn.Conv1d | nn.Conv2d, layer), inputs.to(back), back)


def _summed_by_convolution(layer: nn.Conv1d | nn.Conv2d, inputs: Tensor, back: Tensor) -> Iterator[Tensor]:
    by_weight = conv1d_weight if isinstance(layer, nn.Conv1d) else conv2d_weight
    sides = layer.padding
    if isinstance(sides, str):
        inputs, sides = _padded(layer, inputs), (0,) * len(layer.kernel_size)
    if layer.weight.requires_grad:
        yield by_weight(  # type: ignore[no-untyped-call]
            inputs,
            layer.weight.shape,
            back,
            stride=layer.stride,
            padding=sides,
            dilation=layer.dilation,
            groups=layer.groups,
        )
    if has_bias(layer):
        yield back.flatten(2).sum((0, 2))


def values_by_sample(layer: nn.Module, calls: Sequence[tuple[int, int]], components: int) -> tuple[int, int]:
    """Number of values of one sample's trace, and of its gradients by the layer's weights.

    Args:
        layer: the layer.
        calls: values of input and output of each call, of one sample.
        components: number of output components of a prediction.
    """
    weights = sum(weight.numel() for weight in trained_weights(layer))
    return sum(before + components * after for before, after in calls), components * weights


def few_positions(layer: nn.Module, calls: Sequence[Trace]) -> tuple[Tensor, Tensor] | None:
    """Inputs `(n, s, in)` and gradients `(n, k, s, out)`, where products of them take less than those of gradients.

    Products of two samples take s² (in + out) multiplications by positions, and in × out by their gradients.  None of a
    layer with more positions, where the inputs take much memory, and of embeddings and grouped convolutions.

    Args:
        layer: a linear, embedding or convolution layer.
        calls: its calls in one forward pass; at least one.
    """
    if isinstance(layer, nn.Embedding) or getattr(layer, "groups", 1) > 1:
        return None
    weight = cast(Tensor, layer.weight)
    n, out, inside = len(calls[0].inputs), len(weight), weight[0].numel()
    count = sum(call.gradients[0, 0].numel() for call in calls) // out
    if count**2 * (inside + out) > inside * out or n * count * inside > 4 * BLOCK:
        return None
    if isinstance(layer, nn.Linear):
        return positions(calls)
    convolution = cast(nn.Conv1d | nn.Conv2d, layer)
    inputs = [_unfolded(convolution, call.inputs).transpose(1, 2) for call in calls]
    gradients = [call.gradients.flatten(3).transpose(2, 3) for call in calls]
    return torch.cat(inputs, 1), torch.cat(gradients, 2)


def positions(calls: Sequence[Trace]) -> tuple[Tensor, Tensor]:
    """Inputs `(n, s, in)` and gradients `(n, k, s, out)`; positions are all axes between, and the calls."""
    n, k = calls[0].gradients.shape[:2]
    inputs = [call.inputs.reshape(n, -1, call.inputs.shape[-1]) for call in calls]
    gradients = [call.gradients.reshape(n, k, -1, call.gradients.shape[-1]) for call in calls]
    return torch.cat(inputs, 1), torch.cat(gradients, 2)


def _linear_blocks(layer: nn.Linear, calls: Sequence[Trace]) -> Iterator[Tensor]:
    """Blocks `(n k, p)` of per-sample gradients by weight and bias."""
    inputs, gradients = positions(calls)
    n, k, _, out = gradients.shape
    if layer.weight.requires_grad:
        width = max(1, BLOCK // (n * k * inputs.shape[2]))
        for start in range(0, out, width):
            piece = gradients[..., start : start + width]
            yield torch.einsum("nkso,nsi->nkoi", piece, inputs).reshape(n * k, -1)
    if has_bias(layer):
        yield gradients.sum(2).reshape(n * k, out)


def _embedding_blocks(layer: nn.Embedding, calls: Sequence[Trace]) -> Iterator[Tensor]:
    """Blocks `(n k, p)` of per-sample gradients by the rows of the tokens that occur."""
    tokens, gradients = _tokens(layer, calls)
    n, k, _, size = gradients.shape
    used, places = tokens.unique(return_inverse=True)
    places = places.reshape(tokens.shape)
    width = max(1, BLOCK // (n * k * len(used)))
    for start in range(0, size, width):
        yield _summed_by_token(gradients[..., start : start + width], places, len(used))


def _tokens(layer: nn.Embedding, calls: Sequence[Trace]) -> tuple[Tensor, Tensor]:
    """Tokens `(n, s)` and gradients `(n, k, s, size)` of all calls; zero where the token is padding."""
    n, k = calls[0].gradients.shape[:2]
    tokens = torch.cat([call.inputs.reshape(n, -1) for call in calls], 1)
    gradients = torch.cat([call.gradients.reshape(n, k, -1, layer.embedding_dim) for call in calls], 2)
    if layer.padding_idx is not None:
        gradients = gradients * (tokens != layer.padding_idx)[:, None, :, None]
    return tokens, gradients


def _summed_by_token(gradients: Tensor, places: Tensor, count: int) -> Tensor:
    """Gradients `(n, k, s, width)` added up for each of `count` tokens; `(n k, count × width)`."""
    n, k, _, width = gradients.shape
    block = gradients.new_zeros(n, k, count, width)
    block.scatter_add_(2, places[:, None, :, None].expand(gradients.shape), gradients)
    return block.reshape(n * k, -1)


def _convolution_blocks(layer: nn.Conv1d | nn.Conv2d, calls: Sequence[Trace]) -> Iterator[Tensor]:
    n, k = calls[0].gradients.shape[:2]
    groups, out = layer.groups, layer.out_channels
    if layer.weight.requires_grad:
        inside = layer.weight[0].numel()
        width = max(1, min(out // groups, BLOCK // (n * k * inside)))
        for group in range(groups):
            first = group * (out // groups)
            for start in range(first, first + out // groups, width):
                end = min(start + width, first + out // groups)
                yield _convolution_block(layer, calls, group, start, end).reshape(n * k, -1)
    if has_bias(layer):
        yield torch.stack([call.gradients.flatten(3).sum(3) for call in calls]).sum(0).reshape(n * k, out)


def _convolution_block(
    layer: nn.Conv1d | nn.Conv2d, calls: Sequence[Trace], group: int, start: int, end: int
) -> Tensor:
    """Per-sample gradients by the weights of some output channels of one group; `(n, k, channels, inside)`."""
    n, k = calls[0].gradients.shape[:2]
    inside, channels = layer.weight[0].numel(), layer.in_channels // layer.groups
    total = calls[0].gradients.new_zeros(n, k, end - start, inside)
    for call in calls:
        inputs = call.inputs[:, group * channels : (group + 1) * channels]
        piece = call.gradients[:, :, start:end].flatten(3)
        rows = max(1, BLOCK // (inside * piece.shape[3]))
        for row in range(0, n, rows):
            columns = _unfolded(layer, inputs[row : row + rows])
            total[row : row + rows] += torch.einsum("nkol,ncl->nkoc", piece[row : row + rows], columns)
    return total


def _unfolded(layer: nn.Conv1d | nn.Conv2d, inputs: Tensor) -> Tensor:
    """The values under the kernel at each position; `(n, channels × kernel, positions)`."""
    flat = inputs.ndim == 3
    kernel, stride, dilation = (
        (1, *each) if flat else each for each in (layer.kernel_size, layer.stride, layer.dilation)
    )
    padded = _padded(layer, inputs)
    return functional.unfold(padded.unsqueeze(2) if flat else padded, kernel, dilation=dilation, stride=stride)


def _padded(layer: nn.Conv1d | nn.Conv2d, inputs: Tensor) -> Tensor:
    """The inputs with the layer's zeros around them."""
    if isinstance(layer.padding, str):
        extents = zip(layer.kernel_size, layer.dilation, strict=True)
        reach = [d * (k - 1) if layer.padding == "same" else 0 for k, d in extents]
        sides = [side for each in reversed(reach) for side in (each // 2, each - each // 2)]
    else:
        sides = [side for each in reversed(layer.padding) for side in (each, each)]
    return functional.pad(inputs, sides)


def has_bias(layer: nn.Module) -> bool:
    """Whether a layer has a bias that is trained."""
    bias: nn.Parameter | None = getattr(layer, "bias", None)
    return bias is not None and bias.requires_grad


BLOCKS: dict[type, Any] = {
    nn.Linear: _linear_blocks,
    nn.Embedding: _embedding_blocks,
    nn.Conv1d: _convolution_blocks,
    nn.Conv2d: _convolution_blocks,
}
