"""KLoM for regression: whether a method's models, over many seeds, answer each sample as retrained ones do.

KL divergence of margins (Georgiev et al. 2024, "Attribute-to-Delete") compares, sample by sample, how an output is
distributed over trainings.  For a regression the output is the prediction itself, and taken as Gaussian.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from unregress.case import Case, Split
from unregress.cost import Cost
from unregress.errors import SettingError
from unregress.evidence import About, Measure
from unregress.methods.base import Method, Unlearned
from unregress.metrics.base import Finding, Panel
from unregress.metrics.deep import DeepMetric
from unregress.parallel import run_all
from unregress.predictions import Values, collect
from unregress.request import Index
from unregress.store import weights_of
from unregress.trainings import Made, Maker, Plan, plan_of

SPLITS: tuple[Split, ...] = ("train_eval", "test")
_GOLDS = ""
"""A name that no audited model has."""
Answers = dict[str, Values]
"""One model's predictions of all samples, by split."""


def divergence(unlearned: Values, golds: Values, *, share: float = 1.0) -> Values:
    """KL(unlearned ‖ golds) of each sample, in nats, averaged over outputs; shape `(n,)`.

    KL(N(m_u, v_u) ‖ N(m_g, v_g)) = (log(v_g / v_u) + (v_u + (m_u - m_g)²) / v_g - 1) / 2.  The means are each
    sample's own; each output has one variance on either side, pooled over samples: one from N models of a single
    sample would be so uncertain that its error is most of what is measured.  If golds are compared with golds, the
    expected value is (1 / N + 1 / M) / 2, or 1 / N for equal numbers; with a variance per sample it would be
    ((N - 1) (1 + 2 / N) / (N - 3) - 1) / 2, which is 0.11 and not 0.05 at N = 20.

    Args:
        unlearned: predictions of N models, two or more, that differ somewhere in every output; `(N, n, *out)`.
        golds: predictions of M models, likewise; `(M, n, *out)`.
        share: by how much to multiply (m_u - m_g)², see `among_golds`.
    """
    ours, theirs = (side.reshape(*side.shape[:2], -1) for side in (unlearned, golds))
    (mean_u, var_u), (mean_g, var_g) = (_moments(side) for side in (ours, theirs))
    gap = share * (mean_u - mean_g) ** 2
    found: Values = ((np.log(var_g / var_u) + (var_u + gap) / var_g - 1) / 2).mean(axis=1)
    return found


def _moments(models: Values) -> tuple[Values, Values]:
    """Mean of each sample and output, `(n, outputs)`, and pooled variance of each output."""
    return models.mean(axis=0), models.var(axis=0, ddof=1).mean(axis=0)


def _differ(models: Values) -> bool:
    """Whether several models' predictions have a distribution at all, in every output."""
    return bool(np.all(np.ptp(models, axis=0).reshape(models.shape[1], -1).any(axis=0)))


def among_golds(golds: Values, rng: np.random.Generator, *, draws: int = 50) -> Values:
    """What `divergence` says of as many golds more: of random halves of the golds, `(draws, n)`.

    Means of halves are farther apart than means of all would be; the squared distance is multiplied by one half,
    the ratio of the two expected values.

    Args:
        golds: predictions of four golds or more, `(M, n, *out)`.
        rng: draws the halves.
        draws: how many pairs of halves.
    """
    half = len(golds) // 2
    orders = [rng.permutation(len(golds)) for _ in range(draws)]
    share = half / len(golds)
    return np.stack([divergence(golds[order[:half]], golds[order[half : 2 * half]], share=share) for order in orders])


def permutation_test(unlearned: Values, golds: Values, rng: np.random.Generator, *, draws: int = 999) -> float:
    """How often models dealt at random into two sides are as far apart as unlearned models and golds are.

    If the method's models are golds more, all are exchangeable and the test is exact; its smallest value is
    1 / (draws + 1).  The mean divergence over samples of a deal follows from the models' inner products.

    Args:
        unlearned: predictions of N models, `(N, n, *out)`.
        golds: predictions of M models, `(M, n, *out)`.
        rng: deals.
        draws: how often.
    """
    models = np.concatenate([unlearned, golds])
    models = models.reshape(*models.shape[:2], -1)
    models = models - models.mean(axis=0)
    products = np.einsum("ano,bno->oab", models, models, optimize=True) / models.shape[1]
    observed = _mean_divergence(products, np.arange(len(models)), len(unlearned))
    dealt = [_mean_divergence(products, rng.permutation(len(models)), len(unlearned)) for _ in range(draws)]
    # Equal up to rounding counts as equal.
    return float((1 + np.sum(np.array(dealt) >= observed * (1 - 1e-9))) / (draws + 1))


def _mean_divergence(products: Values, order: NDArray[np.int64], count: int) -> float:
    """The mean of `divergence` over samples, the first `count` models of an order against the others."""
    sides = order[:count], order[count:]
    variance = []
    weights = np.zeros(len(order))
    for side, sign in zip(sides, (1.0, -1.0), strict=True):
        block = products[:, side[:, None], side]
        total = np.trace(block, axis1=1, axis2=2) - block.sum(axis=(1, 2)) / len(side)
        variance.append(total / (len(side) - 1))
        weights[side] = sign / len(side)
    gap = np.einsum("a,oab,b->o", weights, products, weights)
    ours, theirs = variance
    return float(((np.log(theirs / ours) + (ours + gap) / theirs - 1) / 2).mean())


@dataclass(frozen=True, kw_only=True)
class KLoM(DeepMetric):
    """Trains and unlearns under many seeds, and compares the answers to as many golds', sample by sample.

    Golds have the N seeds after the runtime's.  Each of the next N seeds trains an original, which the methods unlearn
    under the same seed.  What it says is about the method on this request, not about the one model that was audited.

    Raises:
        SettingError: fewer than four models, no method, or no worker.
    """

    about: ClassVar[tuple[About, ...]] = (
        About(
            metric="klom",
            title="KLoM: divergence from retrained models",
            meaning="How differently the method's models, over many seeds, answer a sample than models retrained "
            "without the forgotten samples do; the mean over samples.  0 would be the same distribution.",
            ideal="The value of retrained models against each other, which is about 1 / (number of models).",
            unit="nats",
            source="Georgiev et al. 2024 (KLoM), in Gaussian form",
        ),
        About(
            metric="klom-95",
            title="KLoM, 95 % quantile",
            meaning="One sample in twenty is answered more differently than this: memory of a few samples shows here.",
            ideal="The value of retrained models against each other.",
            unit="nats",
            source="Georgiev et al. 2024 (KLoM), in Gaussian form",
        ),
    )

    models: int = 10
    """Seeds per method, and as many golds."""
    same_original: bool = False
    """Let all seeds unlearn the audited original, which spares training others.  All its descendants share what it
    happens to be, and so differ from golds by more than the method's fault."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.models < 4:
            raise SettingError(f"KLoM has models={self.models}", expected="4 or more")

    def plan(self, case: Case) -> Plan:
        """What measuring will take if the store is empty."""
        samples, retained = case.request.size, len(case.request.retain)
        once = plan_of(self.recipe, retained)
        for method in self.methods.values():
            once += plan_of(method, samples)
        return (once if self.same_original else once + plan_of(self.recipe, samples)) * self.models

    def measure(self, panel: Panel) -> Iterator[Finding]:
        """Mean and 95 % quantile per part of the data: of each method, of golds, and of originals if there are many.

        A model's `p` is that of `permutation_test`; a gold's interval is over random halves of the golds.
        """
        self.require_known(panel)
        seen = self._trained(panel)
        golds = seen.pop(_GOLDS)
        rng = np.random.default_rng(panel.runtime.generator("klom").initial_seed())
        for part in panel.parts:
            split, rows = "train_eval" if part.startswith("train") else "test", panel.original.parts[part].index
            theirs = _side(golds, split, rows)
            sides = {name: _side(models, split, rows) for name, models in seen.items()}
            if fixed := [name for name, side in {"the golds": theirs, **sides}.items() if not _differ(side)]:
                note = f"{', '.join(fixed)}: every seed predicts the same"
                for name in sides:
                    yield Measure(metric="klom", split=part, model=name, value=None, note=note)
                continue
            floor = among_golds(theirs, rng)
            for metric, level in (("klom", None), ("klom-95", 0.95)):
                null = _summary(floor, level)
                note = f"{self.models} models each; golds against golds: {null.mean():.3g}"
                for name, ours in sides.items():
                    value = float(_summary(divergence(ours, theirs)[None], level)[0])
                    p = permutation_test(ours, theirs, rng) if level is None else None
                    yield Measure(metric=metric, split=part, model=name, value=value, p=p, note=note)
                # One row stands for all golds.
                for gold in panel.golds[:1]:
                    low, high = map(float, np.quantile(null, [0.025, 0.975]))
                    note, value = f"random halves of {self.models} golds", float(null.mean())
                    yield Measure(
                        metric=metric, split=part, model=gold.name, value=value, interval=(low, high), note=note
                    )

    def _trained(self, panel: Panel) -> dict[str, list[Answers]]:
        """What every model answers: by audited model, and the golds'."""
        runtime, original = panel.runtime, panel.original.name
        maker = self.maker(panel.case, runtime).for_jobs(self.workers)
        shared, start = panel.original.model, None
        if self.same_original and shared is not None:
            start = Made(Unlearned(model=shared, history=(), cost=Cost()), weights_of(shared))
        jobs = {}
        for seed in range(runtime.seed + 1, runtime.seed + self.models + 1):
            jobs[f"gold of seed {seed}"] = partial(_gold, maker, seed)
            # Other seeds, or `Retrain` itself would make the very same models.
            seed += self.models
            jobs[f"seed {seed}"] = partial(_chain, maker, dict(self.methods), original, start, seed)
        seen: dict[str, list[Answers]] = {}
        for _, answers in runtime.track(run_all(jobs, workers=self.workers), "KLoM", len(jobs)):
            for name, answer in answers.items():
                seen.setdefault(name, []).append(answer)
        return seen


def _chain(
    maker: Maker, methods: Mapping[str, Method], original: str, start: Made | None, seed: int
) -> dict[str, Answers]:
    """One seed's job: train an original, let every method unlearn it, and ask them all."""
    first = start or maker.original(seed)
    answers = {name: _ask(maker, maker.unlearned(method, first, seed), seed) for name, method in methods.items()}
    return answers if start else {original: _ask(maker, first, seed), **answers}


def _gold(maker: Maker, seed: int) -> dict[str, Answers]:
    return {_GOLDS: _ask(maker, maker.gold(seed), seed)}


def _ask(maker: Maker, made: Made, seed: int) -> Answers:
    return {
        split: collect(made.it.model, maker.case.task, maker.case.source(split), maker.seeded(seed)).prediction
        for split in SPLITS
    }


def _side(models: list[Answers], split: str, rows: Index) -> Values:
    return np.stack([answers[split][rows] for answers in models])


def _summary(divergences: Values, level: float | None) -> Values:
    """The mean or a quantile over samples, of each of several rows."""
    return np.asarray(divergences.mean(axis=1) if level is None else np.quantile(divergences, level, axis=1))
