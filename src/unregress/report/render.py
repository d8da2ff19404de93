"""The report as one HTML file that both a data-protection officer and an engineer can read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from unregress.cost import Cost
from unregress.evidence import AuditedModel, AuditReport, Role
from unregress.report.figures import Key, Style, plot, styles
from unregress.report.numerals import count, percent, plural, significant
from unregress.report.table import DASH, results, words

ROLES: dict[Role, tuple[str, str]] = {
    "original": ("original", "trained on all training samples; the model as it was before the request"),
    "gold": ("retrained (gold)", "trained from scratch without the samples to forget: the reference"),
    "floor": ("further gold", "retrained like the gold, with another random seed"),
    "unlearned": ("unlearned", "the original, made to forget by this method"),
}
_ORDER: tuple[Role, ...] = ("original", "gold", "floor", "unlearned")

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
        report: what an audit found.
        path: where to write it as well, in one step: a reader never sees half a page.

    Returns:
        The page's HTML.

    Raises:
        OSError: the page cannot be written to `path`.
    """
    environment = Environment(
        loader=PackageLoader("unregress.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("audit.html.j2").render(_page(report))
    if path is not None:
        _write(Path(path), html)
    return html


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        beside.write_bytes(text.encode("utf8", errors="replace"))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the data."""

    name: str
    meaning: str
    size: str


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """One audited model: where it comes from and what it cost."""

    name: str
    role: str
    meaning: str
    style: Style
    maker: str
    settings: tuple[str, ...]
    notes: tuple[str, ...]
    deviations: tuple[str, ...]
    is_method: bool
    passes: str
    forward: str
    backward: str
    seconds: str
    share: str


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


def _page(report: AuditReport) -> dict[str, Any]:
    """Everything the template shows, formatted."""
    look = styles(report)
    table = results(report)
    further = sum(model.role == "floor" for model in report.models)
    gold = next((model for model in report.models if model.role == "gold"), None)
    models = sorted(report.models, key=lambda model: _ORDER.index(model.role))
    rows = tuple(_model(model, gold, look[model.name]) for model in models)
    roles = [column.role for column in table.columns]
    return {
        "report": report,
        "summary": _summary(report),
        "band": _band(report.target_band),
        "parts": tuple(_part(name, size) for name, size in report.samples.items()),
        "models": rows,
        "detailed": tuple(row for row, model in zip(rows, models, strict=True) if model.role != "floor"),
        "costs_known": any(model.cost is not None for model in models),
        "table": table,
        "numbered_notes": dict(enumerate(table.notes, 1)),
        "width": len(table.columns) + 1,
        "before": roles.count("original"),
        "reference": roles.count("gold") + roles.count("floor"),
        "after": roles.count("unlearned"),
        "look": look,
        "further": further,
        "further_text": plural(further, "further gold") if further else "no further golds",
        "figures": tuple(_drawings(report, look)),
        "settings": tuple(_flat(report.settings)),
        "zip": zip,
        "words": words,
    }


def _summary(report: AuditReport) -> str:
    """What the page is about, in a sentence or two."""
    forgotten, kept = report.samples.get("train-forget"), report.samples.get("train-retain")
    if forgotten is None or kept is None:
        asked = "A trained model was asked to forget some of its training samples."
    else:
        share = percent(forgotten / (forgotten + kept))
        asked = (
            f"A trained model was asked to forget {count(forgotten)} of its {count(forgotten + kept)} "
            f"training samples ({share})."
        )
    unlearned = sum(model.role == "unlearned" for model in report.models)
    compared = plural(unlearned, "unlearned model")
    return f"{asked} This page compares {compared} with one that was retrained without those samples."


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
    """A limit that someone set is shown as it was set, not rounded."""
    return f"{limit:.15g}".replace("-", "−")


def _part(name: str, size: int) -> Part:
    split, _, kind = name.partition("-")
    meaning = f"{_PARTS.get(split, '')} {_KINDS.get((split, kind), '')}".strip()
    return Part(name=name, meaning=meaning, size=count(size))


def _model(model: AuditedModel, gold: AuditedModel | None, style: Style) -> ModelRow:
    role, meaning = ROLES[model.role]
    maker, settings = _parse(model.method)
    cost = model.cost
    return ModelRow(
        name=model.name,
        role=role,
        meaning=meaning,
        style=style,
        maker=maker,
        settings=settings,
        notes=model.notes,
        deviations=model.deviations,
        is_method=bool(model.method),
        passes=DASH if cost is None else count(cost.passes),
        forward=DASH if cost is None else count(cost.forward),
        backward=DASH if cost is None else count(cost.backward),
        seconds=DASH if cost is None else significant(cost.seconds),
        share=_share(cost, None if gold is None else gold.cost),
    )


def _share(cost: Cost | None, retraining: Cost | None) -> str:
    if cost is None or retraining is None or retraining.passes == 0:
        return DASH
    return percent(cost.share_of(retraining))


def _parse(method: str) -> tuple[str, tuple[str, ...]]:
    """`Name(a=1, b=f(2, 3))` as `Name` and `a=1`, `b=f(2, 3)`; any other text as it is."""
    name, opening, inner = method.partition("(")
    if not opening or not inner.endswith(")"):
        return method, ()
    pieces, depth = [""], 0
    for character in inner[:-1]:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += character
    return name, tuple(piece.strip() for piece in pieces if piece.strip())


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
        )


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as lines of dotted name and value."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{prefix}{name}", text
