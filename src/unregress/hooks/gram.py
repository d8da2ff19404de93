"""Gram matrices of per-sample gradients, layer by layer, without holding the gradients.

The gradient of one sample's prediction by a layer's weight is a sum of outer products of what goes into the layer and
what comes back to it.  Products of such gradients are computed from these two, in pieces of bounded memory (for a
linear layer with one position they are (a·a') (δ·δ')), so that no sample's gradient by all weights is ever held.  After
Goodfellow (2015) and the neural tangent kernel literature (Novak, Sohl-Dickstein and Schoenholz 2022).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCK = 32_000_000
"""Largest number of values of a block of per-sample gradients."""


@dataclass
class Trace:
    """What went into a layer and what came back, of one call in a forward pass."""

    inputs: Tensor
    """`(n, ...)`, or `(n, positions)` of an embedding."""
    gradients: Tensor
    """Gradient of each output component of each sample's prediction by the layer's output; `(n, k, ...)`."""


@dataclass
class Traces:
    """The calls of one layer, over all samples."""

    layer: nn.Module
    calls: list[list[Trace]] = field(default_factory=list)
    """By chunk of samples, one trace for each call."""

    def joined(self) -> list[Trace]:
        """One trace for each call, over all samples.

        Raises:
            ValueError: the number of calls, or the shapes, differ between samples, as of sequences of several lengths.
        """
        counts = {len(chunk) for chunk in self.calls}
        if len(counts) != 1:
            raise ValueError("a layer is called a different number of times for different samples")
        return [
            Trace(_join([trace.inputs for trace in same]), _join([trace.gradients for trace in same]))
            for same in zip(*self.calls, strict=True)
        ]


def supported_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers whose Gram matrices can be computed, by name: linear, embedding and convolution layers.

    Left out are layers without trainable weights, with weights that another layer uses too, or that are computed from
    others (weight norm), and unusual settings (padding other than zeros, embeddings that rescale).
    """
    users = Counter(id(weight) for part in model.modules() for weight in part.parameters(recurse=False))
    found = {}
    for name, layer in model.named_modules():
        weights = list(layer.parameters(recurse=False))
        if type(layer) in _BLOCKS and all(users[id(weight)] == 1 for weight in weights) and _is_plain(layer):
            found[name] = layer
    return found


def _is_plain(layer: nn.Module) -> bool:
    """Whether a layer's weight is trained, and is used as it is."""
    unusual = getattr(layer, "max_norm", None) is not None or getattr(layer, "scale_grad_by_freq", False)
    padded = getattr(layer, "padding_mode", "zeros") != "zeros"
    computed = hasattr(layer, "parametrizations") or not isinstance(layer.weight, nn.Parameter)
    return not (unusual or padded or computed) and bool(layer.weight.requires_grad)


@contextmanager
def traced(layers: dict[str, nn.Module]) -> Iterator[dict[str, list[tuple[Tensor, Tensor]]]]:
    """Record input and output of each call of some layers within the block; clear the lists between passes."""
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layers}

    def recorder(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[name].append((inputs[0].detach(), output))

        return hook

    handles = [layer.register_forward_hook(recorder(name)) for name, layer in layers.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def record(traces: dict[str, Traces], seen: dict[str, list[tuple[Tensor, Tensor]]], outputs: Tensor) -> None:
    """Add one chunk of samples to the traces, by back-propagating each output component.

    Args:
        traces: by layer name; extended in place.
        seen: the recorded calls of this chunk's forward pass, from `traced`.
        outputs: the predictions, `(n, k)`; samples must not influence each other, as in evaluation mode.
    """
    flat = [(name, call) for name, calls in seen.items() for call in calls]
    back: list[list[Tensor]] = []
    for component in range(outputs.shape[1]):
        found = torch.autograd.grad(
            outputs[:, component].sum(),
            [output for _, (_, output) in flat],
            retain_graph=component + 1 < outputs.shape[1],
            allow_unused=True,
        )
        pairs = zip(flat, found, strict=True)
        back.append([_or_zero(grad, out) for (_, (_, out)), grad in pairs])
    chunks: dict[str, list[Trace]] = {name: [] for name in seen}
    for place, (name, (inputs, _)) in enumerate(flat):
        gradients = torch.stack([each[place].detach() for each in back], dim=1)
        chunks[name].append(Trace(inputs, gradients))
    for name, calls in chunks.items():
        traces[name].calls.append(calls)


def gram(traces: Traces, rows: int) -> Tensor:
    """The products of all samples' gradients by one layer's weights.

    Args:
        traces: the layer's calls.
        rows: number of samples times output components.

    Returns:
        Symmetric `(rows, rows)` float64, ordered by sample and then output component; zero for a layer that no sample
        uses.

    Raises:
        ValueError: samples use the layer in different ways.
    """
    calls, layer = traces.joined(), traces.layer
    total = torch.zeros(rows, rows, dtype=torch.float64)
    if not calls:
        return total
    if any(call.gradients.shape[0] * call.gradients.shape[1] != rows for call in calls):
        raise ValueError("a layer does not have the samples on its first axis")
    if isinstance(layer, nn.Linear):
        inputs, gradients = _positions(calls)
        if inputs.shape[1] ** 2 * (layer.in_features + layer.out_features) <= layer.in_features * layer.out_features:
            return _linear_products(layer, inputs, gradients).double().cpu()
    for block in _BLOCKS[type(layer)](layer, calls):
        total += (block @ block.T).double().cpu()
    return total


def _linear_products(layer: nn.Linear, inputs: Tensor, gradients: Tensor) -> Tensor:
    """The products for few positions: those of the inputs times those of the gradients, summed over positions."""
    n, k, s, _ = gradients.shape
    rows, back = inputs.reshape(n * s, -1), gradients.reshape(n * k * s, -1)
    ahead = rows @ rows.T if layer.weight.requires_grad else rows.new_zeros(n * s, n * s)
    if _has_bias(layer):
        ahead = ahead + 1
    products = (back @ back.T).view(n, k, s, n, k, s) * ahead.view(n, 1, s, n, 1, s)
    return products.sum((2, 5)).reshape(n * k, n * k)


def _positions(calls: Sequence[Trace]) -> tuple[Tensor, Tensor]:
    """Inputs `(n, s, in)` and gradients `(n, k, s, out)`; positions are all axes between, and the calls."""
    n, k = calls[0].gradients.shape[:2]
    inputs = [call.inputs.reshape(n, -1, call.inputs.shape[-1]) for call in calls]
    gradients = [call.gradients.reshape(n, k, -1, call.gradients.shape[-1]) for call in calls]
    return torch.cat(inputs, 1), torch.cat(gradients, 2)


def _linear_blocks(layer: nn.Linear, calls: Sequence[Trace]) -> Iterator[Tensor]:
    """Blocks `(n k, p)` of per-sample gradients by weight and bias."""
    inputs, gradients = _positions(calls)
    n, k, _, out = gradients.shape
    if layer.weight.requires_grad:
        width = max(1, BLOCK // (n * k * inputs.shape[2]))
        for start in range(0, out, width):
            piece = gradients[..., start : start + width]
            yield torch.einsum("nkso,nsi->nkoi", piece, inputs).reshape(n * k, -1)
    if _has_bias(layer):
        yield gradients.sum(2).reshape(n * k, out)


def _embedding_blocks(layer: nn.Embedding, calls: Sequence[Trace]) -> Iterator[Tensor]:
    tokens = torch.cat([call.inputs.reshape(len(call.inputs), -1) for call in calls], 1)
    gradients = torch.cat([call.gradients.flatten(2, -2) for call in calls], 2)
    n, k, _, size = gradients.shape
    if layer.padding_idx is not None:
        gradients = gradients * (tokens != layer.padding_idx)[:, None, :, None]
    used, places = tokens.unique(return_inverse=True)
    places = places.reshape(tokens.shape)
    width = max(1, BLOCK // (n * k * len(used)))
    for start in range(0, size, width):
        piece = gradients[..., start : start + width]
        block = piece.new_zeros(n, k, len(used), piece.shape[-1])
        block.scatter_add_(2, places[:, None, :, None].expand(piece.shape), piece)
        yield block.reshape(n * k, -1)


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
    if _has_bias(layer):
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
    if isinstance(layer.padding, str):
        reach = [d * (k - 1) if layer.padding == "same" else 0 for k, d in zip(kernel, dilation, strict=True)]
        sides = [side for each in reversed(reach) for side in (each // 2, each - each // 2)]
    else:
        sides = [side for each in reversed((0, *layer.padding) if flat else layer.padding) for side in (each, each)]
    images = functional.pad(inputs.unsqueeze(2) if flat else inputs, sides)
    return functional.unfold(images, kernel, dilation=dilation, stride=stride)


def _has_bias(layer: nn.Module) -> bool:
    """Whether a layer has a bias that is trained."""
    bias: nn.Parameter | None = getattr(layer, "bias", None)
    return bias is not None and bias.requires_grad


def _or_zero(gradient: Tensor | None, output: Tensor) -> Tensor:
    """A gradient; zero where the prediction does not depend on the output."""
    return torch.zeros_like(output) if gradient is None else gradient


def _join(parts: list[Tensor]) -> Tensor:
    if len({part.shape[1:] for part in parts}) != 1:
        raise ValueError("a layer's inputs have different shapes for different samples")
    return torch.cat(parts)


_BLOCKS: dict[type, Any] = {
    nn.Linear: _linear_blocks,
    nn.Embedding: _embedding_blocks,
    nn.Conv1d: _convolution_blocks,
    nn.Conv2d: _convolution_blocks,
}
