"""The one training loop: against plain PyTorch, against numbers by hand, and what stops it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import OneCycleLR
from torch.testing import assert_close
from torch.utils.data import TensorDataset

from support.small_cases import CPU, Listed, case_of, filled, mlp, table, weights
from unregress import Recipe, Runtime
from unregress.errors import DataError, DivergenceError, ModelError, PreflightError, SettingError
from unregress.methods.base import task_loss
from unregress.training.loop import evaluate, fit

INPUTS, TARGETS = table()


def linear() -> nn.Module:
    return filled(nn.Linear(3, 1), 0.5)


def run(model, recipe, *, loss="l1", data=None, sample_loss=None, rows=None, runtime=CPU, **more):
    """Train on a small case; `sample_loss` is a function of (model, batch)."""
    case = case_of(data or TensorDataset(INPUTS, TARGETS), build=linear, loss=loss)
    positions = torch.arange(case.requested.size) if rows is None else torch.as_tensor(rows)
    return fit(model, case, recipe, positions, sample_loss or task_loss(case), runtime, stage="test", **more)


def constant_loss(value):
    """A loss that training cannot change."""

    def loss(model, batch):
        return model(batch.data[0]).squeeze(1) * 0 + value

    return loss


# --- the arithmetic of a step -------------------------------------------------------------------


def test_two_steps_of_sgd_by_hand():
    """y = w x on one sample x = 2, y = 10, squared error, w = 1, learning rate 0.01, momentum 0.9.

    Gradient 2 x (w x − y) = −32: w = 1.32.  Then −29.44, with momentum −58.24: w = 1.9024.
    """
    model = filled(nn.Linear(1, 1, bias=False), 1.0)
    data = TensorDataset(torch.full((2, 1), 2.0), torch.full((2,), 10.0))
    case = case_of(data, loss="mse", forget=(0,))
    fitted = fit(model, case, Recipe(epochs=2, lr=0.01, optimizer="sgd"), torch.tensor([1]), task_loss(case), CPU,
                 stage="test")  # fmt: skip
    assert_close(model.weight.item(), 1.9024)
    assert_close([epoch.loss for epoch in fitted.history], [64.0, 7.36**2])


@pytest.mark.parametrize(
    ("name", "plain"), [("adam", Adam), ("adamw", AdamW), ("sgd", lambda p, **o: SGD(p, momentum=0.9, **o))]
)
def test_every_optimiser_is_pytorchs_own(name, plain):
    mine, its = linear(), linear()
    recipe = Recipe(epochs=5, lr=0.05, batch_size=len(INPUTS), optimizer=name, weight_decay=0.1)
    run(mine, recipe, loss="mse")
    optimizer = plain(its.parameters(), lr=0.05, weight_decay=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        (its(INPUTS).squeeze(1) - TARGETS).square().mean().backward()
        optimizer.step()
    assert_close(dict(mine.named_parameters()), dict(its.named_parameters()))


def test_an_epoch_visits_every_row_once_in_an_order_of_its_own():
    orders: list[list[int]] = []

    def noting(model, batch):
        orders.append(batch.index.tolist())
        return constant_loss(1.0)(model, batch)

    rows = list(range(2, 16))
    run(linear(), Recipe(epochs=3, batch_size=5), sample_loss=noting, rows=rows)
    epochs = [[row for batch in orders[k : k + 3] for row in batch] for k in (0, 3, 6)]
    assert [sorted(epoch) for epoch in epochs] == [rows] * 3
    assert len(set(map(tuple, epochs))) == 3


def test_the_reported_loss_is_the_sample_mean():
    """Published mistake 9: rows 0 to 6 in batches of 4 and 3; mean 3, whatever the batches are."""

    def loss(model, batch):
        return constant_loss(0.0)(model, batch) + batch.index

    fitted = run(linear(), Recipe(epochs=2, batch_size=4), sample_loss=loss, rows=range(7))
    assert [epoch.loss for epoch in fitted.history] == [3.0, 3.0]


def test_evaluation_is_the_sample_mean_and_leaves_the_modes_alone():
    """Errors 1 to 5 in batches of 2, 2 and 1: mean 3, not 3.33."""
    data = TensorDataset(torch.zeros(5, 3), torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    model = nn.Sequential(nn.Dropout(0.5), filled(nn.Linear(3, 1), 0.0)).train()
    case = case_of(data, forget=(0,))
    runtime = Runtime(accelerator="cpu", evaluation_batch_size=2)
    assert evaluate(model, case, "train_eval", torch.arange(5), runtime) == 3.0
    assert evaluate(model, case, "train_eval", torch.tensor([0, 4]), runtime) == 3.0
    assert all(module.training for module in model.modules())


def test_clipping_bounds_the_step():
    """One SGD step moves the weights by learning rate × gradient norm; clipped, by learning rate × 0.5."""
    moved = []
    for clip in (None, 0.5, 1e9):
        model = linear()
        run(model, Recipe(lr=0.01, batch_size=64, optimizer="sgd", clip_norm=clip), loss="mse")
        step = [(new.detach() - 0.5).flatten() for new in model.parameters()]
        moved.append(float(torch.cat(step).norm()))
    assert_close(moved[1], 0.005)
    assert moved[0] > 0.05
    assert moved[2] == moved[0]


def test_costs_are_rows_times_passes():
    validation = TensorDataset(INPUTS[:7], TARGETS[:7])
    case = case_of(TensorDataset(INPUTS, TARGETS), build=linear, validation=validation)
    recipe = Recipe(epochs=3, batch_size=8, schedule="plateau")
    fitted = fit(linear(), case, recipe, torch.arange(10), task_loss(case), CPU, stage="s", monitor=torch.arange(5))
    # 3 epochs of 10 rows forward and backward, and 5 monitored rows forward after each
    assert (fitted.cost.forward, fitted.cost.backward) == (45, 30)


def test_after_step_can_stop_the_training():
    seen = []
    fitted = run(
        linear(),
        Recipe(epochs=9, batch_size=8),
        after_step=lambda step, _: seen.append(step) or step == 5,
        rows=range(24),
    )
    assert seen == [1, 2, 3, 4, 5]
    assert [epoch.epoch for epoch in fitted.history] == [1, 2]
    assert fitted.cost.backward == 40


def test_no_epochs_change_nothing():
    model = mlp()
    before = weights(model)
    fitted = run(model, Recipe(epochs=0))
    assert weights(model) == before
    assert fitted.history == ()
    assert fitted.cost.passes == 0


# --- schedules ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "rates"),
    [
        (Recipe(epochs=4, lr=1.0), [1.0, 1.0, 1.0, 1.0]),
        (Recipe(epochs=6, lr=1.0, schedule="step", patience=2, gamma=0.5), [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]),
        # The first epoch is the best; one worse epoch is borne (patience), the next lowers the rate after it.
        (Recipe(epochs=7, lr=1.0, schedule="plateau", patience=1, gamma=0.1), [1, 1, 1, 0.1, 0.1, 0.01, 0.01]),
        (Recipe(epochs=5, lr=1.0, schedule="plateau", patience=9), [1.0] * 5),
    ],
    ids=["constant", "step", "plateau", "patient"],
)
def test_learning_rates_by_hand(recipe, rates):
    fitted = run(linear(), recipe, sample_loss=constant_loss(7.0))
    assert_close([epoch.lr for epoch in fitted.history], [float(rate) for rate in rates])


@pytest.mark.parametrize("batch_size", [24, 8])
def test_one_cycle_is_pytorchs_own_over_all_steps(batch_size):
    """The last step's rate of each epoch; 24 rows make 1 or 3 steps."""
    steps = 24 // batch_size
    fitted = run(linear(), Recipe(epochs=5, lr=0.2, batch_size=batch_size, schedule="one-cycle"))
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    scheduler = OneCycleLR(optimizer, max_lr=0.2, total_steps=5 * steps)
    rates = []
    for _ in range(5 * steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert_close([epoch.lr for epoch in fitted.history], rates[steps - 1 :: steps])
    assert max(rates) == pytest.approx(0.2, rel=0.1)


def test_a_plateau_is_of_the_monitored_rows():
    """Validation errors 1, 2 and 30 of an untrained zero model; only the first two are monitored."""
    validation = TensorDataset(torch.zeros(3, 3), torch.tensor([1.0, 2.0, 30.0]))
    case = case_of(TensorDataset(INPUTS, TARGETS), build=linear, validation=validation)
    model = filled(nn.Linear(3, 1), 0.0)
    fitted = fit(model, case, Recipe(schedule="plateau"), torch.arange(24), constant_loss(1.0), CPU,
                 stage="test", monitor=torch.tensor([0, 1]))  # fmt: skip
    assert fitted.history[0].validation == 1.5


@pytest.mark.parametrize(("watching", "rates"), [(False, [1.0, 1.0, 1.0, 1.0]), (True, [1.0, 1.0, 1.0, 0.1])])
def test_a_plateau_is_of_the_validation_loss_where_there_is_one(watching, rates):
    """The training loss falls from epoch to epoch; the model, and with it the validation loss, stays as it is."""
    calls = 0

    def falling(model, batch):
        nonlocal calls
        calls += 1
        return constant_loss(10.0 - calls)(model, batch)

    case = case_of(TensorDataset(INPUTS, TARGETS), build=linear, validation=TensorDataset(INPUTS, TARGETS))
    recipe = Recipe(epochs=4, lr=1.0, schedule="plateau", patience=1, gamma=0.1)
    fitted = fit(linear(), case, recipe, torch.arange(24), falling, CPU,
                 stage="test", monitor=torch.arange(5) if watching else None)  # fmt: skip
    assert_close([epoch.lr for epoch in fitted.history], rates)
    assert [epoch.loss for epoch in fitted.history] == [9.0, 8.0, 7.0, 6.0]


@pytest.mark.parametrize("schedule", ["constant", "step", "one-cycle"])
def test_other_schedules_do_not_look_at_validation_data(schedule):
    validation = Listed(INPUTS, TARGETS, forbidden=range(24))
    case = case_of(TensorDataset(INPUTS, TARGETS), build=linear, validation=validation)
    recipe = Recipe(epochs=2, schedule=schedule)
    fitted = fit(linear(), case, recipe, torch.arange(9), task_loss(case), CPU, stage="s", monitor=torch.arange(9))
    assert [epoch.validation for epoch in fitted.history] == [None, None]


# --- modes and frozen parts ---------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "moves"), [("train", True), ("eval", False)])
def test_mode_decides_whether_batch_statistics_move(mode, moves):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    run(model, Recipe(epochs=2, batch_size=8, mode=mode))
    changed = [not torch.equal(buffer, before[name]) for name, buffer in model.named_buffers()]
    assert changed == [moves] * len(before)


def test_eval_mode_drops_nothing_out():
    fitted = []
    for dropout in (0.0, 0.9):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(dropout), nn.Linear(8, 1))
        run(model, Recipe(epochs=2, mode="eval"))
        fitted.append(weights(model))
    assert fitted[0] == fitted[1]


def test_frozen_parameters_stay_and_the_others_move():
    model = mlp()
    model[0].requires_grad_(False)
    before = weights(model)
    run(model, Recipe(epochs=2, weight_decay=0.5))
    changed = {name for name, value in weights(model).items() if value != before[name]}
    assert changed == {"2.weight", "2.bias", "4.weight", "4.bias"}


def test_a_wholly_frozen_model_is_refused():
    with pytest.raises(ModelError, match="frozen"):
        run(linear().requires_grad_(False), Recipe())


# --- what stops it ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_names_epoch_and_step(value):
    calls = 0

    def loss(model, batch):
        nonlocal calls
        calls += 1  # 3 steps per epoch: the fifth is step 2 of epoch 2
        return constant_loss(value if calls == 5 else 1.0)(model, batch)

    with pytest.raises(DivergenceError, match=rf"became {value} in epoch 2, step 2, of stage 'test'.*learning rate"):
        run(linear(), Recipe(epochs=3, batch_size=8), sample_loss=loss)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("loss", ["l1", "mse", "huber"])
def test_a_learning_rate_far_too_high_is_divergence(optimizer, loss):
    with pytest.raises(DivergenceError, match="learning rate"):
        run(mlp(), Recipe(epochs=5, lr=1e6, batch_size=8, optimizer=optimizer), loss=loss)


def test_the_last_step_is_watched_too():
    """One step in all: the only loss is the one before it, and the weights after it are infinite."""
    with pytest.raises(DivergenceError, match="weights"):
        run(linear(), Recipe(lr=3e38, batch_size=64, optimizer="sgd"), loss="mse")


def ascent(prediction, target):
    return -(prediction - target).square()


def likelihood(prediction, target):
    """Of a small normal error: a loss that is negative where the fit is good."""
    return (prediction - target).abs() / 0.01 - 8.0


def test_a_loss_that_falls_without_bound_is_divergence():
    with pytest.raises(DivergenceError, match=r"mean loss of epoch \d+ of stage 'test' is -.*e\+\d+, against"):
        run(mlp(), Recipe(epochs=30, lr=1.0, batch_size=8), loss=ascent)


def test_a_loss_below_zero_is_no_divergence():
    data = TensorDataset(INPUTS, 1e-4 * TARGETS)
    fitted = run(filled(linear(), 0.0), Recipe(epochs=40, lr=1e-3, batch_size=24), loss=likelihood, data=data)
    assert fitted.history[-1].loss < 0


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("batch_size", [1, 2])
def test_rare_large_targets_are_no_divergence(seed, batch_size):
    """Twenty dry days and four floods: the first batches hold zeros only, and that is not the scale."""
    targets = torch.zeros(24)
    targets[20:] = 1e5
    fitted = run(linear(), Recipe(epochs=2, batch_size=batch_size), data=TensorDataset(INPUTS, targets),
                 runtime=Runtime(accelerator="cpu", seed=seed))  # fmt: skip
    assert 1e4 < fitted.history[-1].loss < 2e4


def test_a_nan_target_is_divergence_and_not_a_result():
    targets = TARGETS.clone()
    targets[4] = float("nan")
    with pytest.raises(DivergenceError, match="nan in epoch 1"):
        run(linear(), Recipe(batch_size=8), data=TensorDataset(INPUTS, targets))


def test_batch_normalisation_on_one_sample_is_explained():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    with pytest.raises(DataError, match="batch of one sample"):
        run(model, Recipe(), rows=[3])
    fitted = run(model, Recipe(mode="eval"), rows=[3])
    assert fitted.cost.backward == 1


BAD = {
    "epochs": -1,
    "lr": 0.0,
    "batch_size": 0,
    "weight_decay": -0.1,
    "gamma": 1.5,
    "patience": 0,
    "clip_norm": 0.0,
    "optimizer": "sdg",
    "schedule": "cosine",
    "mode": "test",
}


def test_a_recipe_reports_all_bad_values_at_once():
    with pytest.raises(PreflightError) as caught:
        Recipe(**BAD)
    assert [complaint.found.split()[0] for complaint in caught.value.complaints] == [f"Recipe.{name}" for name in BAD]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *BAD.items(),
        *((name, float("nan")) for name in ("lr", "weight_decay", "gamma", "clip_norm")),
        *((name, 1.5) for name in ("epochs", "batch_size", "patience")),
        *((name, value) for name in ("lr", "weight_decay", "gamma") for value in (None, "fast", True)),
        ("lr", float("inf")),
        ("gamma", 0.0),
    ],
)
def test_a_recipe_names_a_bad_value(name, value):
    with pytest.raises(SettingError, match=rf"Recipe\.{name} is {value!r}"):
        Recipe(**{name: value})


@pytest.mark.parametrize("place", ["model", "loss"])
def test_a_loss_without_a_gradient_is_refused(place):
    class Detached(nn.Linear):
        def forward(self, x):
            return super().forward(x).detach()

    model = Detached(3, 1) if place == "model" else nn.Linear(3, 1)
    loss = "l1" if place == "model" else (lambda prediction, target: (prediction - target).abs().detach())
    with pytest.raises(ModelError, match="no gradient"):
        run(model, Recipe(batch_size=64), loss=loss)


def test_a_complex_loss_is_refused():
    with pytest.raises(ModelError, match="`loss` returns"):
        run(nn.Linear(3, 1), Recipe(batch_size=64), loss=lambda p, t: torch.complex(p - t, p - t))
