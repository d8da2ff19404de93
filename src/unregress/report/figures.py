"""Figures as inline SVG: one style per model on the whole page, colours that follow the page's scheme."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from unregress.errors.wording import printable
from unregress.evidence import AuditReport, Curve, Figure, Role
from unregress.files.writing import writing
from unregress.report.formatting import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 400, 260
"""In user units of the SVG, which the page scales; text is 12 units high, about 10 px on a phone."""

_LARGEST = 1e150
"""Largest coordinate that is drawn: matplotlib overflows beyond it."""

_TEXT, _RULE = "#010203", "#040506"
_CSS = {_TEXT: "var(--muted, #5b616b)", _RULE: "var(--rule, #dfe2e6)"}

# Okabe and Ito's colour-blind-safe palette; its yellow is too faint on white, its black is the golds'.
# Colours and dashes have coprime counts, so thirty methods differ in at least one of the two.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DASHES: tuple[tuple[float, ...], ...] = ((), (7, 3), (8, 2.5, 2, 2.5), (3, 1.8), (12, 3))
# All references are grey and dotted, and differ by the pattern of dots.
_DOTS: tuple[tuple[float, ...], ...] = ((1.4, 2.2), (1.4, 4.6), (5, 2.2, 1.4, 2.2), (1.4, 1.4), (10, 3, 1.4, 3))

_SETTINGS: dict[str, object] = {
    "svg.fonttype": "none",  # text stays text, in the page's own font
    "text.parse_math": False,  # a dollar sign in a label is a dollar sign
    "lines.scale_dashes": False,
    "axes.unicode_minus": True,
    "font.size": 12,
}
_NO_METADATA: dict[str, str | None] = dict.fromkeys(("Date", "Creator", "Format", "Type"))


@dataclass(frozen=True, kw_only=True)
class Style:
    """Line style of one model, in every figure and beside its name in every table."""

    variable: str
    """CSS custom property that holds the colour in the page's present colour scheme."""
    colour: str
    """The same colour in the light scheme, where the SVG is taken out of its page."""
    width: float
    role: Role | None = None
    """None for anything but a model, such as a threshold."""
    dash: tuple[float, ...] = ()

    @property
    def stroke(self) -> str:
        """The colour as a CSS value."""
        return f"var({self.variable}, {self.colour})"

    @property
    def dasharray(self) -> str:
        """The dash pattern as an SVG attribute value."""
        return " ".join(f"{length:g}" for length in self.dash) or "none"


ORIGINAL = Style(variable="--series-original", colour="#7c828c", width=2.0, role="original", dash=(5, 3))
GOLD = Style(variable="--series-gold", colour="#111111", width=2.6, role="gold")
REFERENCE = Style(variable="--series-reference", colour="#9ba1aa", width=1.4, role="reference")
THRESHOLD = Style(variable="--muted", colour="#5b616b", width=1.1, dash=(3, 3))

_LAYERS: tuple[Role | None, ...] = ("reference", "original", "gold", "unlearned")
"""Order of drawing, from the bottom layer."""
_LEGEND_ORDER: tuple[Role | None, ...] = ("original", "gold", "unlearned", "reference", None)
"""The order of a legend."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """One entry of a figure's legend."""

    label: str
    style: Style


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A figure, ready for the page."""

    svg: str
    """An `<svg>` element; empty if there is no curve to draw."""
    alternative: str
    """Text alternative of the picture, for screen readers."""
    keys: tuple[Key, ...]
    absent: tuple[str, ...]
    """Models whose curve has no points."""
    too_large: tuple[str, ...]
    """Models whose curve has points that cannot be drawn."""


def styles(report: AuditReport) -> dict[str, Style]:
    """The style of each model: original grey, golds black and alike, references dotted, the others by their order."""
    roles: dict[str, Role] = {model.name: model.role for model in report.models}
    drawn = [curve.model for figure in report.figures for curve in figure.curves]
    measured = [measure.model for measure in report.measures]
    chosen: dict[str, Style] = {}
    dots, colours = 0, 0
    for name in dict.fromkeys((*roles, *measured, *drawn)):
        match roles.get(name, "unlearned"):
            case "original":
                chosen[name] = ORIGINAL
            case "gold":
                chosen[name] = GOLD
            case "reference":
                chosen[name] = replace(REFERENCE, dash=_DOTS[dots % len(_DOTS)])
                dots += 1
            case "unlearned":
                index = colours % len(_COLOURS)
                chosen[name] = Style(
                    variable=f"--series-{index + 1}",
                    colour=_COLOURS[index],
                    width=2.0,
                    role="unlearned",
                    dash=_DASHES[colours % len(_DASHES)],
                )
                colours += 1
    return chosen


def plot(figure: Figure, look: Mapping[str, Style], prefix: str) -> Plot:
    """Draw one figure.

    Args:
        figure: the data.
        look: the style of each model, from `styles`.
        prefix: begins every id in the SVG, so that several SVGs can share a page.
    """
    curves, look = _drawn(figure, look)
    keys = _keys(figure, curves, look)
    legend = ", ".join(key.label for key in keys)
    return Plot(
        svg=_svg(figure, curves, look, prefix) if curves else "",
        alternative=f"Line plot: {figure.title}. Horizontal axis: {figure.x_label}. "
        f"Vertical axis: {figure.y_label}. Lines: {legend}.",
        keys=keys,
        absent=tuple(dict.fromkeys(curve.model for curve in figure.curves if not curve.x)),
        too_large=tuple(dict.fromkeys(curve.model for curve in figure.curves if _too_large(curve))),
    )


def save_figure(figure: Figure, look: Mapping[str, Style], path: str | Path) -> None:
    """Write one figure with its legend to a file; the same figure gives the same bytes.

    Args:
        figure: the data.
        look: the style of each model, from `styles`.
        path: where to, ending in `.svg`.

    Raises:
        RunFolderError: it cannot be written.
    """
    from matplotlib import style as mpl_style
    from matplotlib.figure import Figure as Canvas
    from matplotlib.lines import Line2D

    curves, look = _drawn(figure, look)
    with mpl_style.context({**_SETTINGS, "svg.hashsalt": figure.key}, after_reset=True):
        canvas = Canvas(figsize=(1.6 * WIDTH / 72, 1.4 * HEIGHT / 72), layout="constrained")
        axes = canvas.add_subplot()
        _draw(axes, figure, curves, look)
        lines = [Line2D([], [], color=key.style.colour, linewidth=key.style.width,
                        linestyle=(0, key.style.dash) if key.style.dash else "solid", label=printable(key.label))
                 for key in _keys(figure, curves, look)]  # fmt: skip
        axes.legend(handles=lines, frameon=False, fontsize=11)
        with writing(Path(path)):
            canvas.savefig(path, format="svg", facecolor="white", metadata=_NO_METADATA)


def _drawn(figure: Figure, look: Mapping[str, Style]) -> tuple[list[Curve], Mapping[str, Style]]:
    """The curves that can be drawn, the bottom layer first, and the styles: several golds get thin lines."""
    curves = [curve for curve in figure.curves if curve.x and not _too_large(curve)]
    golds = [curve.model for curve in curves if look[curve.model].role == "gold"]
    if len(golds) > 1:
        look = {**look, **{name: replace(look[name], width=1.0) for name in golds}}
    curves.sort(key=lambda curve: _LAYERS.index(look[curve.model].role))
    return curves, look


def _too_large(curve: Curve) -> bool:
    return any(abs(value) > _LARGEST for value in (*curve.x, *curve.y))


def _keys(figure: Figure, curves: Sequence[Curve], look: Mapping[str, Style]) -> tuple[Key, ...]:
    """Legend entries: original, one for all golds, unlearned models, references, threshold."""
    named: dict[str, Style] = {}
    for curve in curves:
        style = look[curve.model]
        if style.role != "gold" or style not in named.values():
            named[curve.model] = style
    keys = [Key(label=name, style=style) for name, style in named.items()]
    keys.sort(key=lambda key: _LEGEND_ORDER.index(key.style.role))
    if figure.threshold is not None:
        keys.append(Key(label=f"threshold {significant(figure.threshold)}", style=THRESHOLD))
    return tuple(keys)


def _svg(figure: Figure, curves: Sequence[Curve], look: Mapping[str, Style], prefix: str) -> str:
    # Ids depend on content instead of chance, so that the same figure gives the same bytes.
    from matplotlib import style as mpl_style
    from matplotlib.figure import Figure as Canvas

    settings = {**_SETTINGS, "svg.hashsalt": prefix}
    with mpl_style.context(settings, after_reset=True), io.StringIO() as out:
        canvas = Canvas(figsize=(WIDTH / 72, HEIGHT / 72), layout="constrained")
        _draw(canvas.add_subplot(), figure, curves, look)
        canvas.savefig(out, format="svg", transparent=True, metadata=_NO_METADATA)
        return _inline(out.getvalue(), prefix, look)


def _draw(axes: Axes, figure: Figure, curves: Sequence[Curve], look: Mapping[str, Style]) -> None:
    from matplotlib.ticker import MaxNLocator

    for layer, curve in enumerate(curves):
        style = look[curve.model]
        axes.plot(
            curve.x,
            curve.y,
            color=style.colour,
            linewidth=style.width,
            linestyle=(0, style.dash) if style.dash else "solid",
            marker="o" if len(curve.x) == 1 else "",
            zorder=3 + layer / (len(curves) + 1),
        )
    if figure.threshold is not None and abs(figure.threshold) <= _LARGEST:
        dashes = (0, THRESHOLD.dash)
        axes.axhline(figure.threshold, color=_TEXT, linewidth=THRESHOLD.width, linestyle=dashes, zorder=2)
    axes.set_title(_lines(figure.y_label), loc="left", fontsize=12, color=_TEXT, pad=10)
    axes.set_xlabel(_lines(figure.x_label), color=_TEXT, labelpad=6)
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.spines["bottom"].set_color(_RULE)
    axes.grid(axis="y", color=_RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=_TEXT, pad=5)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.margins(x=0.01)


def _lines(label: str) -> str:
    return textwrap.fill(printable(label), 50, max_lines=4, placeholder=" …")


def _inline(svg: str, prefix: str, look: Mapping[str, Style]) -> str:
    """Turn a stand-alone SVG file into an element of a page.

    Drops the parts that only a file needs (declaration, name spaces, style rules that would leak into the page), keeps
    only ids that are referred to, prefixes them, and replaces colours by the page's custom properties.
    """
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    opening = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true" focusable="false">'
    svg = re.sub(r"^<svg[^>]*>", opening, svg)
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda id_: f' id="{prefix}-{id_[1]}"' if id_[1] in used else "", svg)
    svg = re.sub(r'(url\(|xlink:href=")#', lambda start: f"{start[1]}#{prefix}-", svg)
    svg = re.sub(r"font-family: [^;<>]*;", "font-family: var(--sans, sans-serif);", svg)
    colours = _CSS | {style.colour: style.stroke for style in look.values()}
    pattern = "|".join(map(re.escape, colours))
    svg = re.sub(rf"((?:fill|stroke): )({pattern})\b", lambda hit: hit[1] + colours[hit[2]], svg)
    return re.sub(r"\n\s*\n", "\n", svg)
