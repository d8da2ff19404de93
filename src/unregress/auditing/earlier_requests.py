"""Recheck earlier requests: whether the audited models still behave as if they had forgotten them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from unregress.auditing.assemble import Participant, constant, split_parts
from unregress.auditing.metadata import about
from unregress.data.request import ForgetRequest
from unregress.errors import UnregressError
from unregress.errors.wording import within_sentence
from unregress.evidence import AuditedModel, AuditReport, Measurement, Part, Recheck
from unregress.evidence.rule import Rule
from unregress.evidence.verdict import judge
from unregress.methods.unlearned import Candidate, Unlearned
from unregress.metrics import AttackAUC, Deviation, Errors, Memory, Metric, Wasserstein
from unregress.metrics.base import Panel
from unregress.metrics.collect import collect
from unregress.metrics.memory_kept import MemoryKept
from unregress.metrics.predictions import Predictions

QUICK: tuple[Metric, ...] = (Errors(), Wasserstein(), Deviation(), AttackAUC(), Memory())
"""The metrics of an earlier request: they read predictions alone, so that a long chain of requests stays cheap."""
_UNTOLD = (
    "The leave-out table cannot recheck this request: {why}. Only models that were retrained without its samples can "
    "tell whether they come back."
)


def recheck(
    panel: Panel, models: Sequence[Participant], rule: Rule, tables: Sequence[MemoryKept] = ()
) -> list[Recheck]:
    """Judge the models again about every other request of the case that was carried out on them.

    Args:
        panel: the audited models.
        models: the models with their records, by name and role.
        rule: how to judge.
        tables: the leave-out table that the audit compares with, if any; it rechecks requests whose samples it still
            has.
    """
    others = [other for other in panel.required_case.requested.others if other.forget]
    if not others:
        return []
    tests = held_out_predictions(panel)
    return [_recheck(panel, other, tests, models, rule, tables) for other in others]


def held_out_predictions(panel: Panel) -> dict[str, Predictions]:
    """Every model's predictions for all test samples, by the model's name; they are the same for every request."""
    case, runtime = panel.required_case, panel.runtime
    return {
        subject.name: collect(subject.model, case.task, case.splits.source("test"), runtime)
        for subject in panel.subjects
        if subject.model is not None
    }


def panel_for(panel: Panel, other: ForgetRequest, tests: Mapping[str, Predictions]) -> Panel:
    """Create the panel of another request: the same models and retained samples, with that request's forgotten samples.

    Args:
        panel: the panel of the audited request.
        other: one of `panel.required_case.requested.others`.
        tests: from `held_out_predictions`.

    Raises:
        DataError: targets of the other request's samples cannot be used any more.
        ModelError: predictions for these samples are not finite, for example because their inputs were overwritten.
    """
    own, runtime = panel.required_case.requested, panel.runtime
    rest = [each for each in own.others if each is not other]
    request = other.beside(*rest, replace(own, others=()))
    case = replace(panel.required_case, request=request, validation_forget_like=None, test_forget_like=None)
    rows = np.asarray(request.forget, np.int64)
    subjects = []
    for subject in panel.subjects:
        if subject.model is None:
            continue
        seen: dict[Part, Predictions] = {
            "train-forget": collect(subject.model, case.task, case.source("train_eval"), runtime, rows=rows)
        }
        seen |= dict(split_parts(case, {"test": tests[subject.name]}))
        parts = {name: found.in_units(panel.units) if panel.units.size > 1 else found for name, found in seen.items()}
        subjects.append(replace(subject, parts={"train-retain": subject.parts["train-retain"], **parts}))
    original = next(subject for subject in subjects if subject.role == "original")
    subjects.append(constant(case, original, runtime))
    return replace(panel, case=case, subjects=tuple(subjects), validation_forget_like=np.zeros(0, dtype=np.int64))


def _recheck(
    panel: Panel,
    other: ForgetRequest,
    tests: Mapping[str, Predictions],
    models: Sequence[Participant],
    rule: Rule,
    tables: Sequence[MemoryKept],
) -> Recheck:
    """The verdicts about one other request, from predictions alone."""
    found = partial(Recheck, reason=other.reason, request_digest=other.digest, samples=len(other.forget))
    try:
        other_panel = panel_for(panel, other, tests)
        refused = [why for table in tables if (why := table.doubt(other_panel.required_case))]
        metrics: tuple[Metric, ...] = (*QUICK, *(() if refused else tables))
        measures = [each for metric in metrics for each in metric.measure(other_panel) if isinstance(each, Measurement)]
    except UnregressError as error:
        return found(verdicts=(), note=f"It cannot be measured again: {error.found}.")
    report = AuditReport(
        version="",
        reason=other.reason,
        request_digest=other.digest,
        target_band=other.target_band,
        samples={part: len(seen) for part, seen in other_panel.original.parts.items()},
        data_digest="",
        settings={},
        models=tuple(AuditedModel(name=subject.name, role=subject.role) for subject in other_panel.subjects),
        about=about(metrics, measures, other_panel.unit),
        measures=tuple(measures),
        figures=(),
    )
    judged = [name for name, role, candidate in models if role == "unlearned" and _forgot(candidate, other)]
    return found(
        verdicts=tuple(each for each in judge(report, rule) if each.model in judged),
        note=_UNTOLD.format(why=within_sentence(refused[0])) if refused and not panel.golds else "",
    )


def _forgot(candidate: Candidate, request: ForgetRequest) -> bool:
    """Whether a model was made to forget a request; a bare module, whose record is unknown, is assumed to be."""
    if not isinstance(candidate, Unlearned) or candidate.request is None:
        return True
    return candidate.request.left_out.issuperset(request.forget)
