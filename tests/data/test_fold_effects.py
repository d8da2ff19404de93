"""The effects of leaving samples out: exact for ridge regression."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unregress.data.fold_effects import FoldEffects

RNG = np.random.default_rng(0)
SIZE, WIDTH, RIDGE = 40, 6, 0.7
FOLDS = np.repeat(np.arange(4), 10)


class Ridge:
    """Ridge regression of two outputs with shared weights: `design` has a row for each sample and output."""

    def __init__(self, outputs: int) -> None:
        self.design = RNG.normal(size=(SIZE, outputs, WIDTH))
        self.target = RNG.normal(size=(SIZE, outputs))

    def without(self, left_out: np.ndarray) -> np.ndarray:
        """Predictions of all samples by the solution without some; `(n, k)`."""
        kept = np.setdiff1d(np.arange(SIZE), left_out)
        x, y = self.design[kept].reshape(-1, WIDTH), self.target[kept].reshape(-1)
        weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(WIDTH), x.T @ y)
        return self.design @ weights

    @property
    def effects(self) -> FoldEffects:
        x = self.design.reshape(-1, WIDTH)
        root = np.linalg.cholesky(x.T @ x + RIDGE * np.eye(WIDTH))
        features = np.linalg.solve(root, x.T).T.reshape(self.design.shape)
        pulls = self.target - self.without(np.array([], dtype=int))
        return FoldEffects(features=torch.from_numpy(features), pulls=torch.from_numpy(pulls), agreement=1.0)


# Fewer values than features, and more.
GROUPS = [[3], [0, 1, 7], [2, 9, 30, 39], list(range(10, 25))]


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("rows", GROUPS)
def test_the_effect_of_leaving_samples_out(outputs: int, rows: list[int]) -> None:
    model = Ridge(outputs)
    expected = model.without(np.array([], dtype=int))[rows] - model.without(np.array(rows))[rows]
    np.testing.assert_allclose(model.effects.of(torch.tensor(rows)).numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("rows", [*GROUPS, [39, 2, 30, 9]])
def test_predictions_without_folds_become_those_without_exactly_the_samples(outputs: int, rows: list[int]) -> None:
    model, places, folds = Ridge(outputs), torch.tensor(rows), torch.from_numpy(FOLDS)
    left_out = np.concatenate([model.without(np.flatnonzero(fold == FOLDS))[fold == FOLDS] for fold in range(4)])
    corrected = left_out[rows] + model.effects.of_others(folds, places).numpy()
    np.testing.assert_allclose(corrected, model.without(np.array(rows))[rows], rtol=1e-9)


def test_effects_of_several_groups_are_those_of_each_alone() -> None:
    effects, groups = Ridge(2).effects, torch.tensor([5, 1, 9, 1] * 10)
    found = effects.of_each(groups)
    for group in (1, 5, 9):
        members = torch.nonzero(groups == group).flatten()
        torch.testing.assert_close(found[members], effects.of(members))


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("steps", [[[0, 1, 12, 30]], [[0, 12], [1, 30]], [[0, 1, 12, 30], []]])
def test_samples_that_went_before_are_left_out_of_the_prediction_too(outputs: int, steps: list[list[int]]) -> None:
    """All at once or one request after the other, in the fold of the samples and in others."""
    model, folds = Ridge(outputs), torch.from_numpy(FOLDS)
    left_out = np.concatenate([model.without(np.flatnonzero(fold == FOLDS))[fold == FOLDS] for fold in range(4)])
    effects, stay, left_out = model.effects, torch.arange(SIZE), torch.from_numpy(left_out)
    for gone in steps:
        keep = torch.nonzero(~torch.isin(stay, torch.tensor(gone, dtype=torch.int64))).flatten()
        effects, lost = effects.without_others(folds[stay], keep)
        left_out, stay = left_out[keep] - lost, stay[keep]
    assert len(effects.features) == len(effects.pulls) == len(left_out) == SIZE - 4
    rows = [5, 2, 39]
    places = torch.searchsorted(stay, torch.tensor(rows))
    corrected = left_out[places] + effects.of_others(folds[stay], places)
    np.testing.assert_allclose(corrected.numpy(), model.without(np.array([*rows, 0, 1, 12, 30]))[rows], rtol=1e-9)


def test_where_nothing_has_gone_effects_stay_as_they_are() -> None:
    effects = Ridge(1).effects
    same, lost = effects.without_others(torch.from_numpy(FOLDS), torch.arange(SIZE))
    assert same is effects and not lost.any()
