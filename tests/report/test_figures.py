"""Figures: one style per model, empty curves, thresholds, labels as they are."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl

import unregress.report
from support.hand_reports import GOLDS, HELPER, without
from unregress.evidence import AuditReport, Curve
from unregress.report.figures import GOLD, ORIGINAL, plot, save_figure, styles
from unregress.report.render import render_html


def test_one_fixed_style_per_model(report: AuditReport) -> None:
    look = styles(report)
    assert look["original"] == ORIGINAL
    assert {look[name] for name in GOLDS} == {GOLD}
    assert [look[name].colour for name in ("FineTune", "Amnesiac", "Blindspot")] == ["#0072b2", "#d55e00", "#009e73"]
    assert styles(without(report, "original", GOLDS[1]))["Blindspot"] == look["Blindspot"]


def test_references_are_muted_and_differ_in_their_dots(report: AuditReport) -> None:
    look = styles(report)
    assert look[HELPER].variable == look["constant"].variable == "--series-reference"
    assert look[HELPER].dash != look["constant"].dash


def test_thirty_methods_look_different(report: AuditReport) -> None:
    method = next(model for model in report.models if model.name == "Blindspot")
    many = replace(report, models=tuple(replace(method, name=f"m{i}") for i in range(30)), measures=(), figures=())
    assert len(set(styles(many).values())) == 30


def test_one_path_per_curve_in_the_model_s_colour(report: AuditReport) -> None:
    look = styles(report)
    svg = plot(report.figures[0], look, "a").svg
    assert plot(report.figures[0], look, "a").svg == svg  # the same bytes twice
    for name in ("original", "retrained", "FineTune", "Amnesiac", "Blindspot", HELPER):
        assert svg.count(f"stroke: {look[name].stroke}") == 1
    assert not re.search(r"(?:fill|stroke): #", svg)  # every colour follows the page's scheme


def test_references_lie_beneath_and_come_last_in_the_legend(report: AuditReport) -> None:
    drawn = plot(report.figures[0], styles(report), "a")
    order = [m[1] for m in re.finditer(r"stroke: var\((--series-[a-z0-9]+)", drawn.svg)]
    assert order == [
        "--series-reference", "--series-original", "--series-gold", "--series-1", "--series-2", "--series-3",
    ]  # fmt: skip
    assert [key.label for key in drawn.keys] == ["original", "retrained", "FineTune", "Amnesiac", "Blindspot", HELPER]


def test_several_golds_are_thin_and_share_one_legend_entry(report: AuditReport) -> None:
    one, two = (plot(figure, styles(report), "a") for figure in report.figures)
    assert [key.label for key in two.keys] == [
        "retrained", "FineTune", "Amnesiac", "Blindspot", HELPER, "threshold 2.50",
    ]  # fmt: skip
    assert two.svg.count("var(--series-gold, #111111)") == 2
    assert [drawn.svg.count("stroke-width: 2.6") for drawn in (one, two)] == [1, 0]
    assert one.keys[1].style == GOLD and two.keys[0].style == replace(GOLD, width=1.0)


def test_a_figure_of_its_own_has_the_same_bytes_twice(report: AuditReport, tmp_path: Path) -> None:
    for name in ("first", "second"):
        save_figure(report.figures[1], styles(report), tmp_path / f"{name}.svg")
    first, second = ((tmp_path / f"{name}.svg").read_text(encoding="utf8") for name in ("first", "second"))
    assert first == second
    assert first.count(">retrained<") == 1 and first.count(">threshold 2.50<") == 1


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
    method = next(model for model in report.models if model.name == "Blindspot")
    many = replace(report, models=(*report.models, *(replace(method, name=f"m{i}") for i in range(6))))
    assert len(styles(many)) == len(report.models) + 6
    for style in styles(many).values():
        assert light[style.variable] == style.colour
        assert style.variable in dark
    used = set(re.findall(r"var\((--[a-z0-9-]+)", render_html(many)))
    assert {name for name in used if name not in ("--sans", "--mono")} <= set(light) & set(dark)


def test_what_is_too_large_to_be_drawn_is_named(report: AuditReport) -> None:
    far = Curve(model="FineTune", x=(0.0, 1.0), y=(1.0, 1.7e308))
    drawn = plot(replace(report.figures[0], curves=(far, *report.figures[0].curves[2:]), threshold=1.7e308),
                 styles(report), "a")  # fmt: skip
    assert drawn.too_large == ("FineTune",) and drawn.absent == ()
    assert "Blindspot" in [key.label for key in drawn.keys] and "stroke-dasharray: 3,3" not in drawn.svg


def test_long_labels_are_cut(report: AuditReport) -> None:
    svg = plot(replace(report.figures[0], x_label="word " * 1000), styles(report), "a").svg
    assert svg.count("word") == 39 and "word …" in svg
