"""Let the attackers of docs/attackers.md loose on real data: original, FineTune, Blindspot, a retraining, and golds.

    python benchmarks/attackers.py diabetes wage --output results/attackers

Seeds, settings and numbers of golds were chosen before any result was seen.  Each of `SEEDS` trains an original and ten
golds of other initial weights; the same again with noise in the forgotten inputs; and under the first seed U-LiRA
trains 32 originals on random halves.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from small_problems import wage as wage_problem
from torch import nn
from torch.utils.data import TensorDataset

from unregress import (
    AttackAUC,
    Blindspot,
    Case,
    DeletionAttack,
    Errors,
    FineTune,
    ForgetRequest,
    GaussianPoisons,
    Method,
    Recipe,
    RetainedPrivacy,
    Retrain,
    Runtime,
    TensorTask,
    ULiRA,
    audit,
    retrain,
    train,
)
from unregress.demo.band import build_model, patients
from unregress.evidence import AuditReport
from unregress.evidence.nested_variance import nested_variance
from unregress.files.writing import write_json
from unregress.metrics import Metric
from unregress.metrics.collect import collect
from unregress.metrics.gaussian_poisons import with_gaussian_noise
from unregress.metrics.roc import auc
from unregress.parallel.jobs import one_thread

SEEDS = (0, 1, 2)
GOLDS = 10
HALVES = 32
ORIGINALS, REPETITIONS = 6, 5
SCALE = 0.5
"""Standard deviation of the poisons, in standard deviations of the inputs."""
DEEP = "ulira"
"""Beginning of the keys of U-LiRA's measurements."""


@dataclass(frozen=True)
class Trial:
    """A case, and how to train and to unlearn."""

    case: Case
    training: Recipe
    methods: Mapping[str, Method]


def diabetes() -> Trial:
    """300 patients and a network that learns them by heart; 60 random ones are forgotten."""
    training = Recipe(epochs=300, lr=0.01, batch_size=32, schedule="one-cycle")
    repair = Recipe(epochs=30, lr=3e-3, batch_size=32, schedule="one-cycle")
    data = patients()
    request = ForgetRequest.random(data.size, 60, seed=0, reason="60 at random")
    methods = {
        "FineTune": FineTune(recipe=repair),
        "Blindspot": Blindspot(helper=replace(repair, lr=0.01), recipe=repair),
        "Retrain": Retrain(recipe=training),
    }
    return Trial(Case(task=TensorTask(build_model=build_model), splits=data, request=request), training, methods)


def wage() -> Trial:
    """545 men's wages; twenty men with seven records each are forgotten."""
    problem = wage_problem(Path())
    splits = problem.splits
    request = ForgetRequest(size=splits.size, forget=tuple(sorted(problem.judged["20 men"])), reason="20 men")
    recipe = Recipe(epochs=6, lr=5e-5, batch_size=64, schedule="one-cycle")
    methods = {
        "FineTune": FineTune(recipe=recipe),
        "Blindspot": Blindspot(helper=replace(recipe, lr=5e-4), recipe=Recipe(epochs=3, lr=5e-5, batch_size=64)),
        "Retrain": Retrain(recipe=problem.recipe),
    }
    return Trial(Case(task=problem.task, splits=splits, request=request), problem.recipe, methods)


TRIALS: dict[str, Callable[[], Trial]] = {"diabetes": diabetes, "wage": wage}


def audited(trial: Trial, seed: int, metrics: list[Metric]) -> AuditReport:
    """Train an original and golds, unlearn, and measure."""
    runtime = Runtime(accelerator="cpu", seed=seed)
    original = train(trial.case, trial.training, runtime)
    # The retraining among the methods has a seed of its own.
    other = replace(runtime, seed=seed + 500)
    models = {"original": original} | {
        name: method.unlearn(original.model, trial.case, other) for name, method in trial.methods.items()
    }
    seeds = [1000 * (seed + 1) + number for number in range(GOLDS)]
    golds = retrain(trial.case, trial.training, runtime, seeds, stack=GOLDS)
    return audit(trial.case, models, runtime, golds=golds, metrics=metrics)


def poisoned(trial: Trial, seed: int) -> tuple[Trial, GaussianPoisons]:
    """The same trial with noise in the forgotten samples' inputs, and the metric that knows the noise."""
    dataset = trial.case.splits.train
    assert isinstance(dataset, TensorDataset)
    inputs, *others = dataset.tensors
    scale = SCALE * inputs.std(dim=0)
    # A feature that never varies is left nearly as it is.
    scale = torch.where(scale > 0, scale, torch.full_like(scale, 1e-6))
    draw = torch.Generator().manual_seed(seed)
    made = with_gaussian_noise(inputs, trial.case.requested.forget, scale, draw)
    data = TensorDataset(made.inputs, *others)
    splits = replace(trial.case.splits, train=data, train_eval=None, ids=None)
    request = ForgetRequest(size=len(inputs), forget=trial.case.requested.forget, reason="poisoned")
    case = Case(task=trial.case.task, splits=splits, request=request)
    return Trial(case, trial.training, trial.methods), GaussianPoisons(noise=made.noise, scale=scale)


def rows(report: AuditReport, wanted: Callable[[str], bool]) -> list[dict[str, Any]]:
    """The measurements of some metrics as plain data."""
    return [
        {
            "metric": each.metric,
            "part": each.split,
            "model": each.model,
            "value": None if each.value is None else float(f"{each.value:.6g}"),
            "bound": each.bound,
            "interval": None if each.interval is None else [float(f"{end:.6g}") for end in each.interval],
            "p": None if each.p is None else float(f"{each.p:.6g}"),
            "note": each.note,
        }
        for each in report.measures
        if wanted(each.metric)
    ]


def measured(trial: Trial) -> dict[str, Any]:
    """Everything about one data set."""
    found: dict[str, Any] = {"panels": {}, "poisons": {}}
    panel: list[Metric] = [Errors(), AttackAUC(), DeletionAttack(), RetainedPrivacy()]
    for seed in SEEDS:
        found["panels"][seed] = rows(audited(trial, seed, panel), lambda metric: metric not in ("rmse", "loss"))
        noisy, metric = poisoned(trial, seed)
        report = audited(noisy, seed, [Errors(), metric])
        found["poisons"][seed] = rows(report, lambda metric: metric.startswith("poison"))
        print(seed, *found["poisons"][seed], sep="\n", flush=True)
    deep = ULiRA(recipe=trial.training, methods=trial.methods, models=HALVES)
    found[DEEP] = rows(audited(trial, SEEDS[0], [Errors(), deep]), lambda metric: metric.startswith(DEEP))
    return found


def variance(trial: Trial) -> dict[str, Any]:
    """The variance of the forgotten samples' error and of the attack by loss, over originals and over repetitions."""
    case = trial.case
    values: dict[str, list[list[list[float]]]] = {name: [] for name in trial.methods}
    for seed in range(ORIGINALS):
        original = train(case, trial.training, Runtime(accelerator="cpu", seed=seed))
        for name, method in trial.methods.items():
            runtimes = [Runtime(accelerator="cpu", seed=100 * (seed + 1) + each) for each in range(REPETITIONS)]
            made = [(method.unlearn(original.model, case, runtime).model, runtime) for runtime in runtimes]
            values[name].append([_error_and_attack(case, *each) for each in made])
    found: dict[str, Any] = {}
    for name, of_method in values.items():
        for place, measure in enumerate(("mae", "auc")):
            each = np.array(of_method)[..., place]
            split = nested_variance(each)
            found[f"{name}, {measure}"] = {
                "mean": float(each.mean()),
                "deviation of training": float(np.sqrt(max(split.training, 0.0))),
                "deviation of unlearning": float(np.sqrt(split.unlearning)),
                "share of training": split.share,
                "interval of the share": split.share_interval(),
                "p": split.p,
                "values": np.round(each, 6).tolist(),
            }
    return found


def _error_and_attack(case: Case, model: nn.Module, runtime: Runtime) -> list[float]:
    forgotten = collect(model, case.task, case.source("train_eval"), runtime, rows=np.array(case.requested.forget))
    held_out = collect(model, case.task, case.source("test"), runtime)
    return [float(np.abs(forgotten.prediction - forgotten.target).mean()), auc(-forgotten.loss, -held_out.loss)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=[*TRIALS, "variance"])
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.names:
        trial = TRIALS["diabetes" if name == "variance" else name]()
        with one_thread():
            found = variance(trial) if name == "variance" else measured(trial)
        about = {
            "command": f"python benchmarks/attackers.py {name} --output results/attackers",
            **(
                {"originals": ORIGINALS, "repetitions": REPETITIONS}
                if name == "variance"
                else {"seeds": SEEDS, "golds": GOLDS, "halves": HALVES, "poison scale": SCALE}
            ),
            "forgotten": len(trial.case.requested.forget),
            "training samples": trial.case.splits.size,
            "training": str(trial.training),
            "methods": {key: str(method) for key, method in trial.methods.items()},
            "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        }
        write_json(options.output / f"{name}.json", about | found)


if __name__ == "__main__":
    main()
