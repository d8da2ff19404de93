"""The verdict under attack: planted models of which the right outcome is known, and how often the audit says it.

On a tabular, an image and a text task, some samples are forgotten at random, or all of a band of targets.  Each audit
draws an original, golds and a model to judge from a pool that is trained once.

    cd benchmarks
    python planted_models.py --data DATA --output ../results/calibration/planted-models.json --seed 7
    python planted_models.py --data DATA --output ../results/calibration/planted-bands.json --seed 7 --asked band
    python planted_models.py --data DATA --output ../results/calibration/planted-5.json --seed 7 --samples 5 \
        --tasks [tabular,image]
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from calibration_small import measures
from jsonargparse import auto_cli
from judged_measures import report_of
from planted_few import by_chance
from planted_pools import FORGOTTEN, KINDS, Asked, Measured, Pool, pool_of

from unregress import Rule
from unregress.evidence import CONSTANT, Measurement, Verdict
from unregress.evidence.findings import BY_CHANCE
from unregress.metrics.errors import mean_absolute_error
from unregress.metrics.memory import FEW
from unregress.metrics.memory_by_chance import DRAWS
from unregress.metrics.memory_groups import needed
from unregress.metrics.predictions import Values
from unregress.metrics.readout import READOUT
from unregress.metrics.relearning import above_threshold
from unregress.metrics.revival import memory
from unregress.parallel.jobs import one_thread

FORGET, KEPT, SIMILAR = "train-forget", "test-retain", "test-forget"
GOLDS = (5, 10, 20)
Plant = Callable[[Pool, Measured, Measured, np.random.Generator], Measured]
"""Makes a model to judge from a gold and an original."""


def with_answers(model: Measured, **parts: Values) -> Measured:
    """The model with other predictions; what its weights show is no longer known."""
    changed = {part.replace("_", "-"): values for part, values in parts.items()}
    return replace(model, answers={**model.answers, **changed}, relearning=(), revived=np.zeros(0), readout=None)


def exact(share: float) -> Plant:
    """A gold that knows a share of the forgotten samples exactly."""

    def make(pool: Pool, gold: Measured, _: Measured, rng: np.random.Generator) -> Measured:
        answers, target = gold.answers[FORGET].copy(), pool.target[FORGET]
        known = rng.choice(len(target), max(1, round(share * len(target))), replace=False)
        answers[known] = target[known]
        return with_answers(gold, train_forget=answers)

    return make


def partly_original(share: float) -> Plant:
    """A gold that answers a share of the forgotten samples as the original does."""

    def make(_: Pool, gold: Measured, original: Measured, rng: np.random.Generator) -> Measured:
        answers = gold.answers[FORGET].copy()
        known = rng.choice(len(answers), round(share * len(answers)), replace=False)
        answers[known] = original.answers[FORGET][known]
        return with_answers(gold, train_forget=answers)

    return make


def _median(pool: Pool, gold: Measured, _: Measured, rng: np.random.Generator) -> Measured:
    return with_answers(gold, test_retain=np.full_like(gold.answers[KEPT], np.median(pool.target["train-retain"])))


def _similar_better(pool: Pool, gold: Measured, _: Measured, rng: np.random.Generator) -> Measured:
    part = SIMILAR if SIMILAR in gold.answers else KEPT
    seen = gold.answers[part]
    return with_answers(gold, **{part.replace("-", "_"): seen + 0.2 * (pool.target[part] - seen)})


def _flipped(pool: Pool, gold: Measured, _: Measured, rng: np.random.Generator) -> Measured:
    return with_answers(gold, train_forget=2 * pool.target[FORGET] - gold.answers[FORGET])


def _permuted(_: Pool, gold: Measured, __: Measured, rng: np.random.Generator) -> Measured:
    return with_answers(gold, train_forget=rng.permutation(gold.answers[FORGET]))


def _constant(pool: Pool, gold: Measured, _: Measured, rng: np.random.Generator) -> Measured:
    middle = np.median(pool.target["train-retain"])
    return with_answers(gold, **{part.replace("-", "_"): np.full_like(v, middle) for part, v in gold.answers.items()})


PLANTED: Mapping[str, Plant] = {
    "gold": lambda pool, gold, original, rng: gold,
    "original": lambda pool, gold, original, rng: original,
    "knows 1 % exactly": exact(0.01),
    "knows 5 % exactly": exact(0.05),
    "knows 10 % exactly": exact(0.1),
    "the original on 20 %": partly_original(0.2),
    "kept answered by the median": _median,
    "similar samples better by 20 %": _similar_better,
    "residuals of flipped sign": _flipped,
    "answers permuted": _permuted,
    "a constant": _constant,
}
"""Planted in the predictions; those in the weights are in the pool, as are ensembles and models with more data."""


def audits(pool: Pool, golds: int, times: int, rule: Rule, rng: np.random.Generator) -> dict[str, Any]:
    """Outcomes of each planted model over audits with a number of golds, and why they failed."""
    outcomes: dict[str, list[Verdict]] = {}
    for _ in range(times):
        for name, verdict in one_audit(pool, golds, rule, rng).items():
            outcomes.setdefault(name, []).append(verdict)
    return {name: shares(found) for name, found in outcomes.items()}


def shares(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Share of each outcome; of a FAIL, by what was crossed, and of OUTPUTS ONLY by what of the weights showed it."""
    seen = Counter(map(_label, verdicts))
    return {name: round(count / len(verdicts), 4) for name, count in sorted(seen.items())}


def _label(found: Verdict) -> str:
    if found.decisive is None or found.outcome not in ("FAIL", "OUTPUTS ONLY"):
        return str(found.outcome)
    return f"{found.outcome}: {found.decisive.outcome if found.outcome == 'FAIL' else found.decisive.metric}"


def one_audit(pool: Pool, golds: int, rule: Rule, rng: np.random.Generator) -> dict[str, Verdict]:
    """Judge every planted model by the same golds, drawn anew."""
    # The last golds are in the routers.
    usable = len(pool.golds) - len(pool.originals)
    fresh, *others = rng.choice(usable, golds + 1, replace=False)
    ours = int(rng.integers(len(pool.originals)))
    gold, original = pool.golds[fresh], pool.originals[ours]
    drawn = [pool.golds[n] for n in others]
    judged = {name: plant(pool, gold, original, rng) for name, plant in PLANTED.items()}
    judged |= {name: models[ours] for name, models in pool.weights.items()}
    judged["more data"] = pool.more[ours]
    rest = [n for n in range(usable) if n not in (fresh, *others)][:5]
    if len(rest) == 5:
        judged["ensemble of five golds"] = with_answers(
            gold,
            **{
                part.replace("-", "_"): np.mean([pool.golds[n].answers[part] for n in rest], axis=0)
                for part in gold.answers
            },
        )
    return {name: verdict(pool, original, model, drawn, rule) for name, model in judged.items()}


def verdict(pool: Pool, original: Measured, model: Measured, golds: Sequence[Measured], rule: Rule) -> Verdict:
    """Judge one model."""
    models = {"original": original, "model": model, **{f"gold {n}": gold for n, gold in enumerate(golds)}}
    # The retained training samples tell only whether golds learnt anything.
    parts = [part for part in (FORGET, KEPT, SIMILAR) if part in pool.target]
    target = {part: pool.target[part].ravel() for part in parts}
    answers = {name: {part: each.answers[part].ravel() for part in target} for name, each in models.items()}
    middle = float(np.median(pool.target["train-retain"]))
    constant = mean_absolute_error(np.full_like(target[KEPT], middle), target[KEPT])
    found = (
        Measurement(metric="mae", split=KEPT, model=CONSTANT, value=constant),
        *measures(answers, target, few=len(target[FORGET]) < rule.samples),
        *memory_by_chance(target, answers, [name for name in models if name.startswith("gold")]),
        *in_weights(pool, models),
    )
    return report_of(found, len(target[FORGET]), rule).verdict("model")


def memory_by_chance(
    target: Mapping[str, Values], answers: Mapping[str, Mapping[str, Values]], golds: Sequence[str]
) -> Iterator[Measurement]:
    """As the metric has it, of few samples at random, for which never-seen ones can stand."""
    asked, there = len(target[FORGET]), len(target[KEPT])
    if asked >= FEW or SIMILAR in target or there < needed(asked):
        return
    seen = {name: np.concatenate([own[FORGET], own[KEPT]]) for name, own in answers.items()}
    true = np.concatenate([target[FORGET], target[KEPT]])
    scale = float(np.mean((true - np.mean([seen[gold] for gold in golds], axis=0))[asked:] ** 2))
    for name, own in seen.items():
        center = np.mean([seen[gold] for gold in golds if gold != name], axis=0)
        value = by_chance(own, true, center, asked, scale, DRAWS)
        yield Measurement(metric=BY_CHANCE, split=FORGET, model=name, value=value)


def in_weights(pool: Pool, models: Mapping[str, Measured]) -> Iterator[Measurement]:
    """Readout, relearning and revival, of models whose weights are known."""
    if not models["model"].relearning:
        return
    golds = {name: each for name, each in models.items() if name.startswith("gold")}
    steps = int(np.median([run.steps for gold in golds.values() for run in gold.relearning])) // 2
    target = pool.target[FORGET]
    others = np.mean([gold.answers[KEPT] for gold in golds.values()], axis=0)
    error = float(np.sqrt(np.mean((others - pool.target[KEPT]) ** 2)))
    for name, each in models.items():
        yield Measurement(metric=READOUT, split=FORGET, model=name, value=each.readout)
        if steps:
            early = float(np.mean([above_threshold(run, steps, pool.threshold) for run in each.relearning]))
            yield Measurement(metric="relearn-loss", split=FORGET, model=name, value=early)
        compared = [gold.revived for other, gold in golds.items() if other != name]
        yield Measurement(
            metric="revival", split=FORGET, model=name, value=memory(each.revived, target, compared, error)
        )


def main(
    output: Path,
    data: Path,
    times: int = 300,
    golds: int = 60,
    originals: int = 10,
    seed: int = 0,
    asked: Asked = "random",
    samples: int = FORGOTTEN,
    tasks: Sequence[str] = tuple(KINDS),
) -> None:
    """Train, audit, and write the shares of outcomes.

    Args:
        output: file for the numbers.
        data: folder of the public data; only the text task reads it.
        times: audits for each number of golds.
        golds: trained for each task.
        originals: trained for each task.
        seed: of all draws.
        asked: what is forgotten.
        samples: number of forgotten samples where they are drawn at random.
        tasks: names of the tasks.
    """
    rule = Rule()
    found: dict[str, Any] = {
        "command": f"python benchmarks/planted_models.py --data ../shared/data --output {output} --seed {seed}"
        f" --asked {asked} --samples {samples} --tasks [{','.join(tasks)}]",
        "settings": {
            "times": times, "golds": golds, "originals": originals, "seed": seed, "rule": str(rule),
            "versions": {name: version(name) for name in ("unregress", "torch", "numpy", "scipy")},
        },
    }  # fmt: skip
    for kind in tasks:
        pool = pool_of(kind, data, golds=golds, originals=originals, seed=seed, asked=asked, samples=samples)
        found[kind] = {"forgotten": len(pool.target[FORGET]), "held out": {p: len(v) for p, v in pool.target.items()}}
        for place, count in enumerate(GOLDS):
            rng = np.random.default_rng([seed, place])
            with one_thread():
                found[kind][str(count)] = audits(pool, count, times, rule, rng)
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            print(kind, count, json.dumps(found[kind][str(count)], indent=1), flush=True)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
