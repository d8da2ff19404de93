"""Jobs that GPU tests run on the device and on the CPU, with results as numbers for comparison."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, TensorDataset

from support.contract_subjects import METHODS, Kind
from support.small_cases import numbers
from unregress import Case, ForgetRequest, Recipe, Runtime, Splits, TensorTask, Unlearned, audit, collect, train
from unregress.evidence import AuditReport
from unregress.metrics import default_metrics
from unregress.training.runtime import Precision

Answers = dict[str, Any]


def runtime_on(device: str, precision: Precision = "64-true", **more: Any) -> Runtime:
    """A runtime on one device; double precision keeps differences between devices at the level of rounding."""
    return Runtime(accelerator=device, precision=precision, **more)


def case_for(kind: Kind, *, train: Dataset[Any] | None = None, validation: bool = True, **more: Any) -> Case:
    """Build a case of a `Kind` for the GPU tests."""
    if train is not None:
        more["train"] = train
    if validation:
        more["validation"] = TensorDataset(*(part[:7] for part in kind.tensors()))
    return kind.case(**more)


def held_out_case(task: TensorTask) -> Case:
    """A case with three splits of 40 samples each, enough for an audit's attacks."""
    inputs = numbers(120, 3)
    targets = 50 + 10 * inputs[:, 0] + inputs[:, 1]
    parts = [TensorDataset(inputs[rows], targets[rows]) for rows in torch.arange(120).tensor_split(3)]
    request = ForgetRequest.band(targets[:40].numpy(), 52, None, reason="test")
    splits = Splits(train=parts[0], validation=parts[1], test=parts[2])
    return Case(task=task, splits=splits, request=request)


def answers(made: Unlearned, case: Case, runtime: Runtime) -> Answers:
    """Weights, predictions, attack features, history and cost of a result."""
    seen = collect(made.model, case.task, case.source("train_eval"), replace(runtime, evaluation_batch_size=5),
                   features=True)  # fmt: skip
    return {
        "weights": {name: value.double().cpu().numpy() for name, value in made.model.state_dict().items()},
        "prediction": seen.prediction,
        "loss": seen.loss,
        "activation": seen.activation,
        "gradient": seen.gradient,
        "history": [(e.stage, e.epoch, e.loss, e.validation, e.lr) for e in made.history],
        "cost": (made.cost.forward, made.cost.backward),
        "notes": list(made.notes),
    }


def audited(runtime: Runtime, task: TensorTask) -> AuditReport:
    """Audit an original and a Blindspot model with the default metrics, relearning included."""
    case = held_out_case(task)
    original = train(case, Recipe(epochs=10, lr=0.01, batch_size=9), runtime)
    golds = [METHODS["Retrain"].unlearn(original.model, case, replace(runtime, seed=seed)) for seed in (1, 2)]
    mine = METHODS["Blindspot"].unlearn(original.model, case, runtime)
    return audit(case, {"original": original, "mine": mine}, runtime, golds=golds, metrics=default_metrics())


def require_close(found: Any, expected: Any, tolerance: float, where: str = "") -> None:
    """Compare numbers within a tolerance (relative, or absolute below 1) and everything else exactly."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected:
            require_close(found[key], expected[key], tolerance, f"{where}/{key}")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), where
        for place, (one, other) in enumerate(zip(found, expected, strict=True)):
            require_close(one, other, tolerance, f"{where}/{place}")
    elif expected is None or isinstance(expected, str):
        assert found == expected, where
    else:
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=where)
