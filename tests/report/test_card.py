"""The model card's section: what was asked, verdicts and numbers, as Markdown in which no text is markup."""

from __future__ import annotations

from dataclasses import replace

from support.hand_reports import with_no_gold
from unregress.evidence import AuditReport
from unregress.report import model_card


def tables(card: str) -> list[list[list[str]]]:
    """The cells of each table, without its rule."""
    found: list[list[list[str]]] = []
    before = False
    for line in card.splitlines():
        if inside := line.startswith("| "):
            if not before:
                found.append([])
            found[-1].append([cell.strip() for cell in line[2:-2].split(" | ")])
        before = inside
    return [[row for row in table if set(row) != {"---"}] for table in found]


def test_request_verdicts_and_numbers(report: AuditReport) -> None:
    card = model_card(replace(report, requested_by="Ann Other", requested_on="2026-01-12"))
    assert card == replace(report, requested_on="2026-01-12").model_card()  # who asked is not told
    assert card.splitlines()[2] == "## Unlearning"
    for line in (
        "- **Reason:** Deletion request 17",
        "- **Forgotten:** 2,000 of 10,000 records (20.0 %)",
        "- **Asked on:** 2026-01-12",
        "- **Compared with:** 5 models retrained without these records",
        "- Only nine validation samples are of the forgotten kind.",
    ):
        assert line in card.splitlines()
    models, numbers = tables(card)
    assert models[1:] == [
        ["original", "–", "**FAIL**", "–", f"`original.safetensors` `{'0a' * 32}`"],
        ["FineTune", "FineTune", "**FAIL**", "8.33 %", f"`weights.pt` `{'1b' * 32}`"],
        ["Amnesiac", "–", "**INCONCLUSIVE**", "–", "`amnesiac.pt`"],
        ["Blindspot", "Blindspot", "**PASS**", "4.27 %", "–"],
    ]
    assert numbers == [
        ["Measure", "Retrained models", "original", "FineTune", "Amnesiac", "Blindspot"],
        ["Mean absolute error, forgotten records", "57.0 to 60.5", "41.5", "50.0", "58.0", "60.9"],
        ["Attack, forgotten records", "0.480 to 0.520", "0.710", "0.610", "0.500", "0.470"],
        ["Wasserstein distance, forgotten records", "1.39 to 2.08", "21.9", "0.0481", "1.60", "4.63"],
    ]
    assert report.request_digest in card and report.data_digest in card


def test_without_golds_or_anything(report: AuditReport) -> None:
    card = model_card(with_no_gold(report))
    assert "No model was judged." in card and "- **Compared with:** 0 models" in card
    assert tables(card)[0][1][1] == "–"
    bare = replace(report, models=(), measures=(), figures=(), about=(), samples={}, caveats=(), verdicts=())
    assert tables(model_card(bare)) == []


def test_texts_are_no_markup(report: AuditReport) -> None:
    strange = "a|b <script>\n# c `d` [e](f) \x1b[2J"
    card = model_card(replace(report, reason=strange, version=strange, request_digest=strange))
    assert "<script>" not in card.replace("`ab <script>", "") and "\x1b" not in card
    assert "- **Reason:** a\\|b &lt;script&gt; \\# c \\`d\\` \\[e\\](f) \\\\x1b\\[2J" in card.splitlines()
