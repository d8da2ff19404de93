"""Has a model forgotten?  A documented rule that answers PASS, FAIL or INCONCLUSIVE from an audit's numbers.

The null hypothesis is that a model is one more gold.  Each criterion sets a number of the model beside the golds' own
numbers and asks whether one more gold would be so far off.  A model that passes cannot be told from retrained ones by
any of them; that is evidence about what was measured, not a proof that nothing remains in the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np

from unregress.errors import SettingError, raise_all
from unregress.evidence import CONSTANT, AuditReport, Criterion, Outcome, Verdict
from unregress.floor import one_more

Kind = Literal["distance", "error", "attack", "retain"]
Answer = Literal["within", "differs", "remembers", "overshoots", "damaged"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What one criterion asks of a measure."""

    kind: Kind
    metric: str
    split: str
    words: str

    @property
    def sides(self) -> int:
        """Limits that can be crossed: below and above, or above only."""
        return 2 if self.kind in ("error", "attack") else 1


QUESTIONS = (
    Question(
        kind="distance",
        metric="paired",
        split="train-forget",
        words="the distance of its predictions from the retrained models', forgotten sample by forgotten sample,",
    ),
    Question(
        kind="distance",
        metric="w1",
        split="train-forget",
        words="the distance of its predictions' distribution on the forgotten samples from the retrained models'",
    ),
    Question(kind="error", metric="mae", split="train-forget", words="its error on the forgotten samples"),
    Question(
        kind="attack",
        metric="auc",
        split="train-forget",
        words="how well its loss tells forgotten samples from look-alikes (the area under the attack's curve)",
    ),
    Question(kind="retain", metric="mae", split="test-retain", words="its error on new samples of the kinds kept"),
)
"""What a verdict rests on: distances to the golds, error gap, attack gap, and what was to be kept."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How a verdict is reached.

    A gold's numbers vary from seed to seed, and Student's prediction interval over the golds says between which limits
    one more would lie (`unregress.floor.one_more`).  `level` is shared out evenly among all limits of all criteria
    (Bonferroni), so that a fresh gold crosses any of them with at most that probability, so far as golds' numbers, or
    the logarithms of distances, are normally distributed.  They are not quite, and a fresh gold fails about twice as
    often: about one time in twenty by default (docs/calibration.md).

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
        raise_all(
            [
                SettingError(f"Rule.{name} is {getattr(self, name)!r}", expected=expected)
                for name, fine, expected in rules
                if not fine
            ]
        )


def judge(report: AuditReport, rule: Rule) -> tuple[Verdict, ...]:
    """A verdict on every model of a report that is no gold; none where there are no golds.

    Args:
        report: the measures; its own verdicts are not looked at.
        rule: how to judge.
    """
    if not report.golds:
        return ()
    return tuple(_judge(model, report, rule) for model in report.named("original", "reference", "unlearned"))


def _judge(model: str, report: AuditReport, rule: Rule) -> Verdict:
    golds, samples = len(report.golds), report.samples["train-forget"]
    if golds < rule.golds:
        reason = f"A verdict needs {rule.golds} retrained models, and there {'is' if golds == 1 else 'are'} {golds}."
        return Verdict(model=model, outcome="INCONCLUSIVE", reason=reason, criteria=())
    if idle := _no_yardstick(report):
        return Verdict(model=model, outcome="INCONCLUSIVE", reason=idle, criteria=())
    criteria = tuple(_criteria(model, report, rule))
    if samples < rule.samples:
        reason = f"Only {samples} samples were forgotten, and a verdict needs {rule.samples}."
        return Verdict(model=model, outcome="INCONCLUSIVE", reason=reason, criteria=criteria)
    outcome, reason = _conclusion(criteria, rule)
    return Verdict(model=model, outcome=outcome, reason=reason, criteria=criteria)


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
        f"{np.mean(golds):.3g}, the original by {original:.3g} and a constant by {constant:.3g}."
    )


def _criteria(model: str, report: AuditReport, rule: Rule) -> Iterator[Criterion]:
    measured = [question for question in QUESTIONS if _complete(question, report)]
    level = rule.level / max(1, sum(question.sides for question in measured))
    original = report.named("original")[0]
    for question in measured:
        place = question.metric, question.split
        found = {m.model: m.value for m in report.measures if (m.metric, m.split) == place}
        value, before = found.get(model), found.get(original)
        if value is None or before is None:
            continue
        own = np.array(report.over_golds(*place))
        low, high = one_more(own, level, paired=question.kind == "distance")
        center = float(own.mean())
        margin = rule.tolerance * (abs(center) if question.kind == "retain" else abs(before - center))
        low = -inf if question.sides == 1 else min(low, center - margin)
        high = max(high, center + margin)
        yield Criterion(
            metric=question.metric,
            split=question.split,
            question=question.words,
            value=value,
            gold=center,
            original=before,
            low=None if question.sides == 1 else low,
            high=high,
            outcome=_outcome(question.kind, value, before, center, low, high),
        )


def _complete(question: Question, report: AuditReport) -> bool:
    """Whether every gold has a number to judge by."""
    return len(report.over_golds(question.metric, question.split)) == len(report.golds)


def _outcome(kind: Kind, value: float, original: float, center: float, low: float, high: float) -> Answer:
    if low <= value <= high:
        return "within"
    if kind == "retain":
        return "damaged"
    if kind == "distance" or low <= original <= high:
        # An original among the golds lies to one side of them by chance, which then says nothing of memory.
        return "differs"
    return "remembers" if _knows_more(kind, value, center) else "overshoots"


def _knows_more(kind: Kind, value: float, gold: float) -> bool:
    """Whether a value lies on the side of the golds where memory is: a smaller error, or an attack that sees more."""
    return value < gold if kind == "error" else value > gold


def _conclusion(criteria: tuple[Criterion, ...], rule: Rule) -> tuple[Outcome, str]:
    crossed = [criterion for criterion in criteria if criterion.outcome != "within"]
    if crossed:
        # What says in which direction tells more than what only says how far, and an error more than an attack.
        worst = max(crossed, key=lambda c: (c.outcome != "differs", c.metric == "mae", c.excess))
        return "FAIL", f"{_FAILED[worst.outcome]}: {worst.question} {_numbers(worst)}."
    kinds = {kind: [c for c in criteria if (kind, c.metric, c.split) in _PLACES] for kind in _KINDS}
    if absent := [words for kind, words in _KINDS.items() if not kinds[kind]]:
        return "INCONCLUSIVE", f"Nothing speaks against it, but no {' and no '.join(absent)} was measured."
    # Where the original is not on memory's side, a part of what it knows would not be seen.
    telling = [c for kind in _KINDS if kind != "retain" for c in kinds[kind] if _knows_more(kind, c.original, c.gold)]
    sharpest = min(telling, key=lambda criterion: criterion.resolution, default=None)
    finest = inf if sharpest is None else sharpest.resolution
    if sharpest is None or finest >= 1:
        return "INCONCLUSIVE", "The original itself cannot be told from a retrained model: forgetting cannot be shown."
    if finest > rule.resolution:
        return "INCONCLUSIVE", (
            f"Retrained models differ so much that one which kept {finest:.0%} of what sets the original apart would "
            "pass."
        )
    return "PASS", (
        f"It is where one more retrained model would be; keeping more than {finest:.0%} of what sets the original "
        f"apart would probably have been noticed by {_SHARPEST[sharpest.metric]}."
    )


_KINDS: dict[Kind, str] = {
    "distance": "distance",
    "error": "error gap",
    "attack": "attack",
    "retain": "cost to what is kept",
}
_PLACES = {(question.kind, question.metric, question.split) for question in QUESTIONS}
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


def _numbers(criterion: Criterion) -> str:
    """A value and where one more gold's would be."""
    value, low, high = (None if n is None else _shown(n) for n in (criterion.value, criterion.low, criterion.high))
    between = f"at most {high}" if low is None else f"between {low} and {high}"
    return f"is {value}, where one more retrained model's would be {between}"


def _shown(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"
