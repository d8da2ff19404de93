"""Gram matrices of many layers within a bounded memory: in chunks of samples, and in passes over groups of layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.data.loading import Batch, chunked
from unregress.hooks.gram import LayerRecord, gram, record, traced
from unregress.hooks.layer_gradients import values_by_sample
from unregress.hooks.raw_predictions import raw_predictions
from unregress.training.runtime import Runtime, evaluating

CHUNK = 64
"""Largest number of samples of a forward pass with a backward pass."""
HELD = 1_500_000_000
"""Largest number of bytes of the traces of all samples that are held at once, unless one layer alone takes more."""
WORKING = 500_000_000
"""Largest number of bytes that a chunk of samples may take in a forward or backward pass, unless one sample alone takes
more."""


@dataclass(frozen=True)
class Footprint:
    """Memory that a model takes by sample, in bytes."""

    graph: float
    """What autograd keeps of a forward pass."""
    layers: dict[str, float]
    """What is kept of each layer for its Gram matrix, by name in the order of execution."""

    @property
    def chunk(self) -> int:
        """Samples of a forward pass with a backward pass, which may take as much again."""
        return min(CHUNK, max(1, int(WORKING / (2 * self.graph)))) if self.graph else CHUNK

    def passes(self, names: set[str], samples: int) -> list[list[str]]:
        """The layers of each pass, so that what is kept of all samples fits into `HELD`.

        A layer that does not fit has a pass of its own.  Layers are taken in the order of execution, since a backward
        pass ends at the first layer that is traced.

        Args:
            names: the layers.
            samples: number of samples.
        """
        groups: list[list[str]] = []
        held = 0.0
        for name in (name for name in self.layers if name in names):
            size = self.layers[name] * samples
            if not groups or held + size > HELD:
                groups.append([])
                held = 0.0
            groups[-1].append(name)
            held += size
        return groups


def footprint(model: nn.Module, layers: dict[str, nn.Module], case: Case, rows: Tensor, runtime: Runtime) -> Footprint:
    """Measure the memory that a model takes by sample.

    Args:
        model: the model, on the runtime's device.
        layers: layers whose Gram matrices will be wanted, by name.
        case: task and data.
        rows: positions of a few training samples to measure, such as two.
        runtime: where to run.
    """
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}
    order: dict[str, None] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.layout is torch.strided and tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    def called(name: str) -> Any:
        return lambda *_: order.setdefault(name)

    handles = [layer.register_forward_hook(called(name)) for name, layer in layers.items()]
    (batch,) = runtime.load(case.source("train_eval"), [rows])
    try:
        saved = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with traced(layers) as seen, evaluating(model), torch.enable_grad(), saved:
            raw = raw_predictions(case, model, batch)
    finally:
        for handle in handles:
            handle.remove()
    sizes = {name: _bytes_by_sample(layers[name], seen[name], raw.shape[1], len(rows)) for name in (*order, *layers)}
    return Footprint(graph=sum(kept.values()) / len(rows), layers=sizes)


def _bytes_by_sample(layer: nn.Module, calls: list[tuple[Tensor, Tensor]], components: int, samples: int) -> float:
    """Bytes that are kept of a layer for one sample: of its trace, or of its gradients where these are smaller."""
    if not calls:
        return 0.0
    sizes = [(before.numel() // samples, after.numel() // samples) for before, after in calls]
    return float(min(values_by_sample(layer, sizes, components)) * calls[0][1].element_size())


@dataclass(frozen=True)
class Products:
    """Gram matrices of layers, and what they took."""

    by_layer: dict[str, Tensor]
    """`(n k, n k)` float64 by name of the layer; fewer columns where products with the first samples are wanted."""
    outputs: Tensor
    """The predictions, `(n, k)` float64."""
    passes: int
    """Passes over all samples."""
    held: dict[str, LayerRecord] = field(default_factory=dict)
    """What is kept of the layers' gradients, by name; none if they took more than one pass."""


def gram_matrices(
    model: nn.Module,
    layers: dict[str, nn.Module],
    case: Case,
    rows: Tensor,
    size: Footprint,
    runtime: Runtime,
    leading: int | None = None,
) -> Products:
    """Compute the Gram matrices of some layers, in as many passes over the samples as memory demands.

    Args:
        model: the model in evaluation mode, on the runtime's device.
        layers: the layers, by name; at least one.
        case: task and data.
        rows: positions of the training samples.
        size: the model's memory by sample, which decides on chunks and passes.
        runtime: where to run.
        leading: number of samples, from the front, with which products are wanted; None for all.

    Raises:
        UnequalUseError: samples use a layer in different ways.
    """
    found: dict[str, Tensor] = {}
    held: dict[str, LayerRecord] = {}
    groups = size.passes(set(layers), len(rows))
    for names in groups:
        records = {name: LayerRecord(layers[name]) for name in names}
        pieces = []
        with traced({name: layers[name] for name in names}) as seen, torch.enable_grad():
            for batch in runtime.load(case.source("train_eval"), chunked(rows, size.chunk)):
                pieces.append(_traced_chunk(model, case, batch, records, seen))
        outputs = torch.cat(pieces).double().cpu()
        for name in names:
            kept = records.pop(name)
            found[name] = gram(kept, outputs.numel(), None if leading is None else leading * outputs.shape[1])
            if len(groups) == 1:
                held[name] = kept
    return Products(found, outputs, len(groups), held)


def _traced_chunk(
    model: nn.Module,
    case: Case,
    batch: Batch,
    records: dict[str, LayerRecord],
    seen: dict[str, list[tuple[Tensor, Tensor]]],
) -> Tensor:
    """Add one chunk of samples to the records; returns its predictions, and keeps nothing of its graph."""
    raw = raw_predictions(case, model, batch)
    record(records, seen, raw)
    for calls in seen.values():
        calls.clear()
    return raw.detach()


def within_memory(runtime: Runtime, model: nn.Module, case: Case, rows: Tensor) -> Runtime:
    """The runtime with smaller evaluation batches, where those of the runtime would take more than `WORKING` bytes.

    Args:
        runtime: where to run.
        model: the model, on the runtime's device.
        case: task and data.
        rows: positions of a few training samples to measure, such as two.
    """
    (batch,) = runtime.load(case.source("train_eval"), [rows])
    with _largest_call(model) as largest, evaluating(model), torch.no_grad():
        raw_predictions(case, model, batch)
    # Beside a layer's input and output there may be others that are still needed, as in a residual network.
    size = 2 * max(largest, default=0) / len(rows)
    fitting = max(1, int(WORKING / size)) if size else runtime.evaluation_batch_size
    return runtime if fitting >= runtime.evaluation_batch_size else replace(runtime, evaluation_batch_size=fitting)


@contextmanager
def _largest_call(model: nn.Module) -> Iterator[list[int]]:
    """Record the bytes of input and output of each call of a module without submodules."""
    sizes: list[int] = []

    def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        outputs = output if isinstance(output, (tuple, list)) else (output,)
        sizes.append(sum(each.nbytes for each in (*inputs, *outputs) if isinstance(each, Tensor)))

    leaves = [module for module in model.modules() if next(module.children(), None) is None]
    handles = [module.register_forward_hook(hook) for module in leaves]
    try:
        yield sizes
    finally:
        for handle in handles:
            handle.remove()
