"""Numbers and parts for a report made by hand, so that every number on the page can be checked by hand."""

from __future__ import annotations

from dataclasses import replace

from unregress.cost import Cost
from unregress.evidence import About, AuditReport

VALUES: dict[tuple[str, str], dict[str, float]] = {
    ("mae", "train-retain"): {
        "original": 31.46, "gold": 33.0, "gold 2": 32.5, "gold 3": 34.0, "gold 4": 33.25,
        "FineTune": 30.04, "Blindspot": 1234.4,
    },
    ("mae", "train-forget"): {
        "original": 41.5, "gold": 58.25, "gold 2": 57.0, "gold 3": 60.5, "gold 4": 59.75,
        "FineTune": 50.02, "Blindspot": 60.9,
    },
    ("w1", "train-forget"): {
        "original": 21.9, "gold 2": 1.39, "gold 3": 2.08, "gold 4": 1.5,
        "FineTune": 0.04812, "Blindspot": 4.63,
    },
    ("steps", "validation-forget"): {
        "original": 2, "gold": 12, "gold 2": 10, "gold 3": 14, "gold 4": 13,
        "FineTune": 4, "Blindspot": 20,
    },
}  # fmt: skip

SELF = "The retrained model is compared with itself."


def about(metric: str, title: str, unit: str = "target units") -> About:
    return About(
        metric=metric, title=title, meaning=f"Meaning of {metric}.", ideal=f"Ideal of {metric}.",
        unit=unit, source=f"Source of {metric}.",
    )  # fmt: skip


def passes(each: int, seconds: float) -> Cost:
    return Cost(forward=each, backward=each, seconds=seconds)


def without(report: AuditReport, *names: str) -> AuditReport:
    """The report as if some models had never been audited."""
    return replace(
        report,
        models=tuple(model for model in report.models if model.name not in names),
        measures=tuple(measure for measure in report.measures if measure.model not in names),
        figures=tuple(
            replace(figure, curves=tuple(curve for curve in figure.curves if curve.model not in names))
            for figure in report.figures
        ),
    )
