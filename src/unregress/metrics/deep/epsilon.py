"""A lower bound on the ε of unlearning, with confidence, from guesses about which samples models had.

Rates of false positives and false negatives over models give such a bound for one sample (Triantafillou et al. 2024,
"Are we making progress in unlearning?"), but only with hundreds of models; and rates over the samples of a few models
are not independent trials.  The bound here is that of audits by one training (Steinke, Nasr and Jagielski 2023): which
samples a model had is drawn by independent coins, so guesses about them, however made, are right no more often than
independent guesses.  Arrays in, numbers out.
"""

from __future__ import annotations

from math import log
from typing import NamedTuple

import numpy as np

from unregress.data.request import Mask
from unregress.evidence import MetricInfo, Unit
from unregress.metrics.deep.lira import Gaussians, log_ratios
from unregress.metrics.predictions import Values

CONFIDENCE = 0.95
"""Probability that ε is at least as large as the bound."""
GUESSED = (1.0, 0.5, 0.25, 0.125)
"""Shares of the pairs of samples about which to guess, of which the most telling one is chosen."""
FEWEST = 6
"""Pairs of models: three on each side, since scores on one side are by the others of that side."""
ABOUT = MetricInfo(
    metric="ulira-epsilon",
    title="U-LiRA: lower bound on ε",
    meaning="No guarantee holds for the method that a smaller ε would give: with (ε, 0)-unlearning, whatever a model "
    "that forgot a sample does is at most e^ε times as likely as if it had never seen it, and the reverse.  The bound "
    "holds with a confidence of 95 %.",
    ideal="0, which says that nothing was found; models without any trace stay there in 95 of 100 audits.  It grows "
    "with the number of models and samples, so that it is no estimate of ε.",
    unit=Unit.NATS,
    source="Steinke et al. 2023, with pairs of samples",
)


class Guesses(NamedTuple):
    """Guesses about pairs of samples, of which a model had one."""

    right: int
    made: int

    @property
    def epsilon(self) -> float:
        """The lower bound on ε: half the log odds of the lower limit of the chance of being right.

        The two samples of a pair differ in what was done with either, so its coin may move the odds by e^(2ε).
        """
        chance = lower_limit(self.right, self.made)
        return log(chance / (1 - chance)) / 2 if chance > 0.5 else 0.0

    @property
    def p(self) -> float:
        """How often tosses of a coin would be right as often."""
        from scipy.stats import binom

        return float(binom.sf(self.right - 1, self.made, 0.5))


def lower_limit(right: int, made: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower confidence limit of a share (Clopper and Pearson 1934); 0 without a trial.

    >>> round(lower_limit(10, 10), 6) == round(0.05 ** (1 / 10), 6)
    True
    """
    from scipy.stats import beta

    return float(beta.ppf(1 - confidence, right, made - right + 1)) if right else 0.0


def guesses(had: Values, unseen: Values, first: Mask, rng: np.random.Generator) -> Guesses:
    """Guess which of two samples a model had, for many pairs of samples.

    The pairs of models are divided into two halves.  The densities, and the share of the pairs of samples about which
    to guess, are fitted on the first half; the guesses are about the second.  Half of the targets were drawn for each
    model, so a sample that it had and one that it never had, paired at random, are as good as chosen by a fair coin.
    Only the first model of each pair of models is guessed about: its partner had exactly the other samples.

    Args:
        had: signals of the models that were trained on the sample, `(pairs, n, width)`, 6 pairs or more.
        unseen: signals of their partners.
        first: whether it was the first model of the pair that had the sample, `(pairs, n)`.
        rng: draws the pairs of samples.
    """
    half = len(had) // 2
    inside, outside = log_ratios(had[:half], unseen[:half])
    known = np.where(first[:half], inside, outside)
    signal = np.where(first[:, :, None], had, unseen)[half:]
    asked = Gaussians.of_all(had[:half]).log_density(signal) - Gaussians.of_all(unseen[:half]).log_density(signal)
    fitted = np.concatenate([_differences(scores, mask, rng) for scores, mask in zip(known, first[:half], strict=True)])
    tested = np.concatenate([_differences(scores, mask, rng) for scores, mask in zip(asked, first[half:], strict=True)])
    limits = [float(np.quantile(np.abs(fitted), 1 - share)) for share in GUESSED]
    return _guess(tested, max(limits, key=lambda limit: _guess(fitted, limit).epsilon))


def _differences(scores: Values, mask: Mask, rng: np.random.Generator) -> Values:
    """Score of a sample that a model had less that of one that it never had, for random pairs of samples."""
    ours, theirs = rng.permutation(scores[mask]), rng.permutation(scores[~mask])
    count = min(len(ours), len(theirs))
    return np.asarray(ours[:count] - theirs[:count])


def _guess(differences: Values, limit: float) -> Guesses:
    """Guess for the pairs of samples whose scores differ by a limit or more; a tie is a wrong guess."""
    far = np.abs(differences) >= limit
    return Guesses(int((differences[far] > 0).sum()), int(far.sum()))
