"""Contradictions between the fields of an audit report, by which a page made from it would be wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from unregress.evidence.findings import Verdict
from unregress.files.typed_json import is_day

if TYPE_CHECKING:
    from unregress.evidence.audit_report import AuditedModel, AuditReport


def contradictions(report: AuditReport) -> Iterator[str]:
    """Yield a message for each contradiction between fields: a page made from such a report would be wrong."""
    models, metrics = [model.name for model in report.models], [about.metric for about in report.about]
    yield from _repeated("models[{}].name", models)
    yield from _repeated("about[{}].metric", metrics)
    if report.models and len(report.named("original")) != 1:
        yield f"models holds {len(report.named('original'))} of role 'original', expected 1"
    if report.date and not is_day(report.date):
        yield f"date is {report.date[:40]!r}, expected a day as 2026-01-31"
    if report.requested_on and not is_day(report.requested_on):
        yield f"requested_on is {report.requested_on[:40]!r}, expected a day as 2026-01-31"
    for n, trace in enumerate(report.traces):
        yield from _wrong_digest(f"traces[{n}].sha256", trace.sha256)
    yield from _reversed("target_band", report.target_band)
    for part, size in report.samples.items():
        if size < 0:
            yield f"samples[{part[:40]!r}] is {size}, expected 0 or more"
    for n, model in enumerate(report.models):
        yield from _wrong_model(model, f"models[{n}]")
    for n, measure in enumerate(report.measures):
        yield from _unknown(f"measures[{n}].metric", measure.metric, metrics, "metric` of `about")
        yield from _unknown(f"measures[{n}].model", measure.model, models)
        yield from _reversed(f"measures[{n}].interval", measure.interval)
        if measure.p is not None and not 0 <= measure.p <= 1:
            yield f"measures[{n}].p is {measure.p}, expected a probability"
    yield from _repeated("measures[{}]", [(m.metric, m.split, m.model) for m in report.measures])
    for n, figure in enumerate(report.figures):
        for k, curve in enumerate(figure.curves):
            yield from _unknown(f"figures[{n}].curves[{k}].model", curve.model, models)
            if len(curve.x) != len(curve.y):
                yield f"figures[{n}].curves[{k}] has {len(curve.x)} x and {len(curve.y)} y, expected as many"
    yield from _wrong_verdicts(report, models, metrics)


def _wrong_model(model: AuditedModel, where: str) -> Iterator[str]:
    if model.cost is not None and min(model.cost.forward, model.cost.backward, model.cost.seconds) < 0:
        yield f"{where}.cost is {model.cost}, expected 0 or more of each"
    if model.file is None:
        return
    if not model.file.name:
        yield f"{where}.file.name is empty, expected the name of a file"
    yield from _wrong_digest(f"{where}.file.sha256", model.file.sha256)
    yield from _wrong_digest(f"{where}.file.folder", model.file.folder)


def _wrong_digest(where: str, digest: str) -> Iterator[str]:
    if digest and not re.fullmatch("[0-9a-f]{64}", digest):
        yield f"{where} is {digest[:40]!r}, expected 64 hexadecimal digits, or nothing"


def _wrong_verdicts(report: AuditReport, models: Sequence[str], metrics: Sequence[str]) -> Iterator[str]:
    judged = [verdict.model for verdict in report.verdicts]
    yield from _repeated("verdicts[{}].model", judged)
    if judged:
        unjudged = (name for name in report.named("original", "unlearned") if name not in judged)
        yield from (f"verdicts holds none for the model {name[:40]!r}" for name in unjudged)
    for n, verdict in enumerate(report.verdicts):
        yield from _wrong_verdict(verdict, f"verdicts[{n}]", models)
        for k, criterion in enumerate(verdict.criteria):
            yield from _unknown(f"verdicts[{n}].criteria[{k}].metric", criterion.metric, metrics, "metric` of `about")
    for n, recheck in enumerate(report.earlier):
        if recheck.samples < 0:
            yield f"earlier[{n}].samples is {recheck.samples}, expected 0 or more"
        for k, verdict in enumerate(recheck.verdicts):
            yield from _wrong_verdict(verdict, f"earlier[{n}].verdicts[{k}]", models)


def _wrong_verdict(verdict: Verdict, where: str, models: Sequence[str]) -> Iterator[str]:
    yield from _unknown(f"{where}.model", verdict.model, models)
    for k, criterion in enumerate(verdict.criteria):
        yield from _reversed(f"{where}.criteria[{k}]", (criterion.low, criterion.high))
        for name, value in (("p", criterion.p), ("power", criterion.power)):
            if value is not None and not 0 <= value <= 1:
                yield f"{where}.criteria[{k}].{name} is {value}, expected a probability"
        if verdict.outcome == "PASS" and criterion.outcome != "within":
            yield f"{where}.outcome is 'PASS', but {where}.criteria[{k}].outcome is {criterion.outcome!r}"


def _unknown(where: str, name: str, known: Sequence[str], what: str = "name` of `models") -> Iterator[str]:
    if name not in known:
        yield f"{where} is {name[:40]!r}, expected a `{what}`"


def _repeated(where: str, names: Sequence[object]) -> Iterator[str]:
    first = {name: n for n, name in reversed(list(enumerate(names)))}
    for n, name in enumerate(names):
        if first[name] != n:
            yield f"{where.format(n)} repeats {where.format(first[name])}"


def _reversed(where: str, limits: tuple[float | None, float | None] | None) -> Iterator[str]:
    low, high = limits or (None, None)
    if low is not None and high is not None and low > high:
        yield f"{where} has low {low} and high {high}, expected low to be at most high"
