"""Forget some people: twenty men of a wage panel withdraw; a price list, two methods, an audit with two judges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from torch import nn

from unregress import AuditReport, LeaveOutEdit, Project, Recipe, Runtime
from unregress.demo.console import say
from unregress.errors import SettingError
from unregress.evidence import ModelFile
from unregress.files.writing import sha256_of
from unregress.methods.unlearned import module_of
from unregress.metrics import Anamnesis, default_metrics
from unregress.parallel.jobs import one_thread
from unregress.project.forgotten import Forgotten
from unregress.report import print_table, render_html
from unregress.runs.checkpoint import save_weights
from unregress.runs.folder import new_run
from unregress.runs.request_record import write_request

TRAINING = Recipe(epochs=60, lr=5e-4, batch_size=64, schedule="one-cycle")
"""How the original, the golds and the models of the leave-out tables are trained."""
MEN = 20
"""Number of men who withdraw.  Chosen before any audit: measured on other men (results/small-requests), leave-out
predictions nearly always notice a model that kept half of its memory of twenty, and of one man hardly ever."""
FOLDS = 20
FEATURES = [
    "year", "exper", "expersq", "educ", "occupation", "married", "union", "black", "hisp", "hours", "last_hours",
    "last_lwage",
]  # fmt: skip


def build_model() -> nn.Module:
    """Make a new, untrained network with twelve inputs and the logarithm of an hourly wage as output."""
    return nn.Sequential(nn.Linear(12, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1))


def has_wages() -> bool:
    """Whether the package that has the wage panel is installed."""
    try:
        _wage_panel()
    except SettingError:
        return False
    return True


def panel() -> Any:
    """The wage panel as a data frame: a row for each of 545 men and each year from 1981 to 1987.

    Vella and Verbeek, "Whose wages do unions raise?" (Journal of Applied Econometrics, 1998), as in `linearmodels`.

    Raises:
        SettingError: `linearmodels` is not installed.
    """
    table = _wage_panel().load().sort_values(["nr", "year"])
    table[["last_lwage", "last_hours"]] = table.groupby("nr")[["lwage", "hours"]].shift()
    return table.dropna().assign(record=table["nr"].astype(str) + "/" + table["year"].astype(str))


def _wage_panel() -> Any:
    try:
        from linearmodels.datasets import wage_panel
    except ImportError as error:
        raise SettingError(
            "The wage panel of this demo is in the package linearmodels, which is not installed",
            remedy="pip install 'unregress[demo]', or run the other example with `unregress demo --job band`",
        ) from error
    return wage_panel


def wages(seed: int = 0, log: Callable[[str], None] = print) -> Project:
    """The demo's project: the panel, the network and its training; men are in training or held out as a whole.

    Args:
        seed: seed of the split and of the trainings.
        log: receives lines of progress.
    """
    return Project.from_table(
        panel(),
        build_model=build_model,
        features=FEATURES,
        target="lwage",
        id="record",
        subject="nr",
        units={"lwage": "log dollars"},
        training=TRAINING,
        runtime=Runtime(accelerator="cpu", seed=seed, progress=False),
        seed=seed,
        log=log,
    )


def forget_people(*, output: Path, seed: int = 0, golds: int = 5, config: str = "") -> None:
    """Make a network forget twenty men, by exact retraining and by a closed-form edit, and audit both.

    Args:
        output: folder to write: audit.html, audit.json, request.json, config.yaml and the weights.
        seed: seed of all random draws.
        golds: number of retrained models.
        config: the resolved configuration.

    Raises:
        SettingError: `linearmodels` is not installed.
        RunFolderError: `output` exists and is not a run with the same configuration, or cannot be written.
    """
    _wage_panel()  # refused before anything is printed or written
    console = Console(highlight=False)
    settings = "".join(f"# {line}\n" for line in (f"Training: {TRAINING}", f"Men: {MEN}", f"Folds: {FOLDS}"))
    # One thread multiplies such small matrices faster, and always in the same order.
    with new_run(output, config + settings) as folder, one_thread():
        project = _trained(console, seed)
        made = _forgotten(console, project, seed)
        report = _audited(console, project, made, golds, folder)
        report.to_json(folder / "audit.json")
        render_html(report, folder / "audit.html")
        write_request(folder, made["Retrain"].case)
    console.print()
    print_table(report, console, everything=False)
    say(
        console,
        "Where to look",
        f"{output}/audit.html explains every number. For your own model: the README and `unregress --help`; "
        "`unregress demo --job band` forgets a band of targets by the methods of the paper.",
    )


def _trained(console: Console, seed: int) -> Project:
    """The project with its original and its leave-out tables."""
    say(
        console,
        "1. The original",
        "545 men, seven yearly records each; a network predicts the logarithm of a man's hourly wage from last year's. "
        "It is trained on the records of 381 men.",
    )
    project = wages(seed, log=console.print)
    with console.status("training"):
        project.train()
    say(
        console,
        "2. The leave-out tables, made once for all requests",
        f"For each of {FOLDS} groups of men, a model is trained without it, predicts it, and is deleted; twice, with "
        "other groups: one table teaches a method, the other judges it. Only predictions are kept.",
    )
    with console.status("leaving out"):
        project.table(folds=FOLDS, partitions=2, stack=FOLDS)
    return project


def _forgotten(console: Console, project: Project, seed: int) -> dict[str, Forgotten]:
    """The results of exact retraining and of the edit, by name."""
    known = sorted(set(project.splits.subjects or ()), key=str)
    asked = np.random.default_rng(seed).choice(len(known), MEN, replace=False)
    say(
        console,
        "3. The request",
        f"{MEN} men withdraw. Their records are easily deleted; what the network learnt from them is not. The price "
        "list, and what is taken:",
    )
    request = project.request(subjects=[known[place] for place in asked], reason=f"{MEN} men withdraw")
    chosen = project.forget(request)
    edited = project.forget(request, method=LeaveOutEdit())
    return {"Retrain": chosen, "LeaveOutEdit": edited}


def _audited(console: Console, project: Project, made: dict[str, Forgotten], golds: int, folder: Path) -> AuditReport:
    """Save the weights of the models, and audit them."""
    say(
        console,
        "4. The audit",
        f"Do the models predict as if they had never seen these men? Two judges: {golds} models retrained without "
        "them from the original's own initial weights, and the leave-out predictions of the second table.",
    )
    models = {"original": project.model, **made}
    for name, model in models.items():
        save_weights(module_of(model), folder / f"{name}.safetensors")
    metrics = default_metrics(Anamnesis(recipe=Recipe(epochs=2, lr=1e-4, batch_size=64)))
    report = project.audit(*made.values(), golds=golds, stack=golds, metrics=metrics)
    # The files' names are those of this folder.
    shown = [
        replace(
            each, file=ModelFile(name=f"{each.name}.safetensors", sha256=sha256_of(folder / f"{each.name}.safetensors"))
        )
        if each.name in models
        else each
        for each in report.models
    ]
    return replace(report, models=tuple(shown))
