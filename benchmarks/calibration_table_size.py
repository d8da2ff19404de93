"""Calibrate the audit by a leave-out table for requests larger than a fold: ridge regressions, in closed form.

python benchmarks/calibration_table_size.py --output results/calibration/table-size.json

A gold lacks all forgotten samples; the model that predicts one of them for the table lacks those of its fold alone.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import auto_cli

from unregress.evidence.table_verdict import TABLE_LEVEL
from unregress.files.writing import write_json
from unregress.metrics.memory_groups import random_of
from unregress.metrics.memory_slope import memory_kept, null_of, p_value
from unregress.metrics.predictions import Values
from unregress.parallel.jobs import one_thread

SAMPLES, UNSEEN, FEATURES, RIDGE = 200, 500, 60, 3.0
"""Of each training; the network stands between learning by heart and learning nothing by heart."""
FOLDS = (5, 10, 20, SAMPLES)
SIZES = (2, 5, 10, 20, 40, 60)
DRAWS = 400


def fitted(inputs: Values, targets: Values) -> Values:
    """Weights of a ridge regression."""
    return np.linalg.solve(inputs.T @ inputs + RIDGE * np.eye(FEATURES), inputs.T @ targets).astype(np.float64)


def judged(folds: int, size: int, rng: np.random.Generator) -> tuple[bool, bool]:
    """Whether a gold of a random request is found to remember, or to have been pushed away, by a table."""
    truth: Values = 0.3 * rng.normal(size=FEATURES)
    inputs, unseen = rng.normal(size=(SAMPLES, FEATURES)), rng.normal(size=(UNSEEN, FEATURES))
    targets: Values = inputs @ truth + rng.normal(size=SAMPLES)
    answers: Values = unseen @ truth + rng.normal(size=UNSEEN)
    fold, of_unseen = rng.permutation(SAMPLES) % folds, rng.integers(folds, size=UNSEEN)
    left_out: Values = np.empty(SAMPLES)
    left_out_unseen: Values = np.empty(UNSEEN)
    for each in range(folds):
        weights = fitted(inputs[fold != each], targets[fold != each])
        left_out[fold == each] = inputs[fold == each] @ weights
        left_out_unseen[of_unseen == each] = unseen[of_unseen == each] @ weights
    forgotten = rng.choice(SAMPLES, size, replace=False)
    kept = np.setdiff1d(np.arange(SAMPLES), forgotten)
    gold = fitted(inputs[kept], targets[kept])
    scale = float(((answers - left_out_unseen) ** 2).mean())
    groups = random_of(UNSEEN, size, DRAWS, rng)
    null = null_of(unseen @ gold, answers, left_out_unseen, groups.positions, scale, groups.widening)
    slope = memory_kept(inputs[forgotten] @ gold, targets[forgotten], left_out[forgotten], scale)
    low = float(np.quantile(null.slopes, TABLE_LEVEL))
    return p_value(slope, null.slopes) <= TABLE_LEVEL, slope < low


def main(output: Path, times: int = 600) -> None:
    """Judge golds, and write how often they are found against.

    Args:
        output: file for the numbers.
        times: golds for each number of folds and size of request.
    """
    found: dict[str, Any] = {
        "command": f"python benchmarks/calibration_table_size.py --times {times}",
        "versions": {name: version(name) for name in ("unregress", "numpy")},
        "settings": {"samples": SAMPLES, "never seen": UNSEEN, "features": FEATURES, "ridge": RIDGE, "draws": DRAWS},
        "level on either side": TABLE_LEVEL,
    }
    with one_thread():
        for folds in FOLDS:
            for size in SIZES:
                rng = np.random.default_rng([folds, size])
                sides = np.array([judged(folds, size, rng) for _ in range(times)])
                shares = {
                    "remembers": round(float(sides[:, 0].mean()), 4),
                    "pushed": round(float(sides[:, 1].mean()), 4),
                }
                found.setdefault(f"{folds} folds", {})[f"{size} forgotten"] = shares
                print(folds, size, shares, flush=True)
            write_json(output, found)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
