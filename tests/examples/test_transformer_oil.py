"""A week of hours forgotten by a LightningModule, on ETTh1."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.example_scripts import example, needs

pytest.importorskip("lightning")


@needs("ett")
def test_all_windows_that_touch_the_week_are_forgotten(tmp_path: Path) -> None:
    report = example("transformer_oil").main(tmp_path, hours=1000, epochs=2, golds=2)
    # A window has 54 hours: it touches the 168 hours if it begins up to 53 hours before them.
    assert report.samples["train-forget"] == 168 + 53
    assert report.samples["train-retain"] == 1000 - 53 - 221
    assert report.named("unlearned") == ["Retrain"] and len(report.golds) == 2
    assert {verdict.model for verdict in report.verdicts} >= {"original", "Retrain"}
    assert (tmp_path / "audit.html").is_file()


@needs("ett")
@pytest.mark.slow
def test_the_original_fails_and_a_retrained_model_passes(tmp_path: Path) -> None:
    report = example("transformer_oil").main(tmp_path)
    # The original errs by .16 on the forgotten windows, golds by .35.
    assert (report.verdict("original").outcome, report.verdict("Retrain").outcome) == ("FAIL", "PASS")
