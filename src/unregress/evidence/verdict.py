"""Has a model forgotten?  A documented rule that answers PASS, FAIL or INCONCLUSIVE from an audit's numbers.

The null hypothesis is that a model is one more gold.  Each criterion sets a number of the model beside the golds' own
numbers and asks whether one more gold would be so far off.  A model that passes cannot be told from retrained ones by
any of them; that is evidence about what was measured, not a proof that nothing remains in the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from unregress.errors import require_fields
from unregress.evidence import CONSTANT, Answer, AuditReport, Criterion, Kind, Verdict
from unregress.evidence.criteria import criteria, knows_more


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How a verdict is reached.

    A gold's numbers vary from seed to seed, and Student's prediction interval over the golds says between which limits
    one more would lie (`evidence.noise_floor.prediction_interval`).  `level` is shared out evenly among all limits of
    all criteria (Bonferroni), so that a fresh gold crosses any of them with at most that probability, so far as golds'
    numbers, or the logarithms of distances, are normally distributed.  They are not quite, and a fresh gold fails about
    twice as often: about one time in twenty by default (docs/calibration.md).

    * **FAIL**: a limit is crossed.  Below the golds' error or above their attack the model still *remembers*; on the
      other side it *overshoots*, which tells of the request as clearly; a worse error on new samples of the kinds kept
      means *damage*.
    * **PASS**: no limit is crossed, and the audit could have noticed: some criterion's limit lies nearer to the golds
      than `resolution` of the way to the original.
    * **INCONCLUSIVE**: too few golds or forgotten samples, golds that learnt less than a constant knows, a
      kind of criterion that was not measured, or an audit that could not have noticed, as when the original itself
      cannot be told from a gold.

    The level holds for each model that is judged, not for all of a report together.

    Raises:
        SettingError: a value is out of range; all of them at once.
    """

    level: float = 0.025
    """Probability that a fresh gold fails if golds' numbers are normally distributed.  They have longer tails: at 0.025
    a fresh gold fails about one time in twenty (docs/calibration.md)."""
    golds: int = 5
    """Fewer golds than this give no verdict."""
    samples: int = 30
    """Fewer forgotten samples than this give no verdict."""
    tolerance: float = 0.05
    """Limits are no narrower than this share of the original's gap, or, for what was to be kept, of the golds' error:
    golds may be nearly identical, and a difference that small is of no consequence."""
    resolution: float = 0.5
    """What passes must be told from a model that kept this share of what sets the original apart."""

    def __post_init__(self) -> None:
        rules = (
            ("level", 0 < self.level < 0.5, "between 0 and 0.5"),
            ("golds", self.golds >= 3, "3 or more"),
            ("samples", self.samples >= 1, "1 or more"),
            ("tolerance", 0 <= self.tolerance < 1, "0 or more, below 1"),
            ("resolution", 0 < self.resolution <= 1, "above 0, at most 1"),
        )
        require_fields("Rule", self, rules)


def judge(report: AuditReport, rule: Rule) -> tuple[Verdict, ...]:
    """A verdict on every model of a report that is no gold; without golds none that says more than INCONCLUSIVE.

    Args:
        report: the measures; its own verdicts are not looked at.
        rule: how to judge.
    """
    return tuple(_judge(model, report, rule) for model in report.named("original", "reference", "unlearned"))


def _judge(model: str, report: AuditReport, rule: Rule) -> Verdict:
    golds, samples = len(report.golds), report.samples["train-forget"]

    def undecided(reason: str, found: tuple[Criterion, ...] = ()) -> Verdict:
        return Verdict(model=model, outcome="INCONCLUSIVE", reason=reason, criteria=found)

    if not golds:
        return undecided(_without_golds(model, report))
    if golds < rule.golds:
        return undecided(
            f"A verdict needs {rule.golds} retrained models, and there {'is' if golds == 1 else 'are'} {golds}."
        )
    if idle := _no_yardstick(report):
        return undecided(idle)
    found = _criteria(model, report, rule)
    if samples < rule.samples:
        return undecided(f"Only {samples} samples were forgotten, and a verdict needs {rule.samples}.", found)
    crossed = [criterion for criterion in found if criterion.outcome != "within"]
    if crossed:
        # What says in which direction tells more than what only says how far, and an error more than an attack.
        worst = max(crossed, key=lambda c: (c.outcome != "differs", c.kind in ("error", "retain"), c.excess))
        reason = f"{_FAILED[worst.outcome]}: {worst.question} is {shown(worst.value)}, {_one_more(worst)}."
        return Verdict(model=model, outcome="FAIL", reason=reason, criteria=found)
    if doubt := _unseeing(model, report, rule, found):
        return undecided(doubt, found)
    share, by = _noticed(found)
    reason = (
        f"It is where one more retrained model would be; keeping more than {share:.0%} of what sets the original "
        f"apart would probably have been noticed by {by}{_beyond_all(report, found)}."
    )
    return Verdict(model=model, outcome="PASS", reason=reason, criteria=found)


def _without_golds(model: str, report: AuditReport) -> str:
    """What can be said where nothing shows what a model does that never saw the samples."""
    seen = {m.model: m for m in report.measures if (m.metric, m.split) == ("auc", "train-forget")}
    own, before = seen.get(model), seen.get(report.named("original")[0])
    nothing = "No model was retrained, so forgetting cannot be shown"
    if own is None or own.value is None or own.interval is None or before is None or before.value is None:
        return f"{nothing}."
    low, high = own.interval
    if low > 0.5:
        told = "its loss tells the forgotten samples from their look-alikes as better known"
    elif high < 0.5:
        told = "its loss tells the forgotten samples from their look-alikes as predicted worse"
    else:
        told = "its loss does not tell the forgotten samples from their look-alikes"
    compared = "" if model == before.model else f"; the original: {shown(before.value)}"
    return (
        f"{nothing}; {told} (right {shown(own.value)} of the time, {shown(low)} to {shown(high)}, where a coin is "
        f"right 0.5{compared})."
    )


def _no_yardstick(report: AuditReport) -> str | None:
    """A sentence if the golds learnt nothing although the original did.

    On what all were trained on, they then err more than a constant does.
    """
    kept = ("mae", "train-retain")
    found = {m.model: m.value for m in report.measures if (m.metric, m.split) == kept and m.value is not None}
    original, constant = (found.get(name) for name in (report.named("original")[0], CONSTANT))
    golds = report.over_golds(*kept)
    if original is None or constant is None or not golds or np.mean(golds) <= max(original, constant):
        return None
    return (
        f"The retrained models learnt nothing: on the samples that they were trained on they err by "
        f"{shown(float(np.mean(golds)))}, the original by {shown(original)} and a constant by {shown(constant)}."
    )


def _criteria(model: str, report: AuditReport, rule: Rule, golds: int | None = None) -> tuple[Criterion, ...]:
    return tuple(criteria(model, report, level=rule.level, tolerance=rule.tolerance, golds=golds))


def _unseeing(model: str, report: AuditReport, rule: Rule, found: Sequence[Criterion]) -> str | None:
    """A sentence if an audit that found nothing would have found nothing anyway."""
    asked = {criterion.kind for criterion in found}
    if absent := [words for kind, words in _KINDS.items() if kind not in asked]:
        return f"Nothing speaks against it, but no {' and no '.join(absent)} was measured."
    (error,) = (criterion for criterion in found if criterion.kind == "error")
    if not knows_more(error.kind, error.original, error.gold):
        # However far it is from the golds: a model that never learnt the samples is, too.
        return (
            "The original shows no memory of the forgotten samples, so forgetting cannot be shown: its error on them "
            f"is {shown(error.original)}, the retrained models' {shown(error.gold)}; it may not be the model that was "
            "trained on them."
        )
    finest, _ = _noticed(found)
    if finest <= rule.resolution:
        return None
    if finest < 1:
        said = f"Retrained models differ so much that one with {finest:.0%} of what sets the original apart would pass"
    else:
        nearest = min((c for c in found if c.kind != "retain"), key=lambda criterion: criterion.resolution)
        said = (
            f"The original itself cannot be told from a retrained model, so forgetting cannot be shown: "
            f"{nearest.question} is {shown(nearest.original)}, {_one_more(nearest)}"
        )
    golds = len(report.golds)
    counts = (
        n for n in range(golds + 1, MOST + 1) if _noticed(_criteria(model, report, rule, n))[0] <= rule.resolution
    )
    if enough := next(counts, None):
        return f"{said}; {enough} retrained models that vary as these {golds} do would be enough to tell."
    return f"{said}; more retrained models would not help, not even {MOST} that vary as these {golds} do."


def _noticed(found: Sequence[Criterion]) -> tuple[float, str]:
    """The smallest share of what sets the original apart that would be noticed, and by what; infinite if none would.

    Where the original is not on memory's side, a part of what it knows would not be seen.
    """
    telling = [c for c in found if c.kind != "retain" and knows_more(c.kind, c.original, c.gold)]
    return min(((c.resolution, _SHARPEST[c.metric]) for c in telling), default=(inf, ""))


def _beyond_all(report: AuditReport, found: Sequence[Criterion]) -> str:
    """What to add to a PASS that no limit speaks against, but all golds do: their limits are wide, if they are few."""
    beyond = [
        _SHARPEST[c.metric]
        for c in found
        # Where the original is within the limits itself, to be on its side says nothing.
        if c.kind in ("error", "attack") and c.resolution < 1
        if all(knows_more(c.kind, c.value, gold) for gold in report.over_golds(c.metric, c.split))
    ]
    if not beyond:
        return ""
    count = len(report.golds)
    return (
        f"; yet by {' and '.join(beyond)} it is on memory's side of all {count} of them, as one fresh one in "
        f"{count + 1} would be: more of them would tell"
    )


MOST = 50
"""More golds than this are not suggested."""
_KINDS: dict[Kind, str] = {
    "distance": "distance",
    "error": "error gap",
    "attack": "attack",
    "retain": "cost to what is kept",
}
_SHARPEST = {
    "paired": "its predictions, one by one",
    "w1": "the distribution of its predictions",
    "mae": "its error",
    "auc": "the attack",
}
_FAILED: dict[Answer, str] = {
    "differs": "It can be told from a retrained model",
    "remembers": "It still remembers",
    "overshoots": "It was pushed beyond what a retrained model would do",
    "damaged": "It does worse on what was to be kept",
}


def _one_more(criterion: Criterion) -> str:
    """Where one more gold's value would be."""
    low, high = (None if n is None else shown(n) for n in (criterion.low, criterion.high))
    if high is None:
        between = "anything" if low is None else f"at least {low}"
    else:
        between = f"at most {high}" if low is None else f"between {low} and {high}"
    return f"where one more retrained model's would be {between}"


def shown(number: float) -> str:
    """A number in a sentence: three digits.

    >>> shown(0.12345), shown(12345.6), shown(1e200)
    ('0.123', '12,346', '1e+200')
    """
    return f"{number:,.0f}" if 1000 <= abs(number) < 1e15 else f"{number:.3g}"
