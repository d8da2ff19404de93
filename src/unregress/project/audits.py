"""Audit the results of a project's requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from unregress.auditing.expected_verdict import expected_verdict
from unregress.auditing.pipeline import audit
from unregress.auditing.training import DeepTests, Retraining
from unregress.checks.training_trial import require_sound
from unregress.errors import SettingError
from unregress.evidence import AuditReport, ModelFile
from unregress.evidence.rule import Rule
from unregress.methods import Unlearned
from unregress.methods.unlearned import Candidate
from unregress.metrics import Metric
from unregress.project.forgotten import Forgotten, named
from unregress.training.from_scratch import training_record
from unregress.training.runtime import Runtime


def audit_models(
    models: Sequence[Forgotten],
    original: Candidate,
    retraining: Retraining,
    runtime: Runtime,
    *,
    golds: Sequence[Unlearned],
    start: nn.Module | None,
    file: ModelFile | None,
    metrics: Sequence[Metric] | None,
    deep: DeepTests | None,
    rule: Rule,
    log: Callable[[str], None],
) -> AuditReport:
    """Audit models that forgot the same request; arguments as for `Project.audit`.

    Args:
        models: the models.
        original: the model before.
        retraining: how to train golds, and how many.
        runtime: where to run.
        golds: golds that exist already.
        start: the original's initial weights; None if it has them itself, or they are unknown.
        file: the original's file; None if it is in memory.
        metrics: what to measure; None for the default metrics.
        deep: tests of the methods, with many trainings.
        rule: how verdicts are reached.
        log: receives lines of progress.

    Raises:
        SettingError: no model is given, or they are about different requests.
        ModelError: a training function ignores data, seed or start, or returns another architecture.
    """
    if not models or any(each.case.requested.digest != models[0].case.requested.digest for each in models):
        raise SettingError(
            f"{len(models)} models are given" + (", about different requests" if models else ""),
            expected="one or more results of `project.forget` for the same request",
        )
    warnings = [warning for each in models for warning in each.warnings]
    warnings += _tried(retraining, models, runtime)
    for expected in expected_verdict(models[0].case, metrics or (), len(golds) + retraining.golds, rule):
        log(f"Note: {expected}")
    judged = named(models)
    return audit(
        models[0].case,
        {"original": original, **judged},
        runtime,
        golds=list(golds),
        start=start,
        retrain=retraining,
        deep=deep,
        metrics=metrics,
        rule=rule,
        caveats=tuple(dict.fromkeys(warnings)),
        files={**({} if file is None else {"original": file}), **{name: each.file for name, each in judged.items()}},
        log=log,
    )


def _tried(retraining: Retraining, models: Sequence[Forgotten], runtime: Runtime) -> list[str]:
    """Warnings of a trial of the function that is to train golds; none if it made one of the models: it was tried then.

    Raises:
        ModelError: it fails, ignores data, seed or start, or returns another architecture.
    """
    training = retraining.recipe
    if not retraining.golds or training is None:
        return []
    records = [each.record for each in models if each.record is not None and each.record.kind == "retrained"]
    if any(record.recipe == training_record(training) for record in records):
        return []
    return require_sound(models[0].case, training, runtime)
