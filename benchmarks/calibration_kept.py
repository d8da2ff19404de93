"""How wide the limit of the error on what is kept must be, by how golds vary from seed to seed: false alarms and width.

python benchmarks/calibration_kept.py --output results/calibration/kept.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from calibration_small import RESIDUALS, SPREADS, drawn
from jsonargparse import auto_cli

from unregress import Rule
from unregress.evidence.criteria import KEPT_SHARE
from unregress.evidence.noise_floor import prediction_interval
from unregress.metrics.predictions import Values

GOLDS = (5, 10)
SAMPLES = 200
"""Samples that are to be kept."""
LIMITS = {
    "plain, 1 %": (False, 0.01),
    "log, 1 %": (True, 0.01),
    "log, 0.2 %": (True, 0.002),
    "log, 0.1 %": (True, 0.001),
}
"""Whether the limit is Student's of the errors' logarithms, and its level; the first is the verdict's."""


def upper(errors: Values, level: float, *, logarithms: bool, tolerance: float) -> float:
    """The limit of one more gold's error, by the golds' errors."""
    high = prediction_interval(np.log(errors) if logarithms else errors, level)[1]
    return max(float(np.exp(high)) if logarithms else high, (1 + tolerance) * float(errors.mean()))


def compared(spread: str, residual: float, golds: int, audits: int, seed: int) -> dict[str, tuple[float, float]]:
    """By limit: the share of fresh golds above it, and how far it lies above the golds' mean, as a share of that."""
    rng = np.random.default_rng([seed, SPREADS.index(spread), RESIDUALS.index(residual), golds])
    target = residual * rng.normal(size=(audits, 1, SAMPLES))
    errors = np.abs(drawn(spread, rng, (audits, golds + 1, SAMPLES)) - target).mean(axis=-1)
    found = {}
    for name, (logarithms, level) in LIMITS.items():
        high = np.array([upper(each[1:], level, logarithms=logarithms, tolerance=Rule().tolerance) for each in errors])
        width = np.median(high / errors[:, 1:].mean(axis=1)) - 1
        found[name] = round(float((errors[:, 0] > high).mean()), 4), round(float(width), 3)
    return found


def lines(found: Mapping[str, Mapping[str, Mapping[str, tuple[float, float]]]]) -> Iterator[str]:
    """The table of docs/calibration.md: the range of both numbers over residuals and numbers of golds."""
    yield "| golds vary by | " + " | ".join(LIMITS) + " |"
    yield "|---" * (1 + len(LIMITS)) + "|"
    for spread, settings in found.items():
        cells = []
        for name in LIMITS:
            alarms, widths = zip(*(each[name] for each in settings.values()), strict=True)
            told = (100 * each for side in (alarms, widths) for each in (min(side), max(side)))
            cells.append("{:.1f} to {:.1f} %; {:.0f} to {:.0f} %".format(*told))
        yield f"| {spread} | " + " | ".join(cells) + " |"


def main(output: Path, audits: int = 4000, seed: int = 4) -> None:
    """Simulate, and write the numbers.

    Args:
        output: file for the numbers.
        audits: for each spread, residual and number of golds.
        seed: of all draws.
    """
    assert np.isclose(KEPT_SHARE * Rule().small_level, next(iter(LIMITS.values()))[1])
    found = {
        spread: {
            f"residuals of {residual:g}, {golds} golds": compared(spread, residual, golds, audits, seed)
            for residual in RESIDUALS
            for golds in GOLDS
        }
        for spread in SPREADS
    }
    settings = {"audits": audits, "seed": seed, "samples": SAMPLES, "rule": str(Rule())}
    output.parent.mkdir(parents=True, exist_ok=True)
    told = json.dumps({"settings": settings, "alarms and width": found}, indent=1)
    output.write_text(told + "\n", encoding="utf-8")
    print("\n".join(lines(found)))


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
