"""An audit of predictions alone, for models that are no PyTorch modules or cannot be reached."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import glob, has_magic
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

from unregress.auditing.assemble import constant_predictor, gold_names, in_common_units
from unregress.auditing.caveats import panel_caveats
from unregress.auditing.checks import check_metrics
from unregress.auditing.metadata import BASELINE, about, settings, today
from unregress.auditing.prediction_matching import PARTS, MatchedPredictions, gold_title, read_predictions
from unregress.auditing.prediction_tables import Source
from unregress.data.request import ForgetRequest
from unregress.errors import SettingError, UnregressError, raise_all
from unregress.evidence import (
    CONSTANT,
    AuditedModel,
    AuditReport,
    Figure,
    Measurement,
    ModelFile,
    Part,
    Role,
    verdict_text,
)
from unregress.evidence.rule import Rule
from unregress.evidence.verdict import judge
from unregress.files.writing import sha256_of
from unregress.metrics import EnergyDistance, Metric, default_metrics
from unregress.metrics.base import Panel, Subject
from unregress.metrics.predictions import Predictions, Values
from unregress.metrics.validation import validated_results
from unregress.tasks.adapters import TensorTask
from unregress.tasks.losses import PerSampleLoss
from unregress.training.runtime import Runtime

NO_REASON = "reason not stated"
"""The request's reason where none is given."""
_WORD_OF_THE_USER = (
    "Nothing but predictions is known of the models: that the retrained ones never saw the forgotten rows, and differ "
    "from the original's training by these rows and the seed only, is as the files' owner says."
)


def audit_predictions(
    models: Mapping[str, Source],
    *,
    golds: Sequence[Source] | str = (),
    data: Source | None = None,
    original: str = "original",
    reason: str = NO_REASON,
    loss: str | PerSampleLoss = "l1",
    metrics: Sequence[Metric] | None = None,
    rule: Rule = Rule(),  # noqa: B008 frozen
    seed: int = 0,
    caveats: Sequence[str] = (),
) -> AuditReport:
    """Audit models of which nothing but predictions is known, such as boosted trees or a model behind an API.

    Each model is a table with a row for each sample: a file (CSV, JSON lines, Parquet), a data frame, a mapping of
    columns, or an array with predictions alone.  Columns:

    * `prediction`: a number, or for several outputs `prediction_NAME` each, in the user's units;
    * `id`: by which rows are matched, in any order; without it in any table, rows are matched by their order;
    * `target` (`target_NAME`): the true value, in at least one of the tables or in `data`;
    * `part`: `train-retain`, `train-forget` (the forgotten samples), `test-retain` or `test-forget` (held-out samples
      of the forgotten kind, if any), in at least one of the tables or in `data`.

    Every metric that is a function of predictions and targets is measured.  The others are named in a caveat and in
    every verdict.  The verdict has the same criteria, limits and level as that of `unregress.audit`, which reads
    predictions only: PASS and FAIL mean the same.

    Args:
        models: the original's and the judged models' predictions, by name.
        golds: predictions of models retrained without the forgotten samples, that differ by their seed only; or a
            pattern of file names, such as "gold-*.csv".  Five or more allow a verdict.
        data: a table of targets and parts, if the tables of predictions do not have them.
        original: name of the model before unlearning.
        reason: why the samples were to be forgotten.
        loss: the loss that the models were trained on, `l1`, `mse`, `huber`, or a callable
            `(prediction, target) -> (n,)`: attacks tell members by it.
        metrics: what to measure; by default everything that predictions allow.
        rule: how to judge.
        seed: of the attacks' draws.
        caveats: further limits that a reader of the report must know.

    Raises:
        DataError: a table cannot be read or does not fit the others: rows missing, added or repeated, values that are
            no finite numbers, targets or parts that differ, no forgotten, retained or test rows; all at once.
        SettingError: the original is not among the models, a file is given twice, no file matches a pattern, or an
            option is out of range.
    """
    task = TensorTask(build_model=nn.Identity, loss=loss)
    wanted = (*default_metrics(), EnergyDistance()) if metrics is None else tuple(metrics)
    given = files_of(golds) if isinstance(golds, str) else list(golds)
    raise_all([*_wrong_names(models, len(given), original), *check_metrics(wanted), *_wrong_loss(loss)])
    day = today()
    found = read_predictions(models, given, data)
    chosen = _Metrics.of(wanted)
    runtime = Runtime(accelerator="cpu", seed=seed)
    with runtime.isolated_rng("audit"):
        panel, notes = _panel(found, original, task, runtime)
        results = [result for metric in chosen.measured for result in validated_results(metric, panel)]
    measures = tuple(result for result in results if isinstance(result, Measurement))
    request = _request(found, reason)
    files = _files(found, list(models), len(given))
    report = AuditReport(
        version=version("unregress"),
        date=day,
        reason=request.reason,
        request_digest=request.digest,
        target_band=None,
        samples={part: len(seen) for part, seen in panel.original.parts.items()},
        data_digest=_digest(found),
        settings={
            **settings("predictions alone", runtime, chosen.measured, rule),
            "loss": repr(task),
            "not measured": chosen.left_out,
        },
        models=tuple(_entry(subject, files) for subject in panel.subjects),
        about=about(chosen.measured, measures, panel.unit),
        measures=measures,
        figures=tuple(result for result in results if isinstance(result, Figure)),
        caveats=(_WORD_OF_THE_USER, *chosen.caveats(), *notes, *panel_caveats(panel, measures, rule), *caveats),
    )
    addition = verdict_text.predictions_alone(list(chosen.left_out))
    references = report.named("reference")
    verdicts = (
        each if each.model in references else replace(each, reason=f"{each.reason} {addition}".strip())
        for each in judge(report, rule)
    )
    return replace(report, verdicts=tuple(verdicts))


def files_of(patterns: str | Sequence[str]) -> list[Path]:
    """The files that patterns such as "gold-*.csv" match, sorted; a name without wildcards is kept as it is.

    Args:
        patterns: patterns or names; in a single text they are separated by commas.

    Raises:
        SettingError: a pattern matches nothing.
    """
    names = [part.strip() for part in patterns.split(",")] if isinstance(patterns, str) else list(patterns)
    found = [(name, sorted(glob(name)) if has_magic(name) else [name]) for name in names if name]
    raise_all(
        [
            SettingError(f"No file matches {name!r}", expected="at least one file", remedy="Check folder and spelling")
            for name, files in found
            if not files
        ]
    )
    return [Path(file) for _, files in found for file in files]


@dataclass(frozen=True)
class _Metrics:
    measured: tuple[Metric, ...]
    left_out: dict[str, str]
    """Why each number is not measured, by its title."""

    @classmethod
    def of(cls, wanted: Sequence[Metric]) -> _Metrics:
        """Divide the wanted metrics into what predictions allow and what they do not."""
        measured, left_out = [], {}
        for metric in wanted:
            own = metric.for_predictions()
            if own is not None:
                measured.append(own)
            if own != metric:
                inside = "it reads the final layer's activations or gradients"
                reason = inside if metric.needs_features else "it trains or runs the models themselves"
                # Of a metric that is measured in part, the rest is left out.
                left_out[metric.about[0].title if own is None else f"{metric.about[0].title} (in full)"] = reason
        if not measured:
            raise SettingError(
                "None of the metrics can be measured from predictions alone",
                remedy="Leave `metrics` out for all that can",
            )
        return cls(tuple(measured), left_out)

    def caveats(self) -> Iterator[str]:
        """A caveat about what could not be measured, if there is anything."""
        if self.left_out:
            listed = "; ".join(f"{title}, because {why}" for title, why in self.left_out.items())
            yield f"Could not be measured from predictions alone: {listed}."


def _wrong_names(models: Mapping[str, Source], golds: int, original: str) -> Iterator[UnregressError]:
    if original not in models:
        yield SettingError(
            f"There is no model called {original!r} among {', '.join(models) or 'the models (none)'}",
            expected="the original model's predictions under that name",
            remedy="Add them, or name them with `original`",
        )
    reserved = [CONSTANT, *gold_names(max(1, golds)), *map(gold_title, range(1, golds + 1)), "data"]
    if clashes := [name for name in models if name in reserved]:
        yield SettingError(
            f"A model is called {clashes[0]!r}, a name that the report itself uses",
            remedy="Give the model another name",
        )


def _wrong_loss(loss: str | PerSampleLoss) -> Iterator[UnregressError]:
    if loss == "quantile":
        # Its levels would be further predictions of each sample.
        yield SettingError("The loss is quantile, and there is one prediction", expected="l1, mse, huber or a callable")


def _panel(found: MatchedPredictions, original: str, task: TensorTask, runtime: Runtime) -> tuple[Panel, list[str]]:
    """The panel of the models and the constant baseline, and caveats."""
    roles: dict[str, Role] = {name: "original" if name == original else "unlearned" for name in found.models}
    named = {**found.models, **dict(zip(gold_names(len(found.golds)), found.golds, strict=True))}
    subjects = [
        Subject(name=name, role=roles.get(name, "gold"), model=None, parts=_parts(name, seen, found, task))
        for name, seen in named.items()
    ]
    like = next(subject for subject in subjects if subject.role == "original")
    subjects, units, caveats = in_common_units([*subjects, constant_predictor(task, like)])
    panel = Panel(
        case=None,
        runtime=runtime,
        subjects=tuple(subjects),
        validation_forget_like=np.zeros(0, dtype=np.int64),
        units=units,
    )
    return panel, caveats


def _parts(name: str, seen: Values, found: MatchedPredictions, task: TensorTask) -> dict[Part, Predictions]:
    """One model's predictions by part; positions are counted within training and test rows."""
    loss = task.checked_loss(torch.from_numpy(seen), torch.from_numpy(found.target)).double().numpy()
    position = (
        np.where(is_train := np.char.startswith(found.part, "train"), is_train.cumsum(), (~is_train).cumsum()) - 1
    )
    masks = {part: found.part == part for part in PARTS}
    return {
        part: Predictions(index=position[mask], prediction=seen[mask], target=found.target[mask], loss=loss[mask])
        for part, mask in masks.items()
        if mask.any()
    }


def _request(found: MatchedPredictions, reason: str) -> ForgetRequest:
    """The request that the parts state: positions among the training rows."""
    training = found.part[np.char.startswith(found.part, "train")]
    return ForgetRequest(
        size=len(training), forget=tuple(np.flatnonzero(training == "train-forget").tolist()), reason=reason
    )


def _digest(found: MatchedPredictions) -> str:
    """SHA-256 over ids, parts and targets, row by row."""
    digest = hashlib.sha256()
    for identity, part, target in zip(found.ids, found.part, found.target, strict=True):
        digest.update(f"{len(identity)} {identity} {part} ".encode("utf-8", "surrogatepass") + target.tobytes())
    return digest.hexdigest()


def _files(found: MatchedPredictions, judged: Sequence[str], golds: int) -> dict[str, ModelFile]:
    """The file of predictions of each model that was read from one, by its name in the report."""
    titles = [*judged, *map(gold_title, range(1, golds + 1))]
    named = dict(zip(titles, [*judged, *gold_names(golds)], strict=True))
    return {
        named[title]: ModelFile(name=path.name, sha256=sha256_of(path), holds="predictions")
        for title, path in found.paths.items()
    }


def _entry(subject: Subject, files: Mapping[str, ModelFile]) -> AuditedModel:
    record = BASELINE if subject.name == CONSTANT else None
    return AuditedModel(name=subject.name, role=subject.role, record=record, file=files.get(subject.name))
