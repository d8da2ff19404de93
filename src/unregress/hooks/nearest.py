"""Find the retained samples that are nearest to the forgotten ones, by what the model's first layer makes of them."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from unregress.data.case import Case
from unregress.data.loading import chunked
from unregress.hooks.activations import execution_order, narrowed, samples_first
from unregress.tasks.unwrap import unwrapped
from unregress.training.runtime import Runtime, evaluating

CANDIDATES = 20_000
"""Largest number of samples among which the nearest are searched; of more a random part is taken."""
WIDTH = 2048
"""Largest number of features that are compared; more are averaged in equal parts."""


class _FirstLayerDone(Exception):
    """Ends a forward pass after the first layer."""


def first_layer_features(model: nn.Module, case: Case, rows: Tensor, runtime: Runtime) -> Tensor:
    """Outputs of the layer with weights that runs first, flattened; `(n, features)`, or no rows if samples share them.

    The forward pass ends there, so that it costs a small part of a prediction.

    Args:
        model: the model, on the runtime's device.
        case: task and data; the samples are read without augmentation.
        rows: positions in the training set.
        runtime: where to run.
    """
    source, layer = case.source("train_eval"), _first(model, case, rows, runtime)
    found: list[Tensor] = []

    def hook(layer: nn.Module, _: object, output: object) -> None:
        tensor = samples_first(layer, output)
        if tensor is None:
            raise _FirstLayerDone
        flat = tensor.detach().float().reshape(len(tensor), -1)
        found.append(narrowed(flat, WIDTH).cpu())
        raise _FirstLayerDone

    handle = layer.register_forward_hook(hook)
    try:
        with evaluating(model), torch.no_grad():
            for batch in runtime.load(source, chunked(rows, runtime.evaluation_batch_size)):
                try:
                    case.task.predict(model, batch.data)
                except _FirstLayerDone:
                    continue
    finally:
        handle.remove()
    features = torch.cat(found) if found else torch.empty(0, 0)
    return features if len(features) == len(rows) else torch.empty(0, 0)


def _first(model: nn.Module, case: Case, rows: Tensor, runtime: Runtime) -> nn.Module:
    """The layer with weights that runs first."""
    (batch,) = runtime.load(case.source("train_eval"), [rows[:2]])
    layers = [unwrapped(model).get_submodule(name) for name in execution_order(model, case.task, batch)]
    called: list[nn.Module] = []
    handles = [layer.register_forward_hook(lambda layer, *_: called.append(layer)) for layer in layers]
    try:
        with evaluating(model), torch.no_grad():
            case.task.predict(model, batch.data)
    finally:
        for handle in handles:
            handle.remove()
    return called[0]


def nearest_rows(model: nn.Module, case: Case, count: int, draws: Generator, runtime: Runtime) -> Tensor:
    """Positions of the retained training samples nearest to the forgotten ones, in turn for each of these.

    None are found where the first layer does not have the samples on its first axis.

    Args:
        model: the model, on the runtime's device.
        case: the request and the data.
        count: number of positions; all retained samples if there are fewer.
        draws: draws the candidates where there are many samples.
        runtime: where to run.
    """
    retain = torch.from_numpy(case.requested.retain)
    if len(retain) > CANDIDATES:
        retain = retain[torch.randperm(len(retain), generator=draws)[:CANDIDATES]]
    forget = torch.tensor(case.requested.forget)
    features = first_layer_features(model, case, torch.cat([forget, retain]), runtime)
    if not len(features):
        return retain[:0]
    distances = torch.cdist(features[: len(forget)], features[len(forget) :])
    order = distances.topk(min(count, len(retain)), largest=False).indices
    # Column by column: every forgotten sample's nearest, then every one's second nearest, and so on.
    chosen = list(dict.fromkeys(order.T.reshape(-1).tolist()))[:count]
    return retain[torch.tensor(chosen, dtype=torch.int64)]
