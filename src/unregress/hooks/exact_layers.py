"""The layers of a model whose products of gradients are right: checked against autograd on two samples."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.data.loading import Batch, chunked
from unregress.hooks.gram import LayerRecord, back_propagated, gram, supported_layers, traced
from unregress.tasks.unwrap import unwrapped
from unregress.training.runtime import Runtime, evaluating

RTOL = 1e-3
"""Relative tolerance of a layer's products of gradients against those of autograd; covers rounding."""


def raw_predictions(case: Case, model: nn.Module, batch: Batch) -> Tensor:
    """Raw predictions of a batch with all outputs, and quantile levels, on one axis; `(n, k)`."""
    raw: Tensor = case.task.predict(model, batch.data)
    return raw.reshape(len(raw), -1)


def exact_layers(model: nn.Module, case: Case, rows: Tensor, runtime: Runtime) -> dict[str, nn.Module]:
    """The layers of known kinds for which the products of gradients equal those of autograd on two samples."""
    layers = supported_layers(unwrapped(model))
    wanted = {name: _products(model, layer, case, rows, runtime) for name, layer in layers.items()}
    records = {name: LayerRecord(layer) for name, layer in layers.items()}
    exact: dict[str, nn.Module] = {}
    raw = torch.empty(0)
    with traced(layers) as seen, evaluating(model), torch.enable_grad():
        if layers:
            (batch,) = runtime.load(case.source("train_eval"), [rows])
            raw = raw_predictions(case, model, batch)
            for name, calls in back_propagated(seen, raw):
                with suppress(ValueError, RuntimeError):
                    records[name].add(calls)
    for name, expected in wanted.items():
        with suppress(ValueError, RuntimeError):
            found = gram(records[name], raw.numel())
            if float((found - expected).norm()) <= RTOL * float(expected.norm()):
                exact[name] = layers[name]
    return exact


def _products(model: nn.Module, layer: nn.Module, case: Case, rows: Tensor, runtime: Runtime) -> Tensor:
    """Products of the gradients of each sample's predictions, alone, by a layer's weights; `(n k, n k)` float64."""
    weights = [weight for weight in layer.parameters() if weight.requires_grad]
    found = []
    with evaluating(model), torch.enable_grad():
        for batch in runtime.load(case.source("train_eval"), chunked(rows, 1)):
            raw = case.task.predict(model, batch.data).flatten()
            for value in raw:
                pieces = torch.autograd.grad(
                    value, weights, retain_graph=True, allow_unused=True, materialize_grads=True
                )
                found.append(torch.cat([piece.flatten() for piece in pieces]).double().cpu())
    gradients = torch.stack(found)
    return gradients @ gradients.T
