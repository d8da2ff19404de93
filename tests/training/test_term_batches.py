"""Weights of samples: as factors of the losses and for sampling, by hand and against PyTorch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import TensorDataset, WeightedRandomSampler

from support.small_cases import CPU, Listed, case_of, filled, mlp, table, weights
from unregress import Blindspot, Case, FineTune, Recipe, Retrain, Runtime, preflight, retrain, train
from unregress.data.subsets import part_of
from unregress.errors import DataError
from unregress.methods import NegGradPlus
from unregress.retraining.fingerprint import task_fingerprint
from unregress.training.loop import Fitted, fit
from unregress.training.objective import Objective, Term, task_loss

INPUTS, TARGETS = table()
WEIGHTS = torch.arange(24.0) + 1


def linear() -> nn.Module:
    return filled(nn.Linear(3, 1), 0.5)


def weighted(**more: Any) -> Case:
    return case_of(TensorDataset(INPUTS, TARGETS), build=linear, **{"loss": "mse", "weights": WEIGHTS, **more})


def run(model: nn.Module, recipe: Recipe, case: Case, rows: list[int] | None = None) -> Fitted:
    positions = torch.arange(case.splits.size) if rows is None else torch.tensor(rows)
    return fit(model, case, recipe, Objective.over(positions, task_loss(case)), CPU, stage="test")


# --- factors ------------------------------------------------------------------------------------


def test_one_weighted_step_by_hand() -> None:
    """y = w x, squared error, w = 1.  x = (2, 1), y = (10, 3): gradients −32 and −4, losses 64 and 4.

    Weights 1 and 3: gradient (−32 − 12) / 4 = −11, so w = 1.11; loss (64 + 12) / 4 = 19.
    """
    model = filled(nn.Linear(1, 1, bias=False), 1.0)
    data = TensorDataset(torch.tensor([[2.0], [1.0], [9.0]]), torch.tensor([10.0, 3.0, 9.0]))
    case = case_of(data, loss="mse", forget=(2,), weights=[1, 3, 100])
    fitted = run(model, Recipe(lr=0.01, optimizer="sgd", weights="loss"), case, [0, 1])
    assert_close(model.weight.item(), 1.11)
    assert_close(fitted.history[0].loss, 19.0)
    assert (fitted.cost.forward, fitted.cost.backward) == (2, 2)


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_factors_are_pytorchs_own_weighted_mean(scale: float) -> None:
    """The mean of `torch.nn.functional.mse_loss(weight=...)`; it does not depend on the weights' scale."""
    mine, its = linear(), linear()
    recipe = Recipe(epochs=3, lr=0.01, batch_size=24, weights="loss")
    run(mine, recipe, weighted(weights=WEIGHTS * scale))
    optimizer = torch.optim.Adam(its.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.mse_loss(its(INPUTS).squeeze(1), TARGETS, weight=WEIGHTS).backward()
        optimizer.step()
    assert_close(dict(mine.named_parameters()), dict(its.named_parameters()))


def test_the_epochs_loss_is_the_weighted_mean_over_all_batches() -> None:
    case = weighted(loss="l1")
    losses = (linear()(INPUTS).squeeze(1) - TARGETS).abs().detach()
    fitted = run(linear(), Recipe(lr=1e-12, batch_size=5, weights="loss"), case)
    assert_close(fitted.history[0].loss, float((WEIGHTS * losses).sum() / WEIGHTS.sum()))


def test_equal_weights_change_nothing_but_rounding() -> None:
    plain, equal = linear(), linear()
    run(plain, Recipe(epochs=3, lr=0.1, batch_size=7), weighted(weights=None))
    run(equal, Recipe(epochs=3, lr=0.1, batch_size=7, weights="loss"), weighted(weights=[0.3] * 24))
    assert_close(dict(plain.named_parameters()), dict(equal.named_parameters()))


def test_a_sample_of_weight_0_has_no_influence_on_the_gradient() -> None:
    outlier = TARGETS.clone()
    outlier[5] = 1e4
    zero = [0.0 if row == 5 else 1.0 for row in range(24)]
    models = []
    for targets in (TARGETS, outlier):
        models.append(linear())
        case = case_of(TensorDataset(INPUTS, targets), loss="mse", weights=zero)
        run(models[-1], Recipe(epochs=2, lr=0.1, batch_size=8, weights="loss"), case)
    assert weights(models[0]) == weights(models[1])


def test_a_batch_of_weight_0_moves_nothing() -> None:
    """Batches of one row each, in a random order: SGD without momentum steps for the one row with a weight only."""
    model, case = linear(), weighted(weights=[1.0] + [0.0] * 23)
    recipe = Recipe(lr=0.01, batch_size=1, optimizer="sgd", optimizer_options={"momentum": 0.0}, weights="loss")
    run(model, recipe, case)
    x, y = INPUTS[0], TARGETS[0]
    error = 0.5 * x.sum() + 0.5 - y
    assert_close(model.weight.detach()[0], 0.5 - 0.02 * error * x)


def test_weights_without_a_recipe_that_uses_them_change_nothing() -> None:
    models = [linear(), linear()]
    for model, case in zip(models, (weighted(), weighted(weights=None)), strict=True):
        run(model, Recipe(epochs=2, lr=0.1, batch_size=7), case)
    assert weights(models[0]) == weights(models[1])


def test_each_term_has_its_own_weighted_mean() -> None:
    """y = w x, w = 1: row 0 has the gradient −32, row 1 has −4 and row 2 has 162 − 162 = 0.

    Descent on rows 1 and 2 with weights 1 and 3: −4 / 4 = −1.  Ascent by 0.5 on row 0: +16.  w = 1 − 0.01 × 15.
    """
    model = filled(nn.Linear(1, 1, bias=False), 1.0)
    data = TensorDataset(torch.tensor([[2.0], [1.0], [9.0]]), torch.tensor([10.0, 3.0, 9.0]))
    case = case_of(data, loss="mse", forget=(0,), weights=[5.0, 1.0, 3.0])
    terms = tuple(
        Term(rows=torch.tensor(rows), loss=task_loss(case), weight=w) for rows, w in (([1, 2], 1), ([0], -0.5))
    )
    recipe = Recipe(lr=0.01, optimizer="sgd", weights="loss")
    fit(model, case, recipe, Objective(terms=terms), CPU, stage="test")
    assert_close(model.weight.item(), 0.85)


def test_blindspots_losses_have_their_own_rows_weights() -> None:
    """Forget rows have the weight 0, wherever they stand in a batch: Blindspot then is fine-tuning on the others."""
    forget = (0, 3, 5, 11, 17)
    case = weighted(forget=forget, weights=[0.0 if row in forget else 1.0 + row for row in range(24)])
    recipe = Recipe(epochs=2, lr=0.05, batch_size=24, weights="loss")
    model = linear()
    blind = Blindspot(helper=Recipe(), recipe=recipe, attention_weight=0.0).unlearn(model, case, CPU)
    tuned = FineTune(recipe=recipe).unlearn(model, case, CPU)
    assert_close(dict(blind.model.named_parameters()), dict(tuned.model.named_parameters()))


# --- sampling -----------------------------------------------------------------------------------


def draws(case: Case, recipe: Recipe, rows: list[int], runtime: Runtime = CPU) -> list[list[int]]:
    """The rows of each batch."""
    seen: list[list[int]] = []

    def noting(model: nn.Module, batch: Any) -> torch.Tensor:
        seen.append(batch.index.tolist())
        return task_loss(case)(model, batch)

    fit(linear(), case, recipe, Objective.over(torch.tensor(rows), noting), runtime, stage="test")
    return seen


@pytest.mark.slow
def test_sampling_draws_as_many_rows_as_there_are_in_proportion_to_their_weights() -> None:
    """Rows 2 and 3 have weights 1 and 3; of 1000 × 2 draws row 3 is expected in 1500, with a deviation of 20."""
    case = weighted(weights=[7.0, 7.0, 1.0, 3.0] + [9.0] * 20)
    found = draws(case, Recipe(epochs=1000, batch_size=2, lr=1e-9, weights="sampling"), [2, 3])
    assert {len(batch) for batch in found} == {2} and len(found) == 1000
    drawn = [row for batch in found for row in batch]
    assert set(drawn) == {2, 3}
    assert abs(drawn.count(3) - 1500) < 100


def test_sampling_is_pytorchs_sampler_with_the_seed_of_the_training() -> None:
    case, rows = weighted(), list(range(4, 24))
    recipe = Recipe(epochs=2, batch_size=20, weights="sampling")
    sampler = WeightedRandomSampler(WEIGHTS[4:].tolist(), 20, generator=CPU.generator("test/order"))
    expected = [[rows[place] for place in sampler] for _ in range(2)]
    assert draws(case, recipe, rows) == expected
    assert draws(case, recipe, rows, Runtime(accelerator="cpu", seed=1)) != expected


def test_a_last_batch_of_one_drawn_row_joins_the_one_before() -> None:
    lengths = [len(batch) for batch in draws(weighted(), Recipe(batch_size=4, weights="sampling"), list(range(9)))]
    assert lengths == [4, 5]


def test_a_row_of_weight_0_is_never_drawn() -> None:
    case = weighted(weights=[0.0] * 20 + [1.0] * 4)
    found = draws(case, Recipe(epochs=5, batch_size=8, weights="sampling"), list(range(24)))
    assert {row for batch in found for row in batch} <= {20, 21, 22, 23}


@pytest.mark.parametrize("use", ["loss", "sampling"])
def test_golds_never_read_the_forget_set(use: str) -> None:
    forget = (0, 3, 5, 11, 17)
    data = Listed(INPUTS, TARGETS, forbidden=forget)
    case = case_of(data, build=linear, forget=forget, weights=[100.0 if row in forget else 1.0 for row in range(24)])
    made = Retrain(recipe=Recipe(epochs=3, batch_size=8, weights=use)).unlearn(linear(), case, CPU)
    assert made.cost.backward == 3 * 19
    assert data.read <= set(range(24)) - set(forget)


@pytest.mark.parametrize("use", ["loss", "sampling"])
def test_the_same_seed_gives_the_same_weights(use: str) -> None:
    recipe = Recipe(epochs=2, lr=0.05, batch_size=7, weights=use)
    first, again, other = (train(weighted(), recipe, Runtime(accelerator="cpu", seed=seed)) for seed in (0, 0, 1))
    assert weights(first.model) == weights(again.model) != weights(other.model)


@pytest.mark.parametrize("method", [FineTune, NegGradPlus, Blindspot])
def test_methods_can_use_weights(method: Any) -> None:
    model, made = mlp(), []
    for use in ("none", "loss", "sampling"):
        case = case_of(TensorDataset(INPUTS, TARGETS), weights=WEIGHTS, loss="mse")
        made.append(weights(method(recipe=Recipe(epochs=2, batch_size=7, weights=use)).unlearn(model, case, CPU).model))
    assert made[0] != made[1] != made[2] != made[0]


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start", [train, lambda c, r, k: retrain(c, r, k, [1]), lambda c, r, k: preflight(c, k, recipe=r)]
)
def test_a_recipe_with_weights_needs_weights(start: Any) -> None:
    case = case_of(Listed(INPUTS, TARGETS), build=linear)
    with pytest.raises(DataError) as caught:
        start(case, Recipe(weights="loss"), CPU)
    assert "the data have no weights" in caught.value.found and "weights" in caught.value.remedy


@pytest.mark.parametrize("use", ["loss", "sampling"])
def test_rows_that_all_have_the_weight_0_are_refused(use: str) -> None:
    case = weighted(weights=[0.0] * 20 + [1.0] * 4)
    with pytest.raises(DataError) as caught:
        run(linear(), Recipe(weights=use), case, [3, 4])
    assert "All 2 samples" in caught.value.found


def test_weights_belong_to_the_key_of_a_stored_model() -> None:
    keys = [task_fingerprint(weighted(weights=each), CPU) for each in (WEIGHTS, WEIGHTS * 2, None, WEIGHTS.clone())]
    assert keys[0] == keys[3] and keys[0] != keys[1] and keys[0] != keys[2]


def test_a_part_of_a_case_has_its_rows_weights() -> None:
    case = weighted()
    part = part_of(case, [3, 3, 9], case_of(TensorDataset(INPUTS[:3], TARGETS[:3]), forget=(0,)).requested)
    assert part.splits.weight_array is not None and part.splits.weight_array.tolist() == [4.0, 4.0, 10.0]
