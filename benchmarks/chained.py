"""Measure whether a second request undoes the first: errors on the first forget set, with and without `beside`.

    python benchmarks/chained.py --output results/chained-requests

On scikit-learn's 442 diabetes patients: a network that has learnt its 300 training patients by heart, and two requests
of 30 random patients each, one after the other.  After the second, the mean absolute error on the patients of the first
is compared with that of golds which never saw either: nearer to the original means that they were learnt again.
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from unregress import Blindspot, FineTune, ForgetRequest, GaussianAmnesiac, Method, Recipe, Retrain, Runtime, train
from unregress.data.case import Case
from unregress.data.loading import read_targets
from unregress.demo.band import build_model, patients
from unregress.files.writing import write_json
from unregress.methods import Unlearned
from unregress.metrics.collect import collect
from unregress.parallel.jobs import one_thread
from unregress.tasks.adapters import TensorTask

TRAINING = Recipe(epochs=300, lr=0.01, batch_size=32, schedule="one-cycle")
REPAIR = Recipe(epochs=30, lr=3e-3, batch_size=32, schedule="one-cycle")
METHODS: dict[str, Method] = {
    "FineTune": FineTune(recipe=REPAIR),
    "GaussianAmnesiac": GaussianAmnesiac(recipe=REPAIR),
    "Blindspot": Blindspot(helper=replace(REPAIR, lr=0.01), recipe=REPAIR),
    "Retrain": Retrain(recipe=TRAINING),
}
GOLDS = 10


def error(made: Unlearned, case: Case, rows: tuple[int, ...], runtime: Runtime) -> float:
    """Mean absolute error on some training samples, in score points."""
    source = case.splits.source("train_eval")
    seen = collect(made.model, case.task, source, runtime, rows=np.array(rows))
    targets = read_targets(source, case.task, torch.tensor(rows)).numpy()
    return float(np.abs(seen.prediction - targets).mean())


def measured(seed: int) -> dict[str, object]:
    """Errors on the first forget set, for one original and one pair of requests."""
    data, runtime = patients(), Runtime(accelerator="cpu", seed=seed)
    task = TensorTask(build_model=build_model, loss="l1")
    drawn = np.random.default_rng(seed).permutation(data.size)[:60].tolist()
    first, second = (
        ForgetRequest(size=data.size, forget=tuple(rows), reason=reason)
        for rows, reason in ((drawn[:30], "first"), (drawn[30:], "second"))
    )
    chained = Case(task=task, splits=data, request=second.beside(first))
    original = train(Case(task=task, splits=data, request=first), TRAINING, runtime)
    golds = [
        Retrain(recipe=TRAINING).unlearn(original.model, chained, replace(runtime, seed=seed + 100 + number))
        for number in range(GOLDS)
    ]
    of = {"original": original, **{f"gold {number}": gold for number, gold in enumerate(golds, 1)}}
    found: dict[str, object] = {"seed": seed}
    found |= {name: error(made, chained, first.forget, runtime) for name, made in of.items() if name == "original"}
    found["golds"] = [error(gold, chained, first.forget, runtime) for gold in golds]
    for name, method in METHODS.items():
        after_first = method.unlearn(original.model, Case(task=task, splits=data, request=first), runtime)
        forgetful = method.unlearn(after_first.model, Case(task=task, splits=data, request=second), runtime)
        kept = method.unlearn(after_first.model, chained, runtime)
        found[name] = {
            "after the first request": error(after_first, chained, first.forget, runtime),
            "after the second, on its own": error(forgetful, chained, first.forget, runtime),
            "after the second, in the chain": error(kept, chained, first.forget, runtime),
        }
    return found


def main() -> None:
    """Measure all seeds and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("results/chained-requests"))
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    with one_thread():
        runs = [measured(seed) for seed in range(given.seeds)]
    given.output.mkdir(parents=True, exist_ok=True)
    record = {
        "command": f"python benchmarks/chained.py --seeds {given.seeds}",
        "unit": "mean absolute error on the 30 samples of the first request, in score points",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "machine": f"{platform.machine()}, CPU, one thread",
        "runs": runs,
    }
    write_json(given.output / "chained.json", record)
    for run in runs:
        print(run)


if __name__ == "__main__":
    main()
