"""The page: every number in its cell, escaped, self-contained, the same bytes twice; the figures behind it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import unescape
from itertools import pairwise
from pathlib import Path

import pytest

from report.test_render import HOSTILE, Reader
from support.face_images import FAMILY
from support.hand_experiments import experiment, renamed, reports
from unregress.evidence import RETRAINED, AuditReport
from unregress.experiments.experiment import Experiment
from unregress.experiments.page import figures, render_page
from unregress.experiments.summary import judged, summarise

Stages = list[tuple[AuditReport, ...]]


def page(
    stages: Stages | None = None, about: Experiment | None = None, *, note: str = "A note.", fact: str = "0.1.0"
) -> str:
    stages = [reports()] if stages is None else stages
    about = about or experiment()
    return render_page(
        about,
        summarise(about, FAMILY, stages),
        stages,
        judged(stages),
        lead="Two seeds.",
        facts={"Version": fact},
        notes=[note] if note else [],
        audits=["audits/seed-0.html", "audits/seed-1.html"],
    )


@pytest.fixture(scope="module")
def html() -> str:
    """The page of two seeds."""
    return page()


@pytest.fixture(scope="module")
def both() -> str:
    """The page of two requests."""
    first, second = reports()
    return page([(first,), (second,)])


def test_ours_and_the_paper_s_number_in_every_cell(html: str) -> None:
    found = Reader(html)
    names = [
        re.sub(" ", "", cell) for cell in next(row for row in found.rows if "FineTune" in "".join(row).replace(" ", ""))
    ]
    assert names[1:] == ["original", "retrained", "FineTune", "constant"]
    # train-forget: mae, w1, paired and attack, in this order
    assert found.row("train-forget", 0) == [
        "train-forget",
        *("3.00 ± 1.41 paper 21.5", "9.62 ± 1.70 paper 22.5", "5.50 ± 2.12 paper 23.5", "64.0 ± 0"),
    ]
    assert found.row("train-forget", 1)[1:] == ["8.00 ± 1.41 paper 41.5", "1.17 ± 0.764", "3.00 paper 0", "64.0 ± 0"]
    assert found.row("train-forget", 2)[1:] == ["7.50 ± 0", "0.750 ± 0", "3.50 ± 0", "64.0 ± 0"]
    assert found.row("train-forget", 3)[3] == "0.500 ± 0 paper 0.0005"
    assert found.row("test-forget")[3] == "9.00 ± 0 paper 23.5"
    assert found.row("validation-forget")[1:] == ["–", "1.00", "≥ 0.625 ± 0.177 paper 0.51", "64.0 ± 0"]


def test_verdicts_stand_below_the_table(html: str) -> None:
    assert "<dt>FineTune</dt><dd>INCONCLUSIVE (p = 0.12)" in html and "FineTune for a reason." in html


def test_facts_notes_lead_and_audits_are_there(html: str) -> None:
    found = Reader(html)
    assert "Two seeds." in html and "A note." in html and "<dt>Version</dt><dd>0.1.0</dd>" in html
    assert [link for link in found.links if not link.startswith("#")] == ["audits/seed-0.html", "audits/seed-1.html"]
    assert "Before believing a number" in html and "Before believing a number" not in page(note="")


def test_headings_are_in_order_and_ids_unique(html: str, both: str) -> None:
    for each in (html, both):
        found = Reader(each)
        assert found.headings[0] == 1 and found.headings.count(1) == 1
        assert all(later <= earlier + 1 for earlier, later in pairwise(found.headings))
        assert len(found.ids) == len(set(found.ids))


def test_what_is_named_by_an_id_is_there(both: str) -> None:
    found = Reader(both)
    asked = {identity for _, attributes in found.tags for identity in (attributes.get("aria-labelledby") or "").split()}
    assert asked and asked <= set(found.ids)


def test_text_is_escaped_wherever_it_comes_from() -> None:
    stages = [tuple(renamed(each, "FineTune", HOSTILE) for each in reports())]
    about = experiment(title=HOSTILE, methods=[], paper={"err_Dt_r": {HOSTILE: 1.0}})
    html = page(stages, about, note=HOSTILE, fact=HOSTILE)
    assert "<script" not in html
    assert unescape(html).count(HOSTILE) >= 4


def test_nothing_is_fetched_from_elsewhere_and_nothing_runs(html: str) -> None:
    found = Reader(html)
    tags = {tag for tag, _ in found.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    names = {name for _, attributes in found.tags for name in attributes}
    assert not any(name.startswith("on") for name in names) and "src" not in names
    outside = re.findall(r"""(?:https?:)?//[^\s"'<>)]+""", re.sub(r'xmlns(:\w+)?="[^"]*"', "", html))
    assert outside == []
    assert not re.search(r"url\((?!#)", html) and "@import" not in html


def test_the_same_input_gives_the_same_bytes(html: str) -> None:
    assert page() == html


def test_one_request_shows_the_first_seed_s_figures() -> None:
    found = figures(summarise(experiment(), FAMILY, [reports()]), [reports()])
    assert found == {"density": reports()[0].figures[0]}


def test_several_requests_show_errors_over_requests_by_hand() -> None:
    first, second = reports()
    stages: Stages = [(first, second), (second,)]
    found = figures(summarise(experiment(), FAMILY, stages), stages)
    splits = ("train-retain", "train-forget", "test-retain", "test-forget")
    assert list(found) == ["density-1", "density-2", *(f"requests-{split}" for split in splits)]
    curves = {curve.model: (curve.x, curve.y) for curve in found["requests-train-forget"].curves}
    assert curves == {
        "original": ((1.0, 2.0), (3.0, 4.0)),
        RETRAINED: ((1.0, 2.0), (9.625, 14.0)),  # of 9, 8, 12, 9.5 and of 11, 7, 8, 30
        "FineTune": ((1.0, 2.0), (5.5, 7.0)),
    }


def test_several_requests_in_words_and_tables(both: str) -> None:
    found = Reader(both)
    assert "After request 1" in both and "After request 2" in both
    assert found.row("train-forget", 0)[1] == "2.00 paper 21.5" and found.row("train-forget", 4)[1] == "4.00 paper 21.5"
    assert both.count("<figure ") == 6


@pytest.mark.parametrize("name", ["λ = 50", "a|b", "GaussianAmnesiac"])
def test_other_names_of_models(name: str) -> None:
    stages = [tuple(renamed(each, "FineTune", name) for each in reports())]
    html = page(stages, experiment(paper={"err_Dt_r": {name: 3.25}}))
    assert Reader(html).row("test-retain", 0)[3] == "5.25 ± 0 paper 3.25"


ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_page_in_docs_says_what_results_say() -> None:
    checked = subprocess.run([sys.executable, ROOT / "benchmarks" / "reproduction_page.py", "--check"])
    assert checked.returncode == 0


def test_committed_audits_can_be_read_and_are_those_of_their_tables() -> None:
    folders = [file.parent for file in ROOT.glob("results/reproduction/*/audits")]
    assert folders
    for folder in folders:
        reports = [AuditReport.from_json(file) for file in sorted(folder.glob("audits/seed-*.json"))]
        told = json.loads((folder / "result.json").read_text(encoding="utf-8"))["verdicts"]
        for verdict in told:
            named = [report.verdict(verdict["model"]) for report in reports]
            assert [each.outcome for each in named] == verdict["outcomes"], folder.name
            assert named[0].reason == verdict["reason"]
