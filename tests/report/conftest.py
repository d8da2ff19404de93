"""The report that the tests of this folder read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from report.by_hand import SELF, VALUES, about, passes
from unregress.cost import Cost
from unregress.evidence import AuditedModel, AuditReport, Curve, Figure, Measure


@pytest.fixture
def report() -> AuditReport:
    """Original, gold, three further golds and two methods; a bound, a missing value, two figures."""
    measures = [
        Measure(metric=metric, split=split, model=model, value=value)
        for (metric, split), row in VALUES.items()
        for model, value in row.items()
    ]
    measures.append(Measure(metric="w1", split="train-forget", model="gold", value=None, note=SELF))
    capped = Measure(metric="steps", split="validation-forget", model="Blindspot", value=20)
    measures[measures.index(capped)] = replace(capped, bound=">=", note="Cut off after 20 steps.")
    names = ("original", "gold", "gold 2", "gold 3", "gold 4", "FineTune", "Blindspot")
    curves = tuple(Curve(model=name, x=(0.0, 1.0, 2.0), y=(1.0, 3.0 + i, 0.5)) for i, name in enumerate(names))
    retrain = "Retrain(recipe=Recipe(epochs=60, lr=0.003))"
    return AuditReport(
        version="0.1.0",
        reason="Deletion request 17",
        request_digest="9f2c" * 16,
        target_band=(200.0, None),
        samples={"train-retain": 8000, "train-forget": 2000, "test-retain": 35, "validation-forget": 9},
        data_digest="1c53" * 16,
        settings={"task": "TensorTask", "seed": 7, "versions": {"torch": "2.14.1"}},
        models=(
            AuditedModel(name="original", role="original", cost=passes(600_000, 48.1)),
            AuditedModel(name="gold", role="gold", method=retrain, cost=passes(480_000, 39.7)),
            AuditedModel(name="gold 2", role="floor", method=retrain, cost=passes(480_000, 40.2)),
            AuditedModel(name="gold 3", role="floor", method=retrain, cost=passes(480_000, 40.3)),
            AuditedModel(name="gold 4", role="floor", method=retrain, cost=passes(480_000, 40.4)),
            AuditedModel(name="FineTune", role="unlearned", method="FineTune(lr=0.001)", cost=passes(40_000, 3.38)),
            AuditedModel(
                name="Blindspot",
                role="unlearned",
                method="Blindspot(helper=Recipe(epochs=2, lr=0.01), attention=50.0)",
                deviations=("The helper reads forget samples only.",),
                cost=Cost(forward=30_000, backward=11_000, seconds=2.12),
            ),
        ),
        about=(about("mae", "Mean absolute error"), about("w1", "Wasserstein distance"),
               about("steps", "Relearning time", "steps")),
        measures=tuple(measures),
        figures=(
            Figure(key="density", title="Deviation", caption="Ideal: on the further golds.",
                   x_label="deviation $x_1 & <more>", y_label="density", curves=curves),
            Figure(key="relearn", title="Relearning", caption="Ideal: as slow as gold.",
                   x_label="steps", y_label="loss", curves=curves[1:], threshold=2.5),
        ),
        caveats=("Only nine validation samples are of the forgotten kind.",),
    )  # fmt: skip
