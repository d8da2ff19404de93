"""A training function is tried before anything is trained: architecture, start and seed."""

from __future__ import annotations

import pytest

from support import own_training
from support.tiny_project import load_data, make_task
from unregress import Case, ForgetRequest, Retrain, Runtime, preflight
from unregress.checks.training_trial import trial_rows, try_training
from unregress.errors import DivergenceError, ModelError

CPU = Runtime(accelerator="cpu")
SPLITS = load_data()
CASE = Case(task=make_task("mse"), splits=SPLITS, request=ForgetRequest(size=SPLITS.size, forget=(1, 4), reason="test"))


def test_a_good_function_passes():
    assert try_training(CASE, own_training.by_rmsprop, CPU) == ([], [])
    assert preflight(CASE, CPU, recipe=own_training.by_rmsprop).warnings == ()


def test_the_trial_reads_evenly_spaced_retained_rows():
    rows = trial_rows(CASE, 4)
    assert rows.tolist() == [0, 21, 40, 59]
    assert len(trial_rows(CASE)) == 58


@pytest.mark.parametrize(
    ("training", "kind", "found"),
    [
        (own_training.ignoring_the_seed, ModelError, "ignores its seed"),
        (own_training.ignoring_the_start, ModelError, "ignores `start`"),
        (own_training.of_another_architecture, ModelError, "another architecture"),
        (own_training.returning_nothing, ModelError, "NoneType"),
        (own_training.diverging, DivergenceError, "NaN"),
        (own_training.failing, ModelError, "learning_rate"),
    ],
)
def test_a_wrong_function_is_refused_before_anything_is_trained(training, kind, found):
    with pytest.raises(kind, match=found):
        preflight(CASE, CPU, recipe=training)
    with pytest.raises(kind, match=found):
        preflight(CASE, CPU, CASE.task.build_model(), method=Retrain(recipe=training))


def test_a_training_that_cannot_be_repeated_is_a_warning():
    errors, warnings = try_training(CASE, own_training.never_the_same, CPU)
    assert errors == [] and len(warnings) == 1 and "cannot be reproduced" in warnings[0]


def test_a_training_that_does_nothing_on_few_samples_is_a_warning():
    errors, warnings = try_training(CASE, lambda data, start, seed: start, CPU)
    assert errors == [] and "does not change the model" in warnings[0]
