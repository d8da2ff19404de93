"""Which weights a training ends with: moving averages by hand, and the best epoch of one that stops early."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import TensorDataset

from support.small_cases import CPU, Listed, case_of, filled, mlp, table, weights
from unregress import Case, Recipe, Retrain, Runtime, train
from unregress.retraining.throughput import measure_throughput
from unregress.retraining.workload import Throughput, plan_of
from unregress.training.loop import Fitted, evaluate, fit
from unregress.training.objective import Objective, task_loss

INPUTS, TARGETS = table()


def linear() -> nn.Module:
    return filled(nn.Linear(3, 1), 0.5)


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))


class Positioned(nn.Linear):
    """A layer with whole numbers and a mask as buffers."""

    def __init__(self) -> None:
        super().__init__(3, 1)
        self.register_buffer("positions", torch.arange(600))
        self.register_buffer("mask", torch.tensor([True, False]))


def run(model: nn.Module, recipe: Recipe, case: Case | None = None, **more: Any) -> Fitted:
    used = case or case_of(TensorDataset(INPUTS, TARGETS), build=linear, loss="mse")
    objective = Objective.over(torch.arange(24), more.pop("loss", task_loss(used)), **more.pop("objective", {}))
    return fit(model, used, recipe, objective, more.pop("runtime", CPU), stage="test", **more)


# --- moving averages ----------------------------------------------------------------------------


def test_an_average_of_three_steps_by_hand() -> None:
    """y = w x on x = 2, y = 10, w = 1, squared error, rate 0.01 without momentum: w − 5 shrinks by 1 − 0.08 a step.

    w = 5 − 4 × 0.92 = 1.32, then 1.6144, then 1.885248.  With a decay of 0.5, from the first step's weights:
    1.32, then 1.4672, then 1.676224.
    """
    data = TensorDataset(torch.full((2, 1), 2.0), torch.full((2,), 10.0))
    case = case_of(data, loss="mse", forget=(0,))
    recipe = Recipe(epochs=3, lr=0.01, optimizer="sgd", optimizer_options={"momentum": 0.0}, ema=0.5)
    objective = Objective.over(torch.tensor([1]), task_loss(case))
    models = [filled(nn.Linear(1, 1, bias=False), 1.0) for _ in range(2)]
    for model, each in zip(models, (recipe, replace(recipe, ema=None)), strict=True):
        fit(model, case, each, objective, CPU, stage="test")
    assert_close([model.weight.item() for model in models], [1.676224, 1.885248])


def test_batch_statistics_are_averaged_and_counts_are_not() -> None:
    """Against an average of copies of the model after each step."""
    seen: list[dict[str, torch.Tensor]] = []
    recipe = Recipe(epochs=2, lr=0.05, batch_size=8, ema=0.8)
    torch.manual_seed(0)
    model = normed()
    plain = copy.deepcopy(model)

    def keep(_: int, now: nn.Module) -> bool:
        seen.append({name: value.clone() for name, value in now.state_dict().items()})
        return False

    run(plain, replace(recipe, ema=None), after_step=keep)
    run(model, recipe)
    expected = dict(seen[0])
    for state in seen[1:]:
        for name, value in state.items():
            floating = value.is_floating_point()
            expected[name] = 0.8 * expected[name] + 0.2 * value if floating else value
    assert_close(model.state_dict(), expected)
    assert int(model[1].num_batches_tracked) == 6


def test_whole_numbers_among_the_buffers_stay_as_they_are() -> None:
    model = Positioned()
    run(model, Recipe(epochs=5, batch_size=4, ema=0.37))
    assert torch.equal(model.positions, torch.arange(600)) and model.mask.tolist() == [True, False]


def test_the_average_is_what_is_validated() -> None:
    case = case_of(TensorDataset(INPUTS, TARGETS), validation=TensorDataset(INPUTS[:9], TARGETS[:9]), loss="mse")
    for ema in (0.9, None):
        model = linear()
        recipe = Recipe(epochs=3, lr=0.1, schedule="plateau", ema=ema)
        fitted = run(model, recipe, case, objective={"validation": "all"})
        assert fitted.history[-1].validation == evaluate(model, case, "validation", torch.arange(9), CPU)


def test_no_step_gives_the_initial_weights() -> None:
    model = mlp()
    before = weights(model)
    run(model, Recipe(epochs=0, ema=0.9, stop_after=1))
    assert weights(model) == before


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed", "bf16-true"])
def test_averages_have_the_precision_of_the_model(precision: str) -> None:
    runtime = Runtime(accelerator="cpu", precision=precision)  # type: ignore[arg-type]
    model = mlp()
    run(model, Recipe(epochs=2, lr=0.01, batch_size=8, ema=0.5, stop_after=2), runtime=runtime)
    dtypes = {"64-true": torch.float64, "bf16-mixed": torch.float32, "bf16-true": torch.bfloat16}
    assert {parameter.dtype for parameter in model.parameters()} == {dtypes[precision]}
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())


def test_golds_and_originals_can_be_averages() -> None:
    case = case_of()
    recipe = Recipe(epochs=3, lr=0.05, batch_size=8, ema=0.9)
    original = train(case, recipe, CPU)
    gold = Retrain(recipe=recipe).unlearn(original.model, case, CPU)
    assert weights(original.model) == weights(train(case, recipe, CPU).model)
    assert weights(gold.model) != weights(original.model)
    assert original.record is not None and original.record.settings["recipe"]["ema"] == 0.9


# --- early stopping -----------------------------------------------------------------------------


def sliding(rates: float = 1.0) -> tuple[nn.Module, Case, Recipe]:
    """A bias that SGD on the loss −bias moves by `rates` an epoch, from 0; the validation target is 3."""
    model = filled(nn.Linear(3, 1), 0.0)
    validation = TensorDataset(torch.zeros(2, 3), torch.full((2,), 3.0))
    case = case_of(TensorDataset(torch.zeros(24, 3), torch.ones(24)), validation=validation, validation_forget_like=[])
    options = {"momentum": 0.0}
    return model, case, Recipe(epochs=20, lr=rates, optimizer="sgd", optimizer_options=options, stop_after=2)


def rising(model: nn.Module, batch: Any) -> torch.Tensor:
    return -model(batch.data[0]).squeeze(1)


def test_it_stops_after_so_many_epochs_and_keeps_the_best() -> None:
    """Biases 1, 2, 3, 4, 5 have validation errors 2, 1, 0, 1, 2: the third epoch is the best."""
    model, case, recipe = sliding()
    fitted = run(model, recipe, case, loss=rising)
    assert [epoch.validation for epoch in fitted.history] == [2.0, 1.0, 0.0, 1.0, 2.0]
    assert model.bias.item() == 3.0
    assert fitted.cost.backward == 5 * 24 and fitted.cost.forward == 5 * 24 + 5 * 2


def test_the_best_epoch_is_kept_also_where_all_epochs_are_trained() -> None:
    model, case, recipe = sliding()
    fitted = run(model, replace(recipe, epochs=4), case, loss=rising)
    assert len(fitted.history) == 4 and model.bias.item() == 3.0


def test_an_equal_loss_is_no_better_one() -> None:
    model, case, recipe = sliding()
    fitted = run(model, replace(recipe, lr=1e-30), case, loss=rising)
    assert len(fitted.history) == 3
    assert model.bias.item() == pytest.approx(1e-30)


def test_without_validation_data_the_training_loss_counts() -> None:
    """The training losses are 3, 2, 5, 9: the second epoch is the best."""
    values = iter([3.0, 2.0, 5.0, 9.0, 1.0])

    def given(model: nn.Module, batch: Any) -> torch.Tensor:
        return -model(batch.data[0]).squeeze(1) * 0 + next(values) - (part := model.bias) + part.detach()

    model, case, recipe = sliding()
    case = replace(case, splits=replace(case.splits, validation=None), validation_forget_like=None)
    fitted = run(model, recipe, case, loss=given)
    assert [epoch.loss for epoch in fitted.history] == [3.0, 2.0, 5.0, 9.0]
    assert model.bias.item() == 2.0


def test_the_forgotten_kind_does_not_decide_when_golds_stop() -> None:
    validation = Listed(INPUTS, TARGETS, forbidden=(2, 7))
    case = case_of(validation=validation, validation_forget_like=[2, 7])
    made = Retrain(recipe=Recipe(epochs=3, stop_after=2)).unlearn(mlp(), case, CPU)
    assert all(epoch.validation is not None for epoch in made.history)
    assert validation.read == set(range(24)) - {2, 7}


def test_the_best_average_is_kept() -> None:
    """Biases 1 to 6; averages by 0.5 from the first: 1, 1.5, 2.25, 3.125, 4.0625, 5.03125: the fourth."""
    model, case, recipe = sliding()
    fitted = run(model, replace(recipe, ema=0.5), case, loss=rising)
    assert model.bias.item() == 3.125 and len(fitted.history) == 6
    assert_close([epoch.validation for epoch in fitted.history], [2.0, 1.5, 0.75, 0.125, 1.0625, 2.03125])


def test_batch_statistics_of_the_best_epoch_are_kept() -> None:
    case = case_of(TensorDataset(INPUTS, TARGETS), validation=TensorDataset(INPUTS[:9], TARGETS[:9]), loss="mse",
                   validation_forget_like=[])  # fmt: skip
    torch.manual_seed(0)
    model = normed()
    fitted = run(model, Recipe(epochs=30, lr=0.5, batch_size=4, stop_after=4), case)
    losses = [epoch.validation for epoch in fitted.history]
    assert losses.index(min(losses)) < len(losses) - 1
    assert evaluate(model, case, "validation", torch.arange(9), CPU) == min(losses)


def test_a_training_that_is_interrupted_keeps_the_weights_of_that_step() -> None:
    model, case, recipe = sliding()
    run(model, recipe, case, loss=rising, after_step=lambda step, _: step == 4)
    assert model.bias.item() == 4.0


def test_estimates_are_upper_bounds_and_say_so() -> None:
    plan = plan_of(Recipe(epochs=3, stop_after=1), 100) + plan_of(Recipe(epochs=2), 100)
    assert (plan.passes, plan.at_most) == (1000, True)
    words = plan.describe(Throughput(sample=0.05))
    assert words == "2 models to train, at most 1,000 sample passes: at most about 50 seconds with one worker."
    assert not plan_of(Retrain(recipe=Recipe(epochs=3)), 100).at_most
    assert (plan_of(Retrain(recipe=Recipe(stop_after=3)), 100) * 2).at_most


def test_a_trial_leaves_the_schedule_out_and_takes_the_average_along() -> None:
    options = {"schedule": "CosineAnnealingLR", "schedule_options": {"T_max": 4}, "schedule_every": "step"}
    recipe = Recipe(epochs=4, optimizer="RMSprop", ema=0.9, stop_after=2, weights="sampling", **options)  # type: ignore[arg-type]
    assert measure_throughput(case_of(weights=[1.0] * 24), recipe, CPU).sample > 0
