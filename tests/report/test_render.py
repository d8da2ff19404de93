"""The page: complete, escaped, self-contained, the same bytes twice."""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

import unregress.report
from report.by_hand import SELF, VALUES, without
from unregress.cost import Cost
from unregress.evidence import AuditedModel, AuditReport, Curve, Figure
from unregress.report import render_html
from unregress.report.numerals import measured

HOSTILE = "<script>alert(1)</script>"


class Reader(HTMLParser):
    """Collects what the tests ask about: table rows, ids, links, headings, tags and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.headings: list[int] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open = False
        self._hidden = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if identity := found.get("id"):
            self.ids.append(identity)
        if tag == "a" and (link := found.get("href")):
            self.links.append(link)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._open = True
        self._hidden += tag == "sup"

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag not in ("td", "th")
        self._hidden -= tag == "sup"

    def handle_data(self, data: str) -> None:
        if self._open and not self._hidden:
            joined = f"{self.rows[-1][-1]} {data}".strip()
            self.rows[-1][-1] = re.sub(r"\s+", " ", joined)

    def row(self, first: str, nth: int = 0) -> list[str]:
        return [row for row in self.rows if row and row[0] == first][nth]


def test_every_measure_is_in_its_cell(report: AuditReport) -> None:
    page = Reader(render_html(report))
    seen: Counter[str] = Counter()
    for (metric, split), row in VALUES.items():
        nth = seen[split]
        seen[split] += 1
        # the table of the data's parts has rows of that name with their meaning in the same cell
        cells = page.row(split, nth)
        columns = dict(zip(["original", "gold", "floor", "FineTune", "Blindspot"], cells[1:], strict=True))
        unit = "steps" if metric == "steps" else "target units"
        for model in ("original", "gold", "FineTune", "Blindspot"):
            if model not in row:
                assert columns[model] == "–"
            elif (metric, model) == ("steps", "Blindspot"):
                assert columns[model] == "≥ 20"
            else:
                assert columns[model] == measured(row[model], "=", unit)
    assert sum(seen.values()) == 4


def test_floor_median_and_range_by_hand(report: AuditReport) -> None:
    cells = Reader(render_html(report)).row("train-forget")
    assert cells == ["train-forget", "41.5", "58.2", "59.8 57.0–60.5", "50.0", "60.9"]


def test_costs_by_hand(report: AuditReport) -> None:
    page = Reader(render_html(report))
    fine = next(row for row in page.rows if row and row[0].startswith("Fine"))
    blind = next(row for row in page.rows if row and row[0].startswith("Blindspot"))
    assert fine[2:] == ["80,000", "3.38", "8.33 %"]  # 80,000 of 960,000
    assert blind[2:] == ["41,000", "2.12", "4.27 %"]  # 30,000 + 11,000 of 960,000
    assert page.row("gold retrained (gold)")[2:] == ["960,000", "39.7", "100 %"]


def test_unknown_costs_are_dashes(report: AuditReport) -> None:
    models = tuple(replace(model, cost=None) for model in report.models)
    html = render_html(replace(report, models=models))
    assert Reader(html).row("gold retrained (gold)")[2:] == ["–", "–", "–"]
    assert "No costs were recorded." in html
    free = tuple(replace(m, cost=Cost() if m.role == "gold" else m.cost) for m in report.models)
    blind = Reader(render_html(replace(report, models=free))).row("Blindspot unlearned")
    assert blind[2:] == ["41,000", "2.12", "–"]  # no share of nothing


def test_notes_are_listed_and_linked(report: AuditReport) -> None:
    html = render_html(report)
    assert f'<li id="note-1">{SELF}</li>' in html
    assert '<a href="#note-2" title="Cut off after 20 steps."' in html


def test_request_parts_and_band(report: AuditReport) -> None:
    html = render_html(report)
    page = Reader(html)
    assert "forget 2,000 of its 10,000 training samples (20.0 %)" in html
    assert page.row("train-forget training samples that must be forgotten") == [
        "train-forget training samples that must be forgotten",
        "2,000",
    ]
    for text in (report.request_digest, report.data_digest, "targets of at least 200", "2.14.1"):
        assert text in html


@pytest.mark.parametrize(
    ("band", "text"),
    [
        ((60.0, 100.5), "targets from 60 to 100.5, both included"),
        ((None, -1234567.25), "targets of at most −1234567.25"),
        ((None, None), "all targets"),
        (None, "none: the samples were chosen one by one"),
    ],
)
def test_target_bands(report: AuditReport, band: tuple[float | None, float | None] | None, text: str) -> None:
    assert text in render_html(replace(report, target_band=band))


def test_glossary_caveats_and_deviations(report: AuditReport) -> None:
    html = unescape(render_html(report))
    for about in report.about:
        assert f'id="measure-{about.metric}"' in html
        for text in (about.title, about.meaning, about.ideal, about.unit, about.source):
            assert text in html
    for text in (*report.caveats, "The helper reads forget samples only.", "attention=50.0"):
        assert text in html
    assert "<code>helper=Recipe(epochs=2, lr=0.01)</code>" in html


def test_same_report_same_bytes(report: AuditReport, tmp_path: Path) -> None:
    first, second = tmp_path / "first.html", tmp_path / "second.html"
    text = render_html(report, first)
    render_html(report, str(second))
    assert first.read_bytes() == second.read_bytes() == text.encode()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.html", "second.html"]


def test_through_json_the_page_is_the_same(report: AuditReport, tmp_path: Path) -> None:
    report.to_json(tmp_path / "audit.json")
    assert render_html(AuditReport.from_json(tmp_path / "audit.json")) == render_html(report)


def test_an_unwritable_path_leaves_nothing_behind(report: AuditReport, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        render_html(report, tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def hostile(report: AuditReport) -> AuditReport:
    """The report with a script in every place where a text can stand."""
    figure = Figure(
        key=HOSTILE, title=HOSTILE, caption=HOSTILE, x_label=HOSTILE, y_label=HOSTILE,
        curves=(Curve(model=HOSTILE, x=(0.0, 1.0), y=(1.0, 2.0)), Curve(model='" onload="', x=(), y=())),
    )  # fmt: skip
    return replace(
        report,
        reason=HOSTILE,
        version=HOSTILE,
        request_digest=HOSTILE,
        data_digest=HOSTILE,
        samples={HOSTILE: 3},
        settings={HOSTILE: {HOSTILE: [HOSTILE]}},
        caveats=(HOSTILE,),
        about=tuple(
            replace(a, title=HOSTILE, meaning=HOSTILE, ideal=HOSTILE, unit=HOSTILE, source=HOSTILE)
            for a in report.about
        ),
        models=(
            *report.models,
            AuditedModel(name=HOSTILE, role="unlearned", method=f"A({HOSTILE})", deviations=(HOSTILE,)),
        ),
        measures=tuple(replace(m, note='"><script>' if m.value is None else "") for m in report.measures),
        figures=(figure,),
    )


def test_no_scripts_even_from_hostile_texts(report: AuditReport) -> None:
    for html in (render_html(report), render_html(hostile(report))):
        page = Reader(html)
        assert "<script" not in html.lower()
        assert not [tag for tag, _ in page.tags if tag in ("script", "iframe", "object", "link", "img", "base")]
        assert not [name for _, found in page.tags for name in found if name.startswith("on")]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in render_html(hostile(report))


def test_no_outside_references(report: AuditReport) -> None:
    html = render_html(report)
    assert not re.search(r"https?://|//[a-z]|@import|src=", html)
    assert all(target.startswith("#") for target in Reader(html).links)
    assert set(re.findall(r"url\((.)", html)) == {"#"}
    assert "default-src 'none'" in unescape(html)


def test_ids_are_unique_and_links_lead_somewhere(report: AuditReport) -> None:
    page = Reader(render_html(report))
    targets = {link[1:] for link in page.links}
    inside = set(re.findall(r"url\(#([^)]+)\)", render_html(report)))
    assert [name for name, times in Counter(page.ids).items() if times > 1] == []
    assert targets | inside <= set(page.ids)
    assert len(inside) == 2  # one clip path of its own per figure


def test_accessible_structure(report: AuditReport) -> None:
    page = Reader(render_html(report))
    assert next(found for tag, found in page.tags if tag == "html")["lang"] == "en"
    assert page.headings[0] == 1 and page.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert all("scope" in found for tag, found in page.tags if tag == "th")
    pictures = [found["aria-label"] for _, found in page.tags if found.get("role") == "img"]
    assert pictures == [
        "Line plot: Deviation. Horizontal axis: deviation $x_1 & <more>. Vertical axis: density. "
        "Lines: original, gold, further golds, FineTune, Blindspot.",
        "Line plot: Relearning. Horizontal axis: steps. Vertical axis: loss. "
        "Lines: gold, further golds, FineTune, Blindspot, threshold 2.50.",
    ]


def test_without_floor_the_page_says_so(report: AuditReport) -> None:
    html = render_html(without(report, "gold 2", "gold 3", "gold 4"))
    assert "its noise floor is unknown" in html
    assert "further golds</li>" not in html


def test_without_figures_there_is_no_such_section(report: AuditReport) -> None:
    assert 'id="figures"' in render_html(report)
    assert 'id="figures"' not in render_html(replace(report, figures=()))


def test_without_gold_measures_or_models_the_page_still_renders(report: AuditReport) -> None:
    bare = replace(report, models=(), measures=(), figures=(), about=(), samples={}, settings={}, caveats=())
    html = render_html(bare)
    assert "Nothing was measured." in html
    assert "forget some of its training samples" in html
    assert Reader(render_html(without(report, "gold"))).row("Blindspot unlearned")[-1] == "–"


def test_the_room_imports_no_torch() -> None:
    folder = Path(unregress.report.__file__).parent
    imported: set[str] = set()
    for path in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
    own = {name for name in imported if name.startswith("unregress")}
    assert not {name for name in imported if name.split(".")[0] in ("torch", "lightning_fabric")}
    assert {name for name in own if not name.startswith("unregress.report")} == {
        "unregress.evidence",
        "unregress.cost",
    }
