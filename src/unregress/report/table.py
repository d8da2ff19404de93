"""The table of results, metric × split against models, ready to be laid out as HTML or text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from unregress.evidence import About, AuditReport, Measure, Role
from unregress.report.numerals import measured

DASH = "–"
NOT_MEASURED = "Not measured for this model."
NO_FLOOR = "No further gold was trained, so there is no noise floor."


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: a model, or the noise floor of all further golds."""

    name: str
    role: Role


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number as text, with the numbers of its notes."""

    text: str
    spread: str = ""
    """For the noise floor, its range; empty if it is a single value."""
    notes: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Row:
    """One metric on one part of the data."""

    split: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Group:
    """All rows of one metric."""

    about: About
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Results:
    """The whole table; note number n is `notes[n - 1]`."""

    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]


def words(name: str) -> tuple[str, ...]:
    """A name in pieces between which a line may break.

    >>> words("UniformAmnesiac"), words("test-forget")
    (('Uniform', 'Amnesiac'), ('test-', 'forget'))
    """
    return tuple(re.split(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[-_/ ])(?=.)", name))


def results(report: AuditReport) -> Results:
    """The table of a report: original, gold, noise floor, then each unlearned model.

    Raises:
        KeyError: a measure's metric is not explained in `report.about`.
    """
    columns = _columns(report)
    further = [model.name for model in report.models if model.role == "floor"]
    found = {(m.metric, m.split, m.model): m for m in report.measures}
    notes = _Notes()

    def cell(column: Column, about: About, split: str) -> Cell:
        if column.role != "floor":
            return _cell(found.get((about.metric, split, column.name)), about, notes)
        if not further:
            return Cell(text=DASH, notes=notes.numbers([NO_FLOOR]))
        return _floor([found.get((about.metric, split, name)) for name in further], about, notes)

    groups: dict[str, tuple[About, list[Row]]] = {}
    for about, split in report.rows():
        cells = tuple(cell(column, about, split) for column in columns)
        groups.setdefault(about.metric, (about, []))[1].append(Row(split=split or "all", cells=cells))
    return Results(
        columns=columns,
        groups=tuple(Group(about=about, rows=tuple(rows)) for about, rows in groups.values()),
        notes=tuple(notes.texts),
    )


class _Notes:
    """Numbers notes in the order of their first appearance; equal notes share a number."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def numbers(self, texts: Iterable[str]) -> tuple[int, ...]:
        chosen = dict.fromkeys(text for text in texts if text)
        self.texts.extend(text for text in chosen if text not in self.texts)
        return tuple(sorted(self.texts.index(text) + 1 for text in chosen))


def _columns(report: AuditReport) -> tuple[Column, ...]:
    """In reading order.  A measured model that the report does not list still gets its column."""
    by_role = {
        role: [Column(name=model.name, role=role) for model in report.models if model.role == role]
        for role in ("original", "gold", "unlearned")
    }
    listed = {model.name for model in report.models}
    unlisted = dict.fromkeys(m.model for m in report.measures if m.model not in listed)
    return (
        *by_role["original"],
        *by_role["gold"],
        Column(name="noise floor", role="floor"),
        *by_role["unlearned"],
        *(Column(name=name, role="unlearned") for name in unlisted),
    )


def _cell(measure: Measure | None, about: About, notes: _Notes) -> Cell:
    if measure is None:
        return Cell(text=DASH, notes=notes.numbers([NOT_MEASURED]))
    numbers = notes.numbers([measure.note])
    if measure.value is None:
        return Cell(text=DASH, notes=numbers)
    return Cell(text=measured(measure.value, measure.bound, about.unit), notes=numbers)


def _floor(measures: Sequence[Measure | None], about: About, notes: _Notes) -> Cell:
    """Median and range over the further golds that have a value."""
    values = [(m.value, m.bound) for m in measures if m is not None and m.value is not None]
    numbers = notes.numbers(NOT_MEASURED if m is None else m.note for m in measures)
    if not values:
        return Cell(text=DASH, notes=numbers)
    middle, low, high = (measured(*_over(values, of), about.unit) for of in (median, min, max))
    joint = "–" if (low + high).replace(".", "").replace(",", "").isdecimal() else " to "
    spread = f"{low}{joint}{high}" if len(values) > 1 else ""
    return Cell(text=middle, spread=spread, notes=numbers)


def _over(values: Sequence[tuple[float, str]], statistic: Callable[[Sequence[float]], float]) -> tuple[float, str]:
    """A statistic of values of which some are only bounds, and what that makes of the statistic.

    The statistic is taken again with each bound moved as far as it may go.  Where that changes
    nothing, the statistic is exact: the median of 3, 5 and ≥ 8 is 5.
    """
    stated = statistic([value for value, _ in values])
    lowest = statistic([-math.inf if bound == "<=" else value for value, bound in values])
    highest = statistic([math.inf if bound == ">=" else value for value, bound in values])
    if lowest == stated:
        return stated, "=" if highest == stated else ">="
    return stated, "<=" if highest == stated else "~"
