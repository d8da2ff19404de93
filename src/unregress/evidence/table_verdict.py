"""The verdict by leave-out predictions, where no model was retrained without the samples.

The null hypothesis is that the model predicts the forgotten samples as it predicts samples that no model ever saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite

from unregress.evidence import CONSTANT, AuditReport, Measurement, Obstacle, Outcome, Verdict
from unregress.evidence.coupling import is_weak

KEPT_BY_TABLE = "memory-kept"
"""Metric of the memory kept, by leave-out predictions."""
NOTICED = "memory-noticed"
"""Metric of the probability that half of the memory would be noticed."""
TABLE_COUPLING = "table-coupling"
"""Metric of the coupling between leave-out models and original."""
TABLE_LEVEL = 0.025
"""Probability with which a model without memory lies beyond either limit."""
FEWEST = 5
"""Smallest number of forgotten samples for a PASS: of a single one the whole memory is seen in half of the cases at
best (docs/small-requests.md)."""
SURE = 0.8
"""Probability of noticing half of the memory that a PASS requires."""
TOLERANCE = 0.05
"""A model's error on new samples may exceed the original's by this share."""
_CONSTANT = ("mae", "test-retain", CONSTANT)
_GOLDS = "retrained models of the same initial weights can tell"


@dataclass(frozen=True)
class _Numbers:
    """The measurements that the verdict reads."""

    own: Measurement
    slope: float
    low: float
    """Limits of the slope without memory."""
    high: float
    p: float
    original: Measurement | None
    noticed: float
    coupling: float | None
    worse: float | None
    """By which share its error on new samples exceeds the original's; None if an error was not measured."""
    limit: float
    """The error on new samples up to which it counts as unharmed; infinite if unknown."""
    constant: float | None
    """A constant's error on new samples; None if it was not measured."""
    samples: int

    @property
    def weak(self) -> bool:
        """Whether the coupling is weak, or unknown, so that only golds can tell."""
        return is_weak(self.coupling)


def judge_by_table(model: str, report: AuditReport) -> Verdict | None:
    """The verdict on a model by leave-out predictions; None if these were not measured.

    * **FAIL**: the predictions for the forgotten samples lean farther towards the true values than those of all but
      2.5 % of the groups of never-seen samples (the model remembers), or farther away than all but 2.5 % (overshoots).
    * **PASS**: neither, and a model that kept half of the original's memory would be noticed with probability 0.8.
    * **INCONCLUSIVE**: no FAIL, and one of these: fewer than five samples, no memory in the original, or none that was
      measured, too little power, a weak or unknown coupling, an error on new samples that was not measured, or that
      exceeds the original's by more than 5 %, whose reason only golds can tell, or an original that predicts new
      samples hardly better than a constant, beside which a model without any skill would not be noticed.

    Every verdict but a PASS says where the power is too small or the coupling is weak; golds are then asked for.

    Args:
        model: name of the model.
        report: the measurements.
    """
    found = _numbers(model, report)
    if found is None:
        return None
    is_original = found.original is found.own
    if found.p <= TABLE_LEVEL:
        return _verdict(model, "FAIL", f"It still remembers the forgotten samples: {_lean(found)}.{_limits(found)}")
    if found.slope < found.low and not is_original:
        return _verdict(
            model,
            "FAIL",
            f"It was pushed beyond what a model without memory of the forgotten samples does: {_lean(found)}."
            f"{_limits(found)}",
        )
    reason, obstacle = _doubt(found)
    if obstacle is not None:
        return _verdict(model, "INCONCLUSIVE", reason, obstacle)
    return _verdict(
        model,
        "PASS",
        f"It predicts the forgotten samples as one that never saw them: {_lean(found)}. Memory: keeping half of the "
        f"original's would have been noticed with a probability of {found.noticed:.0%}. What was to be kept: its error "
        f"on new samples is at most {TOLERANCE:.0%} above the original's. This says nothing of single samples, nor of "
        "what the weights remember.",
    )


def _doubt(found: _Numbers) -> tuple[str, Obstacle | None]:
    """Why there is no verdict, in words and as an obstacle; None if there is one."""
    told = found.original
    if told is None or told.p is None:
        return "No limit is crossed, but the original's memory was not measured.", "measures"
    if told.p > TABLE_LEVEL:
        says = "which says little" if found.weak else "so nothing was found to forget"
        untold: Obstacle = "golds" if found.weak else "original"
        return f"The original is not told apart either (p = {told.p:.2g}), {says}.{_limits(found)}", untold
    if found.samples < FEWEST:
        few = f"Only {found.samples} sample{' was' if found.samples == 1 else 's were'} forgotten"
        return f"{few}, and leave-out predictions need {FEWEST}: {_lean(found)}.{_limits(found)}", (
            "golds" if found.weak else "samples"
        )
    if limits := _limits(found):
        return limits.strip(), "golds"
    if found.worse is None or found.constant is None:
        whose = "its" if found.worse is None else "a constant's"
        return f"No limit is crossed, but {whose} error on new samples was not measured.", "measures"
    if found.worse > TOLERANCE:
        return (
            f"Its error on new samples is {found.worse:.0%} above the original's; whether by chance, {_GOLDS}.",
            "golds",
        )
    if found.limit >= found.constant:
        return (
            f"Whether it kept what it knew cannot be told: an error on new samples of up to {found.limit:.4g}, "
            f"{TOLERANCE:.0%} above the original's, counts as unharmed, and a constant has {found.constant:.4g}.",
            "kept",
        )
    return "", None


def _limits(found: _Numbers) -> str:
    """Sentences on a power that is too small and a coupling that is weak, each after a space; empty otherwise."""
    limits = ""
    if found.noticed < SURE:
        # Each model's predictions of never-seen samples scatter as they do, so that the figures of two models differ.
        limits += " If it kept half of the original's memory, that would be noticed only with probability "
        limits += f"{found.noticed:.0%}" + ("." if found.weak else f"; {_GOLDS}.")
    if found.weak:
        limits += f" {_why_weak(found.coupling)}; retrained models can tell."
    return limits


def _why_weak(coupling: float | None) -> str:
    in_general = "leave-out predictions show only what models in general would predict"
    if coupling is None:
        return f"The coupling was not measured, so that it may be that {in_general}"
    return f"The initial weights hardly decide what this network learns (coupling {coupling:.2f}), so that {in_general}"


def _lean(found: _Numbers) -> str:
    return (
        f"its predictions for them lean {found.slope:.2f} of the way from those of models without them to the true "
        f"values, where never-seen samples lean {found.low:.2f} to {found.high:.2f}"
    )


def _numbers(model: str, report: AuditReport) -> _Numbers | None:
    of = {(each.metric, each.split, each.model): each for each in report.measures}
    original = report.named("original")[0]
    own = of.get((KEPT_BY_TABLE, "train-forget", model))
    noticed = of.get((NOTICED, "train-forget", model))
    if own is None or own.value is None or own.interval is None or own.p is None:
        return None
    if noticed is None or noticed.value is None:
        return None
    errors = (of.get(("mae", "test-retain", name)) for name in (model, original))
    mine, its = (inf if each is None or each.value is None else each.value for each in errors)
    coupling, constant = (of.get(place) for place in ((TABLE_COUPLING, "test-retain", original), _CONSTANT))
    return _Numbers(
        own=own,
        slope=own.value,
        low=own.value - own.interval[1],
        high=own.value - own.interval[0],
        p=own.p,
        original=of.get((KEPT_BY_TABLE, "train-forget", original)),
        noticed=noticed.value,
        coupling=None if coupling is None else coupling.value,
        worse=_exceeds(mine, its),
        limit=(1 + TOLERANCE) * its,
        constant=None if constant is None else constant.value,
        samples=report.samples["train-forget"],
    )


def _exceeds(error: float, other: float) -> float | None:
    """By which share an error exceeds another one; None if one of them is not a finite number."""
    if not isfinite(error) or not isfinite(other):
        return None
    return error / other - 1 if other else inf if error else 0.0


def _verdict(model: str, outcome: Outcome, reason: str, obstacle: Obstacle | None = None) -> Verdict:
    return Verdict(model=model, outcome=outcome, reason=reason, criteria=(), obstacle=obstacle)


def judged_by_table(report: AuditReport) -> bool:
    """Whether leave-out predictions were compared with, so that there may be verdicts without golds."""
    return any(each.metric == KEPT_BY_TABLE and each.value is not None for each in report.measures)


def why_not_by_table(model: str, report: AuditReport) -> str:
    """Why there are no numbers by leave-out predictions, of an audit that has a table; empty otherwise."""
    found = report.found(KEPT_BY_TABLE, "train-forget", model)
    return found.note if found is not None and found.value is None else ""
