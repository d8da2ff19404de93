"""The audit report: plain data, written to and read from JSON without loss.

Tables, figures and HTML pages read an `AuditReport` and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

from unregress.cost import Cost
from unregress.errors import StaleError
from unregress.evidence.findings import Figure, Measurement, MetricInfo, Recheck, Verdict
from unregress.evidence.model_record import Kind, ModelRecord
from unregress.files.typed_json import Misfit, build, parse
from unregress.files.writing import content_of, write_json

SCHEMA = 5
"""Version of the JSON layout; incremented when a reader of the old layout would misread the new one."""

Role = Literal["original", "gold", "reference", "unlearned"]
"""`gold`: retrained without the forgotten samples, one of several that differ by their seed only; `reference`: a model
that is shown for scale and never deployed, such as a constant or a helper by itself."""
CONSTANT = "constant"
"""Name of the reference row that predicts the median of the retained targets."""
RETRAINED = "retrained"
"""Name of the golds: `retrained`, `retrained #2`, …; together, `retrained`."""


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """The weights file that a verdict is about."""

    name: str
    """File name without its folder."""
    sha256: str
    """SHA-256 of the file, as `sha256sum` prints it; empty if unknown."""
    folder: str = ""
    """Digest of the run folder that it lies in: SHA-256 of the folder's manifest; empty where there is none."""


@dataclass(frozen=True, kw_only=True)
class AuditedModel:
    """One audited model and how it was made."""

    name: str
    role: Role
    record: ModelRecord | None = None
    """How the model was made; None if unknown."""
    notes: tuple[str, ...] = ()
    """Remarks of the method, such as settings that it chose by itself."""
    deviations: tuple[str, ...] = ()
    """Differences from the method as the paper describes it."""
    cost: Cost | None = None
    file: ModelFile | None = None
    """None for a model that was audited from memory."""


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """Everything that an audit found, with the request, the data and the settings that it is about."""

    version: str
    """Version of unregress that made the report."""
    date: str = ""
    """Day of the audit, in UTC, as 2026-01-31; empty if not recorded."""
    reason: str
    request_digest: str
    target_band: tuple[float | None, float | None] | None
    samples: dict[str, int]
    """Number of samples per part of the data: `train-retain`, `train-forget`, `test-retain`, …"""
    data_digest: str
    """SHA-256 over the training set's content, to tell datasets apart."""
    settings: dict[str, Any]
    """Task, loss, seed, device, precision and library versions."""
    models: tuple[AuditedModel, ...]
    about: tuple[MetricInfo, ...]
    measures: tuple[Measurement, ...]
    figures: tuple[Figure, ...]
    verdicts: tuple[Verdict, ...] = ()
    """One for each model that is not a gold."""
    earlier: tuple[Recheck, ...] = ()
    """Checks of the other requests that the models were made to forget, in order."""
    caveats: tuple[str, ...] = ()
    """Limits of the numbers that a reader must know."""
    schema: int = field(default=SCHEMA)

    def value(self, metric: str, split: str, model: str) -> float | None:
        """The value of one measurement.

        Raises:
            KeyError: nothing of that name was measured.
        """
        return self.measure(metric, split, model).value

    def measure(self, metric: str, split: str, model: str) -> Measurement:
        """One measurement, with its bound and note.

        Raises:
            KeyError: nothing of that name was measured.
        """
        for measure in self.measures:
            if (measure.metric, measure.split, measure.model) == (metric, split, model):
                return measure
        raise KeyError(f"no measure {metric!r} on {split!r} for model {model!r}")

    def rows(self) -> Iterator[tuple[MetricInfo, str]]:
        """The distinct (metric, split) pairs in the order in which they were measured."""
        known = {about.metric: about for about in self.about}
        for metric, split in dict.fromkeys((m.metric, m.split) for m in self.measures):
            yield known[metric], split

    def over_golds(self, metric: str, split: str) -> list[float]:
        """The golds' values of one measurement: for a distance to the golds, the noise floor; empty without golds."""
        found = (m for m in self.measures if (m.metric, m.split) == (metric, split) and m.model in self.golds)
        return [m.value for m in found if m.value is not None]

    def named(self, *roles: Role) -> list[str]:
        """The names of the models of some roles, in order."""
        return [model.name for model in self.models if model.role in roles]

    @property
    def golds(self) -> list[str]:
        """The names of the golds."""
        return self.named("gold")

    def verdict(self, model: str) -> Verdict:
        """The verdict on a model.

        Raises:
            KeyError: there is no verdict on a model of that name.
        """
        for verdict in self.verdicts:
            if verdict.model == model:
                return verdict
        raise KeyError(f"no verdict on model {model!r}")

    def to_json(self, path: str | Path) -> None:
        """Write the report; the same report gives the same bytes.

        Raises:
            RunFolderError: the file cannot be written.
        """
        write_json(Path(path), asdict(self))

    @classmethod
    def from_json(cls, path: str | Path) -> AuditReport:
        """Read what `to_json` wrote; equal to the report that was written.

        Reports of layouts 3 and 4 are read too, since evidence is kept for years: the text that they hold on how a
        model was made becomes the `method` of its record, without settings.

        Raises:
            StaleError: the file is not an audit report, one of another layout, or one whose fields are missing,
                unknown, of another type or contradict each other: the message names the fields.
        """
        remedy = "Point to an `audit.json` that this version of unregress wrote, or audit again"
        try:
            data = _in_present_layout(parse(content_of(Path(path))))
            if not isinstance(data, dict) or "schema" not in data:
                raise Misfit(["it is not an object with a field `schema`"])
            if (schema := build(int, data["schema"], "schema")) != SCHEMA:
                raise StaleError(f"{path} has the `schema` {schema}", expected=f"layout {SCHEMA}", remedy=remedy)
        except OSError as error:
            raise StaleError(f"{path} cannot be read: {error.strerror}", remedy=remedy) from error
        except Misfit as error:
            raise StaleError(f"{path} is not an audit report: {error}", remedy=remedy) from error
        try:
            report = build(cls, data)
            if found := list(contradictions(report)):
                raise Misfit(found)
        except Misfit as error:
            raise StaleError(f"{path} is not a complete audit report: {error}", remedy=remedy) from error
        return report


def _in_present_layout(data: Any) -> Any:
    """Convert a report of layout 3 or 4; anything else is returned as it is."""
    if not isinstance(data, dict) or data.get("schema") not in (3, 4) or not isinstance(data.get("models"), list):
        return data
    models = [_with_record(model) if isinstance(model, dict) else model for model in data["models"]]
    return {"date": "", "earlier": [], **data, "models": models, "schema": SCHEMA}


def _with_record(model: dict[str, Any]) -> dict[str, Any]:
    """Convert a model of layout 3 or 4, which tells in a text how it was made."""
    kinds: dict[object, Kind] = {"gold": "retrained", "original": "trained", "reference": "computed"}
    kept = {"file": None, **model}
    text = kept.pop("method", "")
    if not isinstance(text, str):
        return {**kept, "record": text}  # refused with the name of its field
    record = asdict(ModelRecord(method=text, kind=kinds.get(model.get("role"), "unlearned")))
    return {**kept, "record": {**record, "parents": []} if text else None}


def contradictions(report: AuditReport) -> Iterator[str]:
    """Yield a message for each contradiction between fields: a page made from such a report would be wrong."""
    models, metrics = [model.name for model in report.models], [about.metric for about in report.about]
    yield from _repeated("models[{}].name", models)
    yield from _repeated("about[{}].metric", metrics)
    if report.models and len(report.named("original")) != 1:
        yield f"models holds {len(report.named('original'))} of role 'original', expected 1"
    if report.date and not _is_date(report.date):
        yield f"date is {report.date[:40]!r}, expected a day as 2026-01-31"
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
    for name, digest in (("sha256", model.file.sha256), ("folder", model.file.folder)):
        if digest and not re.fullmatch("[0-9a-f]{64}", digest):
            yield f"{where}.file.{name} is {digest[:40]!r}, expected 64 hexadecimal digits, or nothing"


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


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
