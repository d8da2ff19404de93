"""The report that the tests of this folder read."""

from __future__ import annotations

import pytest

from support.hand_reports import about, figures, measures, models, verdicts
from unregress.evidence import AuditReport


@pytest.fixture
def report() -> AuditReport:
    """Original, five golds, three methods and two references; a bound, intervals, verdicts and two figures."""
    return AuditReport(
        version="0.1.0",
        date="2026-01-31",
        reason="Deletion request 17",
        request_digest="9f2c" * 16,
        target_band=(200.0, None),
        samples={"train-retain": 8000, "train-forget": 2000, "test-retain": 35, "validation-forget": 9},
        data_digest="1c53" * 16,
        settings={
            "task": "TensorTask",
            "rule": {"level": 0.05, "golds": 5, "samples": 30, "tolerance": 0.05, "resolution": 0.5},
            "seed": 7,
            "versions": {"torch": "2.14.1"},
        },
        models=models(),
        about=(
            about("mae", "Mean absolute error"),
            about("w1", "Wasserstein distance", distance=True),
            about("auc", "Attack", "share"),
            about("steps", "Relearning time", "steps"),
        ),
        measures=measures(),
        figures=figures(),
        verdicts=verdicts(),
        caveats=("Only nine validation samples are of the forgotten kind.",),
    )
