"""The worst case of U-LiRA: the samples that are told apart best, and those that originals memorise most.

An average over random samples hides the few that a model remembers (Hayes et al. 2024, "Inexact unlearning needs more
careful evaluations"; Naderloui et al. 2025, "RULI").  Arrays in, numbers out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from unregress.data.request import Mask
from unregress.evidence import MetricInfo, Unit
from unregress.evidence.nan_means import scale_of
from unregress.metrics.deep.lira import Flips, flip_tests, interval, told_apart
from unregress.metrics.predictions import Values

LEVELS = {"ulira-sample-50": 0.5, "ulira-sample-90": 0.9, "ulira-sample-max": 1.0}
"""Quantiles over samples of each sample's AUC, by metric."""
MEMORISED = 0.1
"""Share of the samples that are taken as the most memorised."""
ABOUT: tuple[MetricInfo, ...] = (
    MetricInfo(
        metric="ulira-memorised",
        title="U-LiRA: recognising the model that had a memorised sample",
        meaning="As `ulira`, for the tenth of the samples whose predictions change most with whether the original was "
        "trained on them.  They are chosen by other models than those under attack.",
        ideal="0.5: the attacker guesses, as with retrained models.",
        unit=Unit.SHARE,
        source="RULI (Naderloui et al. 2025), for regression",
    ),
    *(
        MetricInfo(
            metric=metric,
            title=f"U-LiRA: AUC of single samples, {name}",
            meaning="How well the attacker ranks the models that forgot a sample above those that never had it, sample "
            f"by sample; {name} over the samples.",
            ideal="The value in the note, which models without any trace would have on average: with few models it "
            "is far from 0.5 by chance.",
            unit=Unit.SHARE,
            source="Hayes et al. 2024 (per-sample U-LiRA)",
        )
        for metric, name in zip(LEVELS, ("the median", "the 90 % quantile", "the largest"), strict=True)
    ),
)
"""What the numbers of the worst case mean."""


def most_memorised(had: Values, unseen: Values, share: float = MEMORISED) -> Mask:
    """For each pair, the samples whose mean residual depends most on training, by all other pairs; `(pairs, n)`.

    The pair under attack does not take part in the choice: chance differences between its own models would be chosen
    with the memory.

    Args:
        had: residuals of originals that were trained on the sample, `(pairs, n, outputs)`; unknown outputs are NaN.
        unseen: residuals of their partners.
        share: of the samples to choose; one at least.

    >>> had, unseen = np.zeros((3, 2, 1)), np.array([[[1.0], [0.0]], [[1.0], [0.0]], [[0.0], [9.0]]])
    >>> most_memorised(had, unseen, 0.5).tolist()  # only the third pair knows of the second sample
    [[False, True], [False, True], [True, False]]
    """
    change = np.nan_to_num(had - unseen)
    unit = np.sqrt((change**2).mean(axis=(0, 1)))
    change = change / np.where(unit > 0, unit, 1.0)
    others = np.linalg.norm(change.sum(axis=0) - change, axis=2)
    count = max(1, round(share * others.shape[1]))
    chosen = np.zeros(others.shape, dtype=np.bool_)
    np.put_along_axis(chosen, np.argsort(-others, axis=1, kind="stable")[:, :count], True, axis=1)
    return chosen


def sample_auc(had: Values, unseen: Values) -> Values:
    """Each sample's area under the ROC curve over models, equal scores counting one half; `(n,)`.

    Args:
        had: scores of the models that were trained on the sample, `(pairs, n)`.
        unseen: scores of their partners.

    >>> sample_auc(np.array([[1.0], [3.0]]), np.array([[2.0], [0.0]]))  # 1 > 0, 3 > 2, 3 > 0
    array([0.75])
    """
    wins = [((own > unseen).mean(axis=0) + (own >= unseen).mean(axis=0)) / 2 for own in had]
    return np.asarray(np.mean(wins, axis=0))


class WorstCase(NamedTuple):
    """The attack's results on one method's models."""

    flips: Flips
    """Of the share over all samples, of that over the most memorised ones, and of the quantiles `LEVELS`."""
    memorised: tuple[float, float]
    """95 % confidence interval of the share over the most memorised samples."""
    scores: tuple[Values, Values]
    """Scores of the most memorised samples by models that had them and that never saw them, `(k,)` each."""


def worst_case(
    had: Values, unseen: Values, scores: tuple[Values, Values], chosen: Mask, rng: np.random.Generator
) -> WorstCase:
    """Test the worst case by swapping the roles of pairs.

    The choice of samples stays as it is when roles are swapped.  For models of a method it depends on other models, the
    originals.

    Args:
        had: signals, as for `log_ratios`.
        unseen: signals of their partners.
        scores: what `log_ratios` makes of them.
        chosen: the most memorised samples of each pair, `(pairs, n)`.
        rng: draws swaps.
    """

    def shares(ours: Values, theirs: Values) -> Values:
        """The share of the chosen samples, by pair: each pair has as many."""
        pairs = len(chosen)
        return told_apart(ours[chosen].reshape(pairs, -1), theirs[chosen].reshape(pairs, -1))

    def statistics(ours: Values, theirs: Values) -> Values:
        levels = np.quantile(sample_auc(ours, theirs), list(LEVELS.values()))
        return np.array([told_apart(ours, theirs).mean(), shares(ours, theirs).mean(), *levels])

    flips = flip_tests(had, unseen, statistics, rng)
    by_pair = shares(*scores)
    return WorstCase(flips, interval(float(by_pair.mean()), by_pair), (scores[0][chosen], scores[1][chosen]))


def by_output(residual: Values) -> Values:
    """Residuals with their outputs in one axis, in a unit in which they can be squared; `(models, n, outputs)`."""
    return residual.reshape(*residual.shape[:2], -1) / scale_of(residual)
