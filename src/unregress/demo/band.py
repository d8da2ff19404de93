"""Forget a band of targets: train, unlearn and audit on the diabetes data, in under a minute."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import nn
from torch.utils.data import TensorDataset

from unregress import (
    Anamnesis,
    AuditReport,
    Blindspot,
    Case,
    FineTune,
    ForgetRequest,
    GaussianAmnesiac,
    Method,
    Recipe,
    Retrain,
    Runtime,
    Splits,
    TensorTask,
    UniformAmnesiac,
    Unlearned,
    audit,
    preflight,
    train,
)
from unregress.auditing.assemble import gold_names
from unregress.demo.console import say
from unregress.evidence import ModelFile
from unregress.files.writing import sha256_of
from unregress.metrics import default_metrics
from unregress.parallel.jobs import one_thread
from unregress.report import print_table, render_html
from unregress.runs.checkpoint import save_weights
from unregress.runs.folder import new_run
from unregress.runs.request_record import write_request

TRAINING = Recipe(epochs=100, lr=0.01, batch_size=32, schedule="one-cycle")
"""How the original and the golds are trained."""

METHODS: tuple[Method, ...] = (
    FineTune(recipe=Recipe(epochs=25, lr=1e-3, batch_size=32)),
    UniformAmnesiac(low=25, high=346, recipe=Recipe(epochs=18, lr=1e-3, batch_size=32)),
    GaussianAmnesiac(recipe=Recipe(epochs=18, lr=1e-3, batch_size=32)),
    Blindspot(
        helper=Recipe(epochs=10, lr=0.01, batch_size=32),
        recipe=Recipe(epochs=10, lr=1e-3, batch_size=32),
    ),
    Retrain(recipe=TRAINING),
)
"""The audited methods, with the paper's learning rates and epochs for about a quarter of retraining's cost each.  One
more retraining is audited as well, to show a model that passes."""

METRICS = default_metrics(Anamnesis(recipe=Recipe(epochs=10, lr=0.01, batch_size=32)))
"""The default metrics, with a learning rate of 0.01 for relearning as in the published code."""

CAVEATS = (
    "The membership attack says little about this request: the forgotten patients differ from the retained ones in "
    "their score, and the attack mistakes this difference for not having been trained on.",
    "The inputs are standardised over all 442 patients, as in scikit-learn: this trace of the forgotten ones remains.",
)


def build_model() -> nn.Module:
    """Make a new, untrained network with ten measurements as input and one score as output."""
    return nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))


def patients() -> Splits:
    """The 442 diabetes patients of scikit-learn in a fixed random order: 300 for training, 60 and 82 held out."""
    from sklearn.datasets import load_diabetes

    table = load_diabetes()
    # The columns come with mean 0 and squares that sum to 1; this gives them variance 1.
    inputs = torch.tensor(table.data * len(table.data) ** 0.5, dtype=torch.float32)
    score = torch.tensor(table.target, dtype=torch.float32)
    train_rows, validation, test = torch.randperm(442, generator=torch.Generator().manual_seed(0)).split([300, 60, 82])
    return Splits(
        train=TensorDataset(inputs[train_rows], score[train_rows]),
        validation=TensorDataset(inputs[validation], score[validation]),
        test=TensorDataset(inputs[test], score[test]),
    )


def deletion_case() -> Case:
    """The demo's case: the patients, the network, and the request to forget patients with a score of 200 or more."""
    data = patients()
    request = ForgetRequest.band(data.train[:][1], low=200, reason="Forget all patients with a score of 200 or more")
    return Case(task=TensorTask(build_model=build_model, loss="l1"), splits=data, request=request)


def forget_band(*, output: Path, seed: int = 0, golds: int = 5, config: str = "") -> None:
    """Unlearn a band of targets by the methods of the paper, and audit them.

    In under a minute, on the diabetes data of scikit-learn: trains a network, takes a deletion request, retrains the
    reference, runs the methods and audits all models.  The same seed gives the same models and the same numbers.

    Args:
        output: folder to write: audit.html, audit.json, request.json, config.yaml and the weights of every model.
        seed: seed of all random draws.
        golds: number of retrained models, each with its own seed; their differences are the noise floor.
        config: the resolved configuration.

    Raises:
        RunFolderError: `output` exists and is not a run with the same configuration, or cannot be written.
    """
    console = Console(highlight=False)
    settings = "".join(f"# {line}\n" for line in (f"Original and golds: {TRAINING}", *map(str, METHODS)))
    # One thread multiplies such small matrices faster, and always in the same order.
    with new_run(output, config + settings) as folder, one_thread():
        case, runtime = deletion_case(), Runtime(accelerator="cpu", seed=seed)
        original, warnings = _original(console, case, runtime)
        say(
            console,
            "2. The request",
            f"{len(case.requested.forget)} of the 300, all with a score of 200 or more, are to be "
            "forgotten. Their records are easily deleted; what the network learnt from them is not.",
        )
        retrained = _golds(console, case, runtime, original, golds)
        models = {"original": original, **_unlearned(console, case, runtime, original)}
        report = _audit(console, case, runtime, models, retrained, warnings, folder)
        report.to_json(folder / "audit.json")
        render_html(report, folder / "audit.html")
        write_request(folder, case)
    console.print()
    print_table(report, console, everything=False)
    say(
        console,
        "Where to look",
        f"{output}/audit.html explains every number and shows the figures; audit.json "
        "beside it holds them all. Your own model: see the README, examples/own_model, and `unregress --help`.",
    )


def _original(console: Console, case: Case, runtime: Runtime) -> tuple[Unlearned, tuple[str, ...]]:
    """Train the original; returns it with the preflight's warnings about the data."""
    say(
        console,
        "1. The original",
        "442 diabetes patients, ten measurements each; the target is a score from "
        "25 to 346 of how far the disease went in a year. A small network is trained on 300 of them.",
    )
    warnings = tuple(preflight(case, runtime).warnings)
    with console.status("training"):
        return train(case, TRAINING, runtime), warnings


def _golds(console: Console, case: Case, runtime: Runtime, original: Unlearned, count: int) -> list[Unlearned]:
    """Retrain without the forgotten patients, with the seeds that follow the runtime's seed."""
    say(
        console,
        "3. The reference",
        "Retraining without them is the certain way: the gold standard. Doing it "
        f"{count} times with other seeds shows how far apart honest answers are: the noise floor.",
    )
    return [
        Retrain(recipe=TRAINING).unlearn(original.model, case, replace(runtime, seed=runtime.seed + number))
        for number in track(range(1, count + 1), "retraining", console=console)
    ]


def _unlearned(console: Console, case: Case, runtime: Runtime, original: Unlearned) -> dict[str, Unlearned]:
    """Run every method on the original; returns the results by name of method."""
    say(
        console,
        "4. Unlearning",
        "Each method makes a copy of the original forget, for about a quarter of retraining's work. Retrain, the "
        "last, does all of the work once more, and is judged like the others.",
    )
    return {
        type(method).__name__: method.unlearn(original.model, case, runtime)
        for method in track(METHODS, "unlearning", console=console)
    }


def _audit(
    console: Console,
    case: Case,
    runtime: Runtime,
    models: dict[str, Unlearned],
    golds: list[Unlearned],
    warnings: tuple[str, ...],
    folder: Path,
) -> AuditReport:
    """Save every model's weights into the folder and audit the models."""
    say(
        console,
        "5. The audit",
        "Do the models predict as if they had never seen these patients? The golds show what that would look like. "
        "PASS: the model could be one more gold. FAIL: it could not, for the reason given.",
    )
    saved = {**models, **{f"retrained-{number}": gold for number, gold in enumerate(golds, 1)}}
    for name, made in saved.items():
        save_weights(made.model, folder / f"{name}.safetensors")
    files = {
        shown: ModelFile(name=f"{name}.safetensors", sha256=sha256_of(folder / f"{name}.safetensors"))
        for shown, name in zip([*models, *gold_names(len(golds))], saved, strict=True)
    }
    with console.status("measuring"):
        return audit(
            case,
            models,
            runtime,
            golds=golds,
            metrics=METRICS,
            caveats=(*warnings, *CAVEATS),
            files=files,
        )
