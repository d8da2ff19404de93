"""What the others of a fold did to leave-out predictions: a fold's models lack more samples than a request forgets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

BLOCK = 2**24
"""Largest number of values of features that are taken at once, unless those of one group are more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldEffects:
    """The effects of leaving out samples, as ridge regression on the gradients of the original's predictions has them.

    The features Φ are gradients, divided by a root of the sum of their outer products over all samples and of a ridge,
    so that H = Φ Φᵀ is the regression's hat matrix.  The pull p of a sample is minus the derivative of its loss by its
    prediction, times a factor.  Leaving out samples T lowers the predictions of T by

        H_TT (1 - H_TT)⁻¹ p_T.

    It is exact for a linear model that was trained with squared errors and a ridge, and an approximation for others.
    After Koh, Ang, Teo and Liang (2019), on the effects of groups of training samples.
    """

    features: Tensor = field(repr=False)
    """Φ by sample and output; `(n, k, r)`."""
    pulls: Tensor = field(repr=False)
    """p by sample and output; `(n, k)`."""
    agreement: float
    """Correlation of the predicted effects of the others of a fold with what was measured, each without what the
    sample's own absence explains."""

    def without_others(self, folds: Tensor, places: Tensor) -> tuple[FoldEffects, Tensor]:
        """The effects of some samples as if the training had never had any others, and what these add to predictions.

        Args:
            folds: the fold of each sample, `(n,)` int64.
            places: places of the samples that stay, ascending; `(m,)` int64.

        Returns:
            The effects, and what is to be subtracted from the leave-out predictions of the samples, `(m, k)`.
        """
        out = torch.ones(len(self.pulls), dtype=torch.bool)
        out[places] = False
        if not bool(out.any()):
            return self, torch.zeros_like(self.pulls)
        lost = self.features[out].double().flatten(0, 1)
        root = torch.linalg.cholesky(torch.eye(lost.shape[1], dtype=lost.dtype) - lost.T @ lost)
        # Φ (1 - Φ_Tᵀ Φ_T)^(-1/2): the sum of the gradients' outer products no longer has those of the lost samples.
        flat = self.features[places].double().flatten(0, 1)
        divided = torch.linalg.solve_triangular(root, flat.T, upper=False).T
        pull = torch.linalg.solve_triangular(root, lost.T @ self.pulls[out].double().reshape(-1, 1), upper=False)
        lower = (divided @ pull).reshape(len(places), -1)
        kept = FoldEffects(
            features=divided.reshape(self.features[places].shape).to(self.features),
            pulls=(self.pulls[places] + lower).to(self.pulls),
            agreement=self.agreement,
        )
        return kept, lower + kept.of_each(folds[places]) - self.of_each(folds)[places]

    def of(self, places: Tensor) -> Tensor:
        """How much higher the predictions of some samples are with these samples than without all of them.

        Args:
            places: their places, `(m,)` int64.

        Returns:
            `(m, k)` float64.
        """
        return self._changes(places[None])[0]

    def of_each(self, groups: Tensor) -> Tensor:
        """The same for each of several disjoint groups of samples, such as folds.

        Args:
            groups: the group of each sample, `(n,)` int64.

        Returns:
            Each sample's change without its group, `(n, k)` float64.
        """
        found = torch.zeros(self.pulls.shape, dtype=torch.float64)
        for members in _members_by_count(groups):
            for some in members.split(max(1, BLOCK // self.features[members[0]].numel())):
                found[some] = self._changes(some)
        return found

    def of_others(self, folds: Tensor, places: Tensor) -> Tensor:
        """What the others of their folds add to the predictions of some samples: to be added to leave-out predictions.

        Args:
            folds: the fold of each sample, `(n,)` int64.
            places: places of the samples, `(m,)` int64; one that is named twice is left out once.

        Returns:
            `(m, k)` float64.
        """
        places, again = places.unique(return_inverse=True)
        return (self.of_each(folds)[places] - self.of(places))[again]

    def _changes(self, places: Tensor) -> Tensor:
        """As `of`, of several groups with the same number of samples, `(g, m)`; `(g, m, k)`."""
        own, pulls = self.features[places].double(), self.pulls[places].double()
        flat, pulled = own.flatten(1, 2), pulls.flatten(1)[..., None]
        # The same product by the smaller of the two matrices.
        if flat.shape[1] <= flat.shape[2]:
            inner = flat @ flat.mT
            changes = inner @ _solved(inner, pulled)
        else:
            changes = flat @ _solved(flat.mT @ flat, flat.mT @ pulled)
        return changes.reshape(pulls.shape)


def _solved(products: Tensor, values: Tensor) -> Tensor:
    """(1 - K)⁻¹ v for symmetric K whose eigenvalues are below 1."""
    rest = torch.eye(products.shape[-1], dtype=products.dtype) - products
    return torch.cholesky_solve(values, torch.linalg.cholesky(rest))


def _members_by_count(groups: Tensor) -> Iterator[Tensor]:
    """The places of the samples of all groups with one number of samples, `(g, m)`, for each such number."""
    _, counts = groups.unique(return_counts=True)
    members = torch.argsort(groups, stable=True).split(counts.tolist())
    for count in counts.unique().tolist():
        yield torch.stack([each for each in members if len(each) == count])
