"""Trainings by a user's own function: what it is given, what it may return, and where it is used."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from support import own_training
from support.tiny_project import load_data, make_task
from unregress import (
    Blindspot,
    Case,
    ForgetRequest,
    Recipe,
    Retrain,
    Runtime,
    Splits,
    TrainingData,
    audit,
    retrain,
    train,
)
from unregress.auditing.training import Retraining
from unregress.errors import DivergenceError, JobsError, ModelError, SettingError
from unregress.retraining.model_store import Store
from unregress.retraining.throughput import measure_throughput
from unregress.tasks.weights import weights_of
from unregress.training.from_scratch import training_name, training_record

CPU = Runtime(accelerator="cpu", seed=3)


def case_of(forget: tuple[int, ...] = (0, 7, 11)) -> Case:
    splits = load_data()
    request = ForgetRequest(size=splits.size, forget=forget, reason="test")
    return Case(task=make_task("mse"), splits=splits, request=request)


CASE = case_of()


def test_an_original_equals_the_user_s_own_loop():
    made = train(CASE, own_training.by_rmsprop, CPU)
    data = TrainingData(train=CASE.splits.train, validation=None, rows=np.arange(60))
    expected = own_training.by_rmsprop(data, made.start, CPU.seed)  # trains the kept start in place
    assert weights_of(made.model) == weights_of(expected)


def test_the_initial_weights_are_kept_and_used():
    first = train(CASE, own_training.by_rmsprop, CPU)
    assert first.start_digest == first.record.start == weights_of(first.start) != weights_of(first.model)
    other = train(CASE, own_training.by_rmsprop, replace(CPU, seed=4))
    assert other.start_digest != first.start_digest
    coupled = train(CASE, own_training.by_rmsprop, replace(CPU, seed=4), start=first.start)
    assert coupled.start_digest == first.start_digest
    assert weights_of(coupled.model) not in (weights_of(first.model), weights_of(other.model))


@pytest.mark.parametrize("recipe", [Recipe(epochs=2, lr=1e-2), own_training.by_rmsprop])
def test_golds_can_start_from_the_original_s_initial_weights(recipe):
    original = train(CASE, recipe, CPU)
    before = weights_of(original.start)
    golds = retrain(CASE, recipe, CPU, [1, 2], start=original.start)
    assert [gold.record.start for gold in golds] == [before, before]
    assert weights_of(original.start) == before  # a copy was trained
    # Without epochs they are the initial weights themselves.
    (still,) = retrain(CASE, Recipe(epochs=0), CPU, [5], start=original.start)
    assert weights_of(still.model) == before
    assert len({weights_of(gold.model) for gold in golds}) == 2


def test_stacked_golds_from_one_start_equal_separate_ones():
    recipe = Recipe(epochs=3, lr=1e-2, batch_size=16)
    start = train(CASE, recipe, CPU).start
    apart, stacked = (retrain(CASE, recipe, CPU, [1, 2], stack=stack, start=start) for stack in (1, 2))
    for one, other in zip(apart, stacked, strict=True):
        assert one.record.start == other.record.start == weights_of(start)
        for name, value in one.model.state_dict().items():
            torch.testing.assert_close(other.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_a_start_of_another_architecture_is_refused():
    with pytest.raises(JobsError, match="another architecture"):
        retrain(CASE, Recipe(epochs=0), CPU, [1], start=nn.Linear(3, 1))
    with pytest.raises(ModelError, match="another architecture"):
        train(CASE, Recipe(epochs=0), CPU, start=nn.Linear(3, 1))


def test_a_store_tells_long_settings_apart(tmp_path):
    """The middle of a long array, which its text does not show, decides which stored model is read."""
    made, store = [], Store(root=tmp_path, log=lambda line: made.append(line))

    def golds(rates):
        return retrain(CASE, own_training.WithRates(rates), CPU, [1], store=store)

    rates, others = np.full(3000, 0.01), np.full(3000, 0.01)
    others[1500] = 0.02
    first, again, other = golds(rates), golds(rates.copy()), golds(others)
    assert len(made) == 2 and weights_of(first[0].model) == weights_of(again[0].model)
    assert first[0].record.settings != other[0].record.settings
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.json")) < 2e5


def test_a_function_is_given_the_weights_of_its_own_samples():
    seen = []

    def training(data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
        seen.append(data)
        return start

    weighted = replace(CASE, splits=replace(CASE.splits, weights=np.arange(60.0)))
    train(weighted, training, CPU)
    retrain(weighted, training, CPU, [1])
    train(CASE, training, CPU)
    assert seen[0].weights.tolist() == list(range(60)) and seen[2].weights is None
    assert seen[1].weights.tolist() == [row for row in range(60) if row not in (0, 7, 11)]


def test_a_function_is_given_the_retained_rows_only():
    seen: list[TrainingData] = []

    def training(data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
        seen.append(data)
        return start

    Retrain(recipe=training).unlearn(CASE.task.build_model(), CASE, CPU)
    (data,) = seen
    assert data.rows.tolist() == [row for row in range(60) if row not in (0, 7, 11)]
    assert len(data.train) == 57 and torch.equal(data.train[:][0], CASE.splits.train[:][0][data.rows])
    assert len(data.validation) == 30


def test_validation_samples_of_the_forgotten_kind_are_left_out():
    splits = load_data()
    request = ForgetRequest.band(splits.train[:][1], low=55, reason="high")
    case, seen = Case(task=make_task("mse"), splits=splits, request=request), []

    def training(data: TrainingData, start: nn.Module, seed: int) -> nn.Module:
        seen.append(data.validation[:][1])
        return start

    Retrain(recipe=training).unlearn(case.task.build_model(), case, CPU)
    train(case, training, CPU)
    held_out = splits.validation[:][1]
    assert torch.equal(seen[0], held_out[held_out < 55]) and torch.equal(seen[1], held_out)


def test_forgotten_samples_are_never_read():
    splits = load_data()
    x, y = (tensor.clone() for tensor in splits.train[:])
    x[[0, 7, 11]] = float("nan")
    poisoned = replace(CASE, splits=Splits(train=TensorDataset(x, y), validation=splits.validation, test=splits.test))
    one, other = (Retrain(recipe=own_training.by_rmsprop).unlearn(CASE.task.build_model(), case, CPU)
                  for case in (CASE, poisoned))  # fmt: skip
    assert weights_of(one.model) == weights_of(other.model)


def test_the_global_random_state_is_seeded_and_restored():
    torch.manual_seed(9)
    before = torch.get_rng_state()
    one, same, other = (
        train(CASE, own_training.drawing_from_the_global_state, replace(CPU, seed=seed)) for seed in (1, 1, 2)
    )
    assert weights_of(one.model) == weights_of(same.model) != weights_of(other.model)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("training", "kind"),
    [
        (own_training.of_another_architecture, ModelError),
        (own_training.returning_nothing, ModelError),
        (own_training.diverging, DivergenceError),
    ],
)
def test_a_wrong_model_is_refused(training, kind):
    with pytest.raises(kind, match=f"own_training.{training.__name__}"):
        train(CASE, training, CPU)


def test_a_function_chooses_precision_itself():
    with pytest.raises(SettingError, match="precision bf16-true"):
        train(CASE, own_training.by_rmsprop, replace(CPU, precision="bf16-true"))


def test_a_stack_needs_a_recipe():
    with pytest.raises(SettingError, match="by_rmsprop"):
        retrain(CASE, own_training.by_rmsprop, CPU, [1, 2], stack=2)


def test_a_helper_may_be_trained_by_a_function():
    method = Blindspot(helper=own_training.by_rmsprop, recipe=Recipe(epochs=1), attention_weight=0)
    made = method.unlearn(train(CASE, own_training.by_rmsprop, CPU).model, CASE, CPU)
    assert made.record.settings["helper"] == {"class_path": "support.own_training.by_rmsprop", "init_args": {}}
    assert [epoch.stage for epoch in made.history] == ["unlearn"] and made.helper is not None


@pytest.mark.parametrize(
    ("training", "record"),
    [
        (own_training.by_rmsprop, {"class_path": "support.own_training.by_rmsprop", "init_args": {}}),
        (
            partial(own_training.by_rmsprop, epochs=4),
            {"class_path": "support.own_training.by_rmsprop", "init_args": {"epochs": 4}},
        ),
        (
            own_training.Scheduled(epochs=5),
            {"class_path": "support.own_training.Scheduled", "init_args": {"epochs": 5}},
        ),
    ],
)
def test_a_training_is_recorded_by_name_and_settings(training, record):
    assert training_record(training) == record and training_name(training) == record["class_path"]
    made = train(CASE, training, CPU)
    assert made.record.recipe == record and made.record.seed == 3 and made.history == ()
    gold = Retrain(recipe=training).unlearn(made.model, CASE, CPU)
    assert gold.record.recipe == record and gold.record.settings["recipe"] == record


def test_a_store_knows_functions_by_settings_and_source(tmp_path):
    store = Store(root=tmp_path / "store", log=lambda text: None)
    made = [
        retrain(CASE, training, CPU, [1], store=store)[0]
        for training in (own_training.Scheduled(1), own_training.Scheduled(2), own_training.Scheduled(1))
    ]
    assert weights_of(made[0].model) == weights_of(made[2].model) != weights_of(made[1].model)
    assert len(list((tmp_path / "store").glob("gold-*"))) == 2
    start = train(CASE, own_training.Scheduled(1), CPU).start
    retrain(CASE, own_training.Scheduled(1), CPU, [1], store=store, start=start)
    assert len(list((tmp_path / "store").glob("gold-*"))) == 3


def test_golds_side_by_side_equal_those_one_after_the_other():
    one, two = (retrain(CASE, own_training.by_rmsprop, CPU, [1, 2], workers=workers) for workers in (1, 2))
    assert [weights_of(gold.model) for gold in one] == [weights_of(gold.model) for gold in two]


def test_an_audit_trains_its_golds_by_the_function():
    original = train(CASE, own_training.by_rmsprop, CPU)
    lines: list[str] = []
    report = audit(
        CASE, {"original": original}, CPU, retrain=Retraining(recipe=own_training.by_rmsprop, golds=2), log=lines.append
    )
    golds = [model for model in report.models if model.role == "gold"]
    assert [gold.record.recipe["class_path"] for gold in golds] == ["support.own_training.by_rmsprop"] * 2
    # Two golds of the original's initial weights, and one model of others for the coupling.
    assert any("3 models to train: about" in line for line in lines)


def test_the_pace_of_a_function_is_measured():
    pace = measure_throughput(CASE, own_training.by_rmsprop, CPU)
    assert pace.sample > 0 and pace.model >= 0
