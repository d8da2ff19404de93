"""Recipes: any optimiser and scheduler of PyTorch, and what is refused."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import nn, optim
from torch.optim import lr_scheduler
from torch.testing import assert_close
from torch.utils.data import TensorDataset

from support.small_cases import CPU, case_of, filled, table, weights
from unregress import Recipe
from unregress.errors import PreflightError, SettingError
from unregress.training.loop import Fitted, fit
from unregress.training.objective import Objective, task_loss
from unregress.training.optimizers import IMPOSSIBLE, NOT_ELEMENTWISE, OPTIMIZERS, optimizer_names
from unregress.training.schedules import SCHEDULES, schedule_names

INPUTS, TARGETS = table()
WHOLE = len(INPUTS)


def linear() -> nn.Module:
    return filled(nn.Linear(3, 1), 0.5)


def run(model: nn.Module, recipe: Recipe, rows: int = WHOLE) -> Fitted:
    case = case_of(TensorDataset(INPUTS, TARGETS), build=linear, loss="mse")
    return fit(model, case, recipe, Objective.over(torch.arange(rows), task_loss(case)), CPU, stage="test")


def own_loop(optimizer: optim.Optimizer, model: nn.Module, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        (model(INPUTS).squeeze(1) - TARGETS).square().mean().backward()
        optimizer.step()


# --- optimisers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("RMSprop", {"alpha": 0.9, "momentum": 0.5}),
        ("AdamW", {"betas": (0.8, 0.95)}),
        *((name, {}) for name in optimizer_names() if name not in (*OPTIMIZERS, "Muon")),
    ],
)
def test_every_optimiser_of_pytorch_is_its_own_loop(name: str, options: dict[str, Any]) -> None:
    mine, its = linear(), linear()
    decay = {} if name == "Rprop" else {"weight_decay": 0.1}
    run(mine, Recipe(epochs=4, lr=0.05, batch_size=WHOLE, optimizer=name, optimizer_options=options, **decay))
    own_loop(getattr(optim, name)(its.parameters(), lr=0.05, **decay, **options), its, 4)
    assert_close(dict(mine.named_parameters()), dict(its.named_parameters()))


def test_one_step_of_rmsprop_by_hand() -> None:
    """y = w x on x = 2, y = 10, w = 1: gradient −32; v = 0.1 × 32², so the step is 0.01 × 32 / (32 √0.1)."""
    model = filled(nn.Linear(1, 1, bias=False), 1.0)
    case = case_of(TensorDataset(torch.full((2, 1), 2.0), torch.full((2,), 10.0)), loss="mse", forget=(0,))
    recipe = Recipe(lr=0.01, optimizer="RMSprop", optimizer_options={"alpha": 0.9})
    fit(model, case, recipe, Objective.over(torch.tensor([1]), task_loss(case)), CPU, stage="test")
    assert_close(model.weight.item(), 1 + 0.01 / math.sqrt(0.1))


def test_short_names_take_options_too() -> None:
    mine, its = linear(), linear()
    run(mine, Recipe(epochs=3, lr=0.05, batch_size=WHOLE, optimizer="sgd", optimizer_options={"momentum": 0.5}))
    own_loop(optim.SGD(its.parameters(), lr=0.05, momentum=0.5), its, 3)
    assert_close(dict(mine.named_parameters()), dict(its.named_parameters()))


def test_an_optimiser_that_refuses_the_model_is_named() -> None:
    """Muon takes matrices only, and a layer has a bias."""
    with pytest.raises(SettingError) as caught:
        run(linear(), Recipe(optimizer="Muon"))
    assert "torch.optim.Muon" in caught.value.found and "2D" in caught.value.found
    model = nn.Linear(3, 1, bias=False)
    before = weights(model)
    run(model, Recipe(optimizer="Muon"))
    assert weights(model) != before


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_optimisers_that_cannot_work_are_refused_with_a_reason(name: str) -> None:
    with pytest.raises(SettingError) as caught:
        Recipe(optimizer=name)
    assert IMPOSSIBLE[name] in caught.value.expected


def test_what_depends_on_other_weights_is_known() -> None:
    """The step of one row of a matrix is the same without the other rows, for all but those that are listed."""
    for name in set(optimizer_names()) - {*OPTIMIZERS, *NOT_ELEMENTWISE}:
        steps = []
        for rows in (1, 4):
            parameter = nn.Parameter(torch.ones(rows, 2))
            optimizer = getattr(optim, name)([parameter], lr=0.1)
            for number in range(3):
                parameter.grad = (torch.arange(2 * rows).view(rows, 2) + number + 1.0) * 0.1
                optimizer.step()
            steps.append(parameter[0].tolist())
        assert steps[0] == pytest.approx(steps[1], rel=1e-6), name


# --- schedules ----------------------------------------------------------------------------------


def rates(recipe: Recipe) -> list[float]:
    return [epoch.lr for epoch in run(linear(), recipe).history]


def test_cosine_annealing_is_the_formula() -> None:
    """η_t = η_min + (η_0 − η_min)(1 + cos(π t / T)) / 2; without `T_max`, T is the number of epochs."""
    recipe = Recipe(epochs=6, lr=0.1, schedule="CosineAnnealingLR", schedule_options={"eta_min": 0.02})
    assert_close(rates(recipe), [0.02 + 0.04 * (1 + math.cos(math.pi * t / 6)) for t in range(6)])
    shorter = replace(recipe, schedule_options={"eta_min": 0.02, "T_max": 3})
    assert_close(rates(shorter)[:4], [0.1, 0.08, 0.04, 0.02])


def test_a_schedule_can_advance_with_each_step() -> None:
    """24 rows in batches of 8: three steps an epoch, so that the last step of epoch e is step 3 e − 1."""
    recipe = Recipe(epochs=3, lr=0.1, batch_size=8, schedule="ExponentialLR", schedule_options={"gamma": 0.5})
    assert_close(rates(recipe), [0.1, 0.05, 0.025])
    assert_close(rates(replace(recipe, schedule_every="step")), [0.1 * 0.5 ** (3 * epoch - 1) for epoch in (1, 2, 3)])
    cosine = replace(recipe, schedule="CosineAnnealingLR", schedule_options={}, schedule_every="step")
    assert_close(rates(cosine), [0.05 * (1 + math.cos(math.pi * (3 * epoch - 1) / 9)) for epoch in (1, 2, 3)])


def test_one_cycle_by_its_class_is_the_short_name() -> None:
    short = Recipe(epochs=4, lr=0.1, batch_size=8, schedule="one-cycle")
    assert rates(short) == rates(replace(short, schedule="OneCycleLR", schedule_every="step"))


def test_a_plateau_by_its_class_is_the_short_name() -> None:
    short = Recipe(epochs=30, lr=2.0, batch_size=WHOLE, schedule="plateau", patience=1)
    long = replace(short, schedule="ReduceLROnPlateau", schedule_options={"factor": 0.1, "patience": 1})
    assert rates(short) == rates(long)
    assert rates(short)[-1] < 2.0


def test_warm_up_and_cosine_by_hand() -> None:
    recipe = Recipe(
        epochs=6,
        lr=0.1,
        schedule="SequentialLR",
        schedule_options={
            "schedulers": [
                {"schedule": "LinearLR", "start_factor": 0.5, "total_iters": 2},
                {"schedule": "CosineAnnealingLR", "T_max": 4},
            ],
            "milestones": [2],
        },
    )
    cosine = [0.05 * (1 + math.cos(math.pi * t / 4)) for t in range(4)]
    assert_close(rates(recipe), [0.05, 0.075, *cosine])


def test_chained_schedules_multiply() -> None:
    parts = [{"schedule": "ExponentialLR", "gamma": 0.5}, {"schedule": "ConstantLR", "factor": 0.1, "total_iters": 2}]
    recipe = Recipe(epochs=4, lr=1e-2, schedule="ChainedScheduler", schedule_options={"schedulers": parts})
    assert_close(rates(recipe), [1e-3, 5e-4, 2.5e-3, 1.25e-3])


WORKABLE = {
    "StepLR": {"step_size": 1},
    "MultiStepLR": {"milestones": [1, 2]},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1},
    "CosineAnnealingWarmRestarts": {"T_0": 2},
    "ExponentialLR": {"gamma": 0.5},
    "OneCycleLR": {"max_lr": 0.2},
    "SequentialLR": {"schedulers": [{"schedule": "ConstantLR"}, {"schedule": "LinearLR"}], "milestones": [1]},
    "ChainedScheduler": {"schedulers": [{"schedule": "ConstantLR"}]},
}


@pytest.mark.parametrize("every", ["epoch", "step"])
@pytest.mark.parametrize("name", [name for name in schedule_names() if name not in SCHEDULES])
def test_every_scheduler_of_pytorch_trains(name: str, every: str) -> None:
    options = WORKABLE.get(name, {})
    try:
        recipe = Recipe(epochs=4, batch_size=8, lr=1e-2, schedule=name, schedule_options=options, schedule_every=every)
    except SettingError as error:
        assert name == "ReduceLROnPlateau" and every == "step" and "schedule_every" in error.found
        return
    assert len(run(linear(), recipe).history) == 4
    assert run(linear(), replace(recipe, epochs=0)).history == ()


@pytest.mark.parametrize("name", ["LambdaLR", "MultiplicativeLR"])
def test_schedules_of_functions_are_refused(name: str) -> None:
    with pytest.raises(SettingError, match="takes a function"):
        Recipe(schedule=name)


@pytest.mark.parametrize("length", [5, 11])
def test_a_schedule_that_is_too_short_is_refused_before_training(length: int) -> None:
    recipe = Recipe(epochs=4, batch_size=8, schedule="OneCycleLR", schedule_options={"total_steps": length},
                    schedule_every="step")  # fmt: skip
    model = linear()
    with pytest.raises(SettingError, match=f"total_steps={length} for a training of 12 steps"):
        run(model, recipe)
    assert weights(model) == weights(linear())
    assert len(run(model, replace(recipe, schedule_options={"total_steps": 12})).history) == 4


def test_a_nested_schedule_that_ends_too_early_is_explained() -> None:
    parts = [{"schedule": "OneCycleLR", "total_steps": 2}]
    recipe = Recipe(epochs=4, schedule="ChainedScheduler", schedule_options={"schedulers": parts})
    with pytest.raises(SettingError, match="The schedule ended before the training"):
        run(linear(), recipe)


# --- bad options, and recipes as data -----------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("optimizer_options", {"optimizer": "RMSprop", "optimizer_options": {"alfa": 0.9}}),
        ("optimizer_options", {"optimizer": "RMSprop", "optimizer_options": {"alpha": "much"}}),
        ("optimizer_options", {"optimizer": "RMSprop", "optimizer_options": {"alpha": -1}}),
        ("optimizer_options", {"optimizer_options": {"lr": 0.1}}),
        ("optimizer_options", {"optimizer_options": {"betas": lambda: 1}}),
        ("optimizer_options", {"optimizer_options": [0.9]}),
        ("schedule_options", {"schedule": "CosineAnnealingLR", "schedule_options": {"T": 3}}),
        ("schedule_options", {"schedule": "ExponentialLR"}),
        ("schedule_options", {"schedule": "step", "schedule_options": {"step_size": 3}}),
        ("schedule_options", {"schedule": "SequentialLR"}),
        ("schedule_options", {"schedule": "SequentialLR", "schedule_options": {"schedulers": 3, "milestones": [1]}}),
        ("schedule_options", {"schedule": "ChainedScheduler",
                              "schedule_options": {"schedulers": [{"schedule": "ReduceLROnPlateau"}]}}),
        ("schedule_options", {"schedule": "CyclicLR", "optimizer": "Adagrad",
                              "schedule_options": {"base_lr": 0.1, "max_lr": 0.2}}),
        ("schedule_every", {"schedule_every": "batch"}),
        ("schedule_every", {"schedule": "plateau", "schedule_every": "step"}),
        ("weights", {"weights": "all"}),
        *(("ema", {"ema": value}) for value in (0.0, 1.0, -1, "much", float("nan"), True)),
        *(("stop_after", {"stop_after": value}) for value in (0, 1.5, "soon", True)),
        ("weight_decay", {"optimizer": "Rprop", "weight_decay": 0.1}),
        *(("optimizer", {"optimizer": value}) for value in ("rmsprop", "Optimizer", "lr_scheduler", 3, None)),
        *(("schedule", {"schedule": value}) for value in ("LRScheduler", "cosine", 3, None)),
    ],
)  # fmt: skip
def test_a_bad_setting_is_named(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(SettingError) as caught:
        Recipe(**values)
    assert caught.value.found.startswith(f"Recipe.{field} is ")
    assert caught.value.expected


def test_bad_options_say_which_there_are() -> None:
    with pytest.raises(SettingError) as caught:
        Recipe(optimizer="RMSprop", optimizer_options={"alfa": 0.9})
    assert "alpha, eps, momentum, centered" in caught.value.expected and "'alfa'" in caught.value.expected


def test_options_are_checked_with_everything_else() -> None:
    with pytest.raises(PreflightError) as caught:
        Recipe(epochs=-1, optimizer_options={"alfa": 1}, ema=2)
    found = [each.found.split()[0] for each in caught.value.complaints]
    assert found == ["Recipe.epochs", "Recipe.optimizer_options", "Recipe.ema"]


def test_a_recipe_is_the_same_after_a_file_and_another_process() -> None:
    recipe = Recipe(
        optimizer="Adam",
        optimizer_options={"betas": (0.8, 0.9)},
        schedule="MultiStepLR",
        schedule_options={"milestones": (2, 4)},
        ema=0.9,
        stop_after=3,
        weights="loss",
    )
    assert Recipe(**json.loads(json.dumps(asdict(recipe)))) == recipe
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert hash(recipe) == hash(replace(recipe))
    assert recipe != replace(recipe, optimizer_options={"betas": (0.8, 0.99)})


def test_a_recipe_does_not_follow_its_arguments() -> None:
    options = {"alpha": 0.9}
    recipe = Recipe(optimizer="RMSprop", optimizer_options=options)
    options["alpha"] = 0.1
    assert recipe.optimizer_options == {"alpha": 0.9}


def test_names_are_those_of_the_installed_pytorch() -> None:
    assert {"RMSprop", "Adagrad", "NAdam"} <= set(optimizer_names())
    assert all(issubclass(getattr(lr_scheduler, name), lr_scheduler.LRScheduler) for name in schedule_names()[4:])
