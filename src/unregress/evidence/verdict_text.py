"""The sentences of a verdict: one function for each reason, without any decision."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from unregress.evidence import Criterion, CriterionOutcome, Kind, Measurement

_KIND_NAMES: dict[Kind, str] = {
    "distance": "distance",
    "error": "error gap",
    "attack": "attack",
    "retain": "cost to what is kept",
}
METRIC_NAMES = {
    "paired": "its predictions, one by one",
    "w1": "the distribution of its predictions",
    "mae": "its error",
    "auc": "the attack",
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


def passed(share: float, metric: str, beyond: Sequence[str], golds: int) -> str:
    """The reason of a PASS.

    Args:
        share: the smallest share of what sets the original apart that would have been detected.
        metric: the metric that would have detected it.
        beyond: metrics within their limits by which the model knows more than each of the golds.
        golds: how many there are.
    """
    note = ""
    if beyond:
        listed = " and ".join(METRIC_NAMES[each] for each in beyond)
        note = (
            f"; yet by {listed} it shows more memory than each of the {golds} retrained models, as one further "
            f"retrained model in {golds + 1} would by chance: retrain more of them to be sure"
        )
    return (
        f"It is where one more retrained model would be; keeping more than {share:.0%} of what sets the original "
        f"apart would probably have been noticed by {METRIC_NAMES[metric]}{note}."
    )


def failed(criterion: Criterion) -> str:
    """The reason of a FAIL: the criterion whose limit was crossed."""
    subject = f"{_FAILURES[criterion.outcome]}: {criterion.question}"
    return f"{subject} is {shown(criterion.value)}, {limits(criterion)}."


def too_few_golds(golds: int, needed: int) -> str:
    """The reason of an INCONCLUSIVE with fewer golds than the rule asks for."""
    return f"A verdict needs {needed} retrained models, and there {'is' if golds == 1 else 'are'} {golds}."


def too_few_samples(samples: int, needed: int) -> str:
    """The reason of an INCONCLUSIVE with fewer forgotten samples than the rule asks for."""
    return f"Only {samples} samples were forgotten, and a verdict needs {needed}."


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
    if enough:
        return f"{said}; {enough} retrained models that vary as these {golds} do would be enough to tell."
    return f"{said}; more retrained models would not help, not even {most} that vary as these {golds} do."


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
