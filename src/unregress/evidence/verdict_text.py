"""The reasons of a PASS, FAIL or OUTPUTS ONLY, without any decision, and how numbers stand in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from unregress.evidence import Criterion, CriterionOutcome, Obstacle
from unregress.evidence.criterion_specs import WEIGHTS
from unregress.evidence.findings import COMBINED

METRIC_NAMES = {
    "paired": "its predictions, one by one",
    "w1": "the distribution of its predictions",
    "mae": "its error",
    "auc": "the attack",
    "memory": "the memory kept",
    "memory-of-few": "its best known samples",
    COMBINED: "all signs of memory together",
    "readout": "a readout of its hidden layers",
    "relearn-loss": "how soon it learns again",
    "revival": "revival",
}
_FAILURES: dict[CriterionOutcome, str] = {
    "differs": "It can be told from a retrained model",
    "remembers": "It still remembers",
    "knows the kind": "It still knows the kind of the forgotten samples",
    "overshoots": "It was pushed beyond what a retrained model would do",
    "damaged": "It does worse on what was to be kept",
}


SURE_SAMPLES = 10
"""Forgotten samples from which on models that keep half are noticed as often as stated (docs/calibration.md)."""


class Notes(NamedTuple):
    """What the reason of a PASS says besides."""

    golds: int
    beyond: Sequence[str] = ()
    """Metrics within their limits by which the model knows more than each of the golds."""
    pushed: bool = False
    """Whether its error on the forgotten samples is above each of the golds', within the limits."""
    single: float | None = None
    """Share of what the original knows of its best known samples that would go undetected, 1 or more for all of it;
    None if it was not measured."""
    unseen: float | None = None
    """Share of the golds' skill on what was to be kept that could be lost unnoticed; None if it is not known."""
    in_weights: Sequence[Criterion] = ()
    """The criteria about memory in the weights; none if nothing was measured."""

    def __str__(self) -> str:
        said = []
        if self.single is not None:
            said.append(f"Single samples: {_seen_in_single_samples(self.single)}.")
        if self.unseen is not None:
            said.append(
                f"Kept: a loss of up to {self.unseen:.0%} of what retrained models do better than a constant would not "
                "have been noticed."
            )
        said.append(f"Weights: {_seen_in_weights(self.in_weights)}.")
        if self.beyond:
            listed = " and ".join(METRIC_NAMES[each] for each in self.beyond)
            said.append(
                f"Yet by {listed} it shows more memory than each of the {self.golds} retrained models, as at most one "
                f"further retrained model in {self.golds + 1} would by chance: retrain more of them to be sure."
            )
        if self.pushed:
            said.append(
                f"Yet its error on the forgotten samples is above each of the {self.golds} retrained models', as one "
                f"further retrained model's in {self.golds + 1} would be by chance: it may have been pushed too far."
            )
        return " ".join(said)


def passed(share: float, metric: str, notes: Notes) -> str:
    """The reason of a PASS.

    Args:
        share: the smallest share of what sets the original apart that would have been detected.
        metric: the metric that would have detected it.
        notes: what is said besides.
    """
    return (
        f"It is where one more retrained model would be. Memory: keeping more than {share:.0%} of what sets the "
        f"original apart would probably have been noticed, by {METRIC_NAMES[metric]}. {notes}"
    )


def passed_one_test(memory: Criterion, samples: int, notes: Notes) -> str:
    """The reason of a PASS of a request with few samples; of the fewest the stated power is an upper limit."""
    most = "at most " if samples < SURE_SAMPLES else ""
    return (
        f"It keeps no more memory of the forgotten samples than one more retrained model would ({chance(memory)}). "
        f"Memory: keeping half of the original's would have been noticed with a probability of {most}{power(memory)}. "
        f"{notes}"
    )


def failed(criterion: Criterion, unit: str) -> str:
    """The reason of a FAIL: the criterion whose limit was crossed, and the unit of its values."""
    subject = f"{_FAILURES[criterion.outcome]}: {criterion.question}"
    added = ""
    if criterion.power is not None:
        added = (
            f" ({chance(criterion)}); the original's is {shown(criterion.original)}, and a model that kept half of it "
            f"is noticed with a probability of {power(criterion)}"
        )
    return f"{subject} is {shown(criterion.value, unit)}, {limits(criterion, unit)}{added}."


def remembered_in_weights(criterion: Criterion, obstacle: Obstacle | None) -> str:
    """The reason of an OUTPUTS ONLY.

    Args:
        criterion: the one of the weights whose limit was crossed.
        obstacle: what is between the model's predictions and a PASS; None for nothing.
    """
    outputs = {
        None: "are where one more retrained model's would be",
        "far": "show no memory, and err on the forgotten samples as hardly any retrained model's do",
    }.get(obstacle, "could not be told from a retrained model's")
    return (
        f"Its predictions {outputs}, but its weights remember: "
        f"{criterion.question} is {shown(criterion.value)}, {limits(criterion)}; the original's is "
        f"{shown(criterion.original)}."
    )


def _seen_in_single_samples(undetected: float) -> str:
    """What the audit could see of samples that a model knows by heart among others."""
    if undetected >= 1:
        return "not even the original's best known ones, one in twenty, stand out"
    return (
        f"of how well the original knows its best known ones, one in twenty, more than {undetected:.0%} would have "
        "been noticed"
    )


def _seen_in_weights(found: Sequence[Criterion]) -> str:
    """What the audit could see in the weights, as a part of a sentence about them."""
    if not found:
        return "memory in them was not looked for"
    wanted = dict.fromkeys(spec.metric for spec in WEIGHTS)
    absent = [METRIC_NAMES[metric] for metric in wanted if metric not in {criterion.metric for criterion in found}]
    alone = f"; by {' and '.join(absent)} it was not looked for" if absent else ""
    finest = min(found, key=lambda criterion: criterion.resolution)
    if finest.resolution >= 1:
        tried = " or ".join(METRIC_NAMES[criterion.metric] for criterion in found)
        return f"not even the original's show memory, by {tried}{alone}"
    return (
        f"more than {finest.resolution:.0%} of what the original's show would have been noticed, by "
        f"{METRIC_NAMES[finest.metric]}{alone}"
    )


def chance(criterion: Criterion) -> str:
    """The p-value of a criterion, in words."""
    p = criterion.p
    return "p unknown" if p is None else "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def power(criterion: Criterion) -> str:
    """The probability that half of the memory would be noticed, as a percentage."""
    return "unknown size" if criterion.power is None else f"{min(criterion.power, 0.995):.0%}"


def predictions_alone(left_out: Sequence[str]) -> str:
    """The addition to every reason of an audit that knew predictions and no model.

    Args:
        left_out: titles of what could not be measured.
    """
    if not left_out:
        return ""
    listed = ", ".join(left_out)
    return f"Judged by predictions alone, which do not show memory in the weights; not measured: {listed}."


def limits(criterion: Criterion, unit: str = "") -> str:
    """The limits of one more gold's value, with their unit, as the end of a sentence."""
    low, high = (None if n is None else shown(n) for n in (criterion.low, criterion.high))
    if high is None:
        between = "anything" if low is None else f"at least {low}"
    else:
        between = f"at most {high}" if low is None else f"between {low} and {high}"
    if criterion.low is not None or criterion.high is not None:
        between = in_unit(between, unit)
    return f"where one more retrained model's would be {between}"


def shown(number: float, unit: str = "") -> str:
    """A number in a sentence: three digits, and its unit if it has one.

    >>> shown(0.12345), shown(12345.6, "kg"), shown(1e200)
    ('0.123', '12,346 kg', '1e+200')
    """
    return in_unit(f"{number:,.0f}" if 1000 <= abs(number) < 1e15 else f"{number:.3g}", unit)


def in_unit(text: str, unit: str) -> str:
    """A number as text, followed by its unit if it has one.

    >>> in_unit("3.20", "kg"), in_unit("3.20", "")
    ('3.20 kg', '3.20')
    """
    return f"{text} {unit}" if unit else text
