"""Run an experiment: train, retrain, unlearn and audit under several seeds, with a store as cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from unregress.auditing.pipeline import audit
from unregress.checks.preflight import preflight
from unregress.data.case import Case
from unregress.data.request import ForgetRequest, Mask
from unregress.data.splits import HELD_OUT, Split
from unregress.data.subsets import subset
from unregress.errors import SettingError
from unregress.evidence import AuditReport
from unregress.evidence.rule import Rule
from unregress.evidence.verdict import judge
from unregress.experiments.experiment import Experiment, Settings
from unregress.experiments.families.base import Family, Loaded
from unregress.methods import Method
from unregress.metrics import Anamnesis, Deviation, Errors, Metric, default_metrics
from unregress.parallel.jobs import run_all
from unregress.retraining.fingerprint import case_fingerprint, forget_like_digest, fresh_of
from unregress.retraining.model_factory import ModelFactory, StoredModel
from unregress.retraining.model_store import Store
from unregress.training.runtime import Runtime

APART = 1000
"""How far the seeds of two repetitions are apart."""
SHORT = (Errors(), Deviation())
"""What is measured of every repetition but the first, whose audit has it too."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The audits of an experiment."""

    stages: tuple[tuple[AuditReport, ...], ...]
    """For each request in order, one audit per seed."""
    notes: tuple[str, ...]
    """Notes of the data's reader, and warnings of the preflight."""
    repeated: tuple[tuple[tuple[AuditReport, ...], ...], ...] = ()
    """For each request and seed, errors and distances of every repetition; empty without repetitions."""


def reproduce(
    experiment: Experiment,
    family: Family,
    loaded: Loaded,
    settings: Settings,
    *,
    seeds: int,
    golds: int,
    store: Store,
    runtime: Runtime,
    repetitions: int = 1,
    workers: int = 1,
) -> Outcome:
    """Run an experiment; models and audits that are in the store are loaded.

    Every method starts from each original, one per seed.  Golds have the seeds after the first, and every audit
    compares with all golds.  With several requests each method continues from its own previous model, and requests are
    cumulative: a later request includes the samples of the earlier ones, so that no later step can train on them again.

    Args:
        experiment: the samples to forget, and the methods.
        family: the data's description.
        loaded: the data.
        settings: recipes and methods.
        seeds: number of originals, each with its own run of every method.
        golds: number of retrained models; five or more allow a verdict.
        store: cache of models and audits.
        runtime: device and precision; its seed is the first one.
        repetitions: number of times that each method unlearns each original, with seeds of their own.  The first is
            audited and continued; of the others errors and distances are measured, which tells the variance of training
            from that of unlearning (`variance`).
        workers: number of trainings in parallel.  Several workers compute on one CPU thread each, see `run_all`; a
            single one uses PyTorch's number of threads, and gives the same bits only if that is one.

    Raises:
        SettingError: a number is below 1, or a later request leaves out samples of an earlier one.
        JobsError: with several workers, some trainings failed; the others are stored.
        UnregressError: as raised by trainings and audits.
    """
    if seeds < 1 or golds < 1:
        raise SettingError(f"seeds is {seeds} and golds {golds}", expected="1 or more of each")
    if workers < 1 or repetitions < 1:
        raise SettingError(f"workers is {workers} and repetitions {repetitions}", expected="1 or more of each")
    cases = _cases(experiment, loaded, settings)
    notes = list(loaded.notes)
    for case in cases:
        # The published splits share a few samples: report this, but do not stop.
        found = preflight(case, runtime, allow_overlap=True).warnings
        notes += [warning for warning in found if warning not in notes]
    methods = experiment.chosen(settings, family.layers)
    run = _Run(experiment, family, settings, store, runtime, workers)
    factories = [run.factory(case).for_workers(workers) for case in cases]
    originals, *retrained = run.references(factories, seeds, golds)
    current = {(seed, name): originals[seed] for seed in range(seeds) for name in methods}
    stages, repeated = [], []
    for factory, its_golds in zip(factories, retrained, strict=True):
        several = [run.unlearned(factory, methods, current, repetition) for repetition in range(repetitions)]
        current = several[0]
        reports, of_repetitions = [], []
        for seed in range(seeds):
            first, *others = (
                {"original": originals[seed], **{name: made[seed, name] for name in methods}} for made in several
            )
            reports.append(run.audit(factory, first, its_golds, seed))
            if others:
                # The first one's audit has what is measured of the others.
                further = (run.audit(factory, each, its_golds, seed, SHORT) for each in others)
                of_repetitions.append((reports[-1], *further))
        stages.append(tuple(reports))
        repeated.append(tuple(of_repetitions))
    return Outcome(stages=tuple(stages), notes=tuple(notes), repeated=tuple(repeated) if repetitions > 1 else ())


def _cases(experiment: Experiment, loaded: Loaded, settings: Settings) -> list[Case]:
    """Build the case of each request, on as many samples as the settings say; check that requests are cumulative."""
    targets = loaded.attributes["train"]["target"]
    experiment = replace(experiment, forget=[each.fixed(targets) for each in experiment.forget])
    kept = part(loaded, settings.samples)
    cases = [case_of(kept, stage, experiment, len(targets)) for stage in range(len(experiment.forget))]
    for earlier, later in pairwise(cases):
        if left_out := set(earlier.requested.forget) - set(later.requested.forget):
            raise SettingError(
                f"A later request of {experiment.name} leaves out {len(left_out)} samples that an earlier one forgot",
                expected="cumulative requests: a later step would train on these samples again",
            )
    return cases


@dataclass(frozen=True)
class _Run:
    """Trains and audits the models of one experiment."""

    experiment: Experiment
    family: Family
    settings: Settings
    store: Store
    runtime: Runtime
    workers: int

    def references(self, factories: Sequence[ModelFactory], seeds: int, golds: int) -> list[list[StoredModel]]:
        """Train the originals and all golds, none of which depends on another.

        Returns:
            The originals, then each request's golds.
        """
        first = self.runtime.seed
        jobs = {f"original {seed}": partial(factories[0].original, first + seed) for seed in range(seeds)}
        for stage, factory in enumerate(factories, 1):
            suffix = f" of request {stage}" if len(factories) > 1 else ""
            jobs |= {f"gold {n}{suffix}": partial(factory.gold, first + n) for n in range(1, golds + 1)}
        made = self.trained(jobs)
        return [made[:seeds], *(made[start : start + golds] for start in range(seeds, len(made), golds))]

    def unlearned(
        self,
        factory: ModelFactory,
        methods: Mapping[str, Method],
        current: Mapping[tuple[int, str], StoredModel],
        repetition: int,
    ) -> dict[tuple[int, str], StoredModel]:
        """Continue every method under every seed from its current model; models by seed and method."""
        first, again = self.runtime.seed + APART * repetition, f", repetition {repetition + 1}" if repetition else ""
        jobs = {
            f"{name} of original {seed}{again}": partial(factory.unlearned, methods[name], start, first + seed)
            for (seed, name), start in current.items()
        }
        return dict(zip(current, self.trained(jobs), strict=True))

    def factory(self, case: Case) -> ModelFactory:
        """A factory of the models of one request."""
        key = {**case_fingerprint(case, self.runtime, fresh_of(case, self.runtime)), "family": self.experiment.family}
        recipe, code = self.settings.training, self.family.code
        return ModelFactory(
            case=case, recipe=recipe, runtime=self.runtime, store=self.store, known=key, code_modules=code
        )

    def trained(self, jobs: Mapping[str, Callable[[], StoredModel]]) -> list[StoredModel]:
        """Run the jobs; return their models in the order of the jobs."""
        workers = self.workers
        if workers == 1:
            return [job() for job in jobs.values()]
        done = self.runtime.track(run_all(jobs, workers=workers), f"training with {workers} workers", len(jobs))
        made = []
        for name, each in done:
            # The logs of workers are discarded.
            self.store.log(f"ready: {name}")
            made.append(each)
        return made

    def audit(
        self,
        factory: ModelFactory,
        models: dict[str, StoredModel],
        golds: Sequence[StoredModel],
        seed: int,
        metrics: tuple[Metric, ...] = (),
    ) -> AuditReport:
        """Audit one seed's models, or load the audit; verdicts are computed by the present rule."""
        case, runtime = factory.case, factory.runtime_for(self.runtime.seed + seed)
        metrics = metrics or self._metrics(seed)
        key = {
            **factory.common_key,
            "method": "audit",
            "seed": runtime.seed,
            "metrics": list(map(str, metrics)),
            "models": {name: each.key for name, each in models.items()},
            "golds": [each.key for each in golds],
            "reason": case.requested.reason,
            "test": [case.splits.content_digest("test"), forget_like_digest(case, "test")],
        }
        named, retrained = {name: each.unlearned for name, each in models.items()}, [each.unlearned for each in golds]
        report = self.store.report(
            key, self.family.code, lambda: audit(case, named, runtime, golds=retrained, metrics=metrics)
        )
        rule = Rule()
        return replace(report, settings={**report.settings, "rule": asdict(rule)}, verdicts=judge(report, rule))

    def _metrics(self, seed: int) -> tuple[Metric, ...]:
        used = self.settings
        relearned = used.relearned is None or seed < used.relearned
        again = Anamnesis(recipe=used.relearning, shuffles=used.shuffles) if self.experiment.anamnesis else None
        return tuple(metric for metric in default_metrics(again) if relearned or metric is not again)


def case_of(loaded: Loaded, stage: int, experiment: Experiment, whole: int) -> Case:
    """Build the case of one request, with the forget-like samples of the held-out splits.

    Args:
        loaded: the data, or a part of them.
        stage: index of the request in `experiment.forget`.
        experiment: the experiment.
        whole: number of training samples before a part was taken, to which numbers of samples to draw refer.
    """
    targets = loaded.attributes["train"]["target"]
    forget, reason = experiment.forget[stage], experiment.title
    if len(experiment.forget) > 1:
        reason += f": request {stage + 1}"
    if forget.random is not None:
        # Draw the same share from a part of the data.
        count = max(1, round(forget.random * len(targets) / whole))
        request = ForgetRequest.random(len(targets), count, seed=0, reason=reason)
        return Case(task=loaded.task, splits=loaded.splits, request=request)
    if forget.column is not None:
        masks = {name: each[forget.column] == forget.equal for name, each in loaded.attributes.items()}
        return _with_forget_like(loaded, ForgetRequest.where(masks["train"], reason=reason), masks)
    low, high = forget.limits(targets)
    request = ForgetRequest.band(targets, low, high, reason=reason)
    # Targets from the attributes: those of a series' dataset have another scale than the request.
    return _with_forget_like(
        loaded, request, {name: request.in_target_band(each["target"]) for name, each in loaded.attributes.items()}
    )


def _with_forget_like(loaded: Loaded, request: ForgetRequest, masks: dict[str, Mask]) -> Case:
    """Build a case whose forget-like held-out samples are given by a mask for each split."""
    return Case(
        task=loaded.task,
        splits=loaded.splits,
        request=request,
        validation_forget_like=_positions(masks["validation"]),
        test_forget_like=_positions(masks["test"]),
    )


def _positions(mask: Mask) -> list[int]:
    positions: list[int] = np.flatnonzero(mask).tolist()
    return positions


def part(loaded: Loaded, samples: int | None) -> Loaded:
    """Draw at most `samples` samples from each split with seed 0, and keep their order."""
    if samples is None:
        return loaded
    parts: dict[str, Any] = {}
    tables = dict(loaded.attributes)
    splits: tuple[Split, ...] = ("train", *HELD_OUT)
    for split in splits:
        table = tables[split]
        size = len(table["target"])
        if size <= samples:
            continue
        rows = np.sort(np.random.default_rng(0).choice(size, samples, replace=False))
        tables[split] = {name: values[rows] for name, values in table.items()}
        for view in (split, "train_eval") if split == "train" else (split,):
            if (dataset := getattr(loaded.splits, view)) is not None:
                parts[view] = subset(dataset, rows.tolist())
        if (ids := loaded.splits.ids_of(split)) is not None:
            parts["ids" if split == "train" else f"{split}_ids"] = [ids[row] for row in rows]
    return replace(loaded, splits=replace(loaded.splits, **parts), attributes=tables)
