"""How often the verdict fails a fresh gold of a request with 60 samples, by how golds vary from seed to seed.

python benchmarks/calibration_spreads.py --output results/calibration/spreads.json
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from calibration_small import LEARNT, SPREADS, drawn, measures
from jsonargparse import auto_cli
from scipy.stats import binomtest

from unregress import Rule
from unregress.evidence import AuditedModel, AuditReport, Role
from unregress.evidence.verdict import judge
from unregress.parallel.jobs import one_thread

SAMPLES, RESIDUAL, GOLDS = 60, 1.5, (5, 10)
"""Forgotten samples, and as many held-out ones; residuals in standard deviations of a gold."""


def failed(spread: str, golds: int, rng: np.random.Generator, rule: Rule) -> bool:
    """Whether one more gold fails in one audit."""
    models = drawn(spread, rng, (1, golds + 2, 2 * SAMPLES))[0]
    target = RESIDUAL * rng.normal(size=2 * SAMPLES)
    models[0, :SAMPLES] = LEARNT * target[:SAMPLES] + (1 - LEARNT) * models[0, :SAMPLES]
    names = ["original", "model", *(f"gold {n}" for n in range(golds))]
    parts = {"train-forget": slice(SAMPLES), "test-retain": slice(SAMPLES, None)}
    answers = {
        name: {part: model[rows] for part, rows in parts.items()} for name, model in zip(names, models, strict=True)
    }
    roles: dict[str, Role] = {"original": "original", "model": "unlearned"}
    report = AuditReport(
        version="", reason="", request_digest="", target_band=None, data_digest="", settings={}, about=(), figures=(),
        samples={"train-forget": SAMPLES},
        models=tuple(AuditedModel(name=name, role=roles.get(name, "gold")) for name in names),
        measures=tuple(measures(answers, {part: target[rows] for part, rows in parts.items()}, few=False)),
    )  # fmt: skip
    return judge(report, rule)[1].outcome == "FAIL"


def main(output: Path, audits: int = 200, seed: int = 0) -> None:
    """Simulate, and write the shares with their exact 95 % intervals.

    Args:
        output: file for the numbers.
        audits: for each spread and number of golds.
        seed: of all draws.
    """
    found: dict[str, dict[str, list[float]]] = {}
    with one_thread():
        for place, spread in enumerate(SPREADS):
            for golds in GOLDS:
                rng = np.random.default_rng([seed, place, golds])
                alarms = sum(failed(spread, golds, rng, Rule()) for _ in range(audits))
                exact = binomtest(alarms, audits).proportion_ci()
                shares = [alarms / audits, exact.low, exact.high]
                found.setdefault(spread, {})[str(golds)] = [round(share, 4) for share in shares]
            print(spread, found[spread], flush=True)
    settings = {"audits": audits, "seed": seed, "samples": SAMPLES, "residual": RESIDUAL, "rule": str(Rule())}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"settings": settings, "fresh gold FAIL": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
