"""Handwritten audits of two seeds, so that every number of a table can be checked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from unregress.cost import Cost
from unregress.evidence import (
    AuditedModel,
    AuditReport,
    Curve,
    Figure,
    Measurement,
    MetricInfo,
    ModelRecord,
    Outcome,
    Verdict,
)
from unregress.experiments.experiment import Experiment, Forget

ROLES: dict[str, Any] = {
    "original": "original",
    "retrained": "gold",
    "FineTune": "unlearned",
    "constant": "reference",
    "retrained #2": "gold",
    "retrained #3": "gold",
    "retrained #4": "gold",
}
TITLES = {
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "w1": "Wasserstein distance",
    "paired": "Paired difference",
    "attack": "Attack",
    "ain": "Anamnesis index",
}
Values = dict[tuple[str, str], dict[str, float | None]]
FIRST: Values = {
    ("mae", "train-retain"): {"original": 1.0, "retrained": 1.5, "FineTune": 1.25, "retrained #2": 1.75},
    ("mae", "train-forget"): {
        "original": 2.0, "retrained": 9.0, "FineTune": 4.0,
        "retrained #2": 8.0, "retrained #3": 12.0, "retrained #4": 9.5,
    },
    ("mae", "test-retain"): {"original": 5.0, "retrained": 5.5, "FineTune": 5.25, "retrained #2": 6.0},
    ("mae", "test-forget"): {"original": 8.0, "retrained": 10.0, "FineTune": 9.0, "retrained #2": 11.0},
    ("rmse", "test-retain"): {"original": 6.0, "retrained": 7.0, "FineTune": 6.5, "retrained #2": 7.5},
    ("w1", "train-forget"): {
        "original": 7.0, "retrained": None, "FineTune": 3.0,
        "retrained #2": 0.5, "retrained #3": 2.0, "retrained #4": 1.0,
    },
    ("paired", "train-forget"): {"original": 7.5, "retrained": None, "FineTune": 3.5, "retrained #2": 0.75},
    ("attack", "train-forget"): {"original": 0.9, "retrained": 0.25, "FineTune": 0.5, "retrained #2": 0.375},
    ("ain", "validation-forget"): {"original": None, "retrained": 1.0, "FineTune": 0.5, "retrained #2": None},
}  # fmt: skip
SECOND: Values = {
    **FIRST,
    ("mae", "train-forget"): {
        "original": 4.0, "retrained": 11.0, "FineTune": 7.0,
        "retrained #2": 7.0, "retrained #3": 8.25, "retrained #4": 29.75,
    },
    ("w1", "train-forget"): {
        "original": 9.0, "retrained": None, "FineTune": None,
        "retrained #2": None, "retrained #3": 3.0, "retrained #4": 4.0,
    },
    ("ain", "validation-forget"): {"original": None, "retrained": 1.0, "FineTune": 0.75, "retrained #2": None},
}  # fmt: skip


def report(
    values: Values,
    *,
    bounds: dict[tuple[str, str], Any] | None = None,
    seed: int = 0,
    outcome: Outcome = "FAIL",
) -> AuditReport:
    """Build an audit with given values, bounds by (metric, model), and a verdict on FineTune."""
    measures = [
        Measurement(
            metric=metric, split=split, model=model, bound=(bounds or {}).get((metric, model), "="),
            # Golds without values in the table have those of the second gold; the constant always has 64.
            value=64.0 if model == "constant" else row[model if model in row else "retrained #2"],
        )
        for (metric, split), row in values.items()
        for model in ROLES
    ]  # fmt: skip
    about = [
        MetricInfo(
            metric=metric, title=title, meaning=f"Meaning of {metric}.", ideal="", unit="target units", source=""
        )
        for metric, title in TITLES.items()
    ]
    curves = tuple(Curve(model=name, x=(0.0, 1.0), y=(1.0, 2.0 + n)) for n, name in enumerate(ROLES))
    return AuditReport(
        version="0.1.0",
        reason="Young faces",
        request_digest="9f2c" * 16,
        target_band=(None, 30.0),
        samples={"train-retain": 8000, "train-forget": 2000, "test-retain": 350},
        data_digest="1c53" * 16,
        settings={"task": "TensorTask", "seed": seed, "device": "cpu", "threads": 1, "versions": {"torch": "2.14.1"}},
        models=tuple(
            AuditedModel(
                name=name, role=role, record=ModelRecord(method=name), cost=Cost(forward=10, backward=5, seconds=1.0)
            )
            for name, role in ROLES.items()
        ),
        about=tuple(about),
        measures=tuple(measures),
        figures=(
            Figure(key="density", title="Density", caption="A caption.", x_label="x", y_label="y", curves=curves),
        ),
        verdicts=tuple(
            Verdict(model=name, outcome=concluded, reason=f"{name} for a reason.", criteria=())
            for name, concluded in (("original", "FAIL"), ("FineTune", outcome))
        ),
        caveats=("There are 4 retrained models and so hardly a noise floor.",),
    )


def experiment(**changes: Any) -> Experiment:
    """Build an experiment with invented published numbers."""
    fields: dict[str, Any] = {
        "name": "young",
        "title": "Young faces",
        "source": "Table 1",
        "family": "utkface",
        "forget": [Forget(high=30)],
        "methods": ["FineTune"],
        "paper": {
            "err_Dt_r": {"original": 11.5, "retrained": 12.5, "FineTune": 13.5},
            "err_Dt_f": {"original": 21.5, "retrained": 22.5, "FineTune": 23.5},
            "att_prob": {"original": 0.31, "retrained": 0.32, "FineTune": 0.0005},
            "w_dist": {"original": 41.5, "FineTune": 0.0},
            "AIN": {"FineTune": 0.51},
        },
    }
    return Experiment(**(fields | changes))


def reports() -> tuple[AuditReport, ...]:
    """Audits of two seeds; in the second, FineTune's anamnesis index is a lower bound."""
    return report(FIRST), report(SECOND, bounds={("ain", "FineTune"): ">="}, seed=1, outcome="PASS")


def renamed(found: AuditReport, old: str, new: str) -> AuditReport:
    """Rename a model in a report."""
    return replace(
        found,
        models=tuple(replace(model, name=new) if model.name == old else model for model in found.models),
        measures=tuple(replace(each, model=new) if each.model == old else each for each in found.measures),
        figures=tuple(
            replace(f, curves=tuple(replace(c, model=new) if c.model == old else c for c in f.curves))
            for f in found.figures
        ),
    )
