"""What an audit costs beside its predictions: the job `audit-rows` of `bench.py`, and its growth with the rows.

Rows of ten features, a hundredth of them forgotten at random, and a fifth as many held out; the original, one
unlearned model and five golds are networks of 64 hidden units, which the audit does not need to be trained well.
Relearning, whose time is that of trainings, is left out.

    python benchmarks/bench_rows.py --output results/bench/audit-rows.json    # 10,000 to 1,000,000 rows: two minutes
    python benchmarks/bench_rows.py --rows 10000 30000                        # a trial, printed only
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from bench_audits import timed
from harness import Bench, Goal, Scene, Side, machine, measured
from torch import nn
from torch.utils.data import TensorDataset

from unregress import Case, FineTune, ForgetRequest, Recipe, Runtime, Splits, TensorTask, audit, retrain, train
from unregress.metrics import default_metrics
from unregress.metrics.collect import collect

SIZES = (10_000, 30_000, 100_000, 1_000_000)
GOLDS, FEATURES, HIDDEN = 5, 10, 64
MOST = 3.0
"""Largest ratio of an audit's seconds to those of its predictions."""


def network() -> nn.Module:
    """Make a new, untrained network with ten inputs and one output."""
    return nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))


def table(count: int, generator: torch.Generator) -> TensorDataset:
    """Draw rows of a function of ten features, with noise."""
    inputs = torch.randn(count, FEATURES, generator=generator)
    target = inputs[:, 0].sin() + inputs[:, 1] * inputs[:, 2] + torch.randn(count, generator=generator)
    return TensorDataset(inputs, target[:, None])


def rows(scene: Scene, *, count: int = 1_000_000) -> Bench:
    """Audit seven models without relearning, beside predicting all rows with each of them."""
    draws, runtime = torch.Generator().manual_seed(0), scene.runtime
    splits = Splits(train=table(count, draws), test=table(count // 5, draws))
    request = ForgetRequest.random(count, count // 100, seed=0, reason="benchmark")
    case = Case(task=TensorTask(build_model=network, loss="l1"), splits=splits, request=request)
    recipe = Recipe(epochs=1, lr=0.003, batch_size=max(32, count // 500))
    original, golds = train(case, recipe, runtime), retrain(case, recipe, runtime, range(GOLDS))
    models = {"original": original, "FineTune": FineTune(recipe=recipe).unlearn(original.model, case, runtime)}
    taken: dict[str, float] = {}
    metrics = [timed(metric, taken) for metric in default_metrics(anamnesis=None)]

    def predictions() -> None:
        for model in (*models.values(), *golds):
            for split in ("train_eval", "test"):
                collect(model.model, case.task, case.source(split), runtime)

    def ours() -> None:
        taken.clear()
        started = time.perf_counter()
        audit(case, models, runtime, golds=golds, metrics=metrics)
        rest = time.perf_counter() - started - sum(taken.values())
        taken["predictions, features and the rest"] = rest

    def check() -> str:
        return "Parts of the audit: " + ", ".join(f"{name} {value:.3g} s" for name, value in taken.items()) + "."

    what = f"audit of 2 models with {GOLDS} golds, {count:,} rows of {FEATURES} features, without relearning"
    sides = {"predictions": Side(predictions), "ours": Side(ours)}
    return Bench(what, sides, (Goal("ours", "predictions", MOST),), check)


ROW_JOBS = {"audit-rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES), help="numbers of training rows")
    parser.add_argument("--output", type=Path, help="JSON file of the results; printed only if it is not given")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--rounds", type=int, default=3, help="rounds to measure, after one to warm up")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    scene = Scene(Path(), Runtime(accelerator="cpu"), 0)
    sizes: list[dict[str, Any]] = []
    for count in args.rows:
        found = measured(rows(scene, count=count), scene, args.rounds)
        sizes.append({"rows": count, "seconds": found["seconds"], "ratio": found["goals"][0]["value"],
                      "rounds": found["rounds"], "parts": found["check"], "load": os.getloadavg()})  # fmt: skip
        print(json.dumps(sizes[-1], indent=1), flush=True)
    if args.output is not None:
        told = {"machine": machine(scene.device, args.threads), "unit": "seconds", "sizes": sizes}
        args.output.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
