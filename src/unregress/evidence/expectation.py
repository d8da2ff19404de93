"""What a verdict will need, said before anything is trained."""

from __future__ import annotations

from unregress.evidence.coupling import is_weak
from unregress.evidence.rule import Rule
from unregress.evidence.table_verdict import FEWEST


def expectations(
    forgotten: int, golds: int, rule: Rule, *, table: bool = False, coupling: float | None = None
) -> list[str]:
    """Sentences on what can be expected of a verdict; empty if nothing is out of the ordinary.

    Args:
        forgotten: number of forgotten samples.
        golds: number of golds that there will be.
        rule: how verdicts are reached.
        table: whether a leave-out table judges where golds are missing.
        coupling: of the table; None if unknown.

    >>> expectations(100, 5, Rule())
    []
    """
    missing, found = rule.golds - golds, []
    if missing > 0 and table:
        said = f"There will be {golds} retrained models, fewer than {rule.golds}: the leave-out table judges"
        if not is_weak(coupling) and forgotten >= FEWEST:
            return [said]
        if coupling is None:
            why = "its coupling with the original is unknown"
        elif is_weak(coupling):
            why = f"the initial weights hardly decide what this network learns (coupling {coupling:.2f})"
        else:
            why = f"fewer than {FEWEST} samples are forgotten"
        return [
            f"{said}. It can show that memory is left, and not that none is, since {why}: for that {missing} more "
            "retrained models are needed"
        ]
    if missing > 0:
        found.append(
            f"A verdict needs {rule.golds} retrained models, and there will be {golds}: without {missing} more every "
            "verdict is INCONCLUSIVE"
        )
    if forgotten < rule.samples:
        found.append(
            f"{forgotten} {'sample is' if forgotten == 1 else 'samples are'} forgotten, fewer than {rule.samples}: the "
            "verdict rests on one one-sided test of the memory kept and on errors that are far off, and says "
            "with which probability a model that kept half of the memory would be noticed; more retrained models raise "
            "it"
        )
    return found
