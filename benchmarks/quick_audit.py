"""Fast audits for `calibration.py`: distances between golds are computed once for all audits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from judged_measures import report_of
from side_by_side import PARTS, Answers, many, rows_of
from torch import nn

from unregress import AttackAUC, Case, Deviation, Errors, Rule, Runtime, Wasserstein
from unregress.data.request import Index
from unregress.evidence import CONSTANT, Measurement, Part, Role, Verdict
from unregress.metrics.base import Panel, Subject
from unregress.metrics.errors import mean_absolute_error
from unregress.metrics.memory import Memory
from unregress.metrics.memory_of_few import memory_of_few
from unregress.metrics.predictions import Predictions, Values
from unregress.metrics.roc import auc

DISTANCES, FORGET, KEPT = ("paired", "w1"), "train-forget", "test-retain"
NUMBERS = (("mae", FORGET), ("auc", FORGET), ("mae", KEPT))
ROLES: dict[str, Role] = {"original": "original", "model": "unlearned", CONSTANT: "reference"}
"""Roles of the models other than golds."""


@dataclass(frozen=True)
class Pool:
    """Predictions of the models of one request, with the quantities that all audits share."""

    models: dict[float, Answers]
    """Predictions by the share of D_f that the models were trained on."""
    targets: Answers
    between: dict[str, Values]
    """Distances between golds, by name of the distance."""
    floor: float
    """The golds' mean paired difference, in target units."""
    constant: float
    """Error of the retained targets' median on what is kept: no more skill can be lost."""
    rule: Rule
    """Settings of the verdict."""

    def one(self, share: float, number: int) -> Answers:
        return {part: answers[number] for part, answers in self.models[share].items()}


@dataclass(frozen=True)
class Drawn:
    """Models of one audit."""

    golds: Index
    gold: int
    """Number of one more gold, which is judged as it is or with a planted fault."""
    original: Answers
    luck: int
    """Random number for further choices."""


def pool_of(
    name: str,
    case: Case,
    shares: Sequence[float],
    golds: int,
    others: int,
    cache: Path,
    rule: Rule,
    skip: int = 0,
) -> Pool:
    """Load or train `golds` golds, of which the first `skip` are left out, and `others` models of each other share."""
    models = {share: many(name, case, share, others if share else golds, cache) for share in shares}
    models[0.0] = {part: answers[skip:] for part, answers in models[0.0].items()}
    target = {"train": case.splits.train[:][1].numpy(), "test": case.splits.test[:][1].numpy()}  # type: ignore[index]
    targets: Answers = {
        part: target[part.split("-")[0]][rows].astype(np.float64) for part, rows in rows_of(case).items()
    }
    forget = models[0.0][FORGET]
    between = {metric: np.stack([distance(metric, own, forget) for own in forget]) for metric in DISTANCES}
    floor = float(between["paired"].sum() / (len(forget) * (len(forget) - 1)))
    middle = np.median(target["train"][~case.requested.mask])
    constant = mean_absolute_error(np.full_like(targets[KEPT], middle), targets[KEPT])
    return Pool(models, targets, between, floor, constant, rule)


def distance(metric: str, answers: Values, golds: Values) -> Values:
    """From one model's answers to each gold's: of equally many samples, W1 is the paired difference once sorted."""
    if metric == "w1":
        answers, golds = np.sort(answers), np.sort(golds, axis=-1)
    return np.asarray(np.abs(golds - answers).mean(axis=-1))


def number(pool: Pool, metric: str, part: str, answers: Answers) -> float:
    if metric == "mae":
        return mean_absolute_error(answers[part], pool.targets[part])
    alike = "test-forget" if "test-forget" in answers else "test-retain"
    ours, theirs = (-np.abs(answers[part] - pool.targets[part]) for part in (part, alike))
    return auc(ours, theirs)


def measures(pool: Pool, drawn: Drawn, answers: Answers) -> Iterator[Measurement]:
    """The metrics' measurements (verified by `check`), from the precomputed distances between golds."""
    golds = [pool.one(0.0, gold) for gold in drawn.golds]
    names = ["original", "model", *(f"gold {n}" for n in range(len(golds)))]
    forget = np.stack([gold[FORGET] for gold in golds])
    for metric in DISTANCES:
        own = pool.between[metric][np.ix_(drawn.golds, drawn.golds)].sum(axis=1) / (len(golds) - 1)
        seen = [distance(metric, model[FORGET], forget).mean() for model in (drawn.original, answers)]
        for name, value in zip(names, (*seen, *own), strict=True):
            yield Measurement(metric=metric, split=FORGET, model=name, value=float(value))
    for place, (name, model) in enumerate(zip(names, (drawn.original, answers, *golds), strict=True)):
        others = np.delete(forget, place - 2, axis=0) if place > 1 else forget
        best = memory_of_few(model[FORGET], pool.targets[FORGET], others)
        yield Measurement(metric="memory-of-few", split=FORGET, model=name, value=best)
    for metric, part in NUMBERS:
        for name, model in zip(names, (drawn.original, answers, *golds), strict=True):
            yield Measurement(metric=metric, split=part, model=name, value=number(pool, metric, part, model))


def audited(pool: Pool, drawn: Drawn, answers: Answers) -> Verdict:
    constant = Measurement(metric="mae", split=KEPT, model=CONSTANT, value=pool.constant)
    found = (*measures(pool, drawn, answers), constant)
    return report_of(found, len(answers[FORGET]), pool.rule).verdict("model")


def check(pool: Pool, case: Case, drawn: Drawn) -> None:
    """Verify for one audit that `measures` equals the metrics' own measurements."""
    quick = list(measures(pool, drawn, pool.one(0.0, drawn.gold)))
    answers = {"original": drawn.original, "model": pool.one(0.0, drawn.gold)}
    answers |= {f"gold {n}": pool.one(0.0, gold) for n, gold in enumerate(drawn.golds)}
    subjects = []
    for name, model in answers.items():
        parts: dict[Part, Predictions] = {
            part: Predictions(
                index=np.arange(len(model[part])), prediction=model[part], target=pool.targets[part],
                loss=np.abs(model[part] - pool.targets[part]),
            )
            for part in PARTS
            if part in model
        }  # fmt: skip
        # Errors look at the retained samples' loss only to see that it is the absolute error.
        parts["train-retain"] = parts["test-retain"]
        subjects.append(Subject(name=name, role=ROLES.get(name, "gold"), model=nn.Identity(), parts=parts))
    panel = Panel(case=case, runtime=Runtime(accelerator="cpu"), subjects=tuple(subjects),
                  validation_forget_like=np.zeros(0, dtype=np.int64))  # fmt: skip
    found = {
        (m.metric, m.split, m.model): m.value
        for metric in (Errors(), Wasserstein(), Deviation(), AttackAUC(), Memory())
        for m in metric.measure(panel)
        if isinstance(m, Measurement)
    }
    slow = np.array([found[m.metric, m.split, m.model] for m in quick], dtype=float)
    np.testing.assert_allclose(np.array([m.value for m in quick], dtype=float), slow, rtol=1e-6)
