"""The model card's section: what was asked, verdicts and numbers, as Markdown in which no text is markup."""

from __future__ import annotations

from dataclasses import replace

from support.hand_reports import GOLDS, about, with_no_gold
from unregress.evidence import AuditReport, Measurement, Unit
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


def test_a_unit_stands_after_each_error_and_distance(report: AuditReport) -> None:
    kilograms = tuple(replace(each, unit="k|g") if each.unit == Unit.TARGET else each for each in report.about)
    _, numbers = tables(model_card(replace(report, about=kilograms)).replace("\\|", "/"))
    assert numbers[1][1:] == ["57.0 to 60.5 k/g", "41.5 k/g", "50.0 k/g", "58.0 k/g", "60.9 k/g"]
    assert numbers[2][1:3] == ["0.480 to 0.520", "0.710"]  # a share
    assert numbers[3][1:3] == ["1.39 to 2.08 k/g", "21.9 k/g"]
    assert "spread" not in model_card(replace(report, about=kilograms)).lower()


def test_of_several_outputs_the_mean_is_in_spreads_and_each_has_a_row(report: AuditReport) -> None:
    explained = (
        *(replace(each, unit=Unit.TARGET_SPREAD) if each.unit == Unit.TARGET else each for each in report.about),
        about("mae of weight", "Mean absolute error of weight", "kg"),
        about("mae of index", "Mean absolute error of index", Unit.NONE),
    )
    own = tuple(
        Measurement(metric=f"mae of {name}", split="train-forget", model=model, value=value + n / 10)
        for name, value in (("weight", 2.42), ("index", 0.5))
        for n, model in enumerate(("original", *GOLDS))
    )
    card = model_card(replace(report, about=explained, measures=(*report.measures, *own)))
    _, numbers = tables(card)
    assert [row[:3] for row in numbers[1:]] == [
        ["Mean absolute error, forgotten records", "57.0 to 60.5 spreads", "41.5 spreads"],
        ["Mean absolute error of weight, forgotten records", "2.52 to 2.92 kg", "2.42 kg"],
        ["Mean absolute error of index, forgotten records", "0.600 to 1.00", "0.500"],
        ["Attack, forgotten records", "0.480 to 0.520", "0.710"],
        ["Wasserstein distance, forgotten records", "1.39 to 2.08 spreads", "21.9 spreads"],
    ]
    assert numbers[2][3:] == ["–", "–", "–"]
    assert "each in units of its own spread" in card


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
