"""Render an experiment's results as an HTML page, and select its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from unregress.evidence import RETRAINED, AuditReport, Curve, Figure
from unregress.experiments.experiment import Experiment
from unregress.experiments.summary import DASH, Cell, Judged, Row
from unregress.experiments.variance import HEADINGS, Spread, table
from unregress.report.figures import Style, plot, styles
from unregress.report.table import words


def render_page(
    experiment: Experiment,
    rows: Sequence[Row],
    stages: Sequence[Sequence[AuditReport]],
    verdicts: Sequence[Judged] = (),
    variance: Sequence[Spread] = (),
    *,
    lead: str,
    facts: Mapping[str, str],
    notes: Sequence[str],
    audits: Sequence[str],
) -> str:
    """Render one self-contained HTML page: tables with the paper's numbers, figures, links to the audits.

    Args:
        experiment: the experiment.
        rows: its table.
        stages: its audits; the first seed's figures are shown.
        verdicts: the audits' verdicts.
        variance: standard deviations of training and of unlearning, if methods were repeated.
        lead: a sentence that summarises the experiment.
        facts: settings and versions, by name.
        notes: caveats.
        audits: the audits' pages, relative to this one.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("unregress.experiments"), PackageLoader("unregress.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    look = styles(stages[0][0])
    template = environment.get_template("reproduction.html.j2")
    return template.render(
        experiment=experiment,
        lead=lead,
        facts=list(facts.items()),
        notes=notes,
        tables=list(_tables(rows, verdicts, look)),
        figures=[_drawing(figure, look, n) for n, figure in enumerate(figures(rows, stages).values(), 1)],
        audits=audits,
        variance=(HEADINGS, table(variance)) if variance else None,
        words=words,
        zip=zip,
    )


def figures(rows: Sequence[Row], stages: Sequence[Sequence[AuditReport]]) -> dict[str, Figure]:
    """Figures by file name: those of the first seed's audits, and errors over several requests (Figure 7)."""
    several = len(stages) > 1
    found = {
        f"{figure.key}-{number}" if several else figure.key: figure
        for number, reports in enumerate(stages, 1)
        for figure in reports[0].figures
    }
    if several:
        found |= {f"requests-{figure.key}": figure for figure in _over_requests(rows, stages[0][0].named("reference"))}
    return found


def _over_requests(rows: Sequence[Row], omitted: Sequence[str]) -> Iterator[Figure]:
    """Figures of the error on each part of the data after each request, with a line per model (Figure 7)."""
    metric = next((row.metric for row in rows if row.published == "err_Dt_r"), None)
    errors = [row for row in rows if row.metric == metric]
    for split in dict.fromkeys(row.split for row in errors):
        shown = [row for row in errors if row.split == split]
        models = [model for model in shown[0].cells if model not in omitted]
        yield Figure(
            key=split,
            title=f"{shown[0].title}, {split}, after each request",
            caption="The retrained model of each request is trained from scratch without all that was named so far. "
            "Mean over seeds; a method that follows it has forgotten and kept as it should.",
            x_label="request",
            y_label=shown[0].title.lower(),
            curves=tuple(
                Curve(
                    model=model,
                    x=tuple(float(row.stage) for row in shown if row.cells[model].mean is not None),
                    y=tuple(row.cells[model].mean or 0.0 for row in shown if row.cells[model].mean is not None),
                )
                for model in models
            ),
        )


def _drawing(figure: Figure, look: Mapping[str, Style], number: int) -> dict[str, Any]:
    drawn = plot(figure, look, f"figure-{number}")
    return {
        "id": f"figure-{number}",
        "title": figure.title,
        "caption": figure.caption,
        "svg": Markup(drawn.svg),  # matplotlib escapes every label it writes
        "alternative": drawn.alternative,
        "legend": drawn.keys,
    }


def _tables(rows: Sequence[Row], verdicts: Sequence[Judged], look: Mapping[str, Style]) -> Iterator[dict[str, Any]]:
    stages = list(dict.fromkeys(row.stage for row in rows))
    for stage in stages:
        shown = [row for row in rows if row.stage == stage]
        models = list(dict.fromkeys(model for row in shown for model in row.cells))
        roles = {RETRAINED: "gold"}
        groups = []
        for metric in dict.fromkeys(row.metric for row in shown):
            own = [row for row in shown if row.metric == metric]
            published = ", ".join(dict.fromkeys(row.published for row in own if row.published))
            lines = [{"split": row.split, "cells": [_cell(row.cells.get(model)) for model in models]} for row in own]
            groups.append({"title": own[0].title, "published": published, "rows": lines})
        yield {
            "title": f"After request {stage}" if len(stages) > 1 else "",
            "models": [{"name": name, "role": roles.get(name, ""), "style": look.get(name)} for name in models],
            "groups": groups,
            "verdicts": [each for each in verdicts if each.stage == stage],
        }


def _cell(cell: Cell | None) -> dict[str, str]:
    if cell is None:
        return {"ours": DASH, "paper": ""}
    return {"ours": cell.text(), "paper": "" if cell.paper is None else f"paper {cell.paper:g}"}
