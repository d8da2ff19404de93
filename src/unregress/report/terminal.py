"""The results as a table in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from unregress.errors.wording import printable
from unregress.evidence import AuditReport, Outcome
from unregress.report.formatting import plural
from unregress.report.models import FileRow, file_rows
from unregress.report.table import Cell, Column, Group, Results, Row, results, words
from unregress.report.verdicts import Ruling, looked_at_again, rulings

_LONGEST_WORD = 14
"""Longer words in a heading are folded; numbers never are."""
_COLOURS: dict[Outcome, str] = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}


def print_table(report: AuditReport, console: Console | None = None) -> None:
    """Print the verdicts, then metric × split against original, retrained, each unlearned model and references.

    Numbers are never cut: where room is short, headings, parts and ranges take several lines, and
    where even that does not fit, the table is continued below with original and retrained repeated.
    Beneath a distance or an attack stand its multiple of the noise floor, its 95 % interval and its rank test.

    Args:
        report: what an audit found.
        console: where to print; by default standard output.
    """
    console = console or Console()
    _print_verdicts(report, console)
    _print_files(report, console)
    table = results(report)
    layout = next((each for each in _LAYOUTS if each.width(table) <= console.width), _LAYOUTS[-1])
    for shown in _blocks(table, layout, console.width):
        _print_block(table, layout, shown, console)
    for number, note in enumerate(table.notes, 1):
        _print_item(console, f"[{number}]", note)
    if table.notes:
        console.print()
    console.print(_text(_how_to_read(report)))
    if report.caveats:
        console.print(Text("\nCaveats", style="bold"))
    for caveat in report.caveats:
        _print_item(console, "-", caveat)


def _print_verdicts(report: AuditReport, console: Console) -> None:
    """A line for each model: outcome, name, reason and cost."""
    if found := rulings(report):
        _print_rulings(found, console)
    for again in looked_at_again(report):
        console.print(
            _text(f"Another request, looked at again: {again.reason} ({again.samples}). {again.note}".rstrip())
        )
        _print_rulings(again.rulings, console)


def _print_rulings(found: Sequence[Ruling], console: Console) -> None:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(max_width=max(12, console.width // 4), overflow="fold")
    grid.add_column(overflow="fold")
    for ruling in found:
        muted = "dim" if ruling.role == "reference" else ""
        cost = f"  Cost: {ruling.share} of retraining." if ruling.share else ""
        reason = _text(ruling.reason, muted).append_text(_text(cost, "dim"))
        grid.add_row(Text(ruling.outcome, style=_COLOURS[ruling.outcome]), _text(ruling.model, muted or "bold"), reason)
    if found:
        console.print(grid)
    console.print()


def _print_files(report: AuditReport, console: Console) -> None:
    """When was measured, and a line for each judged model: its file and the start of the file's digest."""
    day = f"Measured on {report.date} (UTC)." if report.date else "The day of measuring is not recorded."
    found = file_rows(report, "original", "unlearned")
    if not any(row.file for row in found):
        console.print(_text(f"{day} No file is recorded: which weights were measured cannot be said.\n"))
        return
    console.print(_text(f"{day} The files that were judged, with the start of their SHA-256:"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(max_width=max(12, console.width // 4), overflow="fold")
    grid.add_column(overflow="fold")
    for row in found:
        grid.add_row(_text(row.model), _text(_file(row)))
    console.print(grid)
    console.print()


def _file(row: FileRow) -> str:
    if row.file is None:
        return row.said
    return f"{row.file.sha256[:12]}  {row.file.name}" if row.file.sha256 else f"{row.file.name}: {row.said}"


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """How generously the table is set."""

    gap: int
    """Spaces between columns."""
    stacked: bool
    """The golds' range below their median instead of beside it."""
    broken: bool
    """Names of parts broken after their hyphen."""

    def part(self, row: Row) -> str:
        """The first cell of a row, with the notes to all of it."""
        split = row.split.replace("-", "-\n ") if self.broken else f" {row.split}"
        return printable(split) + _marks(row.notes)

    def cell(self, cell: Cell) -> str:
        """A number with its notes, and its range if it is the golds'."""
        text = cell.text + _marks(cell.notes)
        if not cell.spread:
            return text
        return f"{text}\n{cell.spread}" if self.stacked else f"{text} ({cell.spread})"

    def stub(self, table: Results) -> int:
        """Width of the first column."""
        parts = (self.part(row) for group in table.groups for row in group.rows)
        return max(_widest(parts), _widest(f"   {name}" for name, _ in _small_print(table.groups)))

    def column(self, table: Results, position: int) -> int:
        """Width of another column: its longest number or heading word."""
        heading = _heading(table.columns[position]).split("\n")
        cells = (self.cell(row.cells[position]) for group in table.groups for row in group.rows)
        small = (texts[position] for _, texts in _small_print(table.groups))
        return max(_widest(word[:_LONGEST_WORD] for word in heading), _widest(cells), _widest(small))

    def width(self, table: Results) -> int:
        """Width of the whole table in one piece."""
        return self.stub(table) + sum(self.gap + self.column(table, i) for i in range(len(table.columns)))


_LAYOUTS = (
    _Layout(gap=2, stacked=False, broken=False),
    _Layout(gap=2, stacked=True, broken=False),
    _Layout(gap=2, stacked=True, broken=True),
    _Layout(gap=1, stacked=True, broken=True),
)
"""From the most generous to the tightest."""


def _blocks(table: Results, layout: _Layout, width: int) -> Iterator[list[int]]:
    """Which columns to show together, by position: original and golds always, the others as many as fit."""
    widths = [layout.gap + layout.column(table, i) for i in range(len(table.columns))]
    fixed = [i for i, column in enumerate(table.columns) if column.role in ("original", "gold")]
    room = width - layout.stub(table) - sum(widths[i] for i in fixed)
    block: list[int] = []
    for i in (i for i in range(len(table.columns)) if i not in fixed):
        if block and sum(widths[j] for j in [*block, i]) > room:
            yield fixed + block
            block = []
        block.append(i)
    yield fixed + block


def _print_block(table: Results, layout: _Layout, shown: Sequence[int], console: Console) -> None:
    """Heading, then for each metric its title over the whole width and its rows beneath."""
    heading = _grid(table, layout, shown)
    heading.add_row("", *(_text(_heading(table.columns[i]), "bold") for i in shown))
    console.print(heading)
    width = layout.stub(table) + sum(layout.gap + layout.column(table, i) for i in shown)
    console.print(Rule(style="dim", characters="─"), width=min(width, console.width))
    for group in table.groups:
        console.print(_title(group))
        rows = _grid(table, layout, shown)
        for row in group.rows:
            rows.add_row(_text(layout.part(row)), *(_text(layout.cell(row.cells[i])) for i in shown))
            for name, texts in _asides(row):
                rows.add_row(_text(f"   {name}", "dim"), *(_text(texts[i], "dim") for i in shown))
        console.print(rows)
        console.print()


def _asides(row: Row) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Small print beneath a row whose numbers have intervals: name, and text for each column."""
    if any(cell.interval for cell in row.cells):
        yield from (
            (name, texts)
            for name, texts in (
                ("× floor", tuple(cell.ratio.removesuffix(" × floor") for cell in row.cells)),
                ("95 %", tuple(cell.interval for cell in row.cells)),
                ("p", tuple(cell.p.removeprefix("p = ") for cell in row.cells)),
            )
            if any(texts)
        )


def _small_print(groups: Sequence[Group]) -> list[tuple[str, tuple[str, ...]]]:
    return [aside for group in groups for row in group.rows for aside in _asides(row)]


def _grid(table: Results, layout: _Layout, shown: Sequence[int]) -> Table:
    grid = Table.grid(padding=0)
    grid.add_column(width=layout.stub(table), overflow="fold")
    for i in shown:
        style = "dim" if table.columns[i].role == "reference" else ""
        width = layout.gap + layout.column(table, i)
        grid.add_column(width=width, justify="right", overflow="fold", style=style)
    return grid


def _marks(notes: Sequence[int]) -> str:
    return "".join(f"[{number}]" for number in notes)


def _title(group: Group) -> Text:
    title = _text(group.about.title, "bold")
    return title.append_text(_text(f", {group.about.unit}", "dim")) if group.about.unit else title


def _heading(column: Column) -> str:
    """A name on several lines, broken between its words."""
    lines = [word.strip() for word in words(column.name)]
    golds = [f"({column.aside.partition(':')[0]})"] if column.aside else []
    return printable("\n".join([*lines, *golds]))


def _how_to_read(report: AuditReport) -> str:
    golds = len(report.golds)
    if not golds:
        return (
            "No model was retrained, so nothing says what a model that never saw the forgotten samples would do: there "
            "is no noise floor, and no verdict can be more than INCONCLUSIVE."
        )
    nearer = "Compare each number with the retrained models': nearer is better, not lower."
    if golds == 1:
        return (
            f"{nearer} Only one model was retrained, so how far two retrainings differ by chance (the noise floor) is "
            "unknown."
        )
    return (
        f"{nearer} Retrained is the median of {plural(golds, 'gold')} that differ by their seed only, and their range. "
        "For distances it is the distance of one gold to the others, the noise floor: no method can be asked to come "
        "closer, and “× floor” how many times farther a model is. “p”: how often one more gold would be as far."
    )


def _print_item(console: Console, mark: str, text: str) -> None:
    """A list item whose further lines are indented."""
    item = Table.grid(padding=(0, 1, 0, 0))
    item.add_column(no_wrap=True)
    item.add_column(overflow="fold")
    item.add_row(Text(mark), _text(text))
    console.print(item)


def _widest(texts: Iterator[str]) -> int:
    return max((len(line) for text in texts for line in text.split("\n")), default=0)


def _text(text: str, style: str = "") -> Text:
    """Text that is shown as it is: no markup, no emoji codes, no control sequences."""
    return Text(printable(text), style=style)
