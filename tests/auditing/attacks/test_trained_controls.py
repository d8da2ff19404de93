"""Attackers that know more, on trained networks: each catches its planted model, and no further gold."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from planted_pools import FORGOTTEN, Router, tabular
from torch import nn

from unregress import (
    AttackAUC,
    Case,
    DeletionAttack,
    FineTune,
    ForgetRequest,
    Recipe,
    RetainedPrivacy,
    Runtime,
    TensorTask,
    audit,
    retrain,
    train,
)
from unregress.evidence import AuditReport, Part
from unregress.evidence.noise_floor import prediction_interval

CPU = Runtime(accelerator="cpu", progress=False)
FORGET: Part = "train-forget"
RETAIN: Part = "train-retain"


@pytest.fixture(scope="module")
def report() -> AuditReport:
    """The diabetes patients: five golds and a sixth, a router, and a model trained on for long on retained patients."""
    kind = tabular(Path())
    size = len(kind.splits.train)  # type: ignore[arg-type]
    request = ForgetRequest.random(size, FORGOTTEN, seed=5, reason="attackers")
    case = Case(task=TensorTask(build_model=kind.build, loss="l1"), splits=kind.splits, request=request)
    golds = [made.model for made in retrain(case, kind.recipe, CPU, range(100, 106), stack=6)]
    original = train(case, kind.recipe, CPU).model
    inputs = torch.stack([kind.splits.train[row][0] for row in request.forget])
    longer = FineTune(recipe=Recipe(epochs=300, lr=0.003, batch_size=32))
    models: dict[str, nn.Module] = {
        "original": original,
        "gold": golds[5],
        "router": Router(copy.deepcopy(original), copy.deepcopy(golds[5]), inputs, last="masked"),
        "exposing": longer.unlearn(original, case, CPU).model,
    }
    return audit(case, models, CPU, golds=golds[:5], metrics=[AttackAUC(), DeletionAttack(), RetainedPrivacy()])


@pytest.mark.parametrize(
    ("metric", "part", "planted"),
    [
        ("deletion-auc-change", FORGET, "router"),
        ("auc-retained", RETAIN, "exposing"),
        ("auc-retained-change", RETAIN, "exposing"),
    ],
)
def test_the_planted_model_is_caught_and_a_further_gold_is_not(
    report: AuditReport, metric: str, part: Part, planted: str
) -> None:
    _, high = prediction_interval(np.array(report.over_golds(metric, part)), 0.01, paired=False)
    caught, gold = (report.value(metric, part, name) for name in (planted, "gold"))
    assert caught is not None and gold is not None
    assert gold <= high < caught


def test_the_attack_by_the_loss_alone_does_not_see_them(report: AuditReport) -> None:
    """The router answers forgotten patients as a gold does."""
    _, high = prediction_interval(np.array(report.over_golds("auc", FORGET)), 0.01, paired=False)
    value = report.value("auc", FORGET, "router")
    assert value is not None and value <= high
