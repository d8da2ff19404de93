"""The solution of a ridge regression in its dual form, where rounding may spoil the matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from unregress.errors import ModelError

TRIES = 12
"""Largest number of ridges that are tried, each ten times as large as the last one."""


def ridge_solution(kernel: Tensor, ridge: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """(K + D)⁻¹ r, with a larger D where rounding errors of K are larger than D and the sum is not positive definite.

    Args:
        kernel: K, products of gradients, `(n k, n k)` float64.
        ridge: the diagonal of D, `(n, k)`, positive.
        residual: r, `(n, k)`.

    Returns:
        Solution and ridge, `(n, k)` each.

    Raises:
        ModelError: the products are not finite.
    """
    for _ in range(TRIES if bool(kernel.isfinite().all()) else 0):
        root, failed = torch.linalg.cholesky_ex(kernel + torch.diag(ridge.reshape(-1)))
        if not failed:
            return torch.cholesky_solve(residual.reshape(-1, 1), root).reshape(residual.shape), ridge
        ridge = 10 * ridge
    raise ModelError(
        "The gradients of the model's predictions by its weights are not finite, or too large",
        expected="finite gradients for every sample",
        remedy="Look for samples with extreme inputs, compute with precision 32-true, or retrain the model",
    )
