"""Run an experiment: train, retrain, unlearn, audit, for several seeds; nothing that the store holds is made again."""

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
from unregress.data.subsets import subset
from unregress.errors import SettingError
from unregress.evidence import AuditReport
from unregress.evidence.verdict import Rule, judge
from unregress.experiments.experiment import Experiment, Settings
from unregress.experiments.families.base import Family, Loaded
from unregress.metrics import Anamnesis, Metric, default_metrics
from unregress.parallel.jobs import run_all
from unregress.retraining.fingerprint import case_fingerprint, fresh_of, kind_of
from unregress.retraining.model_factory import ModelFactory, StoredModel
from unregress.retraining.model_store import Store
from unregress.training.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The audits of an experiment."""

    stages: tuple[tuple[AuditReport, ...], ...]
    """For each request in turn, one audit per seed."""
    notes: tuple[str, ...]
    """What the data's reader and the preflight say."""


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
    workers: int = 1,
) -> Outcome:
    """Run an experiment, or what of it is not in the store yet.

    Seed s trains original s, from which every method starts; golds have the seeds after the first, and every audit
    compares with all of them.  With several requests each method goes on from its own last model, and the request is
    cumulative: what an earlier one named is still to be forgotten, so that no later step can teach it again.

    Args:
        experiment: what to forget, by which methods.
        family: the data's description.
        loaded: the data.
        settings: how to train and to unlearn.
        seeds: number of originals, each with its own run of every method.
        golds: number of retrained models; five or more allow a verdict.
        store: what was made before.
        runtime: where to run; its own seed is the first.
        workers: how many trainings at a time.  Several compute on one CPU thread each, as `run_all` says; a single one
            keeps PyTorch's threads, and rounds as the others do where there is only one.

    Raises:
        SettingError: there are no seeds.
        JobsError: with several workers, some trainings failed; the others are done and kept.
        UnregressError: as the trainings and the audit raise.
    """
    if seeds < 1 or golds < 1:
        raise SettingError(f"seeds is {seeds} and golds {golds}", expected="1 or more of each")
    if workers < 1:
        raise SettingError(f"workers is {workers}", expected="1 or more")
    targets = loaded.attributes["train"]["target"]
    whole = len(targets)
    experiment = replace(experiment, forget=[each.fixed(targets) for each in experiment.forget])
    loaded = part(loaded, settings.samples)
    cases = [case_of(loaded, stage, experiment, whole) for stage in range(len(experiment.forget))]
    for earlier, later in pairwise(cases):
        if taught := set(earlier.requested.forget) - set(later.requested.forget):
            raise SettingError(
                f"A later request of {experiment.name} leaves out {len(taught)} samples that an earlier one forgot",
                expected="cumulative requests: a later step would teach the samples again",
            )
    notes = list(loaded.notes)
    for case in cases:
        # The published splits share a few samples: a caveat, not a reason to stop.
        found = preflight(case, runtime, allow_overlap=True).warnings
        notes += [warning for warning in found if warning not in notes]
    methods = experiment.chosen(settings, family.layers)
    run = _Run(experiment, family, settings, store, runtime)
    makers = [run.factory(case).for_workers(workers) for case in cases]
    first = runtime.seed
    # None of these waits for another; what methods make of the originals does.
    jobs = {f"original {seed}": partial(makers[0].original, first + seed) for seed in range(seeds)}
    for stage, factory in enumerate(makers, 1):
        of = f" of request {stage}" if len(makers) > 1 else ""
        jobs |= {f"gold {n}{of}": partial(factory.gold, first + n) for n in range(1, golds + 1)}
    originals, *retrained = _split(run.trained(jobs, workers), seeds, golds)
    current = {(seed, name): originals[seed] for seed in range(seeds) for name in methods}
    stages = []
    for factory, its_golds in zip(makers, retrained, strict=True):
        jobs = {
            f"{name} of original {seed}": partial(factory.unlearned, methods[name], start, first + seed)
            for (seed, name), start in current.items()
        }
        current = dict(zip(current, run.trained(jobs, workers), strict=True))
        reports = []
        for seed in range(seeds):
            models = {"original": originals[seed], **{name: current[seed, name] for name in methods}}
            reports.append(run.audit(factory, models, its_golds, seed))
        stages.append(tuple(reports))
    return Outcome(stages=tuple(stages), notes=tuple(notes))


def _split(made: list[StoredModel], seeds: int, golds: int) -> list[list[StoredModel]]:
    """The originals, and each request's golds."""
    return [made[:seeds], *(made[start : start + golds] for start in range(seeds, len(made), golds))]


@dataclass(frozen=True)
class _Run:
    """What the models of one experiment have in common."""

    experiment: Experiment
    family: Family
    settings: Settings
    store: Store
    runtime: Runtime

    def factory(self, case: Case) -> ModelFactory:
        """Makes the models of one request, or takes them from the store."""
        key = {**case_fingerprint(case, self.runtime, fresh_of(case, self.runtime)), "family": self.experiment.family}
        recipe, code = self.settings.training, self.family.code
        return ModelFactory(
            case=case, recipe=recipe, runtime=self.runtime, store=self.store, known=key, code_modules=code
        )

    def trained(self, jobs: Mapping[str, Callable[[], StoredModel]], workers: int) -> list[StoredModel]:
        """The models of some jobs, in their order."""
        if workers == 1:
            return [job() for job in jobs.values()]
        done = self.runtime.track(run_all(jobs, workers=workers), f"training with {workers} workers", len(jobs))
        made = []
        for name, each in done:
            # What a worker says is not heard here.
            self.store.log(f"ready: {name}")
            made.append(each)
        return made

    def audit(
        self, factory: ModelFactory, models: dict[str, StoredModel], golds: Sequence[StoredModel], seed: int
    ) -> AuditReport:
        """The audit of one seed's models, judged by the present rule."""
        case, runtime, metrics = factory.case, factory.runtime_for(self.runtime.seed + seed), self._metrics(seed)
        key = {
            **factory.common_key,
            "method": "audit",
            "seed": runtime.seed,
            "metrics": list(map(str, metrics)),
            "models": {name: each.key for name, each in models.items()},
            "golds": [each.key for each in golds],
            "reason": case.requested.reason,
            "test": [case.splits.content_digest("test"), kind_of(case, "test")],
        }
        named, retrained = {name: each.unlearned for name, each in models.items()}, [each.unlearned for each in golds]
        report = self.store.report(
            key, self.family.code, lambda: audit(case, named, runtime, golds=retrained, metrics=metrics)
        )
        rule = Rule()
        return replace(report, settings={**report.settings, "rule": asdict(rule)}, verdicts=judge(report, rule))

    def _metrics(self, seed: int) -> tuple[Metric, ...]:
        used = self.settings
        if not self.experiment.anamnesis or (used.relearned is not None and seed >= used.relearned):
            return default_metrics(None)
        return default_metrics(Anamnesis(recipe=used.relearning, shuffles=used.shuffles))


def case_of(loaded: Loaded, stage: int, experiment: Experiment, whole: int) -> Case:
    """The request of one stage with the data, and which held-out samples are of its kind."""
    targets = loaded.attributes["train"]["target"]
    forget, reason = experiment.forget[stage], experiment.title
    if len(experiment.forget) > 1:
        reason += f": request {stage + 1}"
    if forget.random is not None:
        # Of a part of the data, the same share.
        count = max(1, round(forget.random * len(targets) / whole))
        request = ForgetRequest.random(len(targets), count, seed=0, reason=reason)
        return Case(task=loaded.task, splits=loaded.splits, request=request)
    if forget.column is not None:
        alike = {name: each[forget.column] == forget.equal for name, each in loaded.attributes.items()}
        return _grouped(loaded, ForgetRequest.where(alike["train"], reason=reason), alike)
    low, high = forget.limits(targets)
    request = ForgetRequest.band(targets, low, high, reason=reason)
    # By what is known of the samples: a series' own targets are in another scale than the request's.
    return _grouped(
        loaded, request, {name: request.in_target_band(each["target"]) for name, each in loaded.attributes.items()}
    )


def _grouped(loaded: Loaded, request: ForgetRequest, alike: dict[str, Mask]) -> Case:
    return Case(
        task=loaded.task,
        splits=loaded.splits,
        request=request,
        validation_forget_like=_places(alike["validation"]),
        test_forget_like=_places(alike["test"]),
    )


def _places(mask: Mask) -> list[int]:
    places: list[int] = np.flatnonzero(mask).tolist()
    return places


def part(loaded: Loaded, samples: int | None) -> Loaded:
    """At most so many samples of each split, in their order."""
    if samples is None:
        return loaded
    parts: dict[str, Any] = {}
    tables = dict(loaded.attributes)
    for split in ("train", "validation", "test"):
        table = tables[split]
        size = len(table["target"])
        if size <= samples:
            continue
        rows = np.sort(np.random.default_rng(0).choice(size, samples, replace=False))
        tables[split] = {name: values[rows] for name, values in table.items()}
        for view in (split, "train_eval") if split == "train" else (split,):
            if (dataset := getattr(loaded.splits, view)) is not None:
                parts[view] = subset(dataset, rows.tolist())
        if split == "train" and loaded.splits.ids is not None:
            parts["ids"] = [loaded.splits.ids[row] for row in rows]
    return replace(loaded, splits=replace(loaded.splits, **parts), attributes=tables)
