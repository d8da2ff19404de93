"""The audit: check the arguments, train golds on request, predict with all models, measure, and judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import NamedTuple

from torch import nn

from unregress.auditing.assemble import assemble, gold_names, participants
from unregress.auditing.caveats import as_sentences, gold_caveats, panel_caveats, unexamined_caveat
from unregress.auditing.checks import check
from unregress.auditing.coupled import coupling_caveats, initial_weights, require_starts, start_of, starts_of
from unregress.auditing.earlier_requests import recheck
from unregress.auditing.estimates import announce_measuring
from unregress.auditing.judging_table import unknown_teachers, with_judge
from unregress.auditing.metadata import BASELINE, about, audited_model, settings, today
from unregress.auditing.near_duplicates import near_duplicates_caveat
from unregress.auditing.traces import traces_in_data, traces_in_models, traces_in_store
from unregress.auditing.training import DeepTests, Log, Retraining, TrainedGold, announce_deep_tests, train_golds
from unregress.checks.survey import nondeterministic_splits
from unregress.data.case import Case
from unregress.errors import SettingError
from unregress.evidence import CONSTANT, OTHER_START, AuditedModel, AuditReport, Figure, Measurement, ModelFile, Trace
from unregress.evidence.rule import Rule
from unregress.evidence.verdict import judge
from unregress.methods.unlearned import Candidate
from unregress.metrics import Metric, default_metrics
from unregress.metrics.deep.base import DeepMetric
from unregress.metrics.memory_kept import MemoryKept
from unregress.metrics.output_errors import output_errors
from unregress.metrics.validation import validated_results
from unregress.runs.digests import file_of
from unregress.tasks.weights import weights_of
from unregress.training.runtime import Runtime


def audit(
    case: Case,
    models: Mapping[str, Candidate],
    runtime: Runtime,
    *,
    golds: Sequence[Candidate] = (),
    retrain: Retraining | None = None,
    deep: DeepTests | None = None,
    original: str = "original",
    start: nn.Module | None = None,
    metrics: Sequence[Metric] | None = None,
    rule: Rule = Rule(),  # noqa: B008 frozen
    caveats: Sequence[str] = (),
    files: Mapping[str, ModelFile] = {},
    not_found: Sequence[str] = (),
    traces: Sequence[Trace] = (),
    log: Log | None = None,
) -> AuditReport:
    """Compare every model with retrained ones, and judge how well it forgot.  No model is changed.

    Where the models were made to forget other requests too (`ForgetRequest.others`), none of their samples is used, and
    each of these requests is checked again from predictions alone (`AuditReport.earlier`).

    Reference rows are added for scale: `constant`, a baseline that predicts the median of the retained targets, the
    helper model of each method that used one, and where golds start from the original's own initial weights a retrained
    model with others, by which the coupling is measured.

    Args:
        case: the request and the data; its `test` split is needed.
        models: the original and the models to judge, by name.  A method's result (`Unlearned`) brings its method,
            deviations and cost into the report; a bare module does not.
        runtime: where to compute, and the seed of attacks and relearning.
        golds: models retrained without the forget set, that differ by their seed only.  Their distances to each other
            are the noise floor; five or more allow a verdict, see `Rule`.  Without any, the report is limited to
            what held-out samples can show.
        retrain: how to train further golds; None trains none.
        deep: tests of the methods themselves, with many trainings by the recipe of `retrain`; None for no such tests.
        original: name of the model before unlearning.
        start: the original's initial weights, from which golds start too (`Retraining.coupled`); None if the original
            has them itself (`Unlearned.start`), or they are unknown.
        metrics: what to measure; by default `unregress.metrics.default_metrics()`.
        rule: how to judge.
        caveats: further limits that a reader of the report must know, such as a preflight's warnings.
        files: the weights file of each model that was read from one, by the model's name in the report, so that the
            report says which file its verdict is about.
        not_found: further remarks on what the request names and the data do not hold, besides the request's own.
        traces: what else may remember the forgotten samples, besides the models of this audit.
        log: receives lines of progress, such as how long trainings will take.

    Raises:
        SettingError: an argument is not a model, gold or metric; the original is not among the models, one of them has
            a name that the report itself uses; a gold was not retrained, or is given twice; the recipe of golds to
            train is not named; a metric's findings are not what a report can show, or its leave-out table taught a
            model; `start` differs from the original's record, or is trained; `SOURCE_DATE_EPOCH` is no number.
        DataError: there is no test data.
        StaleError: a metric's leave-out table belongs to another model or to other data.
        ModelError: a model does not fit the task.
        JobsError: the training of a gold failed.
    """
    job = AuditJob(
        case=case,
        models=models,
        runtime=runtime,
        golds=golds,
        retrain=retrain,
        deep=deep,
        original=original,
        start=start,
        metrics=default_metrics() if metrics is None else metrics,
        rule=rule,
        caveats=caveats,
        files=files,
        not_found=not_found,
        traces=traces,
        log=log,
    )
    return job.run().report


class AuditResult(NamedTuple):
    """The report of an audit, and the golds that it trained."""

    report: AuditReport
    trained: list[TrainedGold]
    """The golds, and the model of other initial weights if one was needed."""


@dataclass(frozen=True, kw_only=True)
class AuditJob:
    """One audit before it is run; the fields are the arguments of `audit`."""

    case: Case
    models: Mapping[str, Candidate]
    runtime: Runtime
    golds: Sequence[Candidate] = ()
    retrain: Retraining | None = None
    deep: DeepTests | None = None
    original: str = "original"
    start: nn.Module | None = None
    references: Mapping[str, Candidate] = field(default_factory=dict)
    """Retrained models that are shown for scale and are no golds, by name."""
    metrics: Sequence[Metric]
    rule: Rule = field(default_factory=Rule)
    caveats: Sequence[str] = ()
    files: Mapping[str, ModelFile] = field(default_factory=dict)
    not_found: Sequence[str] = ()
    traces: Sequence[Trace] = ()
    log: Log | None = None

    def check(self) -> None:
        """Refuse everything that can be refused before anything is trained or measured.

        Raises:
            UnregressError: as `audit` raises.
        """
        today()
        if not self.metrics:
            raise SettingError("No metric is named: nothing is measured", remedy="Leave `metrics` out for all of them")
        if self.retrain is not None:
            self.retrain.require_possible(self.case, self.runtime)
        further = 0 if self.retrain is None else self.retrain.golds
        check(
            self.case,
            self.models,
            self.runtime,
            golds=self.golds,
            original=self.original,
            metrics=self.metrics,
            deep=self._deep_metrics(),
            further=further,
            references=self.references,
        )
        require_starts(self.models[self.original], self.start, self.retrain)
        known = {
            *(name for name, _, _ in participants(self.models, self.golds, self.original, self.references)),
            *gold_names(len(self.golds) + further),
        }
        if unknown := [name for name in self.files if name not in known]:
            raise SettingError(
                f"`files` names {', '.join(map(repr, unknown))}",
                expected=f"names of the report: {', '.join(sorted(known))}",
            )

    def run(self) -> AuditResult:
        """Check, train golds on request, measure and judge.

        Raises:
            UnregressError: as `audit` raises.
        """
        self.check()
        deep, given = self._deep_metrics(), len(self.golds)
        there = len(participants(self.models, self.golds, self.original, self.references))
        if self.retrain is None:
            announce_measuring(self.metrics, there, self.case, self.runtime, self.log)
            return AuditResult(self._report(), [])
        retrain = self._coupled(self.retrain)
        announce_deep_tests(deep, retrain, self.case, self.runtime, self.log)
        names = gold_names(given + retrain.golds)[given:]
        other = self._needs_other_start(retrain)
        announce_measuring(self.metrics, there + len(names) + other, self.case, self.runtime, self.log)
        trained = train_golds(names, retrain, self.case, self.runtime, self.log, other_start=other)
        if trained and other and start_of(trained[-1].model) == start_of(trained[0].model):
            trained = trained[:-1]  # every model has the same initial weights
        job = replace(
            self,
            golds=[*self.golds, *(gold.model for gold in trained if gold.name != OTHER_START)],
            references={gold.name: gold.model for gold in trained if gold.name == OTHER_START},
            retrain=None,
            deep=None,
            metrics=[*self.metrics, *deep],
            caveats=[*self.caveats, *self._deep_caveats()],
            traces=[*self.traces, *traces_in_store(retrain, self.deep)],
            files={**self.files, **{gold.name: file_of(gold.folder) for gold in trained if gold.folder is not None}},
        )
        if trained:
            job.check()
        return AuditResult(job._report(), trained)

    def _coupled(self, retrain: Retraining) -> Retraining:
        """The trainings of golds from the original's own initial weights, where these are known and it is asked for."""
        start, _ = initial_weights(self.models[self.original], self.start)
        if start is None or retrain.start is not None or not retrain.coupled:
            return retrain
        coupled = replace(retrain, start=start)
        coupled.require_possible(self.case, self.runtime)
        return coupled

    def _needs_other_start(self, retrain: Retraining) -> bool:
        """Whether a model of other initial weights must be trained, to measure the coupling of the golds to train."""
        _, own = initial_weights(self.models[self.original], self.start)
        if retrain.start is None or not retrain.golds or weights_of(retrain.start) != own:
            return False
        return not starts_of(own, self.golds, {}).others

    def _deep_metrics(self) -> tuple[DeepMetric, ...]:
        if self.deep is None:
            return ()
        if self.retrain is None:
            raise SettingError(
                "`deep` is given without `retrain`",
                expected="how originals are trained, which deep tests do many times",
                remedy="Add `retrain=Retraining(recipe=...)`, with `golds=0` if no further golds are wanted",
            )
        return self.deep.metrics(self.retrain)

    def _deep_caveats(self) -> list[str]:
        if self.deep is None:
            return []
        tested = self.deep.methods
        return unexamined_caveat([name for name in self.models if name != self.original and name not in tested])

    def _report(self) -> AuditReport:
        """Predict with all models, measure and judge."""
        case, runtime, rule = self.case, self.runtime, self.rule
        models = participants(self.models, self.golds, self.original, self.references)
        _, start = initial_weights(self.models[self.original], self.start)
        starts = starts_of(start, self.golds, self.references)
        # A preflight refuses such data; without one they become a caveat.
        unstable = [f"{found.found}." for found in nondeterministic_splits(case, runtime)]
        metrics = with_judge([*self.metrics, *output_errors(case.task.outputs), *starts.metrics])
        with runtime.isolated_rng("audit"):
            panel, found = assemble(case, models, runtime, features=any(metric.needs_features for metric in metrics))
            tracked = runtime.track(metrics, "measuring", len(metrics))
            results = [result for metric in tracked for result in validated_results(metric, panel)]
            earlier = recheck(panel, models, rule, [each for each in metrics if isinstance(each, MemoryKept)])
        measures = tuple(result for result in results if isinstance(result, Measurement))
        constant = AuditedModel(name=CONSTANT, role="reference", record=BASELINE)
        report = AuditReport(
            version=version("unregress"),
            date=today(),
            reason=case.requested.reason,
            requested_by=case.requested.requested_by,
            requested_on=case.requested.requested_on,
            request_digest=case.requested.digest,
            target_band=case.requested.target_band,
            samples={part: len(seen) for part, seen in panel.original.parts.items()},
            data_digest=case.splits.data_digest,
            settings=settings(type(case.task).__name__, runtime, metrics, rule),
            models=(*(audited_model(*model, self.files) for model in models), constant),
            about=about(metrics, measures, panel.unit),
            measures=measures,
            figures=tuple(result for result in results if isinstance(result, Figure)),
            earlier=tuple(earlier),
            caveats=(
                *unstable,
                *found,
                *coupling_caveats(starts, len(self.golds), measures),
                *panel_caveats(panel, measures, rule),
                *near_duplicates_caveat(panel),
                *gold_caveats(self.golds, self.models, self.original),
                *unknown_teachers(metrics, models, measures),
                *self.caveats,
            ),
            not_found=as_sentences(*case.requested.not_found, *self.not_found),
            traces=(
                *traces_in_models(self.models, self.original, self.files),
                *traces_in_data(case.splits.fitted),
                *self.traces,
            ),
        )
        return replace(report, verdicts=judge(report, rule))
