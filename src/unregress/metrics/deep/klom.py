"""KLoM for regression: per-sample divergence between predictions of unlearned and retrained models over many seeds.

KL divergence of margins (Georgiev et al. 2024, "Attribute-to-Delete") compares, sample by sample, how an output is
distributed over trainings.  For a regression the output is the prediction itself, and taken as Gaussian.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from unregress.cost import Cost
from unregress.data.case import Case
from unregress.data.splits import Split
from unregress.errors import SettingError
from unregress.evidence import MetricInfo, Part, Unit
from unregress.evidence.nan_means import scale_of
from unregress.methods.base import Method
from unregress.methods.unlearned import Unlearned
from unregress.metrics.base import MetricResult, Panel, measured, without_value
from unregress.metrics.collect import collect
from unregress.metrics.deep.base import DeepMetric, stream
from unregress.metrics.deep.gaussian_kl import among_golds, differ, divergence, over_samples, permutation_test
from unregress.metrics.predictions import Predictions, Values
from unregress.parallel.jobs import run_all
from unregress.retraining.missing_work import missing_chain, missing_golds
from unregress.retraining.model_factory import ModelFactory, StoredModel
from unregress.retraining.workload import Workload
from unregress.tasks.weights import weights_of
from unregress.training.runtime import Runtime

SPLITS: tuple[Split, ...] = ("train_eval", "test")
BySplit = dict[str, Values]
"""One model's predictions of all samples, by split."""
ByModel = dict[str | None, BySplit]
"""Predictions by audited model; None stands for a gold."""


@dataclass(frozen=True, kw_only=True)
class KLoM(DeepMetric):
    """Per-sample divergence between the predictions of a method's models and of as many golds, over many seeds.

    Golds have the N seeds after the runtime's.  Each of the next N seeds trains an original, which the methods unlearn
    under the same seed.  The result is about the method on this request, not about the audited model.

    Raises:
        SettingError: fewer than four models, no method, or no worker.
    """

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric="klom",
            title="KLoM: divergence from retrained models",
            meaning="How differently a sample is predicted by the method's models and by models retrained without the "
            "forgotten samples, over many seeds; the mean over samples.  0 would be the same distribution.",
            ideal="The retrained models' value, which is simulated for as many further retrained models; about 95 of "
            "100 simulations lie in its interval. It is 1 / (number of models) or more.",
            unit=Unit.NATS,
            source="Georgiev et al. 2024 (KLoM), in Gaussian form",
        ),
        MetricInfo(
            metric="klom-95",
            title="KLoM, 95 % quantile",
            meaning="One sample in twenty is predicted more differently than this: memory of a few samples shows here.",
            ideal="The retrained models' value.",
            unit=Unit.NATS,
            source="Georgiev et al. 2024 (KLoM), in Gaussian form",
        ),
    )

    models: int = 10
    """Seeds per method, and as many golds."""
    same_original: bool = False
    """Let all seeds unlearn the audited original, which spares training others.  The unlearned models then share
    that original's random deviations, and so differ from golds for reasons beside the method."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.models < 4:
            raise SettingError(f"KLoM has models={self.models}", expected="4 or more")

    def plan(self, case: Case, runtime: Runtime) -> Workload:
        """The models that are not in the store, and the predictions of all models."""
        factory, methods = self.factory(case, runtime), tuple(self.methods.values())
        todo = Workload(models=0, passes=0)
        for gold, seed in self._seeds(runtime):
            todo += missing_golds(factory, [gold])
            todo += missing_chain(factory, seed, methods, original=not self.same_original)
        asked = self.models * (1 + len(methods) + (not self.same_original))
        predictions = sum(len(case.source(split)) for split in SPLITS)
        return todo + Workload(models=0, passes=asked * predictions)

    def parts(self, panel: Panel) -> Sequence[Part]:
        """All parts of the panel."""
        return panel.parts

    def examine(self, panel: Panel) -> Iterator[MetricResult]:
        """Mean and 95 % quantile per part of the data: of each method, of golds, and of originals if there are many.

        A model's `p` is that of `permutation_test`; the golds' row has the mean and the 95 % interval that
        `among_golds` simulates for as many further golds.
        """
        golds, seen = self._trained(panel)
        note = f"{self.models} models a side"
        for part in panel.parts:
            asked = panel.original.parts[part]
            theirs = _side(golds, panel.required_case, part, asked)
            sides = {name: _side(models, panel.required_case, part, asked) for name, models in seen.items()}
            unit = scale_of(theirs, *sides.values())
            theirs, sides = theirs / unit, {name: side / unit for name, side in sides.items()}
            if fixed := [name for name, side in {"the golds": theirs, **sides}.items() if not differ(side)]:
                yield from without_value(["klom"], part, sides, f"{', '.join(fixed)}: every seed predicts the same")
                continue
            floor = among_golds(theirs, stream(panel.runtime, f"klom/golds/{part}"))
            for metric, level in (("klom", None), ("klom-95", 0.95)):
                found = partial(measured, metric=metric, split=part, note=note)
                for name, ours in sides.items():
                    value = float(over_samples(divergence(ours, theirs)[None], level)[0])
                    rng = stream(panel.runtime, f"klom/deals/{part}")
                    yield found(model=name, value=value, p=permutation_test(ours, theirs, rng) if not level else None)
                null = over_samples(floor, level)
                # One row stands for all golds.
                for gold in panel.golds[:1]:
                    low, high = map(float, np.quantile(null, [0.025, 0.975]))
                    yield found(model=gold.name, value=float(null.mean()), interval=(low, high))

    def _seeds(self, runtime: Runtime) -> Iterator[tuple[int, int]]:
        """Pairs of seeds, of a gold and of an original: they differ, or `Retrain` would make the golds again."""
        first = runtime.seed + 1
        yield from ((seed, seed + self.models) for seed in range(first, first + self.models))

    def _trained(self, panel: Panel) -> tuple[list[BySplit], dict[str, list[BySplit]]]:
        """The predictions of all golds, and those of the other models by audited model."""
        runtime, original = panel.runtime, panel.original.name
        factory = self.factory(panel.required_case, runtime).for_workers(self.workers)
        shared, start = panel.original.model, None
        if self.same_original and shared is not None:
            start = StoredModel(Unlearned(model=shared, history=(), cost=Cost()), weights_of(shared))
        jobs = {}
        for gold, seed in self._seeds(runtime):
            jobs[f"gold of seed {gold}"] = partial(_train_gold, factory, gold)
            jobs[f"seed {seed}"] = partial(_train_and_unlearn, factory, dict(self.methods), original, start, seed)
        golds: list[BySplit] = []
        seen: dict[str, list[BySplit]] = {}
        with runtime.bar("KLoM", len(jobs)) as advance:
            for _, predictions in run_all(jobs, workers=self.workers, ended=advance):
                for name, prediction in predictions.items():
                    (golds if name is None else seen.setdefault(name, [])).append(prediction)
        return golds, seen


def _train_and_unlearn(
    factory: ModelFactory, methods: Mapping[str, Method], original: str, start: StoredModel | None, seed: int
) -> ByModel:
    """The job of one seed: train an original, unlearn it by every method, and predict with all of them."""
    first = start or factory.original(seed)
    predictions: ByModel = {} if start else {original: _predict(factory, first, seed)}
    for name, method in methods.items():
        predictions[name] = _predict(factory, factory.unlearned(method, first, seed), seed)
    return predictions


def _train_gold(factory: ModelFactory, seed: int) -> ByModel:
    return {None: _predict(factory, factory.gold(seed), seed)}


def _predict(factory: ModelFactory, made: StoredModel, seed: int) -> BySplit:
    case, runtime = factory.case, factory.runtime_for(seed)
    return {
        split: collect(made.unlearned.model, case.task, case.source(split), runtime, rows=case.rows(split)).prediction
        for split in SPLITS
    }


def _side(models: list[BySplit], case: Case, part: Part, asked: Predictions) -> Values:
    """Predictions of a part, `(models, n, *out)`: NaN where the target is unknown, without outputs that always are."""
    split: Split = "train_eval" if part.startswith("train") else "test"
    places = np.searchsorted(case.rows(split), asked.index)
    side = np.stack([predictions[split][places] for predictions in models])
    if asked.known is None:
        return side
    known = asked.known.reshape(len(asked), -1)
    return np.where(known, side.reshape(*side.shape[:2], -1), np.nan)[..., known.any(axis=0)]
