"""Put models side by side and measure how well each forgot."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version

import numpy as np
import torch
from torch import nn

from unregress.case import Case, Split
from unregress.errors import DataError, ModelError, SettingError, UnregressError, raise_all
from unregress.evidence import AuditedModel, AuditReport, Figure, Measure, Role
from unregress.methods.base import Unlearned
from unregress.metrics import (
    Anamnesis,
    Deviation,
    Errors,
    Membership,
    Metric,
    Panel,
    Subject,
    Wasserstein,
)
from unregress.predictions import Predictions, collect
from unregress.preflight import quick_check
from unregress.request import Index
from unregress.runtime import Runtime

Candidate = nn.Module | Unlearned
FEW = 30
"""Fewer forgotten samples than this make distributions and shares coarse; the report says so."""


def default_metrics() -> tuple[Metric, ...]:
    """The paper's metrics, with the settings of this library's defaults."""
    return (Errors(), Wasserstein(), Deviation(), Membership(), Anamnesis())


def audit(
    case: Case,
    models: Mapping[str, Candidate],
    runtime: Runtime,
    *,
    original: str = "original",
    gold: str = "retrained",
    floor: Sequence[Candidate] = (),
    metrics: Sequence[Metric] | None = None,
    caveats: Sequence[str] = (),
) -> AuditReport:
    """Measure every model against the retrained one.  No model is changed.

    Args:
        case: what was to be forgotten, and the data; its `test` split is needed.
        models: the models by name, the original and the retrained one among them.  What a method handed
            back (`Unlearned`) brings its method, deviations and cost into the report; a bare module does not.
        runtime: where to measure, and the seed of attacks and relearning.
        original: name of the model before unlearning.
        gold: name of the retrained reference.
        floor: further golds that differ from the first only by seed; their distance to it is the noise floor.
        metrics: what to measure; by default `default_metrics()`.
        caveats: what else a reader of the report must know, such as a preflight's warnings.

    Raises:
        SettingError: the original or the retrained model is not among the models.
        DataError: there is no test data.
        ModelError: a model does not fit the task, or lacks the final linear layer that the attack reads.
    """
    asked = default_metrics() if metrics is None else tuple(metrics)
    _check(case, models, original, gold, floor, asked)
    candidates: list[tuple[str, Role, Candidate]] = [
        (name, "original" if name == original else "gold" if name == gold else "unlearned", model)
        for name, model in models.items()
    ]
    candidates += [(_floor_name(gold, n), "floor", model) for n, model in enumerate(floor)]
    measures: list[Measure] = []
    figures: list[Figure] = []
    with runtime.isolated("audit"):
        panel = _panel(case, candidates, runtime, features=any(metric.needs_features for metric in asked))
        for metric in runtime.track(asked, "measuring", len(asked)):
            for finding in metric.measure(panel):
                if isinstance(finding, Measure):
                    measures.append(finding)
                else:
                    figures.append(finding)
    measured = {measure.metric for measure in measures}
    about = tuple(about for metric in asked for about in metric.about if about.metric in measured)
    return AuditReport(
        version=version("unregress"),
        reason=case.request.reason,
        request_digest=case.request.digest,
        target_band=case.request.target_band,
        samples={part: len(seen) for part, seen in panel.gold.parts.items()},
        data_digest=case.data_digest,
        settings=_settings(case, runtime, asked),
        models=tuple(_audited(*candidate) for candidate in candidates),
        about=about,
        measures=tuple(measures),
        figures=tuple(figures),
        caveats=(*_caveats(panel, measures), *caveats),
    )


def _check(
    case: Case,
    models: Mapping[str, Candidate],
    original: str,
    gold: str,
    floor: Sequence[Candidate],
    metrics: Sequence[Metric],
) -> None:
    complaints: list[UnregressError] = [
        SettingError(
            f"There is no model called {name!r} among {', '.join(models) or 'the models (none)'}",
            expected=f"the {role} model under that name",
            remedy=f"Add it, or name it with `{option}=`",
        )
        for name, role, option in ((original, "original", "original"), (gold, "retrained", "gold"))
        if name not in models
    ]
    if original == gold:
        complaints.append(SettingError(f"Original and gold are both called {gold!r}", expected="two models"))
    if case.test is None or not len(case.source("test")):
        complaints.append(
            DataError(
                "The case has no test data",
                remedy="Give the `Case`, or the `Splits` of your data function, a `test` split",
            )
        )
    clashes = sorted(set(models) & {_floor_name(gold, n) for n in range(len(floor))})
    if clashes:
        complaints.append(
            SettingError(
                f"A model is called {clashes[0]!r}, as a further gold would be", remedy="Give the model another name"
            )
        )
    keys = Counter(about.metric for metric in metrics for about in metric.about)
    if repeated := [key for key, count in keys.items() if count > 1]:
        complaints.append(
            SettingError(
                f"Two metrics measure {', '.join(map(repr, repeated))}",
                expected="each measure once",
                remedy="Audit twice to compare a metric's options",
            )
        )
    raise_all(complaints)


def _floor_name(gold: str, place: int) -> str:
    return f"{gold} #{place + 2}"


def _panel(case: Case, candidates: Sequence[tuple[str, Role, Candidate]], runtime: Runtime, *, features: bool) -> Panel:
    subjects = []
    for name, role, candidate in runtime.track(candidates, "predicting", len(candidates)):
        model = candidate.model if isinstance(candidate, Unlearned) else candidate
        try:
            quick_check(case, runtime.private_copy(model), runtime)
        except ModelError as error:
            raise ModelError(f"Model {name!r}: {error.found}", expected=error.expected, remedy=error.remedy) from error
        seen = {
            split: collect(model, case.task, case.source(split), runtime, features=features) for split in _EVALUATED
        }
        subjects.append(Subject(name=name, role=role, model=model, parts=dict(_parts(case, seen))))
    group: Index = np.zeros(0, dtype=np.int64)
    if (retained := case.retained_validation()) is not None:
        group = np.setdiff1d(np.arange(len(case.source("validation"))), retained.numpy())
    return Panel(case=case, runtime=runtime, subjects=tuple(subjects), validation_group=group)


_EVALUATED: tuple[Split, ...] = ("train_eval", "test")


def _parts(case: Case, seen: Mapping[Split, Predictions]) -> Iterator[tuple[str, Predictions]]:
    """Predictions per non-empty part: retained and forgotten, of training and test data."""
    for split, name in zip(_EVALUATED, ("train", "test"), strict=True):
        group = case.group(split)
        for label, mask in (("retain", ~group), ("forget", group)):
            if mask.any():
                yield f"{name}-{label}", seen[split].at(np.flatnonzero(mask))


def _audited(name: str, role: Role, candidate: Candidate) -> AuditedModel:
    if not isinstance(candidate, Unlearned):
        return AuditedModel(name=name, role=role)
    return AuditedModel(
        name=name,
        role=role,
        method=candidate.method,
        notes=candidate.notes,
        deviations=candidate.deviations,
        cost=candidate.cost,
    )


def _settings(case: Case, runtime: Runtime, metrics: Sequence[Metric]) -> dict[str, object]:
    libraries = ("torch", "numpy", "scipy", "scikit-learn")
    return {
        "task": type(case.task).__name__,
        "metrics": [str(metric) for metric in metrics],
        "seed": runtime.seed,
        "threads": torch.get_num_threads(),
        "precision": runtime.precision,
        "device": torch.cuda.get_device_name(runtime.device) if runtime.device.type == "cuda" else runtime.device.type,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in libraries}},
    }


def _caveats(panel: Panel, measures: Sequence[Measure]) -> Iterator[str]:
    forgotten = len(panel.case.request.forget)
    further = [subject.name for subject in panel.subjects if subject.role == "floor"]
    if not further:
        yield (
            "There is a single retrained model and so no noise floor: whether a distance is large cannot be told. "
            "Retrain with other seeds and pass the models as `floor`."
        )
    elif len(further) < 4:
        yield f"The noise floor rests on {len(further)} further retrained model(s); four or more are advisable."
    if forgotten < FEW:
        yield f"Only {forgotten} samples are forgotten: shares and distributions are coarse."
    if "test-forget" not in panel.parts:
        yield (
            "No held-out samples of the forgotten kind are known (the request is not a band of targets and the case "
            "names no `test_group`), so errors on them are absent."
        )
    if not len(panel.validation_group) and any(measure.metric == "ain" for measure in measures):
        yield "Relearning was watched on the forgotten samples themselves, for want of held-out ones of their kind."
    values = {m.model: m.value for m in measures if (m.metric, m.split) == ("paired", "train-forget")}
    own = values.get(panel.original.name)
    reach = [value for name in further if (value := values.get(name)) is not None]
    if own is not None and reach and own <= max(reach):
        yield (
            "The original model is as close to the retrained model as further retrained models are: on this request "
            "nothing separates having forgotten from having done nothing."
        )
