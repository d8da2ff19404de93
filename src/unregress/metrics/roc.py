"""ROC analysis of two samples of scores: area under the curve, its interval, and the TPR at a low FPR."""

from __future__ import annotations

import numpy as np

from unregress.metrics.predictions import Values


def auc(members: Values, others: Values) -> float:
    """Area under the ROC curve: how often a member scores higher than a non-member, equal scores counting one half.

    Args:
        members: scores of the samples to be recognised, `(n,)`.
        others: scores of the samples to tell them from, `(m,)`.

    >>> round(auc(np.array([3.0, 2.0, 0.0]), np.array([1.0, 2.0])), 4)  # (2 + 1.5 + 0) of 6 pairs
    0.5833
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(np.repeat([1, 0], [len(members), len(others)]), np.concatenate([members, others])))


def auc_interval(
    members: Values, others: Values, rng: np.random.Generator, *, draws: int = 1000
) -> tuple[float, float]:
    """95 % confidence interval of the AUC over samples of the same two kinds.

    The percentile bootstrap, which draws members and others separately.  Where all members score higher than all
    others every draw gives 1, and the interval has no width.

    Args:
        members: scores, `(n,)`.
        others: scores, `(m,)`.
        rng: draws n members and then m others, with replacement, each time.
        draws: how often.
    """
    # The AUC depends on ranks alone, so that a draw is a histogram of ranks and need not be sorted again.
    distinct, place = np.unique(np.concatenate([members, others]), return_inverse=True)
    inside, outside = place[: len(members)], place[len(members) :]
    found = np.empty(draws)
    for draw in range(draws):
        ours, theirs = (
            np.bincount(side[rng.integers(len(side), size=len(side))], minlength=len(distinct))
            for side in (inside, outside)
        )
        found[draw] = ours @ (np.cumsum(theirs) - theirs / 2) / (len(inside) * len(outside))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def true_positive_rate(members: Values, others: Values, false_alarms: float) -> float:
    """True positive rate at a given false positive rate: the share of members above the lowest allowed threshold.

    Source: Carlini et al. 2022.

    >>> true_positive_rate(np.array([9.0, 1.0]), np.array([7.0, 5.0, 4.0, 3.0]), 0.25)  # above 5: one of each
    0.5
    """
    allowed = int(false_alarms * len(others) + 1e-9)  # 0.29 * 100 is a little less than 29
    return float(np.mean(members > np.sort(others)[-1 - allowed]))
