"""Put models side by side, measure how well each forgot, and judge it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version

import torch

from unregress.auditing.assemble import assemble, held_out_answers, panel_of
from unregress.auditing.golds import Candidate
from unregress.auditing.golds import caveats as doubts
from unregress.auditing.participants import check, participants
from unregress.checks.survey import unsteady
from unregress.data.case import Case
from unregress.data.request import ForgetRequest
from unregress.errors import SettingError, UnregressError
from unregress.evidence import CONSTANT, AuditedModel, AuditReport, Figure, Measurement, ModelFile, Recheck, Role
from unregress.evidence.model_record import ModelRecord
from unregress.evidence.verdict import Rule, judge
from unregress.methods.base import Unlearned
from unregress.metrics import (
    Anamnesis,
    AttackAUC,
    Deviation,
    Errors,
    Membership,
    Metric,
    Panel,
    Representation,
    Wasserstein,
)
from unregress.metrics.findings import findings
from unregress.metrics.predictions import Predictions
from unregress.training.runtime import Runtime

BASELINE = ModelRecord(method="the median of the retained targets", kind="computed")
"""How the constant predictor, a row of every audit, is made."""


def default_metrics() -> tuple[Metric, ...]:
    """The paper's metrics and their repaired twins, with the settings of this library's defaults."""
    return (Errors(), Wasserstein(), Deviation(), AttackAUC(), Membership(), Representation(), Anamnesis())


def audit(
    case: Case,
    models: Mapping[str, Candidate],
    runtime: Runtime,
    *,
    golds: Sequence[Candidate] = (),
    original: str = "original",
    metrics: Sequence[Metric] | None = None,
    rule: Rule = Rule(),  # noqa: B008 frozen
    caveats: Sequence[str] = (),
    files: Mapping[str, ModelFile] = {},
) -> AuditReport:
    """Measure every model against retrained ones, and judge it.  No model is changed.

    Where the models were made to forget other requests too (`ForgetRequest.others`), none of their samples is used, and
    each is looked at again from predictions alone (`AuditReport.earlier`).

    Two rows are always there for scale: `constant`, which answers with the median of the retained targets whatever it
    is asked, and the helper of each model that a helper taught, by itself.

    Args:
        case: what was to be forgotten, and the data; its `test` split is needed.
        models: the models by name, the original among them.  What a method handed back (`Unlearned`) brings its
            method, deviations and cost into the report; a bare module does not.
        runtime: where to measure, and the seed of attacks and relearning.
        golds: models retrained without the forget set, that differ by their seed only.  Their distances to each other
            are the noise floor; five or more allow a verdict, see `Rule`.  Without any, the report holds what can be
            said from held-out look-alikes alone.
        original: name of the model before unlearning.
        metrics: what to measure; by default `default_metrics()`.
        rule: how to judge.
        caveats: what else a reader of the report must know, such as a preflight's warnings.
        files: the weights file of each model that was read from one, by the model's name in the report, so that the
            report says which file its verdict is about.

    Raises:
        SettingError: something given is no model, gold or metric; the original is not among the models, one of them
            has a name that the report gives itself, or a gold cannot be one: it was not retrained, or is given twice;
            a metric's findings are not what a report can show; or `SOURCE_DATE_EPOCH` is not a number of seconds.
        DataError: there is no test data.
        ModelError: a model does not fit the task.
    """
    asked, day = default_metrics() if metrics is None else metrics, today()
    if not asked:
        raise SettingError("No metric is named: nothing is measured", remedy="Leave `metrics` out for all of them")
    check(case, models, runtime, golds=golds, original=original, metrics=asked)
    candidates = participants(models, golds, original)
    names = [name for name, _, _ in candidates]
    if strangers := [name for name in files if name not in names]:
        raise SettingError(
            f"`files` names {', '.join(map(repr, strangers))}", expected=f"names of the report: {', '.join(names)}"
        )
    # A preflight refuses them; who did without shall at least read it.
    unsure = [f"{found.found}." for found in unsteady(case, runtime)]
    measures: list[Measurement] = []
    figures: list[Figure] = []
    with runtime.isolated_rng("audit"):
        features = any(metric.needs_features for metric in asked)
        panel, found = assemble(case, candidates, runtime, features=features)
        for metric in runtime.track(asked, "measuring", len(asked)):
            for finding in findings(metric, panel):
                if isinstance(finding, Measurement):
                    measures.append(finding)
                else:
                    figures.append(finding)
        others = case.requested.others
        tests = held_out_answers(panel) if others else {}
        earlier = [_looked_at_again(panel, other, tests, candidates, rule) for other in others]
    measured = {measure.metric for measure in measures}
    about = tuple(about for metric in asked for about in metric.about if about.metric in measured)
    about = tuple(replace(each, unit=panel.unit) if each.unit == "target units" else each for each in about)
    nothing = AuditedModel(name=CONSTANT, role="reference", record=BASELINE)
    report = AuditReport(
        version=version("unregress"),
        date=day,
        reason=case.requested.reason,
        request_digest=case.requested.digest,
        target_band=case.requested.target_band,
        samples={part: len(seen) for part, seen in panel.original.parts.items()},
        data_digest=case.splits.data_digest,
        settings=_settings(case, runtime, asked, rule),
        models=(*(_audited(*candidate, files) for candidate in candidates), nothing),
        about=about,
        measures=tuple(measures),
        figures=tuple(figures),
        earlier=tuple(earlier),
        caveats=(*unsure, *found, *_caveats(panel, measures, rule), *doubts(golds, models, original), *caveats),
    )
    return replace(report, verdicts=judge(report, rule))


def _looked_at_again(
    panel: Panel,
    other: ForgetRequest,
    tests: Mapping[str, Predictions],
    candidates: Sequence[tuple[str, Role, Candidate]],
    rule: Rule,
) -> Recheck:
    """The verdicts about another request that was carried out on the same models, from predictions alone."""
    found = partial(Recheck, reason=other.reason, request_digest=other.digest, samples=len(other.forget))
    try:
        again = panel_of(panel, other, tests)
        measures = [each for metric in QUICK for each in metric.measure(again) if isinstance(each, Measurement)]
    except UnregressError as error:
        return found(verdicts=(), note=f"It cannot be measured again: {error.found}.")
    known = {measure.metric for measure in measures}
    report = AuditReport(
        version="",
        reason=other.reason,
        request_digest=other.digest,
        target_band=other.target_band,
        samples={part: len(seen) for part, seen in again.original.parts.items()},
        data_digest="",
        settings={},
        models=tuple(AuditedModel(name=subject.name, role=subject.role) for subject in again.subjects),
        about=tuple(about for metric in QUICK for about in metric.about if about.metric in known),
        measures=tuple(measures),
        figures=(),
    )
    judged = [name for name, role, candidate in candidates if role == "unlearned" and _forgot(candidate, other)]
    return found(verdicts=tuple(each for each in judge(report, rule) if each.model in judged))


QUICK: tuple[Metric, ...] = (Errors(), Wasserstein(), Deviation(), AttackAUC())
"""What an earlier request is looked at again by: predictions alone, so that a long chain stays cheap."""


def _forgot(candidate: Candidate, request: ForgetRequest) -> bool:
    """Whether a model was made to forget a request; of a bare module that is not known, and taken for granted."""
    if not isinstance(candidate, Unlearned) or candidate.request is None:
        return True
    return candidate.request.left_out.issuperset(request.forget)


def today() -> str:
    """The day in UTC, or that of `SOURCE_DATE_EPOCH`, by which an audit can be repeated to the byte.

    Raises:
        SettingError: `SOURCE_DATE_EPOCH` is not a number of seconds.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.now(UTC) if given is None else datetime.fromtimestamp(int(given), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise SettingError(
            f"The environment's SOURCE_DATE_EPOCH is {given!r}", expected="a number of seconds since 1970"
        ) from error
    return moment.date().isoformat()


def _audited(name: str, role: Role, candidate: Candidate, files: Mapping[str, ModelFile]) -> AuditedModel:
    if not isinstance(candidate, Unlearned):
        return AuditedModel(name=name, role=role, file=files.get(name))
    return AuditedModel(
        name=name,
        role=role,
        record=candidate.record,
        notes=candidate.notes,
        deviations=candidate.deviations,
        cost=candidate.cost,
        file=files.get(name),
    )


def _settings(case: Case, runtime: Runtime, metrics: Sequence[Metric], rule: Rule) -> dict[str, object]:
    libraries = ("torch", "numpy", "scipy", "scikit-learn")
    return {
        "task": type(case.task).__name__,
        "metrics": [str(metric) for metric in metrics],
        "rule": asdict(rule),
        "seed": runtime.seed,
        "threads": torch.get_num_threads(),
        "processes": runtime.process_group.world_size,
        "precision": runtime.precision,
        "device": torch.cuda.get_device_name(runtime.device) if runtime.device.type == "cuda" else runtime.device.type,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in libraries}},
    }


def _caveats(panel: Panel, measures: Sequence[Measurement], rule: Rule) -> Iterator[str]:
    forgotten, golds = len(panel.case.requested.forget), len(panel.golds)
    if not golds:
        yield (
            "No model was retrained, so nothing says what a model that never saw the forgotten samples would do: no "
            "verdict is possible.  What held-out samples of their kind can tell is whether the forgotten ones still "
            "stand out among them; a model may pass that and have forgotten nothing, if it never stood out."
        )
    elif golds < rule.golds:
        yield (
            f"A verdict needs {rule.golds} retrained models, and there {'is' if golds == 1 else 'are'} {golds}: hardly "
            "a noise floor.  Retrain with other seeds."
        )
    answers = {gold.parts["train-forget"].prediction.tobytes() for gold in panel.golds}
    if len(answers) < golds:
        yield (
            "Some retrained models answer alike to the last digit, as models of one seed do, and those of a small "
            "convex problem whatever their seeds.  If the seeds are the same, the noise floor is understated: retrain "
            "with seeds that differ."
        )
    if forgotten < rule.samples:
        yield f"Only {forgotten} samples are forgotten: shares and distributions are coarse."
    if "test-forget" not in panel.parts:
        yield (
            "No held-out samples of the forgotten kind are known (the request is not a band of targets and the case "
            "names no `test_forget_like`): errors on them are absent, and attacks compare with all test samples, which "
            "are look-alikes only if the forgotten samples were drawn at random."
        )
    if not len(panel.validation_forget_like) and any(measure.metric == "relearn-steps" for measure in measures):
        yield "Relearning was watched on the forgotten samples themselves, for want of held-out ones of their kind."
