"""The terminal table: every number whole, at any usual width."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from report.by_hand import SELF, without
from unregress.evidence import AuditReport
from unregress.report import print_table


def printed(report: AuditReport, width: int) -> str:
    out = io.StringIO()
    print_table(report, Console(file=out, width=width))
    return out.getvalue()


def six(report: AuditReport) -> AuditReport:
    """The report with four methods more, as wide as they get."""
    extra = ("UniformAmnesiac", "GaussianAmnesiac", "layer-reset", "Blindspot taught by gold")
    method = report.models[-1]
    return replace(
        report,
        models=(*report.models, *(replace(method, name=name) for name in extra)),
        measures=(
            *report.measures,
            *(replace(m, model=name) for name in extra for m in report.measures if m.model == "Blindspot"),
        ),
    )


def test_rows_at_100_columns(report: AuditReport) -> None:
    lines = [line.split() for line in printed(report, 100).splitlines()]
    assert ["train-retain", "31.5", "33.0", "33.2", "(32.5–34.0)", "30.0", "1234"] in lines
    assert ["train-forget", "41.5", "58.2", "59.8", "(57.0–60.5)", "50.0", "60.9"] in lines
    assert ["train-forget", "21.9", "–[1]", "1.50", "(1.39–2.08)", "0.0481", "4.63"] in lines
    assert ["validation-forget", "2", "12", "13", "(10–14)", "4", "≥", "20[2]"] in lines


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_no_number_is_cut_and_no_line_too_long(report: AuditReport, width: int) -> None:
    text = printed(six(report), width)
    words = text.replace("(", " ").replace(")", " ").split()
    for number in ("31.5", "33.0", "33.2", "32.5–34.0", "30.0", "0.0481", "–[1]", "1.39–2.08", "20[2]"):
        assert number in words
    assert words.count("1234") == 5
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "…" not in text


def test_at_80_columns_headings_break_between_words(report: AuditReport) -> None:
    lines = printed(six(report), 80).splitlines()
    heading = [line.split() for line in lines[:4]]
    assert "Uniform" in heading[0] and "Amnesiac" in heading[1]
    assert any("Gaussian" in line for line in lines)


def test_notes_floor_and_caveats_follow(report: AuditReport) -> None:
    text = " ".join(printed(report, 100).split())
    assert f"[1] {SELF}" in text
    assert "[2] Cut off after 20 steps." in text
    assert "taken of 3 further golds (median and range), retrained with another seed" in text
    assert text.endswith("Caveats - Only nine validation samples are of the forgotten kind.")


def test_without_floor_and_caveats(report: AuditReport) -> None:
    text = " ".join(printed(replace(without(report, "gold 2", "gold 3", "gold 4"), caveats=()), 100).split())
    assert "(the noise floor) is unknown" in text
    assert "Caveats" not in text


def test_texts_are_shown_as_they_are(report: AuditReport) -> None:
    odd = replace(report, caveats=("[bold]no markup[/bold] :smile: \x1b[2J",))
    text = printed(odd, 100)
    assert "- [bold]no markup[/bold] :smile: \N{REPLACEMENT CHARACTER}[2J" in text
    assert "\x1b" not in text
