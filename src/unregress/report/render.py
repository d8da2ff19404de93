"""The report as one HTML file that both a data-protection officer and an engineer can read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from unregress.errors.wording import printable
from unregress.evidence import RETRAINED, AuditReport, Trace
from unregress.evidence.table_verdict import judged_by_table
from unregress.files.writing import write_text
from unregress.report.conclusion import Conclusion, about_original, conclusion
from unregress.report.figures import GOLD, Key, Style, plot, styles
from unregress.report.formatting import count, percent, plural
from unregress.report.models import file_rows, model_rows
from unregress.report.table import Results, results, words
from unregress.report.verdicts import recheck_rows, rule_settings, verdict_rows

_PARTS = {"train": "training samples", "validation": "validation samples", "test": "test samples"}
_KINDS = {
    ("train", "retain"): "that may be kept",
    ("train", "forget"): "that must be forgotten",
    ("validation", "retain"): "of the kinds that are kept, never trained on",
    ("validation", "forget"): "of the kind that is forgotten, never trained on",
    ("test", "retain"): "of the kinds that are kept, never trained on",
    ("test", "forget"): "of the kind that is forgotten, never trained on",
}


def render_html(report: AuditReport, path: str | Path | None = None) -> str:
    """The report as one self-contained HTML page, without scripts or outside references.

    The same report gives the same text.

    Args:
        report: the report of an audit.
        path: a file to write the page to as well, atomically.

    Returns:
        The page's HTML.

    Raises:
        RunFolderError: the page cannot be written to `path`.
    """
    html = _template().render(_page(report))
    if path is not None:
        write_text(Path(path), html)
    return html


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("unregress.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("audit.html.j2")


def is_page(path: str | Path) -> bool:
    """Whether a file is a page that `render_html` wrote, by its first lines.

    Raises:
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        start = file.read(1000)
    return start.startswith(b"<!doctype html>") and b'<meta name="generator" content="unregress ' in start


def _shown(value: object) -> object:
    """A template value with control characters in texts escaped."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the data."""

    name: str
    meaning: str
    size: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The explanation of a sign in the table's small print."""

    id: str
    sign: str
    title: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One figure on the page."""

    id: str
    title: str
    caption: str
    svg: Markup
    alternative: str
    keys: tuple[Key, ...]
    absent: str
    too_large: str


def _page(report: AuditReport) -> dict[str, Any]:
    """The variables of the template, formatted."""
    look, table, found = styles(report), results(report), conclusion(report)
    models, verdicts = model_rows(report, look), verdict_rows(report)
    sentences = {each.model: each.sentence for each in found.models}
    files = file_rows(report, "unlearned")
    return {
        "report": report,
        "conclusion": found,
        "sentences": {**dict.fromkeys(report.named("original"), about_original(report)), **sentences},
        "steps": {each.model: each.step for each in found.models} if len(found.models) > 1 else {},
        "asked": _asked(report),
        "compared": _compared(report),
        "deployable": tuple(row for row in files if row.model in found.deployable),
        "traces": tuple(trace for trace in _traces(report, found) if trace.remembers),
        "later": tuple(trace for trace in report.traces if not trace.remembers),
        "verdicts": tuple(row for row in verdicts if row.role != "reference"),
        "reference_verdicts": tuple(row for row in verdicts if row.role == "reference"),
        "earlier": recheck_rows(report),
        "judged": any(row.criteria for row in verdicts),
        "rule": rule_settings(report),
        "band": _band(report.target_band),
        "parts": tuple(_part(name, size) for name, size in report.samples.items()),
        "models": models,
        "files": file_rows(report, "original", "gold", "unlearned"),
        "references": any(model.role == "reference" for model in models),
        "costs_known": any(model.cost is not None for model in report.models),
        "table": table.only("original", "gold", "unlearned"),
        "reference_table": table.only("gold", "reference"),
        "marks": tuple(_marks(table, len(report.golds))),
        "numbered_notes": dict(enumerate(table.notes, 1)),
        "spans": _spans,
        "look": {**look, RETRAINED: GOLD},
        "golds": len(report.golds),
        "figures": tuple(_drawings(report, look)),
        "settings": tuple(_flat(report.settings)),
        "zip": zip,
        "words": words,
    }


_SPANS = {"original": "Before", "gold": "Yardstick", "unlearned": "After unlearning", "reference": "For scale"}
"""Headings over the columns of each role."""


def _spans(table: Results) -> tuple[tuple[str, str, int], ...]:
    """Role, heading and number of columns for each role in a table."""
    roles = [column.role for column in table.columns]
    return tuple((role, title, roles.count(role)) for role, title in _SPANS.items() if role in roles)


def _marks(table: Results, golds: int) -> Iterator[Mark]:
    """Explanations of the signs that occur in the table's small print."""
    if table.shows("interval"):
        yield Mark(
            id="mark-interval",
            sign="[0.47–0.58]",
            title="95 % interval",
            meaning="Where the value would lie in 95 of 100 repetitions: of a distance, with other retrained models; "
            "of an attack, with other samples; of relearning, in another order. A wide interval means that the number "
            "is uncertain.",
        )
    if table.shows("ratio"):
        yield Mark(
            id="mark-ratio",
            sign="2.9 × floor",
            title="Ratio to the noise floor",
            meaning="The model’s distance to the retrained models, as a multiple of the median distance of a retrained "
            "model to the others. About 1 is as close as a model can be expected to come; twice the floor is twice as "
            "far from the retrained models as these are from each other.",
        )
    if table.shows("p"):
        least = f"{1 / (golds + 1):.2g}"
        yield Mark(
            id="mark-p",
            sign=f"p = {least}",
            title="Rank test of one more retrained model",
            meaning="How often one more retrained model would be this far from the retrained ones, or farther. Only "
            f"ranks are compared, so with {plural(golds, 'retrained model')} p is a multiple of 1/{golds + 1}, never "
            f"below {least}: the model is then farther out than every retrained one. (KLoM and U-LiRA shuffle "
            "models of their own instead, and their p can be smaller.) That alone proves little, and with many numbers "
            "in the table some are far out by chance; a verdict rests on limits instead.",
        )


def _asked(report: AuditReport) -> str:
    """How many records were to be forgotten, in words."""
    forgotten, kept = report.samples.get("train-forget"), report.samples.get("train-retain")
    if forgotten is None or kept is None:
        return "Some of the records that the model was trained on are to be forgotten."
    share, total = percent(forgotten / (forgotten + kept)), count(forgotten + kept)
    return f"To forget {count(forgotten)} of the {total} records that the model was trained on ({share})."


def _compared(report: AuditReport) -> str:
    """What the models are compared with, in a sentence."""
    compared, golds = plural(len(report.named("unlearned")), "unlearned model"), len(report.golds)
    if not golds and judged_by_table(report):
        return (
            f"This page compares {compared} with predictions of models that never saw those records; none was "
            "retrained for this request."
        )
    if not golds:
        return (
            f"No model was retrained without those records to compare the {compared} with. So it is unknown how a "
            "model that never saw them would behave."
        )
    return f"This page compares {compared} with {plural(golds, 'model')} retrained without those records."


def _traces(report: AuditReport, found: Conclusion) -> Iterator[Trace]:
    """What else may remember the forgotten samples; of earlier reports at least the original."""
    named = report.traces or tuple(
        Trace(what="original model", name=name, why="It was trained on the forgotten records.")
        for name in report.named("original")
    )
    yield from named
    files = {model.name: model.file for model in report.models}
    for each in found.models:
        if not each.deployable:
            file = files[each.model]
            yield Trace(
                what="unlearned model",
                name=each.model if file is None else file.name,
                sha256="" if file is None else file.sha256,
                why=f"{each.model} did not pass this audit.",
            )


def _band(band: tuple[float | None, float | None] | None) -> str:
    if band is None:
        return "none: the samples were chosen one by one, not by their target"
    low, high = band
    if low is None or high is None:
        limit = high if low is None else low
        side = "at most" if low is None else "at least"
        return "all targets" if limit is None else f"targets of {side} {_exact(limit)}"
    return f"targets from {_exact(low)} to {_exact(high)}, both included"


def _exact(limit: float) -> str:
    """A number of the request, without rounding."""
    return f"{limit:.15g}".replace("-", "−")


def _part(name: str, size: int) -> Part:
    split, _, kind = name.partition("-")
    meaning = f"{_PARTS.get(split, '')} {_KINDS.get((split, kind), '')}".strip()
    return Part(name=name, meaning=meaning, size=count(size))


def _drawings(report: AuditReport, look: dict[str, Style]) -> Iterator[Drawing]:
    for number, figure in enumerate(report.figures, 1):
        drawn = plot(figure, look, f"figure-{number}")
        yield Drawing(
            id=f"figure-{number}",
            title=figure.title,
            caption=figure.caption,
            svg=Markup(drawn.svg),  # matplotlib escapes every label it writes
            alternative=drawn.alternative,
            keys=drawn.keys,
            absent=", ".join(drawn.absent),
            too_large=", ".join(drawn.too_large),
        )


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Flatten nested settings to pairs of dotted name and value."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{prefix}{name}", text
