"""The table of results, metric × split against models, ready to be laid out as HTML or text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

from unregress.evidence import RETRAINED, AuditReport, Measurement, MetricInfo, Role
from unregress.report.formatting import DASH, chance, measured, plural, span, times

NOT_MEASURED = "Not measured for this model."
NOT_ALL_MEASURED = "Not measured for every retrained model: the median is over those for which it was."
NO_OTHER = "There is only one retrained model, and so no distance from one to another: the noise floor is unknown."


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: a model, or all golds together."""

    name: str
    role: Role
    aside: str = ""
    """Explanation of the numbers of a column that stands for several models."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number as text, with its uncertainty and the numbers of its notes."""

    text: str
    spread: str = ""
    """The range of the golds; empty if there is a single value."""
    interval: str = ""
    """The 95 % interval."""
    ratio: str = ""
    """For a distance, the multiple of the noise floor."""
    p: str = ""
    """The rank test of one more gold."""
    notes: tuple[int, ...] = ()

    @property
    def asides(self) -> tuple[str, ...]:
        """The small print below the number."""
        return tuple(text for text in (self.spread, self.interval, self.ratio, self.p) if text)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One metric on one part of the data."""

    split: str
    cells: tuple[Cell, ...]
    notes: tuple[int, ...] = ()
    """The numbers of the notes that all its measurements share, which its cells do not repeat."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """All rows of one metric."""

    about: MetricInfo
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Results:
    """The whole table; note number n is `notes[n - 1]`."""

    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]

    def only(self, *roles: Role) -> Results:
        """The columns of some roles, with the numbers of the notes unchanged; rows without any number are left out."""
        kept = [n for n, column in enumerate(self.columns) if column.role in roles]
        groups = []
        for group in self.groups:
            rows = [replace(row, cells=tuple(row.cells[n] for n in kept)) for row in group.rows]
            if shown := tuple(row for row in rows if any(cell.text != DASH for cell in row.cells)):
                groups.append(replace(group, rows=shown))
        return replace(self, columns=tuple(self.columns[n] for n in kept), groups=tuple(groups))

    def shows(self, kind: Literal["interval", "ratio", "p"]) -> bool:
        """Whether some cell has small print of a kind."""
        return any(getattr(cell, kind) for group in self.groups for row in group.rows for cell in row.cells)


def words(name: str) -> tuple[str, ...]:
    """Split a name at the places where a line may break.

    >>> words("UniformAmnesiac"), words("test-forget")
    (('Uniform', 'Amnesiac'), ('test-', 'forget'))
    """
    return tuple(re.split(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[-_/ ])(?=.)", name))


def results(report: AuditReport) -> Results:
    """The table of a report: original, all golds, each unlearned model, references.

    Raises:
        KeyError: a measurement's metric is not explained in `report.about`.
    """
    columns, notes = _columns(report), _Notes()
    groups: dict[str, tuple[MetricInfo, list[Row]]] = {}
    for about, split in report.rows():
        groups.setdefault(about.metric, (about, []))[1].append(_row(report, about, split, columns, notes))
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
    """The columns in reading order; a measured model that the report does not list still gets a column."""
    listed = {model.name for model in report.models}
    unlisted = dict.fromkeys(m.model for m in report.measures if m.model not in listed)
    golds = len(report.golds)
    aside = plural(golds, "gold")
    if golds > 1:
        aside += ": median, range; of distances, the noise floor"
    return (
        *(Column(name=name, role="original") for name in report.named("original")),
        *([Column(name=RETRAINED, role="gold", aside=aside)] if golds else []),
        *(Column(name=name, role="unlearned") for name in (*report.named("unlearned"), *unlisted)),
        *(Column(name=name, role="reference") for name in report.named("reference")),
    )


def _row(report: AuditReport, about: MetricInfo, split: str, columns: Sequence[Column], notes: _Notes) -> Row:
    found = {m.model: m for m in report.measures if (m.metric, m.split) == (about.metric, split)}
    texts = {measure.note for measure in found.values()}
    common = texts.pop() if len(found) > 1 and len(texts) == 1 else ""
    numbers = notes.numbers([common])
    own = {name: replace(measure, note="") if common else measure for name, measure in found.items()}
    golds = [own.get(name) for name in report.golds]
    floor = _floor(golds, about)
    cells = tuple(
        _golds(golds, about, notes) if column.role == "gold" else _cell(own.get(column.name), about, floor, notes)
        for column in columns
    )
    return Row(split=split or "all", cells=cells, notes=numbers)


def _cell(measure: Measurement | None, about: MetricInfo, floor: float | None, notes: _Notes) -> Cell:
    if measure is None:
        return Cell(text=DASH, notes=notes.numbers([NOT_MEASURED]))
    numbers = notes.numbers([measure.note])
    if measure.value is None:
        return Cell(text=DASH, notes=numbers)
    return Cell(
        text=measured(measure.value, measure.bound, about.unit),
        interval="" if measure.interval is None else f"[{span(*measure.interval, about.unit)}]",
        ratio="" if floor is None else f"{times(measure.value / floor, measure.bound)} floor",
        p="" if measure.p is None else chance(measure.p),
        notes=numbers,
    )


def _golds(measures: Sequence[Measurement | None], about: MetricInfo, notes: _Notes) -> Cell:
    """Median and range over the golds that have a value."""
    values = [(m.value, m.bound) for m in measures if m is not None and m.value is not None]
    if not values:
        missing = NO_OTHER if about.distance and len(measures) == 1 else NOT_MEASURED
        return Cell(text=DASH, notes=notes.numbers(missing if m is None else m.note for m in measures))
    numbers = notes.numbers(NOT_ALL_MEASURED if m is None else m.note for m in measures)
    middle, low, high = (_over(values, of) for of in (median, min, max))
    spread = span(low[0], high[0], about.unit, (low[1], high[1])) if len(values) > 1 else ""
    return Cell(text=measured(*middle, about.unit), spread=spread, notes=numbers)


def _floor(golds: Sequence[Measurement | None], about: MetricInfo) -> float | None:
    """The median distance of a gold to the others; None if it is zero, not exactly known, or not a distance."""
    values = [(m.value, m.bound) for m in golds if m is not None and m.value is not None]
    if not about.distance or not values:
        return None
    middle, bound = _over(values, median)
    return middle if bound == "=" and middle > 0 else None


def _over(values: Sequence[tuple[float, str]], statistic: Callable[[Sequence[float]], float]) -> tuple[float, str]:
    """A statistic of values of which some are only bounds, with the resulting bound on the statistic.

    The statistic is computed again with each bound moved to its extreme.  If that changes nothing, the statistic is
    exact: the median of 3, 5 and ≥ 8 is 5.
    """
    stated = statistic([value for value, _ in values])
    lowest = statistic([-math.inf if bound == "<=" else value for value, bound in values])
    highest = statistic([math.inf if bound == ">=" else value for value, bound in values])
    if lowest == stated:
        return stated, "=" if highest == stated else ">="
    return stated, "<=" if highest == stated else "~"
