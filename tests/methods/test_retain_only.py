"""Retrain, FineTune and the training of an original, against plain PyTorch."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch.optim import Adam
from torch.testing import assert_close
from torch.utils.data import TensorDataset

from support.contract_subjects import BRIEF, FORGET, MODELS, RETAIN, SAMPLES, same, trained_on
from support.small_cases import CPU, weights
from unregress import FineTune, Recipe, Retrain, Runtime, train
from unregress.errors import ModelError

MLP = MODELS["mlp"]
INPUTS, TARGETS = MLP.tensors()
WHOLE_BATCH = Recipe(epochs=4, lr=0.01, batch_size=64)


def plain_training(model, rows, epochs=4):
    """Adam on all rows at once, written out."""
    model = copy.deepcopy(model)
    optimizer = Adam(model.parameters(), lr=0.01)
    for _ in range(epochs):
        optimizer.zero_grad()
        (model(INPUTS[rows]).squeeze(1) - TARGETS[rows]).abs().mean().backward()
        optimizer.step()
    return dict(model.named_parameters())


def test_finetuning_is_plain_training_on_the_retain_set():
    original = trained_on(MLP)
    result = FineTune(recipe=WHOLE_BATCH).unlearn(original, MLP.case(), CPU)
    assert_close(dict(result.model.named_parameters()), plain_training(original, list(RETAIN)))


def test_retraining_is_plain_training_of_a_fresh_model_on_the_retain_set():
    """A fresh model: the result of retraining for zero epochs."""
    case = MLP.case()
    fresh = Retrain(recipe=replace(WHOLE_BATCH, epochs=0)).unlearn(trained_on(MLP), case, CPU).model
    result = Retrain(recipe=WHOLE_BATCH).unlearn(trained_on(MLP), case, CPU)
    assert_close(dict(result.model.named_parameters()), plain_training(fresh, list(RETAIN)))


def test_retraining_does_not_depend_on_the_original():
    first, second = (Retrain(recipe=BRIEF).unlearn(trained_on(MLP, seed), MLP.case(), CPU) for seed in (0, 1))
    assert same(first, second)


def test_retraining_does_not_depend_on_what_is_forgotten_but_on_what_is_left():
    """Other content in the forget rows: the same gold."""
    inputs, targets = INPUTS.clone(), TARGETS.clone()
    inputs[list(FORGET)], targets[list(FORGET)] = float("nan"), float("nan")
    changed = MLP.case(train=TensorDataset(inputs, targets))
    for method in (Retrain(recipe=BRIEF), FineTune(recipe=BRIEF)):
        model = trained_on(MLP)
        assert same(method.unlearn(model, MLP.case(), CPU), method.unlearn(model, changed, CPU))


def test_golds_of_different_seeds_start_and_shuffle_differently():
    still = Retrain(recipe=replace(BRIEF, epochs=0))
    starts = [
        weights(still.unlearn(trained_on(MLP), MLP.case(), Runtime(accelerator="cpu", seed=seed)).model)
        for seed in range(3)
    ]
    assert len({str(start) for start in starts}) == 3


def test_finetuning_without_an_epoch_is_the_original():
    model = trained_on(MLP)
    result = FineTune(recipe=Recipe(epochs=0)).unlearn(model, MLP.case(), CPU)
    assert weights(result.model) == weights(model)
    assert result.model is not model
    assert result.cost.passes == 0


def test_an_original_is_trained_on_everything():
    case = MLP.case()
    fresh = train(case, replace(WHOLE_BATCH, epochs=0), CPU).model
    result = train(case, WHOLE_BATCH, CPU)
    assert_close(dict(result.model.named_parameters()), plain_training(fresh, list(range(SAMPLES))))
    assert result.cost.backward == 4 * SAMPLES
    assert not result.model.training
    assert all(parameter.grad is None for parameter in result.model.parameters())


def test_training_leaves_the_random_state_alone_and_follows_the_seed():
    before = torch.get_rng_state()
    first, again, other = (train(MLP.case(), BRIEF, Runtime(accelerator="cpu", seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, again)
    assert not same(first, other)


def test_the_cost_of_finetuning_is_a_share_of_retraining():
    case = MLP.case()
    gold = Retrain(recipe=replace(BRIEF, epochs=4)).unlearn(trained_on(MLP), case, CPU)
    tuned = FineTune(recipe=replace(BRIEF, epochs=1)).unlearn(trained_on(MLP), case, CPU)
    assert tuned.cost.share_of(gold.cost) == 0.25


@pytest.mark.parametrize("method", [Retrain(), FineTune()])
def test_a_model_that_is_no_regression_of_the_targets_is_refused(method):
    kind = MODELS["outputs"]
    with pytest.raises(ModelError, match="the same shape"):
        method.unlearn(trained_on(kind), replace(kind, outputs=(2,)).case(), CPU)


def test_the_published_defaults():
    assert (Retrain().recipe.epochs, Retrain().recipe.lr, Retrain().recipe.schedule) == (100, 0.01, "plateau")
    assert (FineTune().recipe.epochs, FineTune().recipe.lr, FineTune().recipe.schedule) == (5, 1e-3, "constant")
