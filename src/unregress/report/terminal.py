"""Print an audit in the terminal: verdicts, files and the table of results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from textwrap import wrap

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from unregress.errors.wording import printable
from unregress.evidence import AuditReport, Outcome
from unregress.evidence.table_verdict import judged_by_table
from unregress.report.conclusion import conclusion
from unregress.report.formatting import plural
from unregress.report.models import FileRow, file_rows
from unregress.report.table import Cell, Column, Group, Results, Row, results, words
from unregress.report.verdicts import VerdictRow, recheck_rows, verdict_rows

_LONGEST_WORD = 14
"""Length from which words in a heading are folded; numbers never are."""
_MOST_SPARE = 30
"""Largest number of spare terminal columns that widen the first column, which holds the titles."""
_COLOURS: dict[Outcome, str] = {
    "PASS": "bold green",
    "FAIL": "bold red",
    "INCONCLUSIVE": "bold yellow",
    "OUTPUTS ONLY": "bold magenta",
}


def print_table(report: AuditReport, console: Console | None = None, *, everything: bool = True) -> None:
    """Print conclusion and verdicts, then metric × split against original, retrained, unlearned models and references.

    Numbers are never truncated.  In a terminal that is too narrow for all columns, the golds' range is printed below
    their median, and the table is continued below with the columns of original and golds repeated.
    Below a distance or an attack are its multiple of the noise floor, its 95 % interval and its rank test.

    Args:
        report: an audit's report.
        console: where to print; by default standard output.
        everything: whether to print all measurements, or those alone that the verdicts read, and how many others there
            are.
    """
    console = console or Console()
    found = conclusion(report)
    console.print(_text(f"{found.headline}\nNext step: {found.step}\n"))
    _print_verdicts(report, console)
    _print_files(report, console)
    shown = report if everything else _read_by_verdicts(report)
    table = results(shown)
    _print_results(table, console)
    for number, note in enumerate(table.notes, 1):
        _print_item(console, f"[{number}]", note)
    if table.notes:
        console.print()
    if left := len(list(report.rows())) - len(list(shown.rows())):
        rest = f"{plural(left, 'further row')} that no verdict reads: see the page, or"
        console.print(_text(f"{rest} `unregress report FOLDER --everything`.\n"))
    console.print(_text(_how_to_read(report)))
    if report.not_found:
        console.print(Text("\nNot found", style="bold"))
    for note in report.not_found:
        _print_item(console, "-", note)
    if report.caveats:
        console.print(Text("\nCaveats", style="bold"))
    for caveat in report.caveats:
        _print_item(console, "-", caveat)


def _read_by_verdicts(report: AuditReport) -> AuditReport:
    """The report with the metrics alone that its verdicts read; all of them where verdicts read none."""
    read = {criterion.metric for verdict in report.verdicts for criterion in verdict.criteria}
    kept = tuple(measure for measure in report.measures if measure.metric in read)
    return replace(report, measures=kept) if kept else report


def _print_verdicts(report: AuditReport, console: Console) -> None:
    """Print a line for each model: outcome, name, reason and cost."""
    if found := verdict_rows(report):
        _print_verdict_rows(found, console)
    for recheck in recheck_rows(report):
        console.print(
            _text(f"Another request, checked again: {recheck.reason} ({recheck.samples}). {recheck.note}".rstrip())
        )
        _print_verdict_rows(recheck.rows, console)


def _print_verdict_rows(found: Sequence[VerdictRow], console: Console) -> None:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(max_width=max(12, console.width // 4), overflow="fold")
    grid.add_column(overflow="fold")
    for row in found:
        muted = "dim" if row.role == "reference" else ""
        cost = f"  Cost: {row.share} of retraining." if row.share else ""
        reason = _text(row.reason, muted).append_text(_text(cost, "dim"))
        grid.add_row(Text(row.outcome, style=_COLOURS[row.outcome]), _text(row.model, muted or "bold"), reason)
    if found:
        console.print(grid)
    console.print()


def _print_files(report: AuditReport, console: Console) -> None:
    """Print the date, and a line for each judged model with its file and the start of the file's digest."""
    day = f"Measured on {report.date} (UTC)." if report.date else "The date of measuring is not recorded."
    found = file_rows(report, "original", "unlearned")
    if not any(row.file for row in found):
        console.print(_text(f"{day} No file is recorded, so it is unknown which weights were measured.\n"))
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
        return row.unknown
    return f"{row.file.sha256[:12]}  {row.file.name}" if row.file.sha256 else f"{row.file.name}: {row.unknown}"


def _print_results(table: Results, console: Console) -> None:
    """Print all columns side by side if they fit, otherwise as many at a time as do."""
    whole = _layout(table, range(len(table.columns)), beside=True)
    blocks = [whole]
    if _width(whole, console) > console.width:
        narrow = console.width < 80
        blocks = [_layout(table, shown, narrow=narrow) for shown in _blocks(table, console, narrow)]
    for block in blocks:
        spare = console.width - _width(block, console)
        block.columns[0].width = _first_column_width(table, narrow=console.width < 80) + max(0, min(spare, _MOST_SPARE))
        console.print(block)
        console.print()


def _blocks(table: Results, console: Console, narrow: bool) -> Iterator[list[int]]:
    """Yield the positions of columns to show together: original and golds always, others as many as fit."""
    fixed = [i for i, column in enumerate(table.columns) if column.role in ("original", "gold")]
    block: list[int] = []
    for i in (i for i in range(len(table.columns)) if i not in fixed):
        if block and _width(_layout(table, [*fixed, *block, i], narrow=narrow), console) > console.width:
            yield fixed + block
            block = []
        block.append(i)
    yield fixed + block


def _width(table: Table, console: Console) -> int:
    """The width of a table without folding."""
    return console.measure(table, options=console.options.update(width=10_000)).maximum


def _layout(table: Results, shown: Sequence[int], *, beside: bool = False, narrow: bool = False) -> Table:
    """A table of some columns: for each metric its title, which folds in the first column, and its rows beneath.

    Args:
        table: all results.
        shown: positions of the columns.
        beside: whether to print the golds' range beside their median, not below it, with more space between columns.
        narrow: whether to break names of parts after their hyphen.
    """
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, int(beside), 0, 0))
    grid.add_column(width=_first_column_width(table, narrow=narrow))
    for i in shown:
        style = "dim" if table.columns[i].role == "reference" else ""
        grid.add_column(_text(_heading(table.columns[i]), "bold"), justify="right", no_wrap=True, style=style)
    for group in table.groups:
        grid.add_row(_title(group))
        for row in group.rows:
            grid.add_row(_text(_part(row, narrow)), *(_text(_cell(row.cells[i], beside)) for i in shown))
            for name, texts in _asides(row):
                grid.add_row(_text(f"   {name}", "dim"), *(_text(texts[i], "dim") for i in shown))
        grid.add_section()
    return grid


def _first_column_width(table: Results, *, narrow: bool) -> int:
    """The smallest width of the first column: the longest name of a part.  Only titles are folded."""
    parts = [_part(row, narrow) for group in table.groups for row in group.rows]
    return max((len(line) for part in parts for line in part.split("\n")), default=0)


def _part(row: Row, narrow: bool) -> str:
    """The name of a part of the data, with the notes to the whole row."""
    return printable(f" {row.split.replace('-', f'-{chr(10)}  ')}" if narrow else f" {row.split}") + _marks(row.notes)


def _cell(cell: Cell, beside: bool) -> str:
    """A number with its notes, and its range if it is the golds'."""
    text = cell.text + _marks(cell.notes)
    if not cell.spread:
        return text
    return f"{text} ({cell.spread})" if beside else f"{text}\n{cell.spread}"


def _asides(row: Row) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the small print below a row whose numbers have intervals: name, and text for each column."""
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


def _marks(notes: Sequence[int]) -> str:
    return "".join(f"[{number}]" for number in notes)


def _title(group: Group) -> Text:
    title = _text(group.about.title, "bold")
    return title.append_text(_text(f", {group.about.unit}", "dim")) if group.about.unit else title


def _heading(column: Column) -> str:
    """A column's name on several lines, broken between its words."""
    lines = [line for word in words(column.name) for line in wrap(word, _LONGEST_WORD)]
    golds = [f"({column.aside.partition(':')[0]})"] if column.aside else []
    return printable("\n".join([*lines, *golds]))


def _how_to_read(report: AuditReport) -> str:
    golds = len(report.golds)
    if not golds and judged_by_table(report):
        return "No model was retrained: verdicts rest on the memory kept, by leave-out predictions."
    if not golds:
        return (
            "No model was retrained, so it is unknown how a model that never saw the forgotten samples would "
            "behave: there is no noise floor, and every verdict is INCONCLUSIVE."
        )
    nearer = "Compare each number with the retrained models': nearer is better, not lower."
    if golds == 1:
        return (
            f"{nearer} Only one model was retrained, so how far two retrainings differ by chance (the noise floor) is "
            "unknown."
        )
    return (
        f"{nearer} Retrained is the median of {plural(golds, 'gold')} that differ by their seed only, and their range. "
        "For distances it is the distance of one gold to the others, the noise floor: no method can be expected to "
        "come closer; “× floor” is a distance as a multiple of it. “p”: how often one more gold would be as far."
    )


def _print_item(console: Console, mark: str, text: str) -> None:
    """Print a list item whose further lines are indented."""
    item = Table.grid(padding=(0, 1, 0, 0))
    item.add_column(no_wrap=True)
    item.add_column(overflow="fold")
    item.add_row(Text(mark), _text(text))
    console.print(item)


def _text(text: str, style: str = "") -> Text:
    """Text without interpretation of markup, emoji codes or control sequences."""
    return Text(printable(text), style=style)
