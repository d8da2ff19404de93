"""U-LiRA for regression: an attack that tells models that forgot a sample from models that never had it.

The likelihood-ratio attack (Carlini et al. 2022) for unlearning (Kurmanji et al. 2023; Hayes et al. 2024, "Inexact
unlearning needs more careful evaluations"), with residuals in place of a classifier's confidence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from unregress.data.case import Case
from unregress.data.request import ForgetRequest, Index, Mask
from unregress.data.subsets import part_of
from unregress.errors import DataError, SettingError, UnregressError
from unregress.evidence import Measurement, MetricInfo, Part, Unit
from unregress.methods.base import Method
from unregress.metrics.base import MetricResult, Panel
from unregress.metrics.collect import collect
from unregress.metrics.deep.base import DeepMetric, stream
from unregress.metrics.deep.epsilon import ABOUT as ABOUT_EPSILON
from unregress.metrics.deep.epsilon import FEWEST, guesses
from unregress.metrics.deep.lira import halves, interval, log_ratios, paired, pseudo_values, signals, told_apart
from unregress.metrics.deep.worst_case import ABOUT as ABOUT_WORST_CASE
from unregress.metrics.deep.worst_case import LEVELS, by_output, most_memorised, worst_case
from unregress.metrics.predictions import Values
from unregress.metrics.roc import auc, true_positive_rate
from unregress.parallel.jobs import run_all
from unregress.retraining.missing_work import missing_chain
from unregress.retraining.model_factory import ModelFactory
from unregress.retraining.workload import Workload
from unregress.training.runtime import Runtime

FALSE_ALARMS = {"ulira-tpr": 0.01, "ulira-tpr-0.1": 0.001, "ulira-memorised-tpr": 0.01}
"""False positive rates at which true positive rates are measured, if they amount to ten false alarms or more."""


@dataclass(frozen=True, kw_only=True)
class ULiRA(DeepMetric):
    """Attack on the models that each method makes of originals trained on random halves of the training set.

    Hayes et al. let each model forget some samples of its own.  Here a `share` of all samples are the targets, and
    each model forgets those in its half, a random `share` of it: so every target is forgotten by one half of the
    models and was never seen by the other, and a handful of models suffices.  Neither the audited model nor its request
    takes part: the metric examines the method, on random requests of the same data.
    Include `Retrain` among the methods as a control, on which the attack fails.

    Raises:
        SettingError: the models are odd in number or fewer than six, the share is not between 0 and 1, or as
            `DeepMetric` raises.
    """

    about: ClassVar[tuple[MetricInfo, ...]] = (
        MetricInfo(
            metric="ulira",
            title="U-LiRA: recognising the model that had a sample",
            meaning="Of two models, one was trained on a sample and then forgot it, the other never had it. How "
            "often an attacker who knows many such models is right about which is which, for random samples of the "
            "training set. The original's row is without any forgetting, and shows how much there is to find.",
            ideal="0.5: the attacker guesses, as with retrained models. If the original's value is near 0.5 too, "
            "models of these data remember no single sample, and the test shows nothing.",
            unit=Unit.SHARE,
            source="Hayes et al. 2024 (U-LiRA), with signed residuals and log |residual|",
        ),
        MetricInfo(
            metric="ulira-auc",
            title="U-LiRA: AUC over all samples",
            meaning="As above, but the attacker must rank all models and samples by one score.",
            ideal="0.5.",
            unit=Unit.SHARE,
            source="Hayes et al. 2024 (U-LiRA)",
        ),
        MetricInfo(
            metric="ulira-tpr",
            title="U-LiRA: recognised at 1 % false alarms",
            meaning="The share of forgotten samples that the attacker is sure of, if one in a hundred unseen ones may "
            "be called forgotten too.",
            ideal="0.01.",
            unit=Unit.SHARE,
            source="Carlini et al. 2022 (LiRA)",
        ),
        MetricInfo(
            metric="ulira-tpr-0.1",
            title="U-LiRA: recognised at 0.1 % false alarms",
            meaning="The same if one in a thousand unseen ones may be called forgotten too.",
            ideal="0.001.",
            unit=Unit.SHARE,
            source="Carlini et al. 2022 (LiRA)",
        ),
        *ABOUT_WORST_CASE,
        MetricInfo(
            metric="ulira-memorised-tpr",
            title="U-LiRA: memorised samples recognised at 1 % false alarms",
            meaning="The share of the most memorised samples that the attacker is sure to have been forgotten, if one "
            "in a hundred of them may be called so by models that never saw it.",
            ideal="0.01.",
            unit=Unit.SHARE,
            source="Carlini et al. 2022 (LiRA); RULI (Naderloui et al. 2025)",
        ),
        ABOUT_EPSILON,
    )

    models: int = 16
    """Originals to train, each on a half; an even number, 6 or more."""
    share: float = 0.1
    """Share of its half that each model forgets."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.models < 6 or self.models % 2 or not 0 < self.share < 1:
            raise SettingError(
                f"ULiRA has models={self.models} and share={self.share}",
                expected="an even number of models, 6 or more, and a share between 0 and 1",
            )

    def objections(self, case: Case, names: Collection[str]) -> list[UnregressError]:
        """Check the methods' names, and that enough samples would be forgotten and kept."""
        size = len(case.rows("train"))
        count = round(self.share * size)
        few = DataError(
            f"Of {size} training samples, ULiRA would forget {count}", expected="four or more, and four to keep"
        )
        return [*super().objections(case, names), *([few] if min(count, size - count) < 4 else [])]

    def plan(self, case: Case, runtime: Runtime) -> Workload:
        """The models that are not in the store, and the predictions of all models."""
        methods, (targets, has) = tuple(self.methods.values()), self._draw_halves(case, runtime)
        todo = Workload(models=0, passes=(1 + len(methods)) * len(targets)) * self.models
        for number, row in enumerate(has):
            half = self.factory(half_of(case, row, targets), runtime)
            todo += missing_chain(half, runtime.seed + number, methods)
        return todo

    def parts(self, panel: Panel) -> Sequence[Part]:
        """Random samples of the training set."""
        return ("random",)

    def _draw_halves(self, case: Case, runtime: Runtime) -> tuple[Index, Mask]:
        """Draw the samples to forget, and the training samples of each model."""
        rng, members = stream(runtime, "ulira"), case.rows("train")
        chosen = np.sort(rng.choice(len(members), round(self.share * len(members)), replace=False))
        has = np.zeros((self.models, case.splits.size), dtype=np.bool_)
        has[:, members] = halves(len(members), chosen, self.models, rng)
        return members[chosen], has

    def examine(self, panel: Panel) -> Iterator[MetricResult]:
        """Attack each method's models, and the originals; intervals are over pairs of models.

        Here `p` says how often models without any memory would be told apart as well, see `flip_tests`; for the bound
        on ε, how often mere guesses would be right as often.
        """
        targets, has = self._draw_halves(panel.required_case, panel.runtime)
        residuals = self._residuals(panel, targets, has)
        chosen = most_memorised(*paired(by_output(residuals[panel.original.name]), has[:, targets]))
        for name, residual in residuals.items():
            yield from self._attacked(panel, name, signals(residual), has[:, targets], chosen)

    def _attacked(self, panel: Panel, name: str, signal: Values, has: Mask, chosen: Mask) -> Iterator[Measurement]:
        """The measurements of one method's models, or of the originals.

        Args:
            panel: gives the seed.
            name: of the audited model.
            signal: of all models for the targets, `(models, n, width)`.
            has: which targets each model was trained on, `(models, n)`.
            chosen: the most memorised targets of each pair, `(pairs, n)`.
        """
        sides = paired(signal, has)
        had, unseen = scores = log_ratios(*sides)
        note = f"{self.models} models, {has.shape[1]} random samples"
        found = partial(Measurement, split="random", model=name)
        by_pair, overall = told_apart(had, unseen), auc(had.ravel(), unseen.ravel())
        worst = worst_case(*sides, scores, chosen, stream(panel.runtime, "ulira/flips"))
        share, memorised, *_ = map(float, worst.flips.observed)
        p, p_memorised, *_ = map(float, worst.flips.p)
        yield found(metric="ulira", value=share, interval=interval(share, by_pair), p=p, note=note)
        limits = interval(overall, pseudo_values(had, unseen))
        yield found(metric="ulira-auc", value=overall, interval=limits, note=note)
        few = f"{int(chosen[0].sum())} of {has.shape[1]} samples, chosen by the other {self.models - 2} originals"
        yield found(metric="ulira-memorised", value=memorised, interval=worst.memorised, p=p_memorised, note=few)
        quantiles = (each[2:] for each in worst.flips)
        for metric, value, chance, how_often in zip(LEVELS, *quantiles, strict=True):
            without = f"{self.models // 2} models a side; {chance:.2f} without any trace"
            yield found(metric=metric, value=float(value), p=float(how_often), note=without)
        for metric, rate in FALSE_ALARMS.items():
            ours, theirs = worst.scores if metric == "ulira-memorised-tpr" else (had.ravel(), unseen.ravel())
            if theirs.size * rate >= 10:
                yield found(metric=metric, value=true_positive_rate(ours, theirs, rate), note=note)
            else:
                yield found(metric=metric, value=None, note=f"only {theirs.size} scores of unseen samples")
        if len(had) < FEWEST:
            yield found(metric=ABOUT_EPSILON.metric, value=None, note=f"it takes {2 * FEWEST} models or more")
            return
        made = guesses(*sides, has[0::2], stream(panel.runtime, "ulira/epsilon"))
        right = f"{made.right} of {made.made} guesses right; confidence 95 %, δ = 0"
        yield found(metric=ABOUT_EPSILON.metric, value=made.epsilon, bound=">=", p=made.p, note=right)

    def _residuals(self, panel: Panel, targets: Index, has: Mask) -> dict[str, Values]:
        """Prediction - target of all models for all targets, by audited model; `(models, n, *out)`."""
        runtime = panel.runtime
        factory = self.factory(panel.required_case, runtime).for_workers(self.workers)
        jobs = {}
        for number, row in enumerate(has):
            job = partial(
                _train_and_attack, factory, dict(self.methods), panel.original.name, row, targets, runtime.seed + number
            )
            jobs[f"model {number + 1}"] = job
        found: dict[str, list[Values]] = {}
        with runtime.bar("U-LiRA", len(jobs)) as advance:
            for _, residuals in run_all(jobs, workers=self.workers, ended=advance):
                for name, residual in residuals.items():
                    found.setdefault(name, []).append(residual)
        return {name: np.stack(each) for name, each in found.items()}


def _train_and_attack(
    factory: ModelFactory,
    methods: Mapping[str, Method],
    original: str,
    has: NDArray[np.bool_],
    targets: Index,
    seed: int,
) -> dict[str, Values]:
    """The job of one model: train on a half, unlearn the targets in it by every method, and predict all targets."""
    case, runtime = factory.case, factory.runtime_for(seed)
    half = replace(factory, case=half_of(case, has, targets))
    first = half.original(seed)
    made = {original: first, **{name: half.unlearned(method, first, seed) for name, method in methods.items()}}
    residuals = {}
    for name, one in made.items():
        seen = collect(one.unlearned.model, case.task, case.source("train_eval"), runtime, rows=targets)
        residuals[name] = seen.prediction - seen.target
    return residuals


def half_of(case: Case, has: NDArray[np.bool_], targets: Index) -> Case:
    """A case with some of the training samples, of which the targets are to be forgotten.

    Args:
        case: the case with all training samples.
        has: mask of the samples to train on, `(n,)`.
        targets: positions in all training samples.
    """
    rows = np.flatnonzero(has)
    # Random samples have no kind of their own, so no held-out sample counts as forget-like.
    return part_of(case, rows, ForgetRequest.where(np.isin(rows, targets), reason="U-LiRA"))
