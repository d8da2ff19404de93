"""Features of samples whose inner products are nearly those of their gradients, by way of a few landmarks.

The Nyström method (Williams and Seeger 2001): the products of all samples' gradients with those of some, the landmarks,
are enough for an approximation of all products of full rank in the landmarks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unregress.data.case import Case
from unregress.errors import ModelError
from unregress.hooks import gram_passes
from unregress.hooks.changeable_layers import Changeable
from unregress.training.runtime import Runtime

FEWEST = 32
"""Least number of landmarks."""
SMALLEST = 1e-8
"""Directions whose part of the landmarks' products is below this one, relative to the largest, are rounding errors of
products in single precision."""


def gradient_features(
    model: nn.Module, case: Case, rows: Tensor, landmarks: Tensor, outputs: int, runtime: Runtime
) -> Tensor:
    """Features whose inner products approximate those of the gradients of predictions, exactly for the landmarks.

    The gradients are those by the layers that `LeaveOutEdit` changes first.  Samples are taken in chunks of as many as
    there are landmarks, and the landmarks again with each, so that the traces of no more than these two are held.

    Args:
        model: the model in evaluation mode, on the runtime's device.
        case: task and data.
        rows: positions of the training samples.
        landmarks: positions of some of them; as many as memory allows are taken, from the front.
        outputs: k, output components of a prediction.
        runtime: where to run.

    Returns:
        `(n, k, r)` float32, for r features, at most k times the number of landmarks.

    Raises:
        ModelError: no prediction depends on a trainable weight, gradients are not finite, or the traces of fewer than
            `FEWEST` landmarks fit into memory (`unregress.hooks.gram_passes.HELD`).
    """
    layers = Changeable.of(model, case, landmarks, runtime)
    fitting = int(gram_passes.HELD // (2 * max(1.0, layers.held_by_sample(layers.first_choice, outputs))))
    if fitting < min(FEWEST, len(landmarks)):
        raise ModelError(
            f"The gradients of {2 * FEWEST} samples take more than {gram_passes.HELD / 1e9:.2g} GB",
            expected="a smaller model, or smaller inputs",
        )
    landmarks = landmarks[:fitting]

    def products(some: Tensor) -> Tensor:
        """Products of some samples' gradients with those of the landmarks, `(some k, landmarks k)`."""
        both = torch.cat([landmarks, some])
        made = layers.products(model, layers.first_choice, case, both, runtime, leading=len(landmarks))
        whole = torch.stack(list(made.by_layer.values())).sum(0)
        return whole[-len(some) * outputs :, : len(landmarks) * outputs]

    own = products(landmarks)
    if not bool(own.isfinite().all()):
        raise ModelError("The model's gradients are not finite", expected="finite gradients for every sample")
    values, vectors = torch.linalg.eigh((own + own.T) / 2)
    large = values > SMALLEST * values[-1]
    root = vectors[:, large] / values[large].sqrt()
    found = torch.cat([products(some) @ root for some in rows.split(len(landmarks))])
    return found.float().reshape(len(rows), -1, found.shape[1])
