"""Products of per-sample gradients by weights of any kind: by `torch.func`, or by a backward pass for each sample.

These are for weights of layers that `unregress.hooks.gram` does not know, such as recurrent layers, embedding bags,
normalisation, attention and a model's own parameters.  Gradients of all samples are held for a window of the weights at
a time, so that memory is bounded; there are as many passes over the samples as windows.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.utils._pytree import tree_map

from unregress.data.case import Case
from unregress.data.loading import Batch, chunked
from unregress.hooks import gram_passes, layer_gradients
from unregress.hooks.exact_layers import RTOL
from unregress.hooks.gram_passes import Footprint, Products
from unregress.hooks.raw_predictions import gradients_of, raw_predictions
from unregress.tasks.unwrap import unwrapped
from unregress.training.runtime import Runtime, evaluating


@dataclass(frozen=True)
class OtherLayers:
    """Trainable weights outside the layers whose products are known in closed form."""

    layers: dict[str, nn.Module]
    """`nn.ParameterList`s of the weights, by name of their layer, or of the parameter where the layer is a user's own;
    in the model's order."""
    vectorised: bool
    """Whether `torch.func.vmap` gives their gradients; otherwise each sample takes backward passes of its own."""

    def windows(self, names: set[str], values: int) -> list[tuple[int, int]]:
        """Ranges of weights, joined over some layers, whose gradients of all samples fit into memory.

        Args:
            names: the layers.
            values: number of samples times output components.
        """
        weights = _weights(self.layers, names)
        total, size = sum(weight.numel() for weight in weights), max(weight.element_size() for weight in weights)
        width = max(1, gram_passes.HELD // (values * size))
        return [(start, min(start + width, total)) for start in range(0, total, width)]


def other_layers(
    model: nn.Module, known: dict[str, nn.Module], case: Case, rows: Tensor, live: set[int], runtime: Runtime
) -> OtherLayers:
    """Find the trainable weights outside the known layers, and how to compute gradients by them.

    Left out are weights on which no prediction depends, and embeddings whose gradients are scaled by frequency.

    Args:
        model: the model, on the runtime's device.
        known: layers whose products are known in closed form, by name.
        case: task and data.
        rows: positions of a few training samples to try, such as two.
        live: `id`s of weights on which predictions depend; layers without any are left out.
        runtime: where to run.
    """
    layers: dict[str, nn.Module] = {
        name: nn.ParameterList(weights)
        for name, weights in _own_weights(unwrapped(model), known).items()
        if any(id(weight) in live for weight in weights)
    }
    if not layers:
        return OtherLayers(layers, False)
    with evaluating(model), torch.enable_grad():
        (batch,) = runtime.load(case.source("train_eval"), [rows])
        weights = _weights(layers, set(layers))
        vectorised = False
        with suppress(RuntimeError, ValueError, TypeError, AttributeError, IndexError):
            made = _vectorised(model, case, batch, weights)
            singly = _one_by_one(model, case, rows, weights, runtime)
            expected = [torch.cat(parts) for parts in zip(*(gradients for _, gradients in singly), strict=True)]
            pairs = list(zip(made[1], expected, strict=True))
            error = sum(float((one - other).double().square().sum()) for one, other in pairs)
            vectorised = error <= RTOL**2 * sum(float(other.double().square().sum()) for _, other in pairs)
    return OtherLayers(layers, vectorised)


def _own_weights(model: nn.Module, known: dict[str, nn.Module]) -> dict[str, list[nn.Parameter]]:
    """Trainable weights outside known layers: by layer where it is PyTorch's, else each by itself."""
    seen = {id(weight) for layer in known.values() for weight in layer.parameters()}
    found: dict[str, list[nn.Parameter]] = {}
    for name, module in model.named_modules():
        if getattr(module, "scale_grad_by_freq", False):
            continue
        whole = type(module).__module__.startswith("torch.nn.") and name
        for own, weight in module.named_parameters(name, recurse=False):
            if weight.requires_grad and weight.is_floating_point() and id(weight) not in seen:
                seen.add(id(weight))
                found.setdefault(name if whole else own, []).append(weight)
    return found


def other_products(
    model: nn.Module, others: OtherLayers, names: set[str], case: Case, rows: Tensor, size: Footprint, runtime: Runtime
) -> Products:
    """Compute the Gram matrices of some of these layers, in as many passes over the samples as memory demands.

    Args:
        model: the model in evaluation mode, on the runtime's device.
        others: the layers.
        names: those that are wanted; at least one.
        case: task and data.
        rows: positions of the training samples.
        size: the model's memory by sample, which decides on chunks.
        runtime: where to run.
    """
    components = _components(model, case, rows[:1], runtime)
    count = len(rows) * components
    found = {name: torch.zeros(count, count, dtype=torch.float64) for name in others.layers if name in names}
    outputs, windows = torch.empty(0), others.windows(names, count)
    for start, end in windows:
        parts = list(_parts(others.layers, names, start, end))
        weights = [weight for _, weight, _, _ in parts]
        pieces, held = [], list[list[Tensor]]()
        for raw, gradients in _gradients(model, others, case, rows, weights, size, components, runtime):
            pieces.append(raw)
            held.append([each[:, first:last].clone() for each, (*_, first, last) in zip(gradients, parts, strict=True)])
        outputs = torch.cat(pieces).double().cpu()
        for number, (name, *_) in enumerate(parts):
            _add_products(found[name], [chunk[number] for chunk in held])
    return Products(found, outputs, len(windows))


def _add_products(total: Tensor, gradients: list[Tensor]) -> None:
    """Add the products of gradients `(n k, weights)`, given by chunk of samples, in blocks of weights."""
    width = max(1, layer_gradients.BLOCK // len(total))
    for start in range(0, gradients[0].shape[1], width):
        block = torch.cat([part[:, start : start + width] for part in gradients])
        total += (block @ block.T).double().cpu()


def _parts(
    layers: dict[str, nn.Module], names: set[str], start: int, end: int
) -> Iterator[tuple[str, nn.Parameter, int, int]]:
    """The weights in a range over all of them: layer's name, weight, and the range within the flat weight."""
    done = 0
    for name, layer in layers.items():
        for weight in layer.parameters() if name in names else ():
            first, last = max(start - done, 0), min(end - done, weight.numel())
            if first < last:
                yield name, weight, first, last
            done += weight.numel()


def _gradients(
    model: nn.Module,
    others: OtherLayers,
    case: Case,
    rows: Tensor,
    weights: list[nn.Parameter],
    size: Footprint,
    components: int,
    runtime: Runtime,
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Predictions `(n, k)` and gradients by each weight `(n k, values)`, chunk by chunk of the samples."""
    if not others.vectorised:
        yield from _one_by_one(model, case, rows, weights, runtime)
        return
    values = components * sum(weight.numel() for weight in weights)
    chunk = max(1, min(size.chunk // components, layer_gradients.BLOCK // values))
    for batch in runtime.load(case.source("train_eval"), chunked(rows, chunk)):
        yield _vectorised(model, case, batch, weights)


class _Predicting(nn.Module):
    """A task's predictions as a module, so that the model's weights can be replaced in a call."""

    def __init__(self, case: Case, model: nn.Module) -> None:
        super().__init__()
        self.case, self.model = case, model

    def forward(self, data: Any) -> Tensor:
        raw: Tensor = self.case.task.predict(self.model, data)
        return raw.reshape(-1)


def _vectorised(model: nn.Module, case: Case, batch: Batch, weights: list[nn.Parameter]) -> tuple[Tensor, list[Tensor]]:
    """Predictions and gradients of a batch by `torch.func`; an error means that model or data do not allow it."""
    predicting = _Predicting(case, model)
    names = {id(weight): name for name, weight in predicting.named_parameters()}
    replaced = {names[id(weight)]: weight.detach() for weight in weights}

    def of_one(values: dict[str, Tensor], sample: Any) -> tuple[Tensor, Tensor]:
        raw = functional_call(predicting, values, (tree_map(lambda part: part.unsqueeze(0), sample),))
        return raw, raw

    with warnings.catch_warnings():
        # PyTorch warns of operations that vmap runs sample by sample.
        warnings.simplefilter("ignore", UserWarning)
        found, raw = vmap(jacrev(of_one, has_aux=True), in_dims=(None, 0))(replaced, batch.data)
    return raw.detach(), [found[name].detach().reshape(raw.numel(), -1) for name in replaced]


def _one_by_one(
    model: nn.Module, case: Case, rows: Tensor, weights: list[nn.Parameter], runtime: Runtime
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Predictions and gradients of each sample alone."""
    for batch in runtime.load(case.source("train_eval"), chunked(rows, 1)):
        with torch.enable_grad():
            raw = raw_predictions(case, model, batch)
        found: list[list[Tensor]] = [[] for _ in weights]
        for component in range(raw.shape[1]):
            pieces = gradients_of(raw[0, component], weights, keep_graph=component + 1 < raw.shape[1])
            for gradients, piece in zip(found, pieces, strict=True):
                gradients.append(piece.reshape(-1))
        yield raw.detach(), [torch.stack(gradients) for gradients in found]


def _components(model: nn.Module, case: Case, rows: Tensor, runtime: Runtime) -> int:
    (batch,) = runtime.load(case.source("train_eval"), [rows])
    with torch.no_grad():
        return raw_predictions(case, model, batch).shape[1]


def _weights(layers: dict[str, nn.Module], names: set[str]) -> list[nn.Parameter]:
    return [weight for name, layer in layers.items() if name in names for weight in layer.parameters()]
