"""How often the verdict fails a fresh gold of a request with 30 to 1,000 samples, by how golds vary from seed to seed.

python benchmarks/calibration_spreads.py --output results/calibration/spreads.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from calibration_small import LEARNT, SPREADS, drawn, measures
from jsonargparse import auto_cli
from judged_measures import report_of
from scipy.stats import binomtest

from unregress import Rule
from unregress.evidence import AuditReport
from unregress.metrics.predictions import Values
from unregress.parallel.jobs import one_thread

GOLDS = (5, 10)
SETTINGS = ((30, 1.5), (60, 1.5), (300, 1.5), (1000, 1.5), (60, 5.0), (1000, 5.0))
"""Forgotten samples, and as many held-out ones; residuals in standard deviations of a gold.

Golds that share the original's initial weights differ less from each other, so the same residuals are more of their
standard deviations: what the shared start adds to all of them is a part of what they are expected to predict.
"""
Share = tuple[float, float, float]
"""Share of audits that fail a fresh gold, and its exact 95 % interval."""


def failed(spread: str, golds: int, samples: int, residual: float, rng: np.random.Generator, rule: Rule) -> bool:
    """Whether one more gold fails in one audit."""
    models = drawn(spread, rng, (1, golds + 2, 2 * samples))[0]
    target = residual * rng.normal(size=2 * samples)
    original, model, *others = models
    return audited(original, model, others, target, rule).verdict("model").outcome == "FAIL"


def audited(original: Values, model: Values, golds: Sequence[Values], target: Values, rule: Rule) -> AuditReport:
    """The audit of one model by golds, all given by their predictions of the forgotten and of as many held-out samples.

    Args:
        original: as a gold; what it learnt of the forgotten samples is added.
        model: to judge.
        golds: to judge by.
        target: true values.
        rule: how to judge.
    """
    samples = len(target) // 2
    parts = {"train-forget": slice(samples), "test-retain": slice(samples, None)}
    named = {"original": learnt(original, target), "model": model, **{f"gold {n}": g for n, g in enumerate(golds)}}
    answers = {name: {part: each[rows] for part, rows in parts.items()} for name, each in named.items()}
    targets = {part: target[rows] for part, rows in parts.items()}
    return report_of(measures(answers, targets, few=False), samples, rule)


def learnt(model: Values, target: Values, share: float = LEARNT) -> Values:
    """The model once it has learnt a share of its residuals on the forgotten samples, the first half."""
    samples = len(target) // 2
    return np.concatenate([share * target[:samples] + (1 - share) * model[:samples], model[samples:]])


def key(samples: int, residual: float, golds: int) -> str:
    """What a share is of."""
    return f"{samples} samples, residuals of {residual:g}, {golds} golds"


def lines(found: Mapping[str, Mapping[str, Share]]) -> Iterator[str]:
    """The table of docs/calibration.md: shares with five and with ten golds."""
    yield "| golds vary by | " + " | ".join(f"{count:,} samples, {residual:g}" for count, residual in SETTINGS) + " |"
    yield "|---" * (1 + len(SETTINGS)) + "|"
    for spread, shares in found.items():
        cells = [" / ".join(f"{shares[key(*setting, golds)][0]:.1%}" for golds in GOLDS) for setting in SETTINGS]
        yield f"| {spread} | " + " | ".join(cells) + " |"


def main(output: Path, audits: int = 1000, seed: int = 0) -> None:
    """Simulate, and write the shares with their exact 95 % intervals.

    Args:
        output: file for the numbers.
        audits: for each spread, number of samples, residual and number of golds.
        seed: of all draws.
    """
    found: dict[str, dict[str, Share]] = {}
    settings = {"audits": audits, "seed": seed, "rule": str(Rule())}
    output.parent.mkdir(parents=True, exist_ok=True)
    with one_thread():
        for place, spread in enumerate(SPREADS):
            for samples, residual in SETTINGS:
                for golds in GOLDS:
                    rng = np.random.default_rng([seed, place, golds, samples, round(10 * residual)])
                    alarms = sum(failed(spread, golds, samples, residual, rng, Rule()) for _ in range(audits))
                    exact = binomtest(alarms, audits).proportion_ci()
                    share = (alarms / audits, round(exact.low, 4), round(exact.high, 4))
                    found.setdefault(spread, {})[key(samples, residual, golds)] = share
            told = json.dumps({"settings": settings, "fresh gold FAIL": found}, indent=1)
            output.write_text(told + "\n", encoding="utf-8")
            print(spread, found[spread], file=sys.stderr, flush=True)
    print("\n".join(lines(found)))


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
