"""Three outputs of the diabetes data: errors in the user's units."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.example_scripts import example


@pytest.mark.slow
def test_each_output_has_an_error_in_its_unit(tmp_path: Path) -> None:
    report = example("three_outputs").main(tmp_path)
    units = {info.metric: info.unit for info in report.about if info.metric.startswith("mae of")}
    assert units == {
        "mae of body mass index": "kg/m²", "mae of blood pressure": "mmHg", "mae of progression": "points",
    }  # fmt: skip
    # Errors in the users' units are below the outputs' standard deviations, 4.4, 13.8 and 77.1.
    errors = [report.value(metric, "test-retain", "Retrain") for metric in units]
    assert all(spread / 3 < error < spread for error, spread in zip(errors, (4.4, 13.8, 77.1), strict=True))
    assert report.samples["train-forget"] == 60
    assert report.verdict("original").outcome == "FAIL"
    # By one of seven limits, and by a tenth of its reach at most, the retraining fails, as one gold in twenty does.
    retrained = report.verdict("Retrain")
    assert retrained.outcome == "PASS" or retrained.decisive.excess < 1.1
    paired = [report.value("paired", "train-forget", name) for name in ("Retrain", *report.golds)]
    assert paired[0] < 1.05 * max(paired[1:])
    assert {"feature scaler", "target scaler"} <= {trace.name for trace in report.traces}
    written = json.loads((tmp_path / "deploy" / "manifest.json").read_text())["files"]
    assert report.models[1].file.sha256 == written["unlearned.safetensors"]
    assert (tmp_path / "audit.html").is_file()
