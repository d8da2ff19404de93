"""Which golds are the same, in one audit or in several, where a gold or a model is recognised by its errors.

Passes that rest on the same golds are not independent evidence, and one original or model given twice is no second one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from unregress.evidence.audit_report import AuditReport
from unregress.evidence.permutation import Group

Place = tuple[str, str]
"""A measurement: metric and part of the data."""
_Identity = tuple[tuple[str, str, str], ...]


class SharedGolds(NamedTuple):
    """Audits that share their golds, and under which name each audit knows each gold."""

    audits: tuple[int, ...]
    names: tuple[tuple[str, ...], ...]
    """For each audit the names of its golds; the same gold is at the same place in all."""


def repeated(reports: Sequence[AuditReport], models: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs of audits, by number, that one of these models, one of each audit, was given to twice."""
    seen: dict[_Identity, int] = {}
    for number, (report, model) in enumerate(zip(reports, models, strict=True), 1):
        if (own := identity(report, model)) and (first := seen.setdefault(own, number)) != number:
            yield first, number


def overlapping(reports: Sequence[AuditReport]) -> tuple[int, int] | None:
    """The first two audits, by number, that have some golds in common, and others not."""
    golds = [{identity(report, gold) for gold in report.golds} for report in reports]
    pairs = ((first, second) for second in range(len(golds)) for first in range(second))
    return next(((a + 1, b + 1) for a, b in pairs if golds[a] & golds[b] and golds[a] != golds[b]), None)


def grouped(reports: Sequence[AuditReport]) -> Iterator[SharedGolds]:
    """Audits in groups that have the same golds."""
    found: dict[tuple[_Identity, ...], list[int]] = {}
    ordered = [sorted((identity(report, gold), gold) for gold in report.golds) for report in reports]
    for number, golds in enumerate(ordered):
        found.setdefault(tuple(own for own, _ in golds), []).append(number)
    for audits in found.values():
        yield SharedGolds(tuple(audits), tuple(tuple(name for _, name in ordered[each]) for each in audits))


def values_in_groups(
    reports: Sequence[AuditReport], shared: Iterable[SharedGolds], models: Sequence[str], place: Place
) -> list[Group]:
    """The values of one model of each audit, and of the golds, each from one of the audits that share it."""
    found = []
    for audits, names in shared:
        own = [reports[each].value(*place, models[each]) for each in audits]
        turn = [(n % len(audits), n) for n in range(len(names[0]))]
        golds = [reports[audits[audit]].value(*place, names[audit][n]) for audit, n in turn]
        found.append(Group(*(tuple(value for value in each if value is not None) for each in (own, golds))))
    return found


def values_of_models(groups: Sequence[Group], shared: Sequence[SharedGolds]) -> tuple[float, ...]:
    """The models' values in the order of the audits."""
    numbered = {
        number: value
        for group, each in zip(groups, shared, strict=True)
        for number, value in zip(each.audits, group.models, strict=True)
    }
    return tuple(numbered[number] for number in sorted(numbered))


def identity(report: AuditReport, model: str) -> _Identity:
    """By what a model is recognised, in another audit or as a copy: its errors to nine digits, which no draws change.

    All of its numbers, if the audit measured no errors.
    """
    own = [each for each in report.measures if each.model == model and each.value is not None]
    errors = [each for each in own if each.metric in ("mae", "rmse")] or own
    return tuple(sorted((each.metric, each.split, f"{each.value:.9g}") for each in errors))
