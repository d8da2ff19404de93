"""An audit that is nothing but measurements, judged by the rule: for simulations, which have no data and no request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from unregress import Rule
from unregress.evidence import CONSTANT, AuditedModel, AuditReport, Measurement, Role
from unregress.evidence.verdict import judge


def report_of(measures: Iterable[Measurement], forgotten: int, rule: Rule) -> AuditReport:
    """The report of some measurements, with its verdicts.

    Args:
        measures: of models called `original`, `gold 0`, `gold 1` and so on, and any other name for models to judge.
        forgotten: number of forgotten samples.
        rule: how to judge.
    """
    found = tuple(measures)
    report = AuditReport(
        version="", reason="", request_digest="", target_band=None, data_digest="", settings={}, about=(), figures=(),
        samples={"train-forget": forgotten}, measures=found,
        models=tuple(AuditedModel(name=name, role=_role(name)) for name in dict.fromkeys(each.model for each in found)),
    )  # fmt: skip
    return replace(report, verdicts=judge(report, rule))


def _role(name: str) -> Role:
    if name.startswith("gold "):
        return "gold"
    return "original" if name == "original" else "reference" if name == CONSTANT else "unlearned"
