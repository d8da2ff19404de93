"""The anamnesis index by hand, and relearning against a hand-written loop."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import unregress
from unregress.errors import SettingError
from unregress.evidence import AuditReport
from unregress.metrics import Anamnesis
from unregress.metrics.anamnesis import Relearning, index


def run(steps: int, *, reached: bool = True) -> Relearning:
    return Relearning(losses=tuple(range(steps + 1, 0, -1)), reached=reached)


@pytest.mark.parametrize(
    ("model", "gold", "value", "bound", "word"),
    [
        (run(2), run(4), 0.5, "=", ""),
        (run(4), run(4), 1.0, "=", ""),
        (run(8), run(4), 2.0, "=", ""),
        (run(0), run(4), 0.0, "=", ""),
        # The model was cut off at 10: it needs more than 10 steps, gold 4.
        (run(10, reached=False), run(4), 2.5, ">=", "did not relearn within 10 steps"),
        # Gold was cut off at 10: it needs more than 10, so the share is at most 5/10.
        (run(5), run(10, reached=False), 0.5, "<=", "the retrained model did not relearn within 10 steps"),
        (run(0), run(10, reached=False), 0.0, "<=", "the retrained model did not relearn within 10 steps"),
        (run(10, reached=False), run(10, reached=False), None, "=", "neither model relearnt within 10 steps"),
        (run(3), run(0), None, "=", "nothing to relearn"),
        (run(0), run(0), None, "=", "nothing to relearn"),
        (run(10, reached=False), run(0), None, "=", "nothing to relearn"),
    ],
)
def test_index_by_hand(model: Relearning, gold: Relearning, value: float | None, bound: str, word: str) -> None:
    found, limit, note = index(model, gold)
    assert (found, limit) == (value, bound)
    assert word in note and bool(word) == bool(note)


def test_steps_are_counted_from_zero() -> None:
    assert Relearning(losses=(3.0,), reached=True).steps == 0
    assert Relearning(losses=(3.0, 2.0, 1.0), reached=False).steps == 2


@pytest.mark.parametrize("options", [{"alpha": -0.01}, {"recipe": unregress.Recipe(epochs=0)}])
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="Anamnesis"):
        Anamnesis(**options)


LR, BATCH, EPOCHS, ALPHA, SEED = 0.02, 16, 40, 0.05, 5
RECIPE = unregress.Recipe(epochs=EPOCHS, lr=LR, batch_size=BATCH)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))


@pytest.fixture(scope="module")
def data() -> dict[str, TensorDataset]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(130, 2, generator=generator)
    y = x[:, 0] + 2 * (x[:, 1] > 0)
    return {
        "train": TensorDataset(x[:70], y[:70]),
        "validation": TensorDataset(x[70:100], y[70:100]),
        "test": TensorDataset(x[100:], y[100:]),
    }


@pytest.fixture(scope="module")
def case(data: dict[str, TensorDataset]) -> unregress.Case:
    task = unregress.TensorTask(build_model=net, loss="mse")
    request = unregress.ForgetRequest.band(data["train"].tensors[1], low=1.5, reason="test")
    return unregress.Case(task=task, request=request, **data)


@pytest.fixture(scope="module")
def models(case: unregress.Case) -> dict[str, nn.Module]:
    runtime = unregress.Runtime(accelerator="cpu")
    recipe = unregress.Recipe(epochs=60, lr=0.02, batch_size=16)
    original = unregress.train(case, recipe, runtime).model
    torch.manual_seed(11)
    gold = unregress.Retrain(recipe=recipe).unlearn(original, case, runtime).model
    return {"original": original, "retrained": gold, "fresh": net()}


@pytest.fixture(scope="module")
def report(case: unregress.Case, models: dict[str, nn.Module]) -> AuditReport:
    runtime = unregress.Runtime(accelerator="cpu", seed=SEED)
    return unregress.audit(case, models, runtime, metrics=[Anamnesis(alpha=ALPHA, recipe=RECIPE)])


def by_hand(model: nn.Module, x: Tensor, y: Tensor, watch_x: Tensor, watch_y: Tensor) -> Iterator[float]:
    """Mean loss on the watched rows before the first step and after each one."""
    model = copy.deepcopy(model)
    adam = torch.optim.Adam(model.parameters(), lr=LR)
    draws = unregress.Runtime(accelerator="cpu", seed=SEED).generator("relearn/order")

    def watched() -> float:
        with torch.no_grad():
            return float((model(watch_x).squeeze(1) - watch_y).square().mean())

    yield watched()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x), generator=draws).split(BATCH):
            adam.zero_grad()
            (model(x[rows]).squeeze(1) - y[rows]).square().mean().backward()
            adam.step()
            yield watched()


@pytest.mark.parametrize("name", ["original", "retrained", "fresh"])
def test_first_hit_equals_a_hand_written_loop(
    report: AuditReport, models: dict[str, nn.Module], data: dict[str, TensorDataset], name: str
) -> None:
    """The watched rows are the validation samples of the forgotten kind, y of 1.5 and more."""
    watch_x, watch_y = data["validation"].tensors
    alike = watch_y >= 1.5
    watch = watch_x[alike], watch_y[alike]
    threshold = (1 + ALPHA) * next(by_hand(models["original"], *data["train"].tensors, *watch))
    losses = []
    for loss in by_hand(models[name], *data["train"].tensors, *watch):
        losses.append(loss)
        if loss <= threshold:
            break
    (figure,) = report.figures
    curve = next(curve for curve in figure.curves if curve.model == name)
    assert figure.threshold == pytest.approx(threshold, rel=1e-5)
    assert curve.x == tuple(range(len(losses)))
    assert curve.y == pytest.approx(losses, rel=1e-4)
    steps = report.measure("relearn-steps", "validation-forget", name)
    assert (steps.value, steps.bound) == (len(losses) - 1, "=" if losses[-1] <= threshold else ">=")


def test_the_original_is_at_its_own_threshold_and_the_others_are_not(report: AuditReport) -> None:
    steps = {
        name: report.value("relearn-steps", "validation-forget", name) for name in ("original", "retrained", "fresh")
    }
    assert steps["original"] == 0
    assert steps["retrained"] is not None and steps["retrained"] > 0
    assert report.value("ain", "validation-forget", "original") == 0
    assert report.value("ain", "validation-forget", "retrained") == 1
    assert report.value("ain", "validation-forget", "fresh") == steps["fresh"] / steps["retrained"]  # type: ignore[operator]


def test_the_original_relearns_at_once_also_where_losses_are_negative(data: dict[str, TensorDataset]) -> None:
    """A log-likelihood is negative for a good fit: 5 % above it is nearer to zero, not below it."""
    task = unregress.TensorTask(build_model=net, loss=lambda prediction, target: (prediction - target).square() - 9)
    request = unregress.ForgetRequest.band(data["train"].tensors[1], low=1.5, reason="test")
    case = unregress.Case(task=task, request=request, **data)
    runtime = unregress.Runtime(accelerator="cpu")
    found = unregress.audit(case, {"original": net(), "retrained": net()}, runtime, metrics=[Anamnesis(recipe=RECIPE)])
    assert found.value("relearn-steps", "validation-forget", "original") == 0


def test_a_gold_frozen_for_inference_is_relearnt_like_an_unfrozen_one(
    case: unregress.Case, models: dict[str, nn.Module], report: AuditReport
) -> None:
    frozen = {name: copy.deepcopy(model).requires_grad_(False) for name, model in models.items()}
    runtime = unregress.Runtime(accelerator="cpu", seed=SEED)
    found = unregress.audit(case, frozen, runtime, metrics=[Anamnesis(alpha=ALPHA, recipe=RECIPE)])
    assert found.measures == report.measures


def test_without_held_out_samples_of_the_kind_the_forgotten_ones_are_watched(
    data: dict[str, TensorDataset], models: dict[str, nn.Module]
) -> None:
    task = unregress.TensorTask(build_model=net, loss="mse")
    request = unregress.ForgetRequest.random(70, 20, seed=0, reason="test")
    case = unregress.Case(task=task, request=request, **data)
    found = unregress.audit(case, models, unregress.Runtime(accelerator="cpu"), metrics=[Anamnesis(recipe=RECIPE)])
    assert {measure.split for measure in found.measures} == {"train-forget"}
    x, y = data["train"].tensors
    rows = list(request.forget)
    with torch.no_grad():
        start = (models["fresh"](x[rows]).squeeze(1) - y[rows]).square().mean()
    assert next(curve.y[0] for curve in found.figures[0].curves if curve.model == "fresh") == pytest.approx(
        float(start)
    )
    assert any("watched on the forgotten samples" in caveat for caveat in found.caveats)


def test_a_measurement_that_was_cut_off_is_a_bound(case: unregress.Case, models: dict[str, nn.Module]) -> None:
    """70 rows in batches of 16 are 5 steps, at a rate at which nothing moves."""
    still = Anamnesis(recipe=unregress.Recipe(epochs=1, lr=1e-9, batch_size=BATCH))
    found = unregress.audit(case, models, unregress.Runtime(accelerator="cpu"), metrics=[still])
    gold = found.measure("relearn-steps", "validation-forget", "retrained")
    assert (gold.value, gold.bound) == (5, ">=")
    own = found.measure("ain", "validation-forget", "original")
    assert (own.value, own.bound) == (0, "<=")
    assert found.measure("ain", "validation-forget", "retrained").value is None
    assert np.isclose(len(next(c.y for c in found.figures[0].curves if c.model == "retrained")), 6)
