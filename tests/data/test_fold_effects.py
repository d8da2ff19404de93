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


def test_samples_that_are_removed_leave_the_others() -> None:
    effects, places = Ridge(1).effects, torch.tensor([4, 8, 11])
    kept = effects.kept(places)
    assert kept.features.shape == (3, 1, WIDTH) and torch.equal(kept.pulls, effects.pulls[places])
    torch.testing.assert_close(kept.of(torch.tensor([1])), effects.of(torch.tensor([8])))
