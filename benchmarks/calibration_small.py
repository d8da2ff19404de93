"""Calibrate the verdict on requests with few samples: false alarms and power, simulated and of trained models.

Which statistic the one test reads and its level were chosen on seeds of their own (`--stage choose`); what is reported
comes from others.

    python benchmarks/calibration_small.py --output results/calibration/small-requests.json --cache runs/calibration
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from math import sqrt
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jsonargparse import auto_cli
from judged_measures import report_of
from scipy.stats import t as student
from side_by_side import Answers
from small_pools import Request, uncoupled

from unregress import Rule
from unregress.data.request import Index
from unregress.evidence import CONSTANT, Measurement, Verdict
from unregress.metrics.errors import mean_absolute_error
from unregress.metrics.memory import compared_with_golds
from unregress.metrics.memory_of_few import memory_of_few
from unregress.metrics.predictions import Values
from unregress.metrics.roc import auc
from unregress.parallel.jobs import one_thread

Stage = Literal["choose", "report"]
SIZES, GOLDS = (1, 3, 5, 10, 20), (5, 8, 10, 20)
REQUESTS = 12
"""Requests of each size."""
FIRST_SEED = {"choose": 1000, "report": 2000}
RESIDUALS = (0.5, 1.5, 5.0)
"""Standard deviation of the targets from the golds' expectation, in standard deviations of a gold."""
LEARNT = 0.9
"""Share of its residuals that a simulated original learnt."""
KEPT = {"gold": 0.0, "quarter": 0.25, "half": 0.5, "original": 1.0}
"""Models to judge, by the share of the original's memory that is added to a fresh gold."""


# --- Simulated golds --------------------------------------------------------------------------------------------------


def drawn(spread: str, rng: np.random.Generator, shape: tuple[int, int, int]) -> Values:
    """Deviations of golds from their expectation, about one standard deviation each; `(audits, golds, samples)`."""
    audits, golds, samples = shape
    own, offset = rng.normal(size=shape), rng.normal(size=(audits, golds, 1))
    match spread:
        case "independent":
            return own
        case "smooth":  # three smooth functions of a feature, common to all samples
            place = np.pi * rng.uniform(size=(audits, 1, samples, 1)) * np.arange(1, 4)
            common: Values = (rng.normal(size=(audits, golds, 1, 3)) * np.cos(place)).sum(axis=-1) * sqrt(2 / 3)
            return (common + 0.3 * own) / sqrt(1.09)
        case "offset":
            return (offset + own) / sqrt(2)
        case "t3 offset":
            return (rng.standard_t(3, size=(audits, golds, 1)) / sqrt(3) + 0.5 * own) / sqrt(1.25)
        case "bimodal":
            return (np.sign(offset) + 0.5 * own) / sqrt(1.25)
        case "scale":  # some golds vary more than others
            return own * np.exp(0.7 * offset) / 1.6
        case _:  # one gold in ten collapses
            return np.where(rng.uniform(size=(audits, golds, 1)) < 0.1, 4 * offset, own)


SPREADS = ("independent", "smooth", "offset", "t3 offset", "bimodal", "scale", "collapse")


def of_error(golds: Values, model: Values, target: Values) -> Values:
    """Student's t of the golds' mean absolute error less the model's."""
    theirs, own = np.abs(golds - target).mean(axis=-1), np.abs(model - target).mean(axis=-1)[:, 0]
    return np.asarray((theirs.mean(axis=1) - own) / (theirs.std(axis=1, ddof=1) * sqrt(1 + 1 / golds.shape[1])))


def of_memory(golds: Values, model: Values, target: Values) -> Values:
    """Student's t of `unregress.metrics.memory.lean`, of many audits at a time."""
    everyone = np.concatenate([golds, model], axis=1)
    center = everyone.mean(axis=1, keepdims=True)
    along = ((everyone - center) * (target - center)).sum(axis=-1)
    theirs, own = along[:, :-1], along[:, -1]
    return np.asarray((own - theirs.mean(axis=1)) / (theirs.std(axis=1, ddof=1) * sqrt(1 + 1 / golds.shape[1])))


def simulated(spread: str, residual: float, size: int, golds: int, audits: int, seed: int) -> dict[str, Any]:
    """Share of audits in which each statistic crosses its one-sided limit, by the model and by the level."""
    rng = np.random.default_rng([seed, SPREADS.index(spread), RESIDUALS.index(residual), size, golds])
    models, target = drawn(spread, rng, (audits, golds + 1, size)), residual * rng.normal(size=(audits, 1, size))
    found: dict[str, Any] = {}
    for name, statistic in (("error", of_error), ("memory", of_memory)):
        for model, share in KEPT.items():
            p = student.sf(statistic(models[:, :-1], models[:, -1:] + share * LEARNT * target, target), golds - 1)
            found.setdefault(name, {})[model] = [round(float((p < level).mean()), 4) for level in (0.04, 0.05)]
    return found


# --- Trained models ---------------------------------------------------------------------------------------------------


def verdict(request: Request, golds: Index, original: int, model: Answers, rule: Rule) -> Verdict:
    """Judge one model: its predictions by part."""
    parts = ["train-forget", "test-retain"] + (["test-forget"] if len(request.rows("test-forget")) else [])
    answers = {
        "original": {part: request.at(request.originals, part)[original] for part in parts},
        "model": model,
        **{f"gold {n}": {part: request.at(request.golds, part)[n] for part in parts} for n in golds},
    }
    target = {part: request.at(request.target, part) for part in parts}
    forgotten = len(target["train-forget"])
    constant = mean_absolute_error(np.array(request.constant), target["test-retain"])
    found = (
        *measures(answers, target, few=forgotten < rule.samples),
        Measurement(metric="mae", split="test-retain", model=CONSTANT, value=constant),
    )
    return report_of(found, forgotten, rule).verdict("model")


def measures(answers: dict[str, Any], target: dict[str, Values], *, few: bool) -> Iterator[Measurement]:
    """What the criteria read: of the models in `answers`, those after the first two are golds."""
    names = list(answers)
    forgotten = np.stack([answers[name]["train-forget"] for name in names])
    y, similar = target["train-forget"], "test-forget" if "test-forget" in target else "test-retain"
    for name in names:
        for part in target:
            error = mean_absolute_error(answers[name][part], target[part])
            yield Measurement(metric="mae", split=part, model=name, value=error)
        if not few:
            ours, theirs = (-np.abs(answers[name][part] - target[part]) for part in ("train-forget", similar))
            yield Measurement(metric="auc", split="train-forget", model=name, value=auc(ours, theirs))
    for place, name in enumerate(names):
        others = [other for other in range(2, len(names)) if other != place]
        if not few:
            best = memory_of_few(forgotten[place], y, forgotten[others])
            yield Measurement(metric="memory-of-few", split="train-forget", model=name, value=best)
        if few:
            test = compared_with_golds(forgotten[place], y, forgotten[others], float(np.var(y)))
            interval, p = (test.interval, test.p) if place < 2 else (None, None)
            yield Measurement(
                metric="memory", split="train-forget", model=name, value=test.value, interval=interval, p=p
            )
            continue
        for metric, seen in (("paired", forgotten), ("w1", np.sort(forgotten, axis=1))):
            apart = float(np.abs(seen[others] - seen[place]).mean())
            yield Measurement(metric=metric, split="train-forget", model=name, value=apart)


def audits(requests: Sequence[Request], golds: int, times: int, seed: int, rule: Rule) -> dict[str, Any]:
    """Outcomes by the model that is judged, over audits of each request; and whether a PASS keeps its promise."""
    rng = np.random.default_rng([seed, golds])
    outcomes: dict[str, list[str]] = {name: [] for name in KEPT}
    by_request, promised, damaged = [], [], 0
    for request in requests:
        alarms = []
        for _ in range(times):
            fresh, another, *others = rng.choice(len(request.golds["test"]), golds + 2, replace=False)
            # The first half plays the original; the second half is there to be judged.
            half = len(request.originals["test"]) // 2
            original, other = int(rng.integers(half)), half + int(rng.integers(len(request.originals["test"]) - half))
            judged = {
                name: verdict(request, np.array(others), original, planted(request, share, fresh, other), rule)
                for name, share in KEPT.items()
            }
            for name, found in judged.items():
                outcomes[name].append(found.outcome)
            alarms.append(judged["gold"].outcome == "FAIL")
            damaged += any(each.outcome == "damaged" for each in judged["gold"].criteria)
            test = next((each for each in judged["gold"].criteria if each.kind == "memory"), None)
            if test is not None and test.power is not None and test.resolution <= rule.resolution:
                model = planted(request, 0.5, another, other)
                found = verdict(request, np.array(others), original, model, rule)
                promised.append((test.power, any(each.outcome != "within" for each in found.criteria)))
        by_request.append(np.mean(alarms))
    again = rng.choice(by_request, (2000, len(by_request))).mean(axis=1)
    shares = {
        name: {o: round(seen.count(o) / len(seen), 4) for o in sorted(set(seen))} for name, seen in outcomes.items()
    }
    kept_promise = np.mean(promised, axis=0).round(3).tolist() if promised else None
    return {
        "audits": len(outcomes["gold"]), "outcomes": shares,
        "fresh gold: 95 % over requests": np.quantile(again, [0.025, 0.975]).round(4).tolist(),
        "fresh gold: damage": round(damaged / len(outcomes["gold"]), 4),
        "where a PASS is possible: stated power against half, and share noticed": kept_promise,
    }  # fmt: skip


def planted(request: Request, share: float, gold: int, original: int) -> Answers:
    """A gold to which a share of an original's memory is added, or an original; predictions by part."""
    made = {}
    for part in ("train-forget", "test-retain", "test-forget"):
        golds, full = request.at(request.golds, part), request.at(request.originals, part)[original]
        made[part] = full if share == 1 else golds[gold] + share * (full - golds.mean(axis=0))
    return made


def statistics(requests: Sequence[Request], golds: int, times: int, seed: int) -> dict[str, Any]:
    """As `simulated`, of trained models: both statistics, of which one was to be chosen."""
    rng, found = np.random.default_rng([seed, golds]), {}
    for name, statistic in (("error", of_error), ("memory", of_memory)):
        shares: dict[str, list[Values]] = {model: [] for model in KEPT}
        for request in requests:
            target, everyone = request.at(request.target, "train-forget"), request.at(request.golds, "train-forget")
            chosen = rng.permuted(np.tile(np.arange(len(everyone)), (times, 1)), axis=1)[:, : golds + 1]
            models, memory = everyone[chosen], request.at(request.originals, "train-forget") - everyone.mean(axis=0)
            added = memory[rng.integers(len(memory), size=(times, 1))]
            for model, share in KEPT.items():
                t = statistic(models[:, :-1], models[:, -1:] + share * added, target)
                shares[model].append(student.sf(t, golds - 1))
        found[name] = {
            model: [round(float((np.stack(p) < level).mean()), 4) for level in (0.04, 0.05)]
            for model, p in shares.items()
        }
    return found


def main(output: Path, cache: Path, stage: Stage = "report", times: int = 10, simulations: int = 2000) -> None:
    """Simulate, train, audit, and write the numbers.

    Args:
        output: file for the numbers.
        cache: folder for models' predictions, which are not made again.
        stage: whose seeds.
        times: audits of each request.
        simulations: audits of each simulated setting.
    """
    rule, first = Rule(), FIRST_SEED[stage]
    found: dict[str, Any] = {
        "settings": {
            "stage": stage, "times": times, "simulations": simulations, "rule": str(rule),
            "levels": [0.04, 0.05],
            "versions": {name: version(name) for name in ("unregress", "torch", "numpy", "scipy")},
        },
        "simulated": {
            spread: {
                str(residual): {
                    str(size): {
                        str(golds): simulated(spread, residual, size, golds, simulations, first)
                        for golds in (5, 10, 20)
                    }
                    for size in SIZES[::2]
                }
                for residual in RESIDUALS
            }
            for spread in SPREADS
        },
    }  # fmt: skip
    write(found, output)
    with one_thread():
        for size in SIZES:
            requests = [
                uncoupled(size, first + 100 * size + n, 100, f"{stage}-{size}-{n}", cache) for n in range(REQUESTS)
            ]
            found.setdefault("trained", {})[str(size)] = {
                str(golds): audits(requests, golds, times, first, rule)
                | {"statistics": statistics(requests, golds, 20 * times, first)}
                for golds in GOLDS
            }
            write(found, output)


def write(found: dict[str, Any], output: Path) -> None:
    """Write what is measured so far."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(found, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
