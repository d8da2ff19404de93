"""The report that the tests of this folder read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from support.hand_reports import about, figures, measures, models, verdicts
from unregress.evidence import AuditReport, Figure
from unregress.report import render
from unregress.report.figures import Plot, Style


@pytest.fixture(scope="module", autouse=True)
def each_figure_is_drawn_once() -> Iterator[None]:
    """Equal figures of the pages that a file renders are drawn once: drawing takes nearly all of a page's time."""
    plot, drawn = render.plot, dict[str, Plot]()

    def drawn_once(figure: Figure, look: Mapping[str, Style], prefix: str) -> Plot:
        key = repr((figure, list(look.items()), prefix))
        if key not in drawn:
            drawn[key] = plot(figure, look, prefix)
        return drawn[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "plot", drawn_once)
        yield


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
