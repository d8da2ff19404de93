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
from support.hand_reports import CAPPED, HELPER, PAIRS, VALUES, with_no_gold, with_one_gold, without
from unregress.cost import Cost
from unregress.errors import RunFolderError
from unregress.evidence import (
    AuditedModel,
    AuditReport,
    Curve,
    Figure,
    Measurement,
    ModelFile,
    ModelRecord,
    Trace,
    Verdict,
)
from unregress.report import render_html
from unregress.report.conclusion import conclusion
from unregress.report.formatting import measured
from unregress.report.models import NO_FILE
from unregress.report.render import is_page

HOSTILE = "<script>alert(1)</script>"


class Reader(HTMLParser):
    """Collects what the tests ask about: table rows, facts, items, ids, links, headings, tags and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.headings: list[int] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.facts: dict[str, str] = {}
        """Definitions in the page's head, by term."""
        self.texts: dict[str, list[str]] = {}
        """The texts of each kind of element, by tag and class."""
        self._open = False
        self._hidden = 0
        self._within: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag not in VOID:
            self._within.append(f"{tag}.{found.get('class') or ''}".rstrip("."))
            self.texts.setdefault(self._within[-1], []).append("")
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
        if self._within and self._within[-1].split(".")[0] == tag:
            self._within.pop()
        if tag == "dd" and "header.masthead" in self._within:
            self.facts[self.texts["dt"][-1]] = self.texts["dd"][-1]
        self._open = self._open and tag not in ("td", "th")
        self._hidden -= tag == "sup"

    def handle_data(self, data: str) -> None:
        for kind in self._within:
            texts = self.texts[kind]
            texts[-1] = " ".join(f"{texts[-1]} {data}".split())
        if self._open and not self._hidden:
            joined = f"{self.rows[-1][-1]} {data}".strip()
            self.rows[-1][-1] = re.sub(r"\s+", " ", joined)

    def row(self, first: str, nth: int = 0) -> list[str]:
        return [row for row in self.rows if row and row[0] == first][nth]


VOID = ("meta", "wbr", "col", "line", "path", "use", "rect", "br")
COLUMNS = ["original", "retrained", "FineTune", "Amnesiac", "Blindspot"]
REFERENCES = ["retrained", HELPER, "constant"]


def test_every_measure_is_in_its_cell(report: AuditReport) -> None:
    page = Reader(render_html(report))
    seen: Counter[str] = Counter()
    total = Counter(split for _, split in VALUES)
    for (metric, split), row in VALUES.items():
        nth = seen[split]
        seen[split] += 1
        # the table of the data's parts has rows of that name with their meaning in the same cell
        cells = list(zip(COLUMNS, page.row(split, nth)[1:], strict=True))
        # references stand in a table of their own, below
        cells += zip(REFERENCES, page.row(split, total[split] + nth)[1:], strict=True)
        for model, text in cells:
            if model == "retrained":
                assert text.split()[1].count("–") == 1
            elif model not in row:
                assert text == "–"
            elif (metric, model) == ("steps", "Blindspot"):
                assert text == "≥ 20"
            else:
                assert text.split()[0] == measured(row[model], "=", "steps" if metric == "steps" else "share")
    assert sum(seen.values()) == 5


def test_golds_and_small_print_by_hand(report: AuditReport) -> None:
    page = Reader(render_html(report))
    assert page.row("train-forget") == [
        "train-forget", "41.5", "58.9 57.0–60.5", "50.0", "58.0", "60.9",
    ]  # fmt: skip
    assert page.row("train-forget", 1) == [
        "train-forget",
        "21.9 14 × floor p = 0.17",
        "1.60 1.39–2.08",
        "0.0481 0.03 × floor p = 0.17",
        "1.60 1.0 × floor p = 1",
        "4.63 2.9 × floor p = 0.5",
    ]
    assert page.row("train-forget", 4)[1:] == ["1.60 1.39–2.08", "8.00 5.0 × floor", "32.0 20 × floor"]
    assert page.row("train-forget", 2)[1:4] == [
        "0.710 [0.660–0.760] p = 0.17", "0.500 0.480–0.520", "0.610 [0.560–0.655] p = 0.17",
    ]  # fmt: skip


def test_headings_of_the_table(report: AuditReport) -> None:
    rows = Reader(render_html(report)).rows
    over = next(row for row in rows if "After unlearning" in row)
    assert over == ["", "Before", "Yardstick", "After unlearning"]
    golds = "retrained5golds:median,range;ofdistances,thenoisefloor"
    names = rows[rows.index(over) + 1]
    assert [name.replace(" ", "") for name in names] == [
        "Partofthedata", "original", golds, "FineTune", "Amnesiac", "Blindspot",
    ]  # fmt: skip
    assert ["", "Yardstick", "For scale"] in rows
    below = rows[rows.index(["", "Yardstick", "For scale"]) + 1]
    assert [name.replace(" ", "") for name in below] == ["Partofthedata", golds, "Blindspot'shelper", "constant"]


def test_small_print_is_explained_where_there_is_any(report: AuditReport) -> None:
    full, alone, none = (render_html(each) for each in (report, with_one_gold(report), with_no_gold(report)))
    for mark in ("interval", "ratio", "p"):
        assert f'id="mark-{mark}"' in full and f'href="#mark-{mark}"' in full
    # Six ranks among five golds and a model: 1 / 6 is the least.
    assert "with 5 retrained models p is a multiple of 1/6, never below 0.17" in full
    for html in (alone, none):
        assert 'id="mark-interval"' in html
        assert 'id="mark-ratio"' not in html and 'id="mark-p"' not in html


def test_verdicts_open_to_their_criteria(report: AuditReport) -> None:
    html = render_html(report)
    page = Reader(html)
    lines = re.findall(r'<span class="badge [a-z]+">([A-Z]+)</span>\n<span class="who">.*?'
                       r'<span class="why">(.*?)</span>', html, flags=re.DOTALL)  # fmt: skip
    assert [outcome for outcome, _ in lines] == ["FAIL", "FAIL", "INCONCLUSIVE", "PASS", "FAIL", "FAIL"]
    assert lines[1][1] == "FineTune still remembers the 2,000 records."
    assert lines[4:] == [("FAIL", "Reason for constant."), ("FAIL", "Reason for Blindspot&#39;s helper.")]
    reasons = page.texts["p.reason"]
    assert [text.split(" Next step:")[0] for text in reasons] == [
        f"Reason for {name}." for name in ("original", "FineTune", "Amnesiac", "Blindspot")
    ]
    kinds = Counter(found.get("class") for tag, found in page.tags if tag == "details")
    assert kinds["ruling unlearned"] == 3 and kinds["ruling reference"] == 2
    # One fold for the reference rows, one for the reference columns.
    assert kinds["fold minor references"] == 2
    question = "Its error on the forgotten samples Mean absolute error , train-forget"
    assert page.row(question, 1) == [question, "50.0", "58.5", "53.4–63.6", "remembers", "more than 30 % kept"]
    assert page.row(question, 2) == [question, "60.9", "58.5", "53.4–63.6", "within", "more than 30 % kept"]
    assert "cost: 4.27 % of retraining" in html
    order = [html.index(f'id="{name}"') for name in ("verdicts", "caveats", "remains", "request", "results", "models")]
    assert order == sorted(order)


def test_the_rule_is_explained(report: AuditReport) -> None:
    html = render_html(report)
    assert "How a verdict is reached" in html and "No verdict" not in html
    assert '<dt><code>resolution</code></dt><dd>0.5<span class="aside">' in html


def test_with_one_gold_the_page_says_what_is_unknown(report: AuditReport) -> None:
    html = render_html(with_one_gold(report))
    assert "its noise floor is unknown" in html
    assert "with 1 model retrained without those records" in html
    assert html.count('<span class="badge inconclusive">') == 7  # six, and the rule's
    assert "There is only one retrained model, and so no distance from one to another" in html


def test_without_golds_the_page_says_what_can_be_said(report: AuditReport) -> None:
    html = render_html(with_no_gold(report))
    page = Reader(html)
    assert "So it is unknown how a model that never saw them would behave" in html
    assert "What can be said without a retrained model" in html
    assert "What cannot be said without one" in html
    assert "How a verdict is reached" not in html and '<span class="badge' not in html
    assert page.row("train-forget") == ["train-forget", "41.5", "50.0", "58.0", "60.9"]
    assert page.row("train-forget", 2) == ["train-forget", "75.0", "98.0"]
    assert "Yardstick" not in html
    assert page.row("Blindspot unlearned")[-1] == "–"


def test_old_words_are_gone(report: AuditReport) -> None:
    for each in (report, with_one_gold(report), with_no_gold(report)):
        assert "further gold" not in render_html(each)


def test_costs_by_hand(report: AuditReport) -> None:
    page = Reader(render_html(report))
    fine = next(row for row in page.rows if row and row[0].startswith("Fine"))
    assert fine[2:] == ["80,000", "3.38", "8.33 %"]  # 80,000 of 960,000
    assert page.row("Blindspot unlearned")[2:] == ["41,000", "2.12", "4.27 %"]  # 30,000 + 11,000 of 960,000
    assert page.row("retrained 5 golds")[2:] == ["960,000", "40.3", "100 %"]
    assert page.row("constant reference")[2:] == ["–", "–", "–"]


@pytest.mark.slow
def test_unknown_costs_are_dashes(report: AuditReport) -> None:
    models = tuple(replace(model, cost=None) for model in report.models)
    html = render_html(replace(report, models=models))
    assert Reader(html).row("retrained 5 golds")[2:] == ["–", "–", "–"]
    assert "No costs were recorded." in html
    free = tuple(replace(m, cost=Cost() if m.role == "gold" else m.cost) for m in report.models)
    blind = Reader(render_html(replace(report, models=free))).row("Blindspot unlearned")
    assert blind[2:] == ["41,000", "2.12", "–"]  # no share of nothing


def test_notes_are_listed_and_linked(report: AuditReport) -> None:
    html = render_html(report)
    assert f'<li id="note-1">{PAIRS}</li>' in html
    assert f'<a href="#note-2" title="{CAPPED}"' in html
    assert html.count(f'title="{PAIRS}"') == 2  # at the row of each table, not at each number


def test_request_parts_and_band(report: AuditReport) -> None:
    html = render_html(report)
    page = Reader(html)
    assert page.facts["Asked for"] == (
        "Deletion request 17 To forget 2,000 of the 10,000 records that the model was trained on (20.0 %)."
    )
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
    assert "<code>helper=(epochs=2, lr=0.01)</code>" in html


def with_file(report: AuditReport, name: str, file: ModelFile) -> AuditReport:
    models = tuple(replace(model, file=file) if model.name == name else model for model in report.models)
    return replace(report, models=models)


@pytest.mark.slow
def test_the_first_lines_say_what_to_deploy(report: AuditReport) -> None:
    saved = with_file(report, "Blindspot", ModelFile(name="good.pt", sha256="3d" * 32))
    asked = replace(
        saved, requested_by="the customer", requested_on="2026-01-12", not_found=("2 of 14 ids.", "One is gone.")
    )
    page = Reader(render_html(asked))
    assert page.texts["h1"] == [conclusion(asked).headline]
    assert page.texts["p.step"] == [f"Next step {conclusion(asked).step}"] and "good.pt" in conclusion(asked).step
    assert page.facts["Asked by"] == "the customer, on 2026-01-12"
    assert page.facts["Not found"] == "2 of 14 ids. One is gone."
    assert page.facts["Measured on"] == "2026-01-31 (UTC)"
    assert page.facts["File to deploy"] == f"good.pt SHA-256 {'3d' * 32}"
    assert page.facts["Still remembers"] == "3 things that this audit knows of"
    bare = Reader(render_html(replace(without(report, "Blindspot"), date="")))
    assert {"Asked by", "Not found"}.isdisjoint(bare.facts)
    assert (bare.facts["Measured on"], bare.facts["File to deploy"]) == ("not recorded", "none")
    unnamed = Reader(render_html(report))
    assert unnamed.facts["File to deploy"] == f"{NO_FILE[:1].upper()}{NO_FILE[1:]}."


@pytest.mark.slow
def test_the_page_lists_what_else_remembers(report: AuditReport) -> None:
    trace = Trace(what="scaler", name="scaler.pkl", why="It was fitted on them.", sha256="4e" * 32)
    clean = Trace(what="helper model", name="its helper", why="It saw kept ones only.", remembers=False)
    page = Reader(render_html(replace(report, traces=(trace, clean))))
    assert page.facts["Still remembers"].startswith("3 things")
    assert any("the next request names: helper model (its helper)." in text for text in page.texts["p.small"])
    listed = page.texts["ul.traces"][0]
    assert listed.startswith(f"scaler scaler.pkl : It was fitted on them. SHA-256 {'4e' * 32}")
    assert "weights.pt : FineTune did not pass" in listed and "amnesiac.pt : Amnesiac did not pass" in listed
    assert "Blindspot did" not in listed and "original" not in listed
    # An earlier report does not say: the original is named nevertheless.
    assert Reader(render_html(report)).texts["ul.traces"][0].startswith("original model original")


def test_files_of_all_models_are_listed_with_their_digests(report: AuditReport) -> None:
    html = render_html(report)
    files = html[html.index('id="files"') : html.index('id="methods"')]
    assert re.findall(r"<dt>(.*?)</dt>", files.replace("<wbr>", "")) == [
        "original", "retrained", "FineTune", "Amnesiac", "Blindspot",
    ]  # fmt: skip
    assert re.findall(r"<code>([0-9a-f]{64})</code>", files) == [
        "0a" * 32, "f0" * 32, "2c" * 32, "e1" * 32, "1b" * 32,
    ]  # fmt: skip


def test_a_page_is_known_by_its_first_lines(report: AuditReport, tmp_path: Path) -> None:
    render_html(replace(report, version='9"><script>', reason="x" * 5000), tmp_path / "page.html")
    assert is_page(tmp_path / "page.html")
    report.to_json(tmp_path / "audit.json")
    (tmp_path / "other.html").write_text("<!doctype html>\n<html><body>unregress</body></html>")
    (tmp_path / "empty").touch()
    assert not any(is_page(tmp_path / name) for name in ("audit.json", "other.html", "empty"))


def test_control_characters_are_escaped(report: AuditReport) -> None:
    strange = "a\x1b[2J\x00\u202e\ud800"
    figure = replace(report.figures[0], x_label=strange, curves=(Curve(model=strange, x=(0.0, 1.0), y=(1.0, 2.0)),))
    model = AuditedModel(name=strange, role="unlearned", file=ModelFile(name=strange, sha256=""))
    html = render_html(
        replace(report, reason=strange, caveats=(strange,), models=(*report.models, model), figures=(figure,))
    )
    assert not set("\x00\x1b\u202e\ud800") & set(html)
    assert html.count("a\\x1b[2J\\x00\\u202e\\ud800") >= 6


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
    with pytest.raises(RunFolderError, match="folder cannot be written"):
        render_html(report, tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def hostile(report: AuditReport) -> AuditReport:
    """The report with a script in every place where a text can stand."""
    made = ModelRecord(method="A", settings={HOSTILE: [HOSTILE]})
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
        settings={HOSTILE: {HOSTILE: [HOSTILE]}, "rule": {HOSTILE: HOSTILE}},
        caveats=(HOSTILE,),
        about=tuple(
            replace(a, title=HOSTILE, meaning=HOSTILE, ideal=HOSTILE, unit=HOSTILE, source=HOSTILE)
            for a in report.about
        ),
        models=(
            *report.models,
            AuditedModel(
                name=HOSTILE,
                role="unlearned",
                record=made,
                deviations=(HOSTILE,),
            ),
            AuditedModel(name="<b>", role="reference", record=ModelRecord(method=HOSTILE), notes=(HOSTILE,)),
        ),
        measures=(
            *(replace(m, note='"><script>' if m.bound == ">=" else "") for m in report.measures),
            *(Measurement(metric="mae", split=HOSTILE, model=name, value=1.0) for name in (HOSTILE, "<b>", "<i>")),
        ),
        figures=(figure,),
        verdicts=tuple(
            Verdict(
                model=name,
                outcome="FAIL",
                reason=f"{HOSTILE} and more",
                criteria=(
                    replace(report.verdicts[0].criteria[0], question=HOSTILE, split=HOSTILE),
                    replace(report.verdicts[0].criteria[0], metric=HOSTILE),
                ),
            )
            for name in (HOSTILE, "<b>")
        ),
    )


@pytest.mark.slow
def test_no_scripts_even_from_hostile_texts(report: AuditReport) -> None:
    for html in (render_html(report), render_html(hostile(report))):
        page = Reader(html)
        assert "<script" not in html.lower()
        assert not [tag for tag, _ in page.tags if tag in ("script", "iframe", "object", "link", "img", "base")]
        assert not [name for _, found in page.tags for name in found if name.startswith("on")]
    html = render_html(hostile(report))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert not [tag for tag, _ in Reader(html).tags if tag in ("b", "i")]
    assert '<span class="name">&lt;b&gt;</span>' in html
    assert '<span class="why">&lt;script&gt;alert(1)&lt;/script&gt; and more</span>' in html
    assert "<code>&lt;script&gt;alert(1)&lt;/script&gt;</code>" in html


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
        "Lines: original, retrained, FineTune, Amnesiac, Blindspot, Blindspot's helper.",
        "Line plot: Relearning. Horizontal axis: steps. Vertical axis: loss. "
        "Lines: retrained, FineTune, Amnesiac, Blindspot, Blindspot's helper, threshold 2.50.",
    ]


def test_without_figures_there_is_no_such_section(report: AuditReport) -> None:
    assert 'id="figures"' in render_html(report)
    assert 'id="figures"' not in render_html(replace(report, figures=()))


def test_without_measures_or_models_the_page_still_renders(report: AuditReport) -> None:
    bare = replace(
        report, models=(), measures=(), figures=(), about=(), samples={}, settings={}, caveats=(), verdicts=()
    )
    html = render_html(bare)
    assert "Nothing was measured." in html
    assert (
        Reader(html)
        .facts["Asked for"]
        .endswith("Some of the records that the model was trained on are to be forgotten.")
    )


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
    assert not {name for name in imported if name.split(".")[0] == "torch"}
    assert {name for name in own if not name.startswith("unregress.report")} == {
        "unregress.evidence",
        "unregress.evidence.table_verdict",
        "unregress.errors",
        "unregress.files.writing",
        "unregress.errors.wording",
        "unregress.cost",
    }
