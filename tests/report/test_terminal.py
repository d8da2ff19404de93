"""The terminal table: every number whole, at any usual width."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from support.hand_reports import CAPPED, PAIRS, with_no_gold, with_one_gold
from unregress.evidence import AuditReport, Criterion
from unregress.report import print_table
from unregress.report.conclusion import conclusion
from unregress.report.models import NO_DIGEST, NO_FILE


def printed(report: AuditReport, width: int) -> str:
    out = io.StringIO()
    print_table(report, Console(file=out, width=width))
    return out.getvalue()


def six(report: AuditReport) -> AuditReport:
    """The report with four methods more, as wide as they get."""
    extra = ("UniformAmnesiac", "GaussianAmnesiac", "layer-reset", "Blindspot taught by gold")
    method = next(model for model in report.models if model.name == "Blindspot")
    return replace(
        report,
        models=(*report.models, *(replace(method, name=name) for name in extra)),
        measures=(
            *report.measures,
            *(replace(m, model=name) for name in extra for m in report.measures if m.model == "Blindspot"),
        ),
    )


def test_the_conclusion_comes_first(report: AuditReport) -> None:
    text = " ".join(printed(report, 100).split())
    found = conclusion(report)
    assert text.startswith(f"{found.headline} Next step: {found.step} FAIL original")


def after_conclusion(report: AuditReport) -> str:
    return printed(report, 100).partition("\n\n")[2]


def test_verdicts_follow(report: AuditReport) -> None:
    lines = after_conclusion(report).splitlines()
    assert [line.split()[:2] for line in lines[:6]] == [
        ["FAIL", "original"],
        ["FAIL", "FineTune"],
        ["INCONCLUSIVE", "Amnesiac"],
        ["PASS", "Blindspot"],
        ["FAIL", "constant"],
        ["FAIL", "Blindspot's"],
    ]
    assert "Reason for FineTune.  Cost: 8.33 % of retraining." in lines[1]
    assert "Reason for Blindspot.  Cost: 4.27 % of retraining." in lines[3]


def test_date_and_files_of_the_judged_models_follow(report: AuditReport) -> None:
    lines = printed(report, 100).splitlines()
    day = lines.index("Measured on 2026-01-31 (UTC). The files that were judged, with the start of their SHA-256:")
    assert [line.split() for line in lines[day + 1 : day + 3]] == [
        ["original", "0a0a0a0a0a0a", "original.safetensors"],
        ["FineTune", "1b1b1b1b1b1b", "weights.pt"],
    ]
    text = " ".join(" ".join(lines[day:]).split())
    assert f"Amnesiac amnesiac.pt: {NO_DIGEST} Blindspot {NO_FILE} retrained" in text
    assert "retrained" not in " ".join(lines[day : lines.index("", day)])


def test_an_audit_without_files_says_so(report: AuditReport) -> None:
    models = tuple(replace(model, file=None) for model in report.models)
    text = " ".join(printed(replace(report, models=models, date=""), 100).split())
    assert "The date of measuring is not recorded. No file is recorded, so it is unknown which weights" in text


def test_verdicts_are_coloured_where_there_are_colours(report: AuditReport) -> None:
    out = io.StringIO()
    print_table(report, Console(file=out, width=100, force_terminal=True, color_system="standard"))
    for outcome, code in (("PASS", 32), ("FAIL", 31), ("INCONCLUSIVE", 33)):
        assert f"\x1b[1;{code}m{outcome}" in out.getvalue()


def test_only_what_verdicts_read_unless_everything_is_asked_for(report: AuditReport) -> None:
    read = Criterion(
        kind="error", metric="mae", split="train-forget", question="?", value=1, gold=1, original=2, low=0, high=3,
        outcome="within",
    )  # fmt: skip
    judged = replace(report, verdicts=tuple(replace(each, criteria=(read,)) for each in report.verdicts))
    out = io.StringIO()
    print_table(judged, Console(file=out, width=120), everything=False)
    lines, whole = out.getvalue().splitlines(), printed(judged, 120).splitlines()
    kept = {about.metric: about.title for about, _ in judged.rows() if about.metric == "mae"}
    others = {about.title for about, _ in judged.rows()} - set(kept.values())
    assert all(any(line.startswith(title[:20]) for line in lines) for title in kept.values())
    assert not any(line.startswith(title[:20]) for line in lines for title in others)
    left = sum(about.metric != "mae" for about, _ in judged.rows())
    assert (
        f"{left} further rows that no verdict reads: see the page, or `unregress report FOLDER --everything`." in lines
    )
    assert len(lines) < len(whole) and not any("further row" in line for line in whole)


def test_rows_at_120_columns(report: AuditReport) -> None:
    lines = [line.split() for line in printed(report, 120).splitlines()]
    assert ["train-retain", "31.5", "33.2", "(32.5–34.0)", "30.0", "29.5", "1234", "35.0", "61.0"] in lines
    assert ["train-forget", "41.5", "58.9", "(57.0–60.5)", "50.0", "58.0", "60.9", "75.0", "98.0"] in lines
    assert ["train-forget", "21.9", "1.60", "(1.39–2.08)", "0.0481", "1.60", "4.63", "8.00", "32.0"] in lines
    assert ["validation-forget", "2", "12", "(10–14)", "4", "9", "≥", "20[2]", "18", "–[3]"] in lines
    attack = lines.index(
        ["train-forget[1]", "0.710", "0.500", "(0.480–0.520)", "0.610", "0.500", "0.470", "0.400", "0.500"]
    )
    # Beneath a row with intervals stand these and the ranks.
    assert lines[attack + 1] == ["95", "%", "[0.660–0.760]", "[0.560–0.655]", "[0.420–0.520]"]
    assert lines[attack + 2] == ["p", "0.17", "0.17", "1", "0.5"]


def test_distances_with_intervals_show_ratio_interval_and_rank(report: AuditReport) -> None:
    """The floor is 1.60, the median of the golds' distances: 21.9 is 14 times that, 0.0481 is 0.03, 4.63 is 2.9."""
    wide = {"original": (20.0, 24.0), "FineTune": (0.01, 0.09), "Blindspot": (3.5, 5.5)}
    measures = tuple(replace(m, interval=wide.get(m.model)) if m.metric == "w1" else m for m in report.measures)
    lines = [line.split() for line in printed(replace(report, measures=measures), 140).splitlines()]
    row = next(place for place, line in enumerate(lines) if line[:2] == ["train-forget", "21.9"])
    assert lines[row + 1] == ["×", "floor", "14", "0.03", "1.0", "2.9", "5.0", "20"]
    assert lines[row + 2] == ["95", "%", "[20.0–24.0]", "[0.0100–0.0900]", "[3.50–5.50]"]
    assert lines[row + 3] == ["p", "0.17", "0.17", "1", "0.5"]


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_no_number_is_cut_and_no_line_too_long(report: AuditReport, width: int) -> None:
    text = printed(six(report), width)
    words = text.replace("(", " ").replace(")", " ").split()
    for number in ("31.5", "33.2", "32.5–34.0", "30.0", "0.0481", "–[3]", "1.39–2.08", "20[2]", "98.0"):
        assert number in words
    assert words.count("1234") == 5
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "…" not in text


def test_at_80_columns_headings_break_between_words(report: AuditReport) -> None:
    lines = [line.split() for line in printed(six(report), 80).splitlines()]
    first = next(place for place, line in enumerate(lines) if "Uniform" in line)
    assert "Amnesiac" in lines[first + 1]
    assert any("Gaussian" in line for line in lines)


def test_a_range_is_beside_its_median_where_all_columns_fit_and_below_it_otherwise(report: AuditReport) -> None:
    wide, narrow = ([line.split() for line in printed(six(report), width).splitlines()] for width in (200, 120))
    assert ["train-retain", "31.5", "33.2", "(32.5–34.0)", "30.0", "29.5"] in [line[:6] for line in wide]
    row = narrow.index(next(line for line in narrow if line[:2] == ["train-retain", "31.5"]))
    assert narrow[row][2] == "33.2" and narrow[row + 1] == ["32.5–34.0"]
    # Continued below, with the columns of original and golds again.
    assert sum(line[:3] == ["train-retain", "31.5", "33.2"] for line in narrow) == 2


def test_notes_floor_and_caveats_follow(report: AuditReport) -> None:
    text = " ".join(printed(report, 100).split())
    assert f"[1] {PAIRS}" in text
    assert f"[2] {CAPPED}" in text
    assert "Retrained is the median of 5 golds that differ by their seed only, and their range" in text
    assert text.endswith("Caveats - Only nine validation samples are of the forgotten kind.")


def test_with_one_gold_the_floor_is_said_to_be_unknown(report: AuditReport) -> None:
    text = " ".join(after_conclusion(replace(with_one_gold(report), caveats=())).split())
    assert text.startswith("INCONCLUSIVE original Too few.")
    assert "(1 gold)" in text and "(the noise floor) is unknown" in text
    assert "Caveats" not in text


def test_without_golds_there_is_no_verdict_and_no_such_column(report: AuditReport) -> None:
    text = " ".join(after_conclusion(with_no_gold(report)).split())
    assert text.startswith("Measured on 2026-01-31 (UTC).")
    assert "original Tune Amnesiac Blindspot" in text
    assert "retrained" not in text.partition("Mean")[0]
    assert "there is no noise floor, and every verdict is INCONCLUSIVE" in text


def test_texts_are_shown_as_they_are(report: AuditReport) -> None:
    strange = "[bold]no markup[/bold] :smile: \x1b[2J"
    verdict = replace(report.verdicts[2], reason=strange)
    odd = replace(report, caveats=(strange,), verdicts=(verdict,))
    text = after_conclusion(odd)
    assert "- [bold]no markup[/bold] :smile: \\x1b[2J" in text
    assert text.startswith("FAIL  original  [bold]no markup[/bold] :smile: \\x1b[2J")
    assert "\x1b" not in text
