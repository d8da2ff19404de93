"""Boosted trees judged by their predictions alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.example_scripts import example

pytest.importorskip("linearmodels")


@pytest.mark.slow
def test_trees_trained_without_the_men_pass_and_the_original_fails(tmp_path: Path) -> None:
    report = example("boosted_trees").main(tmp_path, golds=5)
    # Eight years for each man: 150 men are held out, 40 are forgotten, 355 stay.
    assert report.samples == {"train-retain": 2840, "train-forget": 320, "test-retain": 1200}
    assert (report.verdict("original").outcome, report.verdict("served").outcome) == ("FAIL", "PASS")
    assert "Anamnesis index" in report.verdict("served").reason
    assert (tmp_path / "audit.html").is_file()
