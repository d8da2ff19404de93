"""Faces forgotten by an age band, by a training function with its own sampler, workers and augmentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.example_scripts import example, needs

pytest.importorskip("torchvision")


@needs("utkface")
def test_faces_of_an_age_band_are_forgotten(tmp_path: Path) -> None:
    report = example("faces").main(tmp_path, faces=120, epochs=1, golds=2)
    forgotten = report.samples["train-forget"]
    assert 0 < forgotten < 120 and report.samples["train-retain"] == 120 - forgotten
    assert report.named("unlearned") == ["Retrain"] and len(report.golds) == 2
    trained = [model.record.recipe for model in report.models if model.role in ("original", "unlearned", "gold")]
    # Original, golds and retraining are by the same function.
    assert trained == [{"class_path": "faces.fit", "init_args": {"epochs": 1}}] * 4
    assert (tmp_path / "audit.html").is_file()
