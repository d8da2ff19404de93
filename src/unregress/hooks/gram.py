"""Gram matrices of per-sample gradients, layer by layer, and sums of these gradients.

The gradient of one sample's prediction by a layer's weight is a sum of outer products of what goes into the layer and
what comes back to it.  Products of such gradients are computed from these two, in pieces of bounded memory (with one
position they are (a·a') (δ·δ')); what is held of a layer is the two, or the gradients where these are smaller.  After
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

from unregress.hooks import layer_gradients
from unregress.hooks.layer_gradients import (
    BLOCKS,
    Trace,
    UnequalUseError,
    has_bias,
    trained_weights,
    values_by_sample,
    weight_gradients,
    weighted_gradients,
)


@dataclass
class LayerRecord:
    """What is kept of one layer over all samples: its calls, or the gradients by its weights where these are smaller.

    Which of the two is decided by the first chunk of samples.
    """

    layer: nn.Module
    calls: list[list[Trace]] = field(default_factory=list)
    """By chunk of samples, one trace for each call."""
    gradients: list[Tensor] = field(default_factory=list)
    """By chunk of samples, `(n k, weights)`."""
    reduces: bool | None = None
    """Whether gradients are kept; None before the first chunk."""

    def add(self, calls: list[Trace]) -> None:
        """Add one chunk of samples.

        Raises:
            UnequalUseError: the layer does not have the samples on its first axis.
        """
        if self.reduces is None:
            self.reduces = _gradients_are_smaller(self.layer, calls)
        if self.reduces:
            self.gradients.append(weight_gradients(self.layer, calls))
        else:
            self.calls.append(calls)

    def weighted(self, factors: Tensor) -> dict[nn.Parameter, Tensor]:
        """The sum of all gradients, each times a factor, by each trained weight of the layer.

        Args:
            factors: `(n, k)`.
        """
        weights = trained_weights(self.layer)
        if not self.gradients:
            return dict(zip(weights, weighted_gradients(self.layer, self.joined(), factors), strict=True))
        flat = torch.zeros(sum(weight.numel() for weight in weights)).to(weights[0])
        for part, own in zip(
            self.gradients, factors.flatten().split([len(each) for each in self.gradients]), strict=True
        ):
            flat += own.to(flat) @ part.to(flat)
        pieces = flat.split([weight.numel() for weight in weights])
        return {weight: piece.view_as(weight) for weight, piece in zip(weights, pieces, strict=True)}

    def joined(self) -> list[Trace]:
        """One trace for each call, over all samples, which takes the place of the chunks.

        Raises:
            UnequalUseError: the number of calls, or the shapes, differ between samples, as of sequences of several
                lengths.
        """
        chunks, self.calls = self.calls, []
        if len(chunks) == 1:
            self.calls = chunks
            return chunks[0]
        if len({len(chunk) for chunk in chunks}) != 1:
            raise UnequalUseError("a layer is called a different number of times for different samples")
        found = []
        while chunks[0]:
            same = [chunk.pop(0) for chunk in chunks]
            inputs, gradients = [trace.inputs for trace in same], [trace.gradients for trace in same]
            del same
            found.append(Trace(_join(inputs), _join(gradients)))
        self.calls = [found]
        return found


def _gradients_are_smaller(layer: nn.Module, calls: Sequence[Trace]) -> bool:
    """Whether the gradients by a layer's weights take less memory than its trace."""
    if not calls:
        return False
    n, k = calls[0].gradients.shape[:2]
    sizes = [(call.inputs.numel() // n, call.gradients.numel() // (n * k)) for call in calls]
    trace, gradients = values_by_sample(layer, sizes, k)
    return gradients < trace


def supported_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers whose Gram matrices can be computed, by name: linear, embedding and convolution layers.

    Left out are layers without trainable weights, with weights that another layer uses too, or that are computed from
    others (weight norm), and unusual settings (padding other than zeros, embeddings that rescale).
    """
    users = Counter(id(weight) for part in model.modules() for weight in part.parameters(recurse=False))
    found = {}
    for name, layer in model.named_modules():
        weights = list(layer.parameters(recurse=False))
        if type(layer) in BLOCKS and all(users[id(weight)] == 1 for weight in weights) and _is_plain(layer):
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


def record(records: dict[str, LayerRecord], seen: dict[str, list[tuple[Tensor, Tensor]]], outputs: Tensor) -> None:
    """Add one chunk of samples to the records, by back-propagating each output component.

    Args:
        records: by layer name; extended in place.
        seen: the recorded calls of this chunk's forward pass, from `traced`.
        outputs: the predictions, `(n, k)`; samples must not influence each other, as in evaluation mode.

    Raises:
        UnequalUseError: a layer does not have the samples on its first axis.
    """
    for name, calls in back_propagated(seen, outputs):
        records[name].add(calls)


def back_propagated(seen: dict[str, list[tuple[Tensor, Tensor]]], outputs: Tensor) -> Iterator[tuple[str, list[Trace]]]:
    """Back-propagate each output component of one chunk of samples; gives each layer's name and calls.

    Args:
        seen: the recorded calls of this chunk's forward pass, from `traced`.
        outputs: the predictions, `(n, k)`.
    """
    flat = [output for calls in seen.values() for _, output in calls]
    # None where no sample of the chunk uses a layer, or where it is called without gradients.
    reached = [number for number, output in enumerate(flat) if output.requires_grad and outputs.requires_grad]
    back: list[list[Tensor]] = []
    for component in range(outputs.shape[1]):
        gradients: dict[int, Tensor | None] = {}
        if reached:
            found = torch.autograd.grad(
                outputs[:, component].sum(),
                [flat[number] for number in reached],
                retain_graph=component + 1 < outputs.shape[1],
                allow_unused=True,
            )
            gradients = dict(zip(reached, found, strict=True))
            del found
        back.append([_or_zero(gradients.pop(number, None), output) for number, output in enumerate(flat)])
    for name, calls in seen.items():
        # Released layer by layer: what is kept of a layer may be much less than its trace.
        made = [Trace(inputs, torch.stack([each.pop(0) for each in back], dim=1)) for inputs, _ in calls]
        yield name, made


def gram(record: LayerRecord, rows: int, leading: int | None = None) -> Tensor:
    """The products of all samples' gradients by one layer's weights.

    Args:
        record: what was kept of the layer.
        rows: number of samples times output components.
        leading: number of rows, from the front, with which products are wanted; None for all.

    Returns:
        `(rows, leading)` float64, ordered by sample and then output component; zero for a layer that no sample uses.

    Raises:
        UnequalUseError: samples use the layer in different ways.
    """
    layer, columns = record.layer, rows if leading is None else leading
    total = torch.zeros(rows, columns, dtype=torch.float64)
    if record.gradients:
        return _products(record.gradients, rows, columns)
    calls = record.joined()
    if not calls:
        return total
    if any(call.gradients.shape[0] * call.gradients.shape[1] != rows for call in calls):
        raise UnequalUseError("a layer does not have the samples on its first axis")
    if (by_position := layer_gradients.few_positions(layer, calls)) is not None:
        return _products_by_position(layer, *by_position, columns).double().cpu()
    for block in BLOCKS[type(layer)](layer, calls):
        total += (block @ block[:columns].T).double().cpu()
    return total


def _products(gradients: list[Tensor], rows: int, columns: int) -> Tensor:
    """The products of gradients with the leading ones, in blocks of weights."""
    if sum(len(part) for part in gradients) != rows:
        raise UnequalUseError("a layer does not have the samples on its first axis")
    total = torch.zeros(rows, columns, dtype=torch.float64)
    width = max(1, layer_gradients.BLOCK // rows)
    for start in range(0, gradients[0].shape[1], width):
        block = torch.cat([part[:, start : start + width] for part in gradients])
        total += (block @ block[:columns].T).double().cpu()
    return total


def _products_by_position(layer: nn.Module, inputs: Tensor, gradients: Tensor, columns: int) -> Tensor:
    """The products for few positions: those of the inputs times those of the gradients, summed over positions.

    Args:
        layer: the layer.
        inputs: what the weights are multiplied with at each position, `(n, s, in)`.
        gradients: `(n, k, s, out)`.
        columns: number of rows, from the front, with which products are wanted; a multiple of k.
    """
    n, k, s, _ = gradients.shape
    rows, back = inputs.reshape(n * s, -1), gradients.reshape(n * k * s, -1)
    first, found = columns // k, []
    for own in torch.arange(n).split(max(1, layer_gradients.BLOCK // (columns * k * s * s))):
        start, end = int(own[0]), int(own[-1]) + 1
        ahead = rows.new_zeros((end - start) * s, first * s)
        if layer.weight.requires_grad:
            ahead = rows[start * s : end * s] @ rows[: first * s].T
        if has_bias(layer):
            ahead = ahead + 1
        products = (back[start * k * s : end * k * s] @ back[: columns * s].T).view(-1, k, s, first, k, s)
        found.append((products * ahead.view(-1, 1, s, first, 1, s)).sum((2, 5)).reshape(-1, columns))
    return torch.cat(found)


def _or_zero(gradient: Tensor | None, output: Tensor) -> Tensor:
    """A gradient; zero where the prediction does not depend on the output."""
    return torch.zeros_like(output) if gradient is None else gradient


def _join(parts: list[Tensor]) -> Tensor:
    """Join along the samples; each part is dropped from the list once it is copied, to save memory."""
    if len({part.shape[1:] for part in parts}) != 1:
        raise UnequalUseError("a layer's inputs have different shapes for different samples")
    joined = parts[0].new_empty(sum(len(part) for part in parts), *parts[0].shape[1:])
    done = 0
    while parts:
        part = parts.pop(0)
        joined[done : done + len(part)] = part
        done += len(part)
    return joined
