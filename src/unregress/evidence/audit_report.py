"""The audit report: plain data, written to and read from JSON without loss.

Tables, figures and HTML pages read an `AuditReport` and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unregress.cost import Cost
from unregress.errors import SettingError, StaleError
from unregress.evidence.contradictions import contradictions
from unregress.evidence.findings import Figure, Measurement, MetricInfo, Recheck, Trace, Verdict
from unregress.evidence.model_record import Kind, ModelRecord
from unregress.files.typed_json import Misfit, build, parse
from unregress.files.writing import content_of, write_json

if TYPE_CHECKING:
    from mlflow.entities import Run

SCHEMA = 5
"""Version of the JSON layout; incremented when a reader of the old layout would misread the new one."""

Role = Literal["original", "gold", "reference", "unlearned"]
"""`gold`: retrained without the forgotten samples, one of several that differ by their seed only; `reference`: a model
that is shown for scale and never deployed, such as a constant or a helper by itself."""
CONSTANT = "constant"
"""Name of the reference row that predicts the median of the retained targets."""
RETRAINED = "retrained"
"""Name of the golds: `retrained`, `retrained #2`, …; together, `retrained`."""
OTHER_START = "retrained, other start"
"""Name of the reference row of a retrained model with other initial weights than the original's and the golds'."""


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """The file that a verdict is about: a model's weights, or its predictions where nothing else is known of it."""

    name: str
    """File name without its folder."""
    sha256: str
    """SHA-256 of the file, as `sha256sum` prints it; empty if unknown."""
    folder: str = ""
    """Digest of the run folder that it lies in: SHA-256 of the folder's manifest; empty where there is none."""
    holds: Literal["weights", "predictions"] = field(default="weights", metadata={"may_be_missing": True})


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
    requested_by: str = field(default="", metadata={"may_be_missing": True})
    """Who asked, as the request says it; empty if not recorded."""
    requested_on: str = field(default="", metadata={"may_be_missing": True})
    """Day on which it was asked, as 2026-01-31; empty if not recorded."""
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
    """One for each model that was not retrained for comparison."""
    earlier: tuple[Recheck, ...] = ()
    """Checks of the other requests that the models were made to forget, in order."""
    caveats: tuple[str, ...] = ()
    """Limits of the numbers that a reader must know."""
    not_found: tuple[str, ...] = field(default=(), metadata={"may_be_missing": True})
    """Remarks on what the request names and the data do not hold: ids and subjects without samples, samples that are
    already gone."""
    traces: tuple[Trace, ...] = field(default=(), metadata={"may_be_missing": True})
    """What else was made from the training data and may remember forgotten samples, as far as the audit knows."""
    schema: int = field(default=SCHEMA)

    def __repr__(self) -> str:
        outcomes = ", ".join(f"{each.model}: {each.outcome}" for each in self.verdicts)
        return f"AuditReport(reason={self.reason!r}, {outcomes or 'no verdicts'}, date={self.date!r})"

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
        if (found := self.found(metric, split, model)) is None:
            raise KeyError(f"no measure {metric!r} on {split!r} for model {model!r}")
        return found

    def found(self, metric: str, split: str, model: str) -> Measurement | None:
        """One measurement; None if nothing of that name was measured."""
        place = metric, split, model
        return next((each for each in self.measures if (each.metric, each.split, each.model) == place), None)

    def value_of(self, metric: str, split: str, model: str) -> float | None:
        """The value of one measurement; None without one."""
        measure = self.found(metric, split, model)
        return None if measure is None else measure.value

    def said_unit(self, metric: str) -> str:
        """The unit that is said after each value of a metric; empty if none is, or nothing explains the metric."""
        return next((each.said_unit for each in self.about if each.metric == metric), "")

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

    def verdict(self, model: str | None = None) -> Verdict:
        """The verdict on a model.

        Args:
            model: its name; not needed if exactly one unlearned model was audited.

        Raises:
            KeyError: there is no verdict on a model of that name.
            SettingError: no name is given, and not exactly one unlearned model was audited.
        """
        if model is None:
            model = self._only_unlearned()
        for verdict in self.verdicts:
            if verdict.model == model:
                return verdict
        raise KeyError(f"no verdict on model {model!r}")

    def _only_unlearned(self) -> str:
        names = self.named("unlearned")
        if len(names) != 1:
            raise SettingError(
                f"The report is about {len(names)} unlearned models{': ' if names else ''}{', '.join(names)}",
                expected="exactly one, if the verdict is asked for without a name",
                remedy="Name the model, as in `report.verdict('original')`",
            )
        return names[0]

    def to_html(self, path: str | Path | None = None) -> str:
        """The report as one HTML page; see `unregress.render_html`."""
        from unregress.report import render_html

        return render_html(self, path)

    def model_card(self) -> str:
        """A section in Markdown for the model's card; see `unregress.model_card`."""
        from unregress.report import model_card

        return model_card(self)

    def log_mlflow(self, run: Run | None = None) -> str:
        """Log verdicts, numbers, page and JSON to a run of MLflow; see `unregress.log_mlflow`."""
        from unregress.report import log_mlflow

        return log_mlflow(self, run)

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
    return {**kept, "record": {**record, "parents": [], "taught_before": []} if text else None}
