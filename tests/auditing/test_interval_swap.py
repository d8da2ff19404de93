"""Interval swap, the regression form of interclass confusion: wrong labels, forgotten, must leave no bias behind.

In two bands of the target, most training labels are mirrored: y' = a + b - y, so that either band is taught the other's
values.  A model that forgot them predicts clean test samples of both bands as a gold does (Goel et al. 2022 swap two
classes' labels).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import unregress
from support.planted_controls import RUNTIME
from unregress.evidence import AuditReport
from unregress.parallel.jobs import one_thread

LOW, HIGH = (30.0, 40.0), (60.0, 70.0)
MIDDLE = 100.0
"""a + b: what a target and its mirror image sum to."""
TRAIN, TEST = slice(0, 400), slice(400, 700)
RECIPE = unregress.Recipe(epochs=40, lr=0.02, batch_size=64, schedule="one-cycle")
METRICS = (unregress.Errors(), unregress.Wasserstein(), unregress.Deviation(), unregress.AttackAUC())


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1), Scaled())


class Scaled(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return 50 + 10 * z


def inside(y: Tensor, band: tuple[float, float]) -> Tensor:
    return (y >= band[0]) & (y <= band[1])


@dataclass(frozen=True)
class Swap:
    """The audit of a swap, and each model's mean error on clean test samples of either band."""

    report: AuditReport
    biases: dict[str, tuple[float, float]]


@pytest.fixture(scope="module")
def swap() -> Iterator[Swap]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(700, 3, generator=generator)
    # Three in ten samples lie in the bands: those with a large third input, at one end or the other by the first.
    level = torch.where(x[:, 2] > 0.5, 15 * torch.tanh(4 * x[:, 0]), 4 * torch.tanh(x[:, 0]))
    clean = 50 + level + x[:, 1] + 0.5 * torch.randn(700, generator=generator)
    banded = inside(clean, LOW) | inside(clean, HIGH)
    swapped = banded & (torch.rand(700, generator=generator) < 0.7)
    taught = torch.where(swapped, MIDDLE - clean, clean)
    forget = swapped[TRAIN].nonzero().flatten().tolist()
    case = unregress.Case(
        task=unregress.TensorTask(build_model=network, loss="l1"),
        splits=unregress.Splits(
            train=TensorDataset(x[TRAIN], taught[TRAIN]),
            test=TensorDataset(x[TEST], clean[TEST]),
        ),
        request=unregress.ForgetRequest(size=400, forget=tuple(forget), reason="labels found to be wrong"),
        test_forget_like=banded[TEST].nonzero().flatten().tolist(),
    )
    with one_thread():
        original = unregress.train(case, RECIPE, RUNTIME)
        retrain = unregress.Retrain(recipe=RECIPE)
        *golds, fresh = (retrain.unlearn(original.model, case, replace(RUNTIME, seed=seed)) for seed in range(1, 7))
        good = unregress.FineTune(recipe=replace(RECIPE, epochs=30))
        bad = unregress.FineTune(recipe=unregress.Recipe(epochs=2, lr=1e-4, batch_size=64))
        models = {
            "original": original,
            "retrained once more": fresh,
            "annealed": good.unlearn(original.model, case, RUNTIME),
            "hardly changed": bad.unlearn(original.model, case, RUNTIME),
        }
        named = models | {f"gold {number}": gold for number, gold in enumerate(golds)}
        biases = {name: _biases(made.model, x[TEST], clean[TEST]) for name, made in named.items()}
        yield Swap(unregress.audit(case, models, RUNTIME, golds=golds, metrics=METRICS), biases)


def _biases(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    with torch.no_grad():
        error = model.eval()(x).squeeze(1) - y
    low, high = (float(error[inside(y, band)].mean()) for band in (LOW, HIGH))
    return low, high


def _of_golds(swap: Swap) -> np.ndarray:
    return np.array([biases for name, biases in swap.biases.items() if name.startswith("gold")])


@pytest.mark.slow
def test_the_original_is_biased_towards_the_other_band(swap: Swap) -> None:
    """Targets are 30 apart on average and most labels were mirrored: errors of 20 and more, both inwards."""
    low, high = swap.biases["original"]
    assert low > 20
    assert high < -20


def test_golds_are_hardly_biased(swap: Swap) -> None:
    assert np.abs(_of_golds(swap)).max() < 2.5


@pytest.mark.parametrize("model", ["annealed", "retrained once more"])
def test_after_forgetting_the_bias_is_the_golds_and_the_audit_passes(swap: Swap, model: str) -> None:
    assert np.abs(np.array(swap.biases[model]) - _of_golds(swap).mean(axis=0)).max() < 2.5
    verdict = swap.report.verdict(model)
    assert verdict.outcome == "PASS", verdict.reason


def test_where_the_bias_stays_the_audit_sees_it(swap: Swap) -> None:
    away = np.abs(np.array(swap.biases["hardly changed"]) - _of_golds(swap).mean(axis=0))
    assert away.min() > 15
    for model in ("original", "hardly changed"):
        verdict = swap.report.verdict(model)
        assert verdict.outcome == "FAIL"
        assert verdict.reason.startswith("It still remembers")


def test_swapping_two_bands_hides_from_a_comparison_of_distributions(swap: Swap) -> None:
    """Both bands are there before and after: W1 sees a fifth of what sample by sample is plain."""
    paired, w1 = (swap.report.value(metric, "train-forget", "original") for metric in ("paired", "w1"))
    assert paired is not None and w1 is not None
    assert w1 < paired / 4


def test_the_attack_takes_clean_samples_of_the_bands_for_look_alikes(swap: Swap) -> None:
    """To an original, mirrored labels are right and clean ones wrong; to a gold, the other way round."""
    of_golds = swap.report.over_golds("auc", "train-forget")
    assert max(of_golds) < 0.05
    value = swap.report.value("auc", "train-forget", "original")
    assert value is not None and value > 0.95
