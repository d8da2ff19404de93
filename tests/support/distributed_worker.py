"""Trainings and audits whose results are compared between one process and two: `-m support.distributed_worker FOLDER`.

Double precision keeps differences from the order of sums at the level of rounding.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import TensorDataset

from support.contract_subjects import (
    METHODS,
    MODELS,
    Kind,
    Recurrent,
    batch_normalised,
    dropping_out,
    trained_on,
    with_recipe,
)
from support.small_cases import Listed, mlp, numbers
from unregress import Case, ForgetRequest, Recipe, Runtime, Splits, TensorTask, audit, collect, train
from unregress.distributed.process_group import destroy_process_group
from unregress.errors import UnregressError
from unregress.methods import Method, Unlearned
from unregress.metrics import default_metrics


class Idle(nn.Module):
    """A model with a weight that no prediction uses, and a frozen one."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleList([nn.Linear(3, 4), nn.Linear(4, 4)])
        self.head, self.idle = nn.Linear(4, 1), nn.Linear(2, 2)
        self.body[0].requires_grad_(False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.body[1](self.body[0](inputs)).tanh())


KINDS = {
    "mlp": MODELS["mlp"],
    "quantile": MODELS["quantile"],
    "conv": Kind(
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 1)), inputs=(2, 6, 6)
    ),
    "lstm": Kind(lambda: Recurrent(batch_first=False), inputs=(4, 3)),
    "idle": Kind(Idle),
}
# Batch sizes that are not a multiple of two give unequal shares; with one row the second process has none.
CHANGES: dict[str, dict[str, Any]] = {
    "shares": {"batch_size": 7},
    "one-row": {"batch_size": 1, "epochs": 1, "optimizer": "sgd", "lr": 1e-4},
    "plateau": {"batch_size": 9, "schedule": "plateau", "patience": 1, "epochs": 4, "optimizer": "adamw"},
    "clipped": {"batch_size": 8, "clip_norm": 0.5, "optimizer": "sgd", "schedule": "one-cycle", "weight_decay": 0.1},
}


def jitter(data: Any, generator: torch.Generator) -> Any:
    inputs, targets = data
    return [inputs + 0.1 * torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype), targets]


def jobs() -> Iterator[tuple[str, Method, Kind, dict[str, Any], dict[str, Any]]]:
    """Name, method, kind of model, further fields of the case, fields of the runtime."""
    inputs, targets = MODELS["mlp"].tensors()
    # Batches of one row take as many steps as there are samples, so that there are fewer.
    fewer = {
        "train": TensorDataset(inputs[:9], targets[:9]),
        "request": ForgetRequest(size=9, forget=(0, 3, 5), reason="test"),
    }
    for name, method in METHODS.items():
        for change, values in CHANGES.items():
            samples = fewer if change == "one-row" else {}
            yield f"{name}/{change}", with_recipe(method, **values), KINDS["mlp"], samples, {}
        yield f"{name}/float32", method, KINDS["mlp"], {}, {"precision": "32-true"}
    weighted = {"weights": [float(row % 4) for row in range(len(inputs))]}
    for name in ("FineTune", "NegGradPlus", "Blindspot"):
        for use in ("loss", "sampling"):
            method = with_recipe(METHODS[name], weights=use, batch_size=7)
            yield f"{name}/weights-{use}", method, KINDS["mlp"], weighted, {}
    stopping = with_recipe(METHODS["FineTune"], epochs=6, lr=0.3, stop_after=2, optimizer="RMSprop", batch_size=5)
    yield "FineTune/stopping", stopping, KINDS["mlp"], {}, {}
    for name in ("FineTune", "NegGradPlus", "Blindspot"):
        for kind in ("quantile", "conv", "lstm", "idle"):
            yield f"{name}/{kind}", METHODS[name], KINDS[kind], {}, {}
    for name in ("UniformAmnesiac", "Blindspot"):
        normal = Kind(batch_normalised)
        yield f"{name}/augmented", METHODS[name], KINDS["mlp"], {"augment": jitter}, {}
        yield f"{name}/streaming", METHODS[name], KINDS["mlp"], {"train": Listed(inputs, targets)}, {}
        yield f"{name}/batchnorm", with_recipe(METHODS[name], batch_size=6), normal, {}, {"sync_batch_norm": True}
    # Results that depend on the number of processes, but not on the strategy: dropout, batch statistics of local rows.
    relearning = with_recipe(METHODS["FineTune"], schedule="plateau", batch_size=10)
    yield "unlike/dropout", relearning, Kind(dropping_out), {}, {}
    yield "unlike/batchnorm", relearning, Kind(batch_normalised), {}, {}


def results(runtime: Runtime) -> dict[str, Any]:
    """Run all jobs; return the results that must agree, as plain data."""
    found: dict[str, Any] = {}
    for name, method, kind, more, changes in jobs():
        validation = TensorDataset(*(part[:7] for part in kind.tensors()))
        case, model = kind.case(validation=validation, **more), trained_on(kind)
        place = replace(runtime, **changes)
        found[name] = outcome(method.unlearn(model, case, place), case, place)
    case = KINDS["mlp"].case()
    found["train"] = outcome(train(case, Recipe(epochs=3, batch_size=7), runtime), case, runtime)
    found["average"] = averaged(runtime)
    found["audit"] = audited(runtime)
    found["diverged"] = diverged(runtime)
    found["unlike/bypassed"] = [bypassed(runtime, task) for task in (CallingPart(Parts), CallingMethod(Parts))]
    return found


def outcome(made: Unlearned, case: Case, runtime: Runtime) -> dict[str, Any]:
    few = replace(runtime, evaluation_batch_size=5)  # the last batch has 4 rows, and asking for one row leaves none
    seen = collect(made.model, case.task, case.source("train_eval"), few)
    one = collect(made.model, case.task, case.source("train_eval"), few, rows=torch.tensor([3]).numpy())
    return {
        "weights": {name: value.double().numpy() for name, value in made.model.state_dict().items()},
        "types": [type(module).__qualname__ for module in made.model.modules()],
        "predictions": {"all": seen.prediction, "loss": seen.loss, "index": seen.index, "one": one.prediction},
        "history": [(e.stage, e.epoch, e.loss, e.validation, e.lr) for e in made.history],
        "cost": (made.cost.forward, made.cost.backward),
        "notes": made.notes,
    }


def averaged(runtime: Runtime) -> dict[str, Any] | str:
    """A training whose result is the moving average of its weights, or why it was refused."""
    case = Kind(batch_normalised).case(validation=TensorDataset(*(part[:7] for part in KINDS["mlp"].tensors())))
    recipe = Recipe(epochs=4, batch_size=6, ema=0.8, stop_after=3)
    place = replace(runtime, sync_batch_norm=True)
    try:
        return outcome(train(case, recipe, place), case, place)
    except UnregressError as error:
        return f"{type(error).__name__}: {error.found}"


def audited(runtime: Runtime) -> list[tuple[Any, ...]]:
    """Measurements of an audit with the default metrics, relearning included, on enough samples for its attacks."""
    inputs = numbers(120, 3)
    targets = 50 + 10 * inputs[:, 0] + inputs[:, 1]
    parts = [TensorDataset(inputs[rows], targets[rows]) for rows in torch.arange(120).tensor_split(3)]
    request = ForgetRequest.band(targets[:40].numpy(), 52, None, reason="test")
    kind = KINDS["mlp"]
    case = Case(
        task=kind.case().task, splits=Splits(train=parts[0], validation=parts[1], test=parts[2]), request=request
    )
    recipe = Recipe(epochs=10, lr=0.01, batch_size=19)
    original = train(case, recipe, runtime)
    golds = [METHODS["Retrain"].unlearn(original.model, case, replace(runtime, seed=seed)) for seed in (1, 2)]
    mine = METHODS["Blindspot"].unlearn(original.model, case, runtime)
    report = audit(case, {"original": original, "mine": mine}, runtime, golds=golds, metrics=default_metrics())
    return [(m.metric, m.split, m.model, m.value, m.bound, m.interval) for m in report.measures]


def diverged(runtime: Runtime) -> str:
    method = with_recipe(METHODS["FineTune"], lr=1e300, optimizer="sgd")
    try:
        method.unlearn(trained_on(KINDS["mlp"]), KINDS["mlp"].case(), runtime)
    except UnregressError as error:
        return f"{type(error).__name__}: {error}"
    return ""


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def encode(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.net(inputs)

    forward = encode


class CallingPart(TensorTask):
    def predict(self, model: nn.Module, batch: Any) -> torch.Tensor:
        return model.net(batch[0]).squeeze(1)


class CallingMethod(TensorTask):
    def predict(self, model: nn.Module, batch: Any) -> torch.Tensor:
        return model.encode(batch[0]).squeeze(1)


def bypassed(runtime: Runtime, task: TensorTask) -> str:
    case = replace(KINDS["mlp"].case(), task=task)
    try:
        METHODS["FineTune"].unlearn(Parts(), case, replace(runtime, precision="32-true"))
    except UnregressError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    for strategy in ("ddp", "fsdp2"):
        together = Runtime(accelerator="cpu", precision="64-true", devices=2, strategy=strategy)  # type: ignore[arg-type]
        done = results(together)
        (Path(sys.argv[1]) / f"{strategy}-{together.process_group.rank}.pickle").write_bytes(pickle.dumps(done))
    # No process may end while another still uses its connection; see `unregress.__main__` for the rest.
    together.process_group.barrier()
    destroy_process_group()
    os._exit(0)
