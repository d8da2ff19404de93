"""Sentence pairs forgotten by their ids, by Hugging Face's Trainer, on STS-B."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.example_scripts import example, needs

pytest.importorskip("transformers")


@needs("stsb")
def test_the_pairs_of_one_source_are_forgotten(tmp_path: Path) -> None:
    report = example("sentence_pairs").main(tmp_path, every=20, epochs=1, golds=2)
    assert report.samples["train-forget"] == 16
    assert report.named("unlearned") == ["Retrain"] and len(report.golds) == 2
    assert {verdict.model for verdict in report.verdicts} >= {"original", "Retrain"}
    assert (tmp_path / "audit.html").is_file()
