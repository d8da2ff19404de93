"""The layers of a model whose products of gradients are right: checked against autograd on two samples."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.data.loading import chunked
from unregress.hooks.gram import LayerRecord, back_propagated, gram, supported_layers, traced
from unregress.hooks.raw_predictions import gradients_of, raw_predictions
from unregress.tasks.unwrap import unwrapped
from unregress.training.runtime import Runtime, evaluating

RTOL = 1e-3
"""Relative tolerance of a layer's products of gradients against those of autograd; covers rounding."""
PAIRS = 8
"""Largest number of pairs of samples that are tried."""


def exact_layers(model: nn.Module, case: Case, rows: Tensor, live: set[int], runtime: Runtime) -> dict[str, nn.Module]:
    """The layers of known kinds for which the products of gradients equal those of autograd on two samples.

    Args:
        model: the model, on the runtime's device.
        case: task and data.
        rows: positions of training samples; the first two are tried, and the next two for layers that do not influence
            the predictions of these.
        live: `id`s of weights on which predictions depend; layers without any are left out.
        runtime: where to run.
    """
    candidates = {
        name: layer
        for name, layer in supported_layers(unwrapped(model)).items()
        if any(id(weight) in live for weight in layer.parameters())
    }
    untried, exact = candidates, set[str]()
    for pair in rows.split(2)[:PAIRS]:
        if not untried:
            break
        found = _comparisons(model, untried, case, pair, runtime)
        exact |= {name for name, equal in found.items() if equal}
        untried = {name: layer for name, layer in untried.items() if name not in found}
    return {name: layer for name, layer in candidates.items() if name in exact}


def _comparisons(
    model: nn.Module, layers: dict[str, nn.Module], case: Case, rows: Tensor, runtime: Runtime
) -> dict[str, bool]:
    """Whether products equal those of autograd, by name of the layers that influence these samples' predictions."""
    expected = {name: _products(model, layer, case, rows, runtime) for name, layer in layers.items()}
    # Zeros would equal zeros, whatever the layer does with other samples.
    layers = {name: layer for name, layer in layers.items() if bool(expected[name].any())}
    if not layers:
        return {}
    records = {name: LayerRecord(layer) for name, layer in layers.items()}
    with traced(layers) as seen, evaluating(model), torch.enable_grad():
        (batch,) = runtime.load(case.source("train_eval"), [rows])
        raw = raw_predictions(case, model, batch)
        for name, calls in back_propagated(seen, raw):
            with suppress(ValueError, RuntimeError):
                records[name].add(calls)
    equal = dict.fromkeys(layers, False)
    for name in layers:
        with suppress(ValueError, RuntimeError):
            error = gram(records[name], raw.numel()) - expected[name]
            equal[name] = float(error.norm()) <= RTOL * float(expected[name].norm())
    return equal


def _products(model: nn.Module, layer: nn.Module, case: Case, rows: Tensor, runtime: Runtime) -> Tensor:
    """Products of the gradients of each sample's predictions, alone, by a layer's weights; `(n k, n k)` float64."""
    weights = [weight for weight in layer.parameters() if weight.requires_grad]
    found = []
    with evaluating(model), torch.enable_grad():
        for batch in runtime.load(case.source("train_eval"), chunked(rows, 1)):
            raw = case.task.predict(model, batch.data).flatten()
            for value in raw:
                pieces = gradients_of(value, weights, keep_graph=True)
                found.append(torch.cat([piece.flatten() for piece in pieces]).double().cpu())
    gradients = torch.stack(found)
    return gradients @ gradients.T
