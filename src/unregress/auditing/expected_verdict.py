"""What can be expected of an audit's verdict, said before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

from unregress.data.case import Case
from unregress.evidence.expectation import expectations
from unregress.evidence.rule import Rule
from unregress.metrics import Metric
from unregress.metrics.memory_kept import MemoryKept


def expected_verdict(case: Case, metrics: Sequence[Metric], golds: int, rule: Rule) -> list[str]:
    """What can be expected of a verdict, said before anything is trained.

    Args:
        case: the request and the data.
        metrics: what will be measured.
        golds: number of golds that there will be.
        rule: how verdicts are reached.
    """
    judges = [each.table for each in metrics if isinstance(each, MemoryKept) and not each.doubt(case)]
    coupling = judges[0].coupling if judges else None
    return expectations(len(case.requested.forget), golds, rule, table=bool(judges), coupling=coupling)
