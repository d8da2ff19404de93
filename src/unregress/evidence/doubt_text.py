"""The reasons of an INCONCLUSIVE: one function for each, without any decision."""

from __future__ import annotations

from collections.abc import Collection

from unregress.errors.wording import within_sentence
from unregress.evidence import Criterion, Kind, Measurement
from unregress.evidence.verdict_text import chance, limits, power, shown

_KIND_NAMES: dict[Kind, str] = {
    "distance": "distance",
    "error": "error gap",
    "attack": "attack",
    "retain": "cost to what is kept",
    "memory": "memory kept",
}
OTHER_INITIAL_WEIGHTS = (
    "It was retrained from other initial weights than the retrained models that it is compared with, which share "
    "theirs: that it differs from them says nothing about memory. Compare it with models that each have their own."
)
"""The reason of an INCONCLUSIVE about a retrained model beside golds of one start that is not its own."""
_NO_GOLDS = "No model was retrained, so forgetting cannot be shown"


def too_few_golds(golds: int, needed: int, copies: int = 0) -> str:
    """The reason of an INCONCLUSIVE with fewer golds than the rule asks for, besides copies of these."""
    found = f"A verdict needs {needed} retrained models, and there {'is' if golds == 1 else 'are'} {golds}"
    return f"{found} that differ and {copies} with the errors of one of them." if copies else f"{found}."


def without_table(why: str) -> str:
    """A further sentence where a leave-out table is there and does not judge; empty without a reason."""
    return f" No leave-out table judges: {within_sentence(why)}." if why else ""


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


def golds_learnt_nothing(golds: float, original: float, constant: float, unit: str) -> str:
    """The reason of an INCONCLUSIVE with golds that predict their own training samples worse than a constant does."""
    return (
        f"The retrained models learnt nothing: on the samples that they were trained on they err by "
        f"{shown(golds, unit)}, the original by {shown(original, unit)} and a constant by {shown(constant, unit)}."
    )


def golds_without_skill(golds: float, constant: float, unit: str) -> str:
    """The reason of an INCONCLUSIVE with golds that predict new samples of what is kept no better than a constant."""
    return (
        "The retrained models are no better than a constant on new samples of the kinds kept, so damage to them cannot "
        f"be seen: they err by {shown(golds, unit)}, a constant by {shown(constant, unit)}."
    )


def blind_to_damage(kept: Criterion, constant: float, unit: str, golds: int, enough: int | None, most: int) -> str:
    """The reason of an INCONCLUSIVE where a constant would be within the limit of what was to be kept.

    Args:
        kept: the criterion of what was to be kept.
        constant: the constant's error there.
        unit: the errors' unit.
        golds: how many there are.
        enough: how many would suffice; None if not even `most` would.
        most: the largest number considered.
    """
    said = (
        "A model that lost all skill on what was to be kept would not be noticed: on new samples of the kinds kept a "
        f"constant errs by {shown(constant, unit)}, the retrained models by {shown(kept.gold, unit)}, and one more "
        f"retrained model by up to {shown(kept.high or 0.0, unit)}"
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
    return f"The original is not told apart{either} ({chance(original)}): nothing was found to forget{more}."


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
        f"a probability of {power(memory)} only ({chance(memory)} for this one)"
    )
    return f"{said}; {_more_golds(golds, enough, most)}."


def far_off(error: Criterion, largest: float) -> str:
    """The reason of an INCONCLUSIVE of a request with few samples on which a model errs as hardly any gold would.

    Args:
        error: its error, with the limit of one more gold.
        largest: the golds' largest error.
    """
    return (
        "It keeps no memory that the audit sees, but it does not answer as a retrained model does either: "
        f"{error.question} is {shown(error.value)}, where the retrained models' is at most {shown(largest)} and one "
        f"more's would seldom be above {shown(error.high or 0.0)}; it may have been pushed too far."
    )


def not_measured(kinds: Collection[Kind]) -> str:
    """The reason of an INCONCLUSIVE without measurements for some kinds of criteria."""
    absent = [words for kind, words in _KIND_NAMES.items() if kind in kinds]
    return f"No limit is crossed, but no {' and no '.join(absent)} was measured."


def original_without_memory(error: Criterion, unit: str) -> str:
    """The reason of an INCONCLUSIVE where the original's error on the forgotten samples is not below the golds'."""
    return (
        "The original shows no memory of the forgotten samples, so forgetting cannot be shown: its error on them "
        f"is {shown(error.original, unit)}, the retrained models' {shown(error.gold, unit)}; it may not be the model "
        "that was trained on them."
    )


def insensitive(
    share: float, nearest: Criterion, unit: str, golds: int, enough: int | None, most: int, *, told: bool
) -> str:
    """The reason of an INCONCLUSIVE where a model that still knows much of what the original knows would have passed.

    Args:
        share: the smallest share of what sets the original apart that would have been detected.
        nearest: the criterion that would have detected it first; quoted where not even the original itself is detected.
        unit: the unit of its values.
        golds: how many there are.
        enough: how many would suffice; None if not even `most` would.
        most: the largest number considered.
        told: whether the original crosses a limit nevertheless, though a model with a little less would not.
    """
    if share < 1:
        said = f"Retrained models differ so much that one with {share:.0%} of what sets the original apart would pass"
    else:
        said = (
            f"The original itself can{' hardly' if told else 'not'} be told from a retrained model, so forgetting "
            f"cannot be shown: {nearest.question} is {shown(nearest.original, unit)}, {limits(nearest, unit)}"
        )
    return f"{said}; {_more_golds(golds, enough, most)}."


def _more_golds(golds: int, enough: int | None, most: int) -> str:
    if enough:
        return f"{enough} retrained models that vary as these {golds} do would be enough to tell"
    return f"more retrained models would not help, not even {most} that vary as these {golds} do"
