"""A table of noise, a network that memorises it, and the deep metrics' findings on them, computed once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from support.small_cases import flat_case
from unregress.data.case import Case
from unregress.data.request import ForgetRequest
from unregress.evidence import Measurement, Role
from unregress.methods import FineTune, Method, Retrain
from unregress.metrics.base import Panel, Subject
from unregress.metrics.collect import collect
from unregress.metrics.deep.klom import KLoM
from unregress.metrics.deep.ulira import ULiRA
from unregress.tasks.adapters import TensorTask
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime

CPU = Runtime(accelerator="cpu")
RECIPE = Recipe(epochs=150, lr=0.02, batch_size=30)
METHODS: Mapping[str, Method] = {
    "FineTune": FineTune(recipe=Recipe(epochs=1, lr=1e-4, batch_size=30)),
    "again": Retrain(recipe=RECIPE),
}
ROLES: Mapping[str, Role] = {
    "original": "original",
    "FineTune": "unlearned",
    "again": "unlearned",
    "retrained": "gold",
}


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))


def noise(samples: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, 8, generator=generator), torch.randn(samples, generator=generator)


def case_of_heart(**changes: Any) -> Case:
    """A case of 60 samples whose targets are noise, 12 of them to be forgotten."""
    fields: dict[str, Any] = {
        "task": TensorTask(build_model=net, loss="mse"),
        "request": ForgetRequest.random(60, 12, seed=0, reason="test"),
        "train": TensorDataset(*noise(60, 0)),
        "test": TensorDataset(*noise(30, 1)),
    }
    return flat_case(**(fields | changes))


def panel_of(case: Case | None = None, runtime: Runtime = CPU) -> Panel:
    """A panel of untrained models: deep metrics read only names, parts and the case."""
    case = case or case_of_heart()
    everywhere = collect(net(), case.task, case.source("train_eval"), runtime)
    mask = case.requested.mask
    parts = {
        "train-retain": everywhere.at(np.flatnonzero(~mask)),
        "train-forget": everywhere.at(np.flatnonzero(mask)),
        "test-retain": collect(net(), case.task, case.source("test"), runtime),
    }
    subjects = tuple(Subject(name=name, role=role, model=net(), parts=parts) for name, role in ROLES.items())
    return Panel(case=case, runtime=runtime, subjects=subjects, validation_forget_like=np.zeros(0, np.int64))


def findings(
    which: Literal["klom", "ulira"], *, workers: int = 1, store: Path | None = None, panel: Panel | None = None
) -> list[Measurement]:
    metric = (
        KLoM(recipe=RECIPE, methods=METHODS, models=6, workers=workers, store=store)
        if which == "klom"
        else ULiRA(recipe=RECIPE, methods=METHODS, models=8, share=0.4, workers=workers, store=store)
    )
    return [found for found in metric.measure(panel or panel_of()) if isinstance(found, Measurement)]


@cache
def measured(which: Literal["klom", "ulira"]) -> dict[tuple[str, str, str], Measurement]:
    """Measurements of a deep metric by (metric, part, model), computed once."""
    return {(found.metric, found.split, found.model): found for found in findings(which)}
