"""A customer of several forgotten by a Temporal Fusion Transformer, on ETTh1 and ETTh2."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.example_scripts import example, needs

pytest.importorskip("pytorch_forecasting")


@needs("ett")
def test_the_windows_of_one_customer_of_six_are_forgotten_in_every_split(tmp_path: Path) -> None:
    report = example("customers").main(tmp_path, days=10, epochs=1, golds=2)
    for split in ("train", "test"):
        forgotten, kept = report.samples[f"{split}-forget"], report.samples[f"{split}-retain"]
        assert kept == 5 * forgotten > 0
    assert report.named("unlearned") == ["Retrain"] and len(report.golds) == 2
    assert {verdict.model for verdict in report.verdicts} >= {"original", "Retrain"}
    assert [trace.what for trace in report.traces if "deviation" in trace.name] == ["Scaler"]
    assert (tmp_path / "audit.html").is_file()
