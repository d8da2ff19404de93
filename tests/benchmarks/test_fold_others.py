"""Leaving out exactly the forgotten samples, from models that lack a whole fold: exact for ridge regression."""

from __future__ import annotations

import numpy as np
from fold_others import coefficients, predicted_residual, residual_without

RNG = np.random.default_rng(0)
X, Y, RIDGE = RNG.normal(size=(40, 6)), RNG.normal(size=(40, 1)), 0.7
FOLD = np.repeat(np.arange(5), 8)


def residuals(left_out: np.ndarray) -> np.ndarray:
    """Residuals of all samples by ridge regression without some."""
    kept = np.setdiff1d(np.arange(40), left_out)
    weights = np.linalg.solve(X[kept].T @ X[kept] + RIDGE * np.eye(6), X[kept].T @ Y[kept])
    return Y - X @ weights


def test_ridge_regression_without_exactly_the_forgotten_samples() -> None:
    inverse = np.linalg.inv(X @ X.T + RIDGE * np.eye(40))
    by_fold = np.concatenate([residuals(rows)[rows] for rows in np.arange(40).reshape(5, 8)])
    dual = coefficients(inverse, by_fold, FOLD)
    for rows in (np.array([3]), np.array([0, 1, 7]), np.array([2, 9, 30, 39])):
        np.testing.assert_allclose(residual_without(inverse, dual, rows), residuals(rows)[rows], rtol=1e-9)
    # And from the original alone: its residuals are the ridge times its dual coefficients.
    original = residuals(np.array([], dtype=int))
    np.testing.assert_allclose(predicted_residual(inverse, original / RIDGE, FOLD), by_fold, rtol=1e-9)
