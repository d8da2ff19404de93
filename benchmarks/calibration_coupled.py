"""Calibrate the verdict with golds of the original's own initial weights, beside golds of others, of trained models.

python benchmarks/calibration_coupled.py --output results/calibration/coupled.json --cache runs/calibration
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from calibration_small import audits, statistics, write
from jsonargparse import auto_cli
from scipy.spatial.distance import pdist
from small_pools import Request, coupled, uncoupled

from unregress import Rule
from unregress.parallel.jobs import one_thread

SIZES, GOLDS = (1, 5, 20, 60), (5, 10)
TRAINED = 60
"""Golds of each kind, of each request."""
FIRST_SEED = 40_500


def floor(requests: list[Request]) -> float:
    """Mean distance of two golds on the forgotten samples."""
    places = [request.at(request.golds, "train-forget") for request in requests]
    return round(float(np.mean([pdist(each, "cityblock").mean() / each.shape[1] for each in places])), 3)


def main(output: Path, cache: Path, times: int = 100, starts: int = 8) -> None:
    """Train, audit, and write the numbers.

    Args:
        output: file for the numbers.
        cache: folder for models' predictions, which are not made again.
        times: audits of each request.
        starts: requests of each size, each with a start of its own.
    """
    rule, found = Rule(), dict[str, Any]()
    found["settings"] = {
        "times": times, "requests": starts, "golds trained": TRAINED, "rule": str(rule),
        "versions": {name: version(name) for name in ("unregress", "torch", "numpy", "scipy")},
    }  # fmt: skip
    with one_thread():
        for size in SIZES:
            seeds = range(FIRST_SEED + 1000 * size, FIRST_SEED + 1000 * size + starts)
            kinds = {
                "coupled": [coupled(size, seed, TRAINED, f"coupled-{size}-{seed}", cache) for seed in seeds],
                "uncoupled": [uncoupled(size, seed, TRAINED, f"uncoupled-{size}-{seed}", cache) for seed in seeds],
            }
            for kind, requests in kinds.items():
                entry = found.setdefault(str(size), {}).setdefault(kind, {"floor": floor(requests)})
                for golds in GOLDS:
                    entry[str(golds)] = audits(requests, golds, times, 3, rule)
                    if size < rule.samples:
                        entry[str(golds)]["statistics"] = statistics(requests, golds, 4 * times, 3)
                write(found, output)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
