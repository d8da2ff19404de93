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
from unregress.training.loop import evaluate, fit
from unregress.training.objective import Objective, Term, task_loss

INPUTS, TARGETS = table()


def linear() -> nn.Module:
    return filled(nn.Linear(3, 1), 0.5)


def run(model, recipe, *, loss="l1", data=None, sample_loss=None, rows=None, runtime=CPU, **more):
    """Train on a small case; `sample_loss` is a function of (model, batch)."""
    case = case_of(data or TensorDataset(INPUTS, TARGETS), build=linear, loss=loss)
    positions = torch.arange(case.splits.size) if rows is None else torch.as_tensor(rows)
    objective = Objective.over(positions, sample_loss or task_loss(case))
    return fit(model, case, recipe, objective, runtime, stage="test", **more)


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
    objective = Objective.over(torch.tensor([1]), task_loss(case))
    fitted = fit(model, case, Recipe(epochs=2, lr=0.01, optimizer="sgd"), objective, CPU, stage="test")
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
    case = case_of(TensorDataset(INPUTS, TARGETS), build=linear, validation=validation, validation_forget_like=[5, 6])
    recipe = Recipe(epochs=3, batch_size=8, schedule="plateau")
    fitted = fit(linear(), case, recipe, Objective.over(torch.arange(10), task_loss(case)), CPU, stage="s")
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


# --- several terms ------------------------------------------------------------------------------


def test_two_steps_of_descent_and_ascent_by_hand():
    """y = w x, squared error, w = 1, learning rate 0.01, momentum 0.9; row 0 is weighed 1 and row 1 weighed −0.5.

    Row 0: x = 2, y = 10, gradient 4 (2 w − 10).  Row 1: x = 1, y = 3, gradient 2 (w − 3).
    First step: −32 + 0.5 × 4 = −30, w = 1.3.  Second: −29.6 + 1.7 = −27.9, with momentum −54.9: w = 1.849.
    Losses: 64 − 0.5 × 4 = 62, then 7.4² − 0.5 × 1.7² = 53.315.
    """
    model = filled(nn.Linear(1, 1, bias=False), 1.0)
    data = TensorDataset(torch.tensor([[2.0], [1.0]]), torch.tensor([10.0, 3.0]))
    case = case_of(data, loss="mse", forget=(1,))
    rows = (torch.tensor([0]), 1.0), (torch.tensor([1]), -0.5)
    objective = Objective(terms=tuple(Term(rows=own, loss=task_loss(case), weight=weight) for own, weight in rows))
    fitted = fit(model, case, Recipe(epochs=2, lr=0.01, optimizer="sgd"), objective, CPU, stage="test")
    assert_close(model.weight.item(), 1.849)
    assert_close([epoch.loss for epoch in fitted.history], [62.0, 53.315])
    assert (fitted.cost.forward, fitted.cost.backward) == (4, 4)


@pytest.mark.parametrize("first", ["longer", "shorter"])
def test_the_shorter_list_of_batches_is_passed_again(first):
    """14 rows in batches of 4 are 4 steps; 6 others are batches of 4 and 2, passed twice, in a new order each time."""
    seen: dict[str, list[list[int]]] = {"longer": [], "shorter": []}

    def noting(name):
        def loss(model, batch):
            seen[name].append(batch.index.tolist())
            return constant_loss(2.0 if name == "longer" else 3.0)(model, batch)

        return loss

    longer = Term(rows=torch.arange(14), loss=noting("longer"))
    shorter = Term(rows=torch.arange(14, 20), loss=noting("shorter"), weight=-1.0)
    objective = Objective(terms=(longer, shorter) if first == "longer" else (shorter, longer))
    case = case_of(TensorDataset(INPUTS, TARGETS), build=linear)
    fitted = fit(linear(), case, Recipe(epochs=2, batch_size=4), objective, CPU, stage="test")
    assert [len(batch) for batch in seen["longer"]] == [4, 4, 4, 2] * 2
    assert [len(batch) for batch in seen["shorter"]] == [4, 2] * 4
    passes = [first + then for first, then in zip(*[iter(seen["shorter"])] * 2, strict=True)]
    assert [sorted(each) for each in passes] == [list(range(14, 20))] * 4
    assert len(set(map(tuple, passes))) > 1
    assert [epoch.loss for epoch in fitted.history] == [-1.0, -1.0]
    assert fitted.cost.backward == 2 * (14 + 12)


def test_a_second_term_leaves_the_order_of_the_first_alone():
    orders: list[list[list[int]]] = []
    case = case_of(TensorDataset(INPUTS, TARGETS), build=linear)
    for further in ((), (Term(rows=torch.arange(3), loss=task_loss(case)),)):
        order: list[list[int]] = []

        def noting(model, batch, order=order):
            order.append(batch.index.tolist())
            return constant_loss(1.0)(model, batch)

        objective = Objective(terms=(Term(rows=torch.arange(24), loss=noting), *further))
        fit(linear(), case, Recipe(epochs=2, batch_size=5), objective, CPU, stage="test")
        orders.append(order)
    assert orders[0] == orders[1]


def test_after_step_counts_the_rows_of_the_steps_that_were_done():
    """Stopped after 2 of 3 steps: 16 rows of one term, 8 and 3 of the other."""
    case = case_of(TensorDataset(INPUTS, TARGETS), build=linear)
    terms = tuple(Term(rows=torch.arange(count), loss=task_loss(case)) for count in (24, 11))
    fitted = fit(linear(), case, Recipe(batch_size=8), Objective(terms=terms), CPU, stage="test",
                 after_step=lambda step, _: step == 2)  # fmt: skip
    assert fitted.cost.backward == 16 + 11


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
    """Validation errors 1, 2 and 30 of an untrained zero model; the third sample is of the forgotten kind."""
    validation = TensorDataset(torch.zeros(3, 3), torch.tensor([1.0, 2.0, 30.0]))
    case = case_of(TensorDataset(INPUTS, TARGETS), build=linear, validation=validation, validation_forget_like=[2])
    found = []
    for watched in ("retain", "all", "none"):
        objective = Objective.over(torch.arange(24), constant_loss(1.0), validation=watched)
        model = filled(nn.Linear(3, 1), 0.0)
        found.append(fit(model, case, Recipe(schedule="plateau"), objective, CPU, stage="test").history[0].validation)
    assert found == [1.5, 11.0, None]


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
    objective = Objective.over(torch.arange(24), falling, validation="all" if watching else "none")
    fitted = fit(linear(), case, recipe, objective, CPU, stage="test")
    assert_close([epoch.lr for epoch in fitted.history], rates)
    assert [epoch.loss for epoch in fitted.history] == [9.0, 8.0, 7.0, 6.0]


@pytest.mark.parametrize("schedule", ["constant", "step", "one-cycle"])
def test_other_schedules_do_not_look_at_validation_data(schedule):
    validation = Listed(INPUTS, TARGETS, forbidden=range(24))
    case = case_of(TensorDataset(INPUTS, TARGETS), build=linear, validation=validation)
    recipe = Recipe(epochs=2, schedule=schedule)
    fitted = fit(linear(), case, recipe, Objective.over(torch.arange(9), task_loss(case)), CPU, stage="s")
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


@pytest.mark.parametrize("weights_of_terms", [(1.0, -1.0), (-1.0, 1.0)])
def test_terms_that_run_away_are_divergence_although_their_sum_stays(weights_of_terms):
    """Two terms with the same runaway loss and opposite weights: their sum is zero in every epoch."""
    calls = 0

    def runaway(model, batch):
        nonlocal calls
        calls += 1
        return constant_loss(10.0 ** (calls // 2))(model, batch)

    case = case_of(TensorDataset(INPUTS, TARGETS), build=linear)
    terms = tuple(Term(rows=torch.arange(24), loss=runaway, weight=weight) for weight in weights_of_terms)
    with pytest.raises(DivergenceError, match="mean loss of epoch") as caught:
        fit(linear(), case, Recipe(epochs=9, batch_size=24), Objective(terms=terms), CPU, stage="test")
    assert "'test'" in caught.value.found


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_a_mean_loss_that_runs_away_in_either_direction_is_divergence(direction):
    """The scale is the mean of |y| + y², here 6 for targets of 2: 6000 is the limit both ways."""
    data = TensorDataset(INPUTS, torch.full((24,), 2.0))
    for last, fine in ((5999.0, True), (6001.0, False)):
        values = iter([1.0, direction * last])

        def loss(model, batch, values=values):
            return constant_loss(next(values))(model, batch)

        if fine:
            fitted = run(linear(), Recipe(epochs=2, batch_size=24), sample_loss=loss, data=data)
            assert fitted.history[-1].loss == direction * last
        else:
            with pytest.raises(DivergenceError, match="against 6 at the start"):
                run(linear(), Recipe(epochs=2, batch_size=24), sample_loss=loss, data=data)


@pytest.mark.parametrize(("lr", "fine"), [(1e5, True), (1e8, False)])
def test_weights_that_run_away_behind_a_bounded_loss_are_divergence(lr, fine):
    """One Adam step moves every weight by the learning rate, whatever the loss; targets are about 10 in size."""

    def bounded(model, batch):
        return torch.tanh(1e-3 * model(batch.data[0]).squeeze(1))

    if fine:
        run(linear(), Recipe(lr=lr, batch_size=64), sample_loss=bounded)
    else:
        with pytest.raises(DivergenceError, match=r"weights grew to 1e\+08 in stage 'test'"):
            run(linear(), Recipe(lr=lr, batch_size=64), sample_loss=bounded)


def test_weights_of_the_size_of_large_targets_are_no_divergence():
    """A line of slope 1e9 is what there is to learn."""
    case_data = TensorDataset(INPUTS, 1e9 * INPUTS.sum(1))
    model = linear()
    run(model, Recipe(lr=1e9, batch_size=64), data=case_data)
    assert float(model.weight.detach().abs().max()) > 1e8


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
