"""The combined test of memory: several signs of memory of one model against the golds', in one number.

The signs are an error on the forgotten samples below the golds', an attack that recognises more of them, and single
samples that are known better.  Each alone may be within its limit by chance; that all of them are near theirs is rarer.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np

from unregress.evidence.audit_report import AuditReport
from unregress.evidence.findings import COMBINED, MetricInfo, Part, Unit
from unregress.evidence.memory_limit import MemoryTest
from unregress.evidence.noise_floor import standard_deviation

FORGOTTEN: Part = "train-forget"
SIGNS = {"mae": -1, "auc": 1, "memory-of-few": 1}
"""The measurements on the forgotten samples that are combined, with the sign of memory.

The calibrated attack is not among them: golds are what it calibrates by, and a gold has one of them fewer than the
model that is judged, so that their values cannot be compared where golds are few."""
ALIKE = 1e-9
"""Golds whose standard deviation is at most this share of their mean are alike but for rounding."""
DIGITS = 9
"""Decimals of an average of signs."""
ABOUT = MetricInfo(
    metric=COMBINED,
    title="Signs of memory together",
    meaning="How far, on average, the error on the forgotten samples, the attack by loss and what is known of single "
    "samples lie on memory's side of the retrained models' means, each in units of their standard deviation.",
    ideal="0, the retrained models' mean; one of them is as often below as above.",
    unit=Unit.DEVIATIONS,
    source="this library",
)


class CombinedMemory(NamedTuple):
    """The combined test of a model, with what it is compared with.

    Each sign is in units of a standard deviation that few golds tell, so that Student's limit is crossed by one more
    gold more often than its level says: with five golds 1.6 to 2.9 % of the time instead of 1.25 %, with ten 1.3 to
    2.0 %, the more the less signs agree.  The verdict's whole level is measured with it (docs/calibration.md); no
    p-value is given.
    """

    test: MemoryTest
    original: float
    """The original's value."""


def combined_memory(model: str, report: AuditReport) -> CombinedMemory | None:
    """Average a model's signs of memory, and compare the average with the golds'.

    Args:
        model: any model of the report but a gold.
        report: the measurements; a sign that some model or gold lacks, or that is the same for all golds, is left out.

    Returns:
        The test, whose value is 0 for the golds' mean; None without golds, with fewer than two signs, or if numbers
        are too large for the computer.
    """
    names = (model, report.named("original")[0], *report.golds)
    signs = []
    for metric, sign in SIGNS.items():
        values = [value for name in names if (value := report.value_of(metric, FORGOTTEN, name)) is not None]
        if len(values) < max(len(names), 5):
            continue
        golds = np.array(values[2:])
        deviation, center = standard_deviation(golds, paired=False), float(golds.mean())
        if deviation > ALIKE * abs(center):
            with np.errstate(over="ignore", invalid="ignore"):
                signs.append(sign * (np.array(values) / deviation - center / deviation))
    if len(signs) < 2:
        return None
    # Signs that cancel leave sums of rounding errors, which the order of the golds would change.
    with np.errstate(over="ignore", invalid="ignore"):
        together = np.mean(signs, axis=0).round(DIGITS)
    if not np.isfinite(together).all():
        return None
    own, original, *of_golds = together.tolist()
    error = float(np.std(of_golds, ddof=1)) * sqrt(1 + 1 / len(of_golds))
    return CombinedMemory(MemoryTest(own, own, error, len(of_golds)), original)
