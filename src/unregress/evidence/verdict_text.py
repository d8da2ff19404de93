"""The sentences of a verdict: one function for each reason, without any decision."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from unregress.evidence import Criterion, CriterionOutcome, Kind, Measurement
from unregress.evidence.findings import COMBINED

_KIND_NAMES: dict[Kind, str] = {
    "distance": "distance",
    "error": "error gap",
    "attack": "attack",
    "retain": "cost to what is kept",
    "memory": "memory kept",
    "relearning": "relearning",
    "revival": "revival",
}
METRIC_NAMES = {
    "paired": "its predictions, one by one",
    "w1": "the distribution of its predictions",
    "mae": "its error",
    "auc": "the attack",
    "memory": "the memory kept",
    "memory-of-few": "its best known samples",
    COMBINED: "all signs of memory together",
    "relearn-loss": "how soon it learns again",
    "revival": "revival",
}
_FAILURES: dict[CriterionOutcome, str] = {
    "differs": "It can be told from a retrained model",
    "remembers": "It still remembers",
    "overshoots": "It was pushed beyond what a retrained model would do",
    "damaged": "It does worse on what was to be kept",
}
OTHER_INITIAL_WEIGHTS = (
    "It was retrained from other initial weights than the retrained models that it is compared with, which share "
    "theirs: that it differs from them says nothing about memory. Compare it with models that each have their own."
)
"""The reason of an INCONCLUSIVE about a retrained model beside golds of one start that is not its own."""
_NO_GOLDS = "No model was retrained, so forgetting cannot be shown"


class Notes(NamedTuple):
    """What the reason of a PASS says besides."""

    golds: int
    beyond: Sequence[str] = ()
    """Metrics within their limits by which the model knows more than each of the golds."""
    pushed: bool = False
    """Whether its error on the forgotten samples is above each of the golds', where no criterion judges that."""
    unseen: float | None = None
    """Share of the golds' skill on what was to be kept that could be lost unnoticed; None if it is not known."""
    in_weights: Sequence[Criterion] = ()
    """The criteria about memory in the weights; none if neither was measured."""

    def __str__(self) -> str:
        said = ""
        if self.unseen is not None:
            said += (
                f"; a loss of up to {self.unseen:.0%} of what retrained models do better than a constant on what was "
                "to be kept would not have been noticed"
            )
        said += f"; {_seen_in_weights(self.in_weights)}"
        if self.beyond:
            listed = " and ".join(METRIC_NAMES[each] for each in self.beyond)
            said += (
                f"; yet by {listed} it shows more memory than each of the {self.golds} retrained models, as one "
                f"further retrained model in {self.golds + 1} would by chance: retrain more of them to be sure"
            )
        if self.pushed:
            said += (
                f"; yet its error on the forgotten samples is above each of the {self.golds} retrained models', which "
                "this test does not judge: it may have been pushed too far"
            )
        return said


def passed(share: float, metric: str, notes: Notes) -> str:
    """The reason of a PASS.

    Args:
        share: the smallest share of what sets the original apart that would have been detected.
        metric: the metric that would have detected it.
        notes: what is said besides.
    """
    return (
        f"It is where one more retrained model would be; keeping more than {share:.0%} of what sets the original "
        f"apart would probably have been noticed by {METRIC_NAMES[metric]}{notes}."
    )


def passed_one_test(memory: Criterion, notes: Notes) -> str:
    """The reason of a PASS of a request with few samples."""
    return (
        f"It keeps no more memory of the forgotten samples than one more retrained model would ({_chance(memory)}); a "
        f"model that kept half of the original's would have been noticed with a probability of {_power(memory)}{notes}."
    )


def failed(criterion: Criterion) -> str:
    """The reason of a FAIL: the criterion whose limit was crossed."""
    subject = f"{_FAILURES[criterion.outcome]}: {criterion.question}"
    added = ""
    if criterion.power is not None:
        added = (
            f" ({_chance(criterion)}); the original's is {shown(criterion.original)}, and a model that kept half of it "
            f"is noticed with a probability of {_power(criterion)}"
        )
    return f"{subject} is {shown(criterion.value)}, {limits(criterion)}{added}."


def remembered_in_weights(criterion: Criterion) -> str:
    """The reason of an OUTPUTS ONLY: the criterion of the weights whose limit was crossed."""
    return (
        "Its predictions are where one more retrained model's would be, but its weights remember: "
        f"{criterion.question} is {shown(criterion.value)}, {limits(criterion)}; the original's is "
        f"{shown(criterion.original)}."
    )


def _seen_in_weights(found: Sequence[Criterion]) -> str:
    """What the audit could see in the weights, as a part of a sentence."""
    if not found:
        return "memory in its weights was not looked for"
    finest = min(found, key=lambda criterion: criterion.resolution)
    tried = " and ".join(METRIC_NAMES[criterion.metric] for criterion in found)
    if finest.resolution >= 1:
        return f"not even the original's weights show memory by {tried}"
    return (
        f"in its weights, more than {finest.resolution:.0%} of what the original shows by "
        f"{METRIC_NAMES[finest.metric]} would have been noticed"
    )


def too_few_golds(golds: int, needed: int) -> str:
    """The reason of an INCONCLUSIVE with fewer golds than the rule asks for."""
    return f"A verdict needs {needed} retrained models, and there {'is' if golds == 1 else 'are'} {golds}."


def without_golds(own: Measurement | None, original: Measurement | None, *, is_original: bool) -> str:
    """The reason of an INCONCLUSIVE without golds, with the result of the attack by loss if it was measured.

    Args:
        own: the model's AUC of the attack.
        original: the original's.
        is_original: whether the model is the original.
    """
    if own is None or own.value is None or own.interval is None or original is None or original.value is None:
        return f"{_NO_GOLDS}."
    low, high = own.interval
    if low > 0.5:
        told = "its loss tells the forgotten samples from similar held-out ones: they are predicted better"
    elif high < 0.5:
        told = "its loss tells the forgotten samples from similar held-out ones: they are predicted worse"
    else:
        told = "its loss does not tell the forgotten samples from similar held-out ones"
    compared = "" if is_original else f"; the original: {shown(original.value)}"
    return (
        f"{_NO_GOLDS}; {told} (right {shown(own.value)} of the time, {shown(low)} to {shown(high)}, where guessing is "
        f"right 0.5{compared})."
    )


def golds_learnt_nothing(golds: float, original: float, constant: float) -> str:
    """The reason of an INCONCLUSIVE with golds that predict their own training samples worse than a constant does."""
    return (
        f"The retrained models learnt nothing: on the samples that they were trained on they err by "
        f"{shown(golds)}, the original by {shown(original)} and a constant by {shown(constant)}."
    )


def golds_without_skill(golds: float, constant: float) -> str:
    """The reason of an INCONCLUSIVE with golds that predict new samples of what is kept no better than a constant."""
    return (
        "The retrained models are no better than a constant on new samples of the kinds kept, so damage to them cannot "
        f"be seen: they err by {shown(golds)}, a constant by {shown(constant)}."
    )


def blind_to_damage(kept: Criterion, constant: float, golds: int, enough: int | None, most: int) -> str:
    """The reason of an INCONCLUSIVE where a constant would be within the limit of what was to be kept.

    Args:
        kept: the criterion of what was to be kept.
        constant: the constant's error there.
        golds: how many there are.
        enough: how many would suffice; None if not even `most` would.
        most: the largest number considered.
    """
    said = (
        "A model that lost all skill on what was to be kept would not be noticed: on new samples of the kinds kept a "
        f"constant errs by {shown(constant)}, the retrained models by {shown(kept.gold)}, and one more retrained model "
        f"by up to {shown(kept.high or 0.0)}"
    )
    return f"{said}; {_more_golds(golds, enough, most)}."


def original_not_told_apart(original: Criterion, golds: int, enough: int | None, *, is_original: bool) -> str:
    """The reason of an INCONCLUSIVE of a request with few samples that left no trace in the original.

    Args:
        original: the original's memory kept.
        golds: how many there are.
        enough: how many might suffice; None if not even many would.
        is_original: whether the judged model is the original.
    """
    either = "" if is_original else " either"
    more = f"; {enough} retrained models that vary as these {golds} do might tell" if enough else ""
    return f"The original is not told apart{either} ({_chance(original)}): nothing was found to forget{more}."


def weak_test(memory: Criterion, golds: int, enough: int | None, most: int) -> str:
    """The reason of an INCONCLUSIVE where a model that kept half of the memory would probably have passed.

    Args:
        memory: the criterion of memory kept.
        golds: how many there are.
        enough: how many would suffice; None if not even `most` would.
        most: the largest number considered.
    """
    said = (
        "Retrained models differ so much that a model which kept half of the original's memory would be noticed with "
        f"a probability of {_power(memory)} only ({_chance(memory)} for this one)"
    )
    return f"{said}; {_more_golds(golds, enough, most)}."


def _more_golds(golds: int, enough: int | None, most: int) -> str:
    if enough:
        return f"{enough} retrained models that vary as these {golds} do would be enough to tell"
    return f"more retrained models would not help, not even {most} that vary as these {golds} do"


def _chance(criterion: Criterion) -> str:
    p = criterion.p
    return "p unknown" if p is None else "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _power(criterion: Criterion) -> str:
    return "unknown size" if criterion.power is None else f"{min(criterion.power, 0.995):.0%}"


def not_measured(kinds: Collection[Kind]) -> str:
    """The reason of an INCONCLUSIVE without measurements for some kinds of criteria."""
    absent = [words for kind, words in _KIND_NAMES.items() if kind in kinds]
    return f"No limit is crossed, but no {' and no '.join(absent)} was measured."


def original_without_memory(error: Criterion) -> str:
    """The reason of an INCONCLUSIVE where the original's error on the forgotten samples is not below the golds'."""
    return (
        "The original shows no memory of the forgotten samples, so forgetting cannot be shown: its error on them "
        f"is {shown(error.original)}, the retrained models' {shown(error.gold)}; it may not be the model that was "
        "trained on them."
    )


def insensitive(share: float, nearest: Criterion, golds: int, enough: int | None, most: int) -> str:
    """The reason of an INCONCLUSIVE where a model that still knows much of what the original knows would have passed.

    Args:
        share: the smallest share of what sets the original apart that would have been detected.
        nearest: the criterion that would have detected it first; quoted where not even the original itself is detected.
        golds: how many there are.
        enough: how many would suffice; None if not even `most` would.
        most: the largest number considered.
    """
    if share < 1:
        said = f"Retrained models differ so much that one with {share:.0%} of what sets the original apart would pass"
    else:
        said = (
            f"The original itself cannot be told from a retrained model, so forgetting cannot be shown: "
            f"{nearest.question} is {shown(nearest.original)}, {limits(nearest)}"
        )
    return f"{said}; {_more_golds(golds, enough, most)}."


def predictions_alone(left_out: Sequence[str]) -> str:
    """The addition to every reason of an audit that knew predictions and no model.

    Args:
        left_out: titles of what could not be measured.
    """
    if not left_out:
        return ""
    listed = ", ".join(left_out)
    return f"Judged by predictions alone; not measured, and read by no criterion of a verdict: {listed}."


def limits(criterion: Criterion) -> str:
    """The limits of one more gold's value, as the end of a sentence."""
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
