"""Summarise an experiment's audits in one table: mean and standard deviation over seeds, beside the paper's numbers."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Literal

from unregress.errors import StaleError
from unregress.evidence import RETRAINED, AuditReport, Measurement, Outcome
from unregress.evidence.method_verdict import MethodVerdict, method_verdict
from unregress.experiments.experiment import Experiment
from unregress.experiments.families.base import Family
from unregress.report.formatting import significant

DASH = "–"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One model's values of one metric, one per seed; for golds, one per gold."""

    values: tuple[float | None, ...]
    """Values by seed; None where the metric has no value."""
    bound: Literal["=", "<=", ">=", "~"] = "="
    """`=` for an exact mean, `<=` or `>=` if some values are bounds; `~` if they are bounds in both directions."""
    paper: float | None = None

    @property
    def known(self) -> list[float]:
        """The values that are not None."""
        return [value for value in self.values if value is not None]

    @property
    def mean(self) -> float | None:
        """Mean over seeds."""
        return mean(self.known) if self.known else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds; None for fewer than two."""
        return stdev(self.known) if len(self.known) > 1 else None

    def text(self) -> str:
        """Format mean ± standard deviation, with the sign of the bound."""
        if self.mean is None or not math.isfinite(self.mean):
            return DASH
        sign = {"=": "", "<=": "≤ ", ">=": "≥ ", "~": "≈ "}[self.bound]
        spread = "" if self.spread is None else f" ± {significant(self.spread)}"
        return f"{sign}{significant(self.mean)}{spread}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One metric on one part of the data, after one request."""

    stage: int
    """Number of the request, from 1."""
    metric: str
    title: str
    split: str
    published: str | None
    """The metric's name in the paper's tables; None if it is not there."""
    cells: dict[str, Cell]
    """Cells by model.  All golds share the cell `retrained`, which for a distance to golds is the noise floor."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The verdicts on one model after one request."""

    stage: int
    """Number of the request, from 1."""
    model: str
    outcomes: tuple[Outcome, ...]
    """Outcomes by seed."""
    reason: str
    """Reason of the first seed's verdict."""
    method: MethodVerdict | None = None
    """The verdict on the method over all seeds, which share their golds; None for one seed, and for other models."""

    def text(self) -> str:
        """Format the outcome of a single seed, or the method's over several, such as `PASS (p = 0.3)`.

        For models that no method made, the counts, such as `FAIL 2, PASS 1`.
        """
        if len(self.outcomes) == 1:
            return self.outcomes[0]
        if self.method is not None:
            return f"{self.method.outcome} (p = {min(each.p for each in self.method.comparisons):.2g})"
        return ", ".join(f"{outcome} {count}" for outcome, count in sorted(Counter(self.outcomes).items()))


def summarise(experiment: Experiment, family: Family, stages: Sequence[Sequence[AuditReport]]) -> tuple[Row, ...]:
    """Build the table of an experiment, with every metric of its audits."""
    return tuple(
        row for number, reports in enumerate(stages, 1) for row in _rows(number, experiment, family.error, reports)
    )


def _rows(stage: int, experiment: Experiment, error: str, reports: Sequence[AuditReport]) -> Iterator[Row]:
    first = reports[0]
    models = [*first.named("original"), RETRAINED, *first.named("unlearned", "reference")]
    for about, split in first.rows():
        published = _published(about.metric, split, error)
        numbers = experiment.paper.get(published or "", {})
        cells = {}
        for model in models:
            # All seeds' audits have the same golds.
            named = [(first, gold) for gold in first.golds] if model == RETRAINED else [(r, model) for r in reports]
            found = [_measure(report, about.metric, split, name) for report, name in named]
            cells[model] = _cell(found, numbers.get(model))
        yield Row(stage=stage, metric=about.metric, title=about.title, split=split, published=published, cells=cells)


def judged(stages: Sequence[Sequence[AuditReport]]) -> tuple[Judged, ...]:
    """Collect the verdicts of an experiment's audits; empty if there are no golds."""
    return tuple(
        Judged(
            stage=number,
            model=verdict.model,
            outcomes=tuple(report.verdict(verdict.model).outcome for report in reports),
            reason=verdict.reason,
            method=_over_seeds(reports, verdict.model),
        )
        for number, reports in enumerate(stages, 1)
        for verdict in reports[0].verdicts
    )


def _over_seeds(reports: Sequence[AuditReport], model: str) -> MethodVerdict | None:
    """The verdict on a method; None for one seed, for a model that no method made, and where numbers are missing."""
    if len(reports) < 2 or model not in reports[0].named("unlearned"):
        return None
    with suppress(StaleError):
        return method_verdict(reports, model)
    return None


def _published(metric: str, split: str, error: str) -> str | None:
    """The paper's name of a metric.

    err_Dt_f is measured on training data according to the paper's caption, on test data according to its subscript
    and code: its number is shown beside both.
    """
    if metric == error:
        return {"test-retain": "err_Dt_r", "test-forget": "err_Dt_f", "train-forget": "err_Dt_f"}.get(split)
    if (metric, split) in (("w1", "train-forget"), ("attack", "train-forget")):
        return {"w1": "w_dist", "attack": "att_prob"}[metric]
    return "AIN" if metric == "ain" else None


def _measure(report: AuditReport, metric: str, split: str, model: str) -> Measurement | None:
    try:
        return report.measure(metric, split, model)
    except KeyError:
        return None


def _cell(found: Sequence[Measurement | None], paper: float | None) -> Cell:
    bounds = {measure.bound for measure in found if measure is not None and measure.value is not None} - {"="}
    bound: Literal["=", "<=", ">=", "~"] = "=" if not bounds else bounds.pop() if len(bounds) == 1 else "~"
    return Cell(values=tuple(None if m is None else m.value for m in found), bound=bound, paper=paper)


def markdown(rows: Sequence[Row], verdicts: Sequence[Judged] = (), *, brief: bool = False) -> str:
    """Format the results in Markdown: a table per request, the paper's numbers in rows of their own, verdicts last.

    Args:
        rows: from `summarise`.
        verdicts: from `judged`.
        brief: show only the paper's metrics and the paired difference.
    """
    parts = []
    for stage in dict.fromkeys(row.stage for row in rows):
        shown = [row for row in rows if row.stage == stage and (not brief or row.published or row.metric == "paired")]
        models = list(dict.fromkeys(model for row in shown for model in row.cells))
        lines = ["| measure | | " + " | ".join(models) + " |", "|---|---|" + "---|" * len(models)]
        for row in shown:
            ours = (row.cells[model].text() if model in row.cells else DASH for model in models)
            lines.append(f"| {row.title}, {row.split} | ours | " + " | ".join(ours) + " |")
            numbers = [row.cells[model].paper if model in row.cells else None for model in models]
            if any(number is not None for number in numbers):
                paper = (DASH if number is None else f"{number:g}" for number in numbers)
                lines.append(f"| {row.published} | paper | " + " | ".join(paper) + " |")
        found = {each.model: each.text() for each in verdicts if each.stage == stage}
        if found:
            lines.append("| Verdict | | " + " | ".join(found.get(model, DASH) for model in models) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(f"Request {n}\n\n{part}" if len(parts) > 1 else part for n, part in enumerate(parts, 1)) + "\n"


def comma_separated(rows: Sequence[Row]) -> str:
    """Format the table as csv: one line per request, metric, part and model, with the values of all seeds."""
    runs = max((len(cell.values) for row in rows for cell in row.cells.values()), default=0)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ("stage", "metric", "split", "model", "mean", "sd", "bound", "paper")
    writer.writerow([*head, *(f"run {run}" for run in range(1, runs + 1))])
    for row in rows:
        for model, cell in row.cells.items():
            numbers = (cell.mean, cell.spread, cell.bound, cell.paper, *cell.values)
            writer.writerow([row.stage, row.metric, row.split, model, *("" if n is None else n for n in numbers)])
    return out.getvalue()
