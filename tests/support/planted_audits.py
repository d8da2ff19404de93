"""Audits of planted models, drawn from a small pool of trained ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from planted_models import one_audit
from planted_pools import Pool

from unregress import Rule
from unregress.evidence import Verdict

AUDITS = 12
Found = Mapping[str, Sequence[Verdict]]


def audits(pool: Pool, *, golds: int) -> Found:
    """Verdicts by the planted model, of `AUDITS` audits with so many golds each."""
    rng, found = np.random.default_rng(0), dict[str, list[Verdict]]()
    for _ in range(AUDITS):
        for name, verdict in one_audit(pool, golds, Rule(), rng).items():
            found.setdefault(name, []).append(verdict)
    return found


def outcomes(verdicts: Sequence[Verdict]) -> list[str]:
    """The outcome of each."""
    return [each.outcome for each in verdicts]


def crossed(verdicts: Sequence[Verdict]) -> list[str]:
    """Of each model that failed, what the decisive criterion says."""
    return [each.decisive.outcome for each in verdicts if each.outcome == "FAIL" and each.decisive is not None]
