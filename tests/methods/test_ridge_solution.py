"""Ridge regression in its dual form."""

from __future__ import annotations

import pytest
import torch

from unregress.errors import ModelError
from unregress.methods.ridge_solution import ridge_solution

RESIDUAL = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)


def test_the_equations_are_solved() -> None:
    draws = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kernel, ridge = draws @ draws.T, torch.full_like(RESIDUAL, 0.1)
    found, used = ridge_solution(kernel, ridge, RESIDUAL)
    assert torch.equal(used, ridge)
    torch.testing.assert_close((kernel @ found.reshape(-1)).reshape(2, 2) + 0.1 * found, RESIDUAL)


def test_the_ridge_grows_above_what_rounding_takes_away() -> None:
    """A matrix of ones whose smallest eigenvalue is -0.005: of 0.001, 0.01 and so on the second suffices."""
    kernel = torch.ones(4, 4, dtype=torch.float64) - 0.005 * torch.eye(4, dtype=torch.float64)
    found, used = ridge_solution(kernel, torch.full_like(RESIDUAL, 0.001), RESIDUAL)
    assert torch.equal(used, torch.full_like(RESIDUAL, 0.01))
    torch.testing.assert_close((kernel @ found.reshape(-1)).reshape(2, 2) + used * found, RESIDUAL)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_products_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ModelError):
        ridge_solution(torch.full((4, 4), value, dtype=torch.float64), torch.ones_like(RESIDUAL), RESIDUAL)
