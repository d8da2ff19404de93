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
"""Shares of the couples about which to guess, of which the most telling one is chosen."""
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
    source="Steinke et al. 2023, with couples of samples",
)


class Guesses(NamedTuple):
    """Guesses about couples of samples, of which a model had one."""

    right: int
    made: int

    @property
    def epsilon(self) -> float:
        """The lower bound on ε: half the log odds of the lower limit of the chance of being right.

        A couple's two samples differ in what was done with either, so its coin may move the odds by e^(2ε).
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
    """Guess which samples the first model of each pair in the second half of the pairs had.

    All that guessing takes comes from the first half of the pairs: the densities, and the share of couples about which
    to guess.  Half of the targets were drawn for a model; so each sample that it had is put into a couple with one that
    it never had, at random, and a fair coin decided which of the two it had.  Of a pair only one model is asked: the
    partner's coins are the same.

    Args:
        had: signals of the models that were trained on the sample, `(pairs, n, width)`, 6 pairs or more.
        unseen: signals of their partners.
        first: whether it was the first model of the pair that had the sample, `(pairs, n)`.
        rng: draws the couples.
    """
    half = len(had) // 2
    inside, outside = log_ratios(had[:half], unseen[:half])
    known = np.where(first[:half], inside, outside)
    signal = np.where(first[:, :, None], had, unseen)[half:]
    asked = Gaussians.of_all(had[:half]).log_density(signal) - Gaussians.of_all(unseen[:half]).log_density(signal)
    learnt = np.concatenate([_leads(scores, mask, rng) for scores, mask in zip(known, first[:half], strict=True)])
    tested = np.concatenate([_leads(scores, mask, rng) for scores, mask in zip(asked, first[half:], strict=True)])
    limits = [float(np.quantile(np.abs(learnt), 1 - share)) for share in GUESSED]
    return _made(tested, max(limits, key=lambda limit: _made(learnt, limit).epsilon))


def _leads(scores: Values, mask: Mask, rng: np.random.Generator) -> Values:
    """By how much each sample that a model had scores above the one that it never had, in random couples."""
    ours, theirs = rng.permutation(scores[mask]), rng.permutation(scores[~mask])
    count = min(len(ours), len(theirs))
    return np.asarray(ours[:count] - theirs[:count])


def _made(leads: Values, limit: float) -> Guesses:
    """Guess about the couples whose samples' scores are at least so far apart; a tie is a wrong guess."""
    return Guesses(int((leads[np.abs(leads) >= limit] > 0).sum()), int((np.abs(leads) >= limit).sum()))
