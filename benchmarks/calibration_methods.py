"""How often the verdict on a method over seeds is wrong: methods that equal retraining, and methods that keep a share.

Each of S models comes from an original of its own; all are audited by the same R golds, of 60 forgotten samples.

    python benchmarks/calibration_methods.py --output results/calibration/methods.json
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from calibration_small import LEARNT, drawn
from calibration_spreads import audited, learnt
from jsonargparse import auto_cli

from unregress import Rule
from unregress.evidence.method_verdict import method_verdict
from unregress.metrics.predictions import Values
from unregress.parallel.jobs import one_thread

SPREADS = ("independent", "offset", "t3 offset", "scale")
SIZES = ((3, 5), (5, 5))
"""Models and golds."""
KEPT = (0.0, 0.1, 0.25)
"""Share of what an original learnt that its unlearned model keeps."""
SAMPLES, RESIDUAL = 60, 1.5
Shares = dict[str, float]


def outcome(spread: str, models: int, golds: int, kept: float, rng: np.random.Generator) -> str:
    """The verdict on one method."""
    made = drawn(spread, rng, (1, golds + 2 * models, 2 * SAMPLES))[0]
    target: Values = RESIDUAL * rng.normal(size=2 * SAMPLES)
    others, fresh, originals = made[:golds], made[golds : golds + models], made[golds + models :]
    reports = [
        audited(original, learnt(model, target, kept * LEARNT), list(others), target, Rule())
        for model, original in zip(fresh, originals, strict=True)
    ]
    return method_verdict(reports).outcome


def lines(found: Mapping[str, Mapping[str, Shares]]) -> Iterator[str]:
    """The table of docs/calibration.md: shares of FAIL, and of PASS where nothing is kept."""
    yield (
        "| golds vary by | models, golds | nothing kept: FAIL | PASS | "
        + " | ".join(f"{kept:.0%} kept: FAIL" for kept in KEPT[1:])
        + " |"
    )
    yield "|---" * (3 + len(KEPT)) + "|"
    for name, by_kept in found.items():
        spread, _, size = name.partition(": ")
        first, *rest = by_kept.values()
        cells = [first.get("FAIL", 0.0), first.get("PASS", 0.0), *(each.get("FAIL", 0.0) for each in rest)]
        yield f"| {spread} | {size} | " + " | ".join(f"{cell:.1%}" for cell in cells) + " |"


def main(output: Path, methods: int = 300, seed: int = 0) -> None:
    """Simulate, and write the shares of outcomes.

    Args:
        output: file for the numbers.
        methods: for each spread, number of models and golds, and share kept.
        seed: of all draws.
    """
    found: dict[str, dict[str, Shares]] = {}
    settings = {"methods": methods, "seed": seed, "samples": SAMPLES, "residual": RESIDUAL, "rule": str(Rule())}
    output.parent.mkdir(parents=True, exist_ok=True)
    with one_thread():
        for place, spread in enumerate(SPREADS):
            for models, golds in SIZES:
                for kept in KEPT:
                    rng = np.random.default_rng([seed, place, models, golds, round(100 * kept)])
                    seen = Counter(outcome(spread, models, golds, kept, rng) for _ in range(methods))
                    shares = {name: round(count / methods, 4) for name, count in sorted(seen.items())}
                    found.setdefault(f"{spread}: {models}, {golds}", {})[f"{kept:g}"] = shares
            told = json.dumps({"settings": settings, "outcomes": found}, indent=1)
            output.write_text(told + "\n", encoding="utf-8")
    print("\n".join(lines(found)))


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
