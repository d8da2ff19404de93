"""Figures: one style per model, empty curves, thresholds, labels as they are."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl

import unregress.report
from report.by_hand import without
from unregress.evidence import AuditReport, Curve
from unregress.report.figures import FLOOR, GOLD, ORIGINAL, plot, styles
from unregress.report.render import render_html


def test_one_fixed_style_per_model(report: AuditReport) -> None:
    look = styles(report)
    assert look["original"] == ORIGINAL
    assert look["gold"] == GOLD
    assert look["gold 2"] == look["gold 4"] == FLOOR
    assert [look[name].colour for name in ("FineTune", "Blindspot")] == ["#0072b2", "#d55e00"]
    assert styles(without(report, "original", "gold 2"))["Blindspot"] == look["Blindspot"]


def test_thirty_methods_look_different(report: AuditReport) -> None:
    method = report.models[-1]
    many = replace(report, models=tuple(replace(method, name=f"m{i}") for i in range(30)), measures=(), figures=())
    assert len(set(styles(many).values())) == 30


def test_one_path_per_curve_in_the_model_s_colour(report: AuditReport) -> None:
    svg = plot(report.figures[0], styles(report), "a").svg
    assert svg.count("stroke: var(--series-floor, #aeb3ba)") == 3
    for style in (ORIGINAL, GOLD, styles(report)["FineTune"], styles(report)["Blindspot"]):
        assert svg.count(f"stroke: {style.stroke}") == 1
    assert not re.search(r"(?:fill|stroke): #", svg)  # every colour follows the page's scheme


def test_further_golds_lie_beneath_and_share_one_legend_entry(report: AuditReport) -> None:
    drawn = plot(report.figures[0], styles(report), "a")
    order = [m[1] for m in re.finditer(r"stroke: var\((--series-[a-z0-9]+)", drawn.svg)]
    assert order == ["--series-floor"] * 3 + [
        "--series-original",
        "--series-gold",
        "--series-1",
        "--series-2",
    ]
    assert [key.label for key in drawn.keys] == ["original", "gold", "further golds", "FineTune", "Blindspot"]


def test_threshold_is_drawn_and_named(report: AuditReport) -> None:
    with_line = plot(report.figures[1], styles(report), "a")
    without_line = plot(replace(report.figures[1], threshold=None), styles(report), "a")
    assert with_line.keys[-1].label == "threshold 2.50"
    assert with_line.svg.count("stroke-dasharray: 3,3") == 1
    assert without_line.svg.count("stroke-dasharray: 3,3") == 0


def test_no_curves_and_curves_without_points(report: AuditReport) -> None:
    empty = replace(report.figures[0], curves=())
    pointless = replace(report.figures[0], curves=(Curve(model="FineTune", x=(), y=()),))
    single = replace(report.figures[0], curves=(Curve(model="FineTune", x=(1.0,), y=(2.0,)),))
    assert plot(empty, styles(report), "a").svg == ""
    assert plot(pointless, styles(report), "a").absent == ("FineTune",)
    assert "<use " in plot(single, styles(report), "a").svg  # a marker, for a line of one point shows nothing
    html = render_html(replace(report, figures=(empty, pointless)))
    assert html.count("There is no curve to draw.") == 2
    assert "No points were measured for: FineTune." in html


def test_labels_stay_text_and_are_not_read_as_formulas(report: AuditReport) -> None:
    svg = plot(report.figures[0], styles(report), "a").svg
    assert "deviation $x_1 &amp; &lt;more&gt;</text>" in svg


def test_several_figures_share_a_page(report: AuditReport) -> None:
    first, second = (plot(report.figures[0], styles(report), prefix).svg for prefix in ("a", "b"))
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0] and ids[1] and not ids[0] & ids[1]
    assert "<style" not in first + second and "xmlns" not in first + second


def test_the_reader_s_matplotlib_settings_change_nothing(report: AuditReport) -> None:
    before = plot(report.figures[1], styles(report), "a")
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        changed = dict(mpl.rcParams)
        assert plot(report.figures[1], styles(report), "a") == before
        assert dict(mpl.rcParams) == changed


def test_the_page_defines_every_colour_in_both_schemes(report: AuditReport) -> None:
    css = (Path(unregress.report.__file__).parent / "templates" / "audit.css").read_text(encoding="utf8")
    light, dark = (dict(re.findall(r"(--[a-z0-9-]+): (#[0-9a-f]{6});", part)) for part in css.split("@media", 2)[:2])
    method = report.models[-1]
    many = replace(report, models=(*report.models, *(replace(method, name=f"m{i}") for i in range(6))))
    for style in styles(many).values():
        assert light[style.variable] == style.colour
        assert style.variable in dark
    used = set(re.findall(r"var\((--[a-z0-9-]+)", render_html(many)))
    assert {name for name in used if name not in ("--sans", "--mono")} <= set(light) & set(dark)
