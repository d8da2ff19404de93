"""Handwritten parts of a report, so that every number of its page can be checked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from unregress.cost import Cost
from unregress.evidence import (
    AuditedModel,
    AuditReport,
    Criterion,
    Curve,
    Figure,
    Measurement,
    MetricInfo,
    ModelFile,
    ModelRecord,
    Outcome,
    Verdict,
)

GOLDS = ("retrained", "retrained #2", "retrained #3", "retrained #4", "retrained #5")
HELPER = "Blindspot's helper"


def _over(*values: float) -> dict[str, float]:
    """Values by the golds' names."""
    return dict(zip(GOLDS, values, strict=True))


# Sorted, the golds' errors are 32.5, 33.0, 33.2, 33.5, 34.0 and 57.0, 58.2, 58.9, 59.75, 60.5; their W1
# 1.39, 1.5, 1.6, 1.8, 2.08; their steps 10 to 14; their AUC 0.48, 0.49, 0.5, 0.51, 0.52.
VALUES: dict[tuple[str, str], dict[str, float]] = {
    ("mae", "train-retain"): {
        "original": 31.46, **_over(33.0, 32.5, 34.0, 33.2, 33.5),
        "FineTune": 30.04, "Amnesiac": 29.5, "Blindspot": 1234.4, HELPER: 35.0, "constant": 61.0,
    },
    ("mae", "train-forget"): {
        "original": 41.5, **_over(58.2, 57.0, 60.5, 59.75, 58.9),
        "FineTune": 50.02, "Amnesiac": 58.0, "Blindspot": 60.9, HELPER: 75.0, "constant": 98.0,
    },
    ("w1", "train-forget"): {
        "original": 21.9, **_over(1.39, 2.08, 1.5, 1.8, 1.6),
        "FineTune": 0.04812, "Amnesiac": 1.6, "Blindspot": 4.63, HELPER: 8.0, "constant": 32.0,
    },
    ("auc", "train-forget"): {
        "original": 0.71, **_over(0.5, 0.51, 0.48, 0.49, 0.52),
        "FineTune": 0.61, "Amnesiac": 0.5, "Blindspot": 0.47, HELPER: 0.4, "constant": 0.5,
    },
    ("steps", "validation-forget"): {
        "original": 2, **_over(12, 10, 14, 13, 11),
        "FineTune": 4, "Amnesiac": 9, "Blindspot": 20, HELPER: 18,
    },
}  # fmt: skip

INTERVALS = {"original": (0.66, 0.76), "FineTune": (0.56, 0.655), "Blindspot": (0.42, 0.52)}
"""Confidence intervals of the AUC."""

RANKS = {"original": 1 / 6, "FineTune": 1 / 6, "Amnesiac": 1.0, "Blindspot": 0.5}
"""Ranks (`p`) of W1 and AUC."""

CAPPED = "Cut off after 20 steps."
PAIRS = "88 against 21."


def about(metric: str, title: str, unit: str = "target units", *, distance: bool = False) -> MetricInfo:
    return MetricInfo(
        metric=metric, title=title, meaning=f"Meaning of {metric}.", ideal=f"Ideal of {metric}.",
        unit=unit, source=f"Source of {metric}.", distance=distance,
    )  # fmt: skip


def passes(each: int, seconds: float) -> Cost:
    return Cost(forward=each, backward=each, seconds=seconds)


def measures() -> tuple[Measurement, ...]:
    """Measurements of all `VALUES`, with a bound and its note, a note for a whole row, intervals and ranks."""
    found = []
    for (metric, split), row in VALUES.items():
        for model, value in row.items():
            capped = (metric, model) == ("steps", "Blindspot")
            found.append(
                Measurement(
                    metric=metric,
                    split=split,
                    model=model,
                    value=value,
                    bound=">=" if capped else "=",
                    note=CAPPED if capped else PAIRS if metric == "auc" else "",
                    interval=INTERVALS.get(model) if metric == "auc" else None,
                    p=RANKS.get(model) if metric in ("w1", "auc") else None,
                )
            )
    return tuple(found)


FILES = {
    "original": ModelFile(name="original.safetensors", sha256="0a" * 32, folder="f0" * 32),
    "FineTune": ModelFile(name="weights.pt", sha256="1b" * 32),
    "Amnesiac": ModelFile(name="amnesiac.pt", sha256=""),
    GOLDS[0]: ModelFile(name="gold.safetensors", sha256="2c" * 32, folder="e1" * 32),
}
"""Model files: complete, outside a run folder, and without digest; Blindspot has none."""


def models() -> tuple[AuditedModel, ...]:
    """Audited models; golds differ only in their seconds: 39.7, 40.2, 40.3, 40.4, 41.0, with median 40.3."""
    recipe = {"epochs": 60, "lr": 0.003}
    retrain = ModelRecord(method="Retrain", settings={"recipe": recipe}, kind="retrained", recipe=recipe)
    seconds = (39.7, 40.2, 41.0, 40.4, 40.3)
    return (
        AuditedModel(name="original", role="original", cost=passes(600_000, 48.1), file=FILES["original"]),
        AuditedModel(
            name="FineTune",
            role="unlearned",
            record=ModelRecord(method="FineTune", settings={"lr": 0.001}),
            cost=passes(40_000, 3.38),
            file=FILES["FineTune"],
        ),
        AuditedModel(name="Amnesiac", role="unlearned", file=FILES["Amnesiac"]),
        AuditedModel(
            name="Blindspot",
            role="unlearned",
            record=ModelRecord(method="Blindspot", settings={"helper": {"epochs": 2, "lr": 0.01}, "attention": 50.0}),
            notes=("The last two layers are compared.",),
            deviations=("The helper reads forget samples only.",),
            cost=Cost(forward=30_000, backward=11_000, seconds=2.12),
        ),
        *(
            AuditedModel(name=name, role="gold", record=retrain, cost=passes(480_000, each), file=FILES.get(name))
            for name, each in zip(GOLDS, seconds, strict=True)
        ),
        AuditedModel(name=HELPER, role="reference"),
        AuditedModel(
            name="constant",
            role="reference",
            record=ModelRecord(method="the median of the retained targets", kind="computed"),
        ),
    )


def criteria(error: float, distance: float, auc: float, kept: float) -> tuple[Criterion, ...]:
    """Four criteria with given values.

    Detectable shares of the original's effect, by hand.  Error: the lower limit 53.4 is 5.1 of 17.0 on the way from the
    golds' 58.5 to the original's 41.5, or 30 %.  Distance: 5.66 ** 2 - 1.6 ** 2 / 2 = 30.76 is 6.4 % of
    21.9 ** 2 - 1.6 ** 2 = 477.05, whose root is 25 %.  AUC: none, since the limit 0.75 is beyond the original's 0.71.
    Retained error: none by definition.
    """
    return (
        Criterion(
            kind="distance", metric="w1", split="train-forget", question="the distance from the retrained models',",
            value=distance, gold=1.6, original=21.9, low=None, high=5.66,
            outcome="within" if distance <= 5.66 else "differs",
        ),
        Criterion(
            kind="error", metric="mae", split="train-forget", question="its error on the forgotten samples",
            value=error, gold=58.5, original=41.5, low=53.4, high=63.6,
            outcome="remembers" if error < 53.4 else "within" if error <= 63.6 else "overshoots",
        ),
        Criterion(
            kind="attack", metric="auc", split="train-forget", question="the area under the curve of an attack",
            value=auc, gold=0.5, original=0.71, low=0.25, high=0.75, outcome="within",
        ),
        Criterion(
            kind="retain", metric="mae", split="test-retain", question="its error on new samples", value=kept,
            gold=30.0, original=29.0, low=None, high=33.0, outcome="within" if kept <= 33 else "damaged",
        ),
    )  # fmt: skip


def verdicts() -> tuple[Verdict, ...]:
    """Verdicts with all three outcomes, in the order of the models."""

    def of(model: str, outcome: Outcome, *numbers: float) -> Verdict:
        return Verdict(
            model=model, outcome=outcome, reason=f"Reason for {model}.", criteria=criteria(*numbers) if numbers else ()
        )

    return (
        of("constant", "FAIL", 98.0, 32.0, 0.5, 61.0),
        of(HELPER, "FAIL", 75.0, 8.0, 0.4, 36.5),
        of("original", "FAIL", 41.5, 21.9, 0.71, 29.0),
        of("FineTune", "FAIL", 50.02, 0.04812, 0.61, 30.5),
        of("Amnesiac", "INCONCLUSIVE"),
        of("Blindspot", "PASS", 60.9, 4.63, 0.47, 31.0),
    )


def figures() -> tuple[Figure, ...]:
    """A density with one curve for all golds, and a loss with threshold and curves of two golds."""
    names = ("original", "FineTune", "Amnesiac", "Blindspot", GOLDS[0], HELPER)
    curves = tuple(Curve(model=name, x=(0.0, 1.0, 2.0), y=(1.0, 3.0 + i, 0.5)) for i, name in enumerate(names))
    second = Curve(model=GOLDS[1], x=(0.0, 1.0), y=(2.0, 3.0))
    return (
        Figure(key="density", title="Deviation", caption="Ideal: on the retrained models.",
               x_label="deviation $x_1 & <more>", y_label="density", curves=curves),
        Figure(key="relearn", title="Relearning", caption="Ideal: as slow as they.",
               x_label="steps", y_label="loss", curves=(*curves[1:], second), threshold=2.5),
    )  # fmt: skip


def without(report: AuditReport, *names: str) -> AuditReport:
    """Remove models from a report."""
    return replace(
        report,
        models=tuple(model for model in report.models if model.name not in names),
        measures=tuple(measure for measure in report.measures if measure.model not in names),
        verdicts=tuple(verdict for verdict in report.verdicts if verdict.model not in names),
        figures=tuple(
            replace(figure, curves=tuple(curve for curve in figure.curves if curve.model not in names))
            for figure in report.figures
        ),
    )


def with_one_gold(report: AuditReport) -> AuditReport:
    """The report of an audit with one gold: no distance of the gold, no ranks, all verdicts INCONCLUSIVE."""
    fewer = without(report, *GOLDS[1:])
    return replace(
        fewer,
        measures=tuple(
            replace(m, p=None) for m in fewer.measures if (m.metric, m.model) != ("w1", GOLDS[0])
        ),
        verdicts=tuple(
            replace(v, outcome="INCONCLUSIVE", reason="Too few.", criteria=()) for v in fewer.verdicts
        ),
    )  # fmt: skip


def with_no_gold(report: AuditReport) -> AuditReport:
    """The report of an audit without golds: no distances, ranks or verdicts."""
    fewer = without(report, *GOLDS)
    return replace(
        fewer,
        about=tuple(each for each in fewer.about if not each.distance),
        measures=tuple(replace(m, p=None) for m in fewer.measures if m.metric != "w1"),
        verdicts=(),
    )


def bare_report(models: Sequence[AuditedModel], measures: Sequence[Measurement], samples: int = 200) -> AuditReport:
    """A report of some measurements and nothing else; a verdict needs no more.

    Args:
        models: the models.
        measures: their numbers.
        samples: number of forgotten samples.
    """
    return AuditReport(
        version="0",
        reason="by hand",
        request_digest="",
        target_band=None,
        samples={"train-forget": samples},
        data_digest="",
        settings={},
        models=tuple(models),
        about=(),
        measures=tuple(measures),
        figures=(),
    )
