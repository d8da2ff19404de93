"""A training function is tried before anything is trained: architecture, start and seed."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.utils.data import TensorDataset

from support import own_training
from support.tiny_project import load_data, make_task
from unregress import Case, ForgetRequest, Retrain, Runtime, Splits, preflight
from unregress.checks.training_trial import other_rows, trial_rows, try_training
from unregress.errors import DataError, DivergenceError, ModelError
from unregress.methods import train

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
        (own_training.ignoring_the_data, ModelError, "ignores `data`"),
        (own_training.of_another_architecture, ModelError, "another architecture"),
        (own_training.returning_nothing, ModelError, "NoneType"),
        (own_training.diverging, DivergenceError, "NaN"),
        (own_training.failing, ModelError, "learning_rate"),
        (own_training.comparing_with_every_target, DataError, "differ in shape"),
    ],
)
def test_a_wrong_function_is_refused_before_anything_is_trained(training, kind, found):
    with pytest.raises(kind, match=found):
        preflight(CASE, CPU, recipe=training)
    with pytest.raises(kind, match=found):
        preflight(CASE, CPU, CASE.task.build_model(), method=Retrain(recipe=training))


def case_of(x: torch.Tensor, forget: tuple[int, ...] = (1,)) -> Case:
    splits = Splits(train=TensorDataset(x, x.sum(1)))
    return Case(task=make_task("mse"), splits=splits, request=ForgetRequest(size=len(x), forget=forget, reason="test"))


@pytest.mark.parametrize("samples", [2, 3, 4, 5, 58, 64, 65, 66, 100, 129, 130, 131, 999])
def test_other_rows_are_as_many_and_retained(samples):
    case = case_of(torch.randn(samples, 3))
    first, second = trial_rows(case), other_rows(case)
    assert len(first) == len(second) == min(64, samples - 1)
    assert not {1} & {*first.tolist(), *second.tolist()} and set(second.tolist()) <= set(range(samples))
    if samples >= 129:  # 64 that are tried, and 64 others
        assert not set(first.tolist()) & set(second.tolist()) and len(set(second.tolist())) == 64
    elif samples > 2:
        # The same sample may stand at the last places only.
        assert (first == second).sum() <= min(2, samples - 2)
    else:
        assert first.tolist() == second.tolist() == [0]


@pytest.mark.parametrize("samples", [4, 40, 90, 200])
@pytest.mark.parametrize("training", [own_training.by_rmsprop, own_training.at_its_rows, own_training.dropping_a_part])
def test_a_function_that_uses_its_rows_in_any_way_is_not_accused(training, samples):
    case = case_of(torch.randn(samples, 3, generator=torch.Generator().manual_seed(1)))
    errors, warnings = try_training(case, training, CPU)
    assert not [error for error in errors if "ignores `data`" in str(error)] and warnings == []


@pytest.mark.parametrize("samples", [4, 40, 90, 200])
def test_a_function_that_ignores_its_data_is_found_among_few_and_many(samples):
    errors, _ = try_training(case_of(torch.randn(samples, 3)), own_training.ignoring_the_data, CPU)
    assert len(errors) == 1 and "ignores `data`" in errors[0].found


def test_a_function_that_ignores_its_data_is_called_twice_only():
    calls = []

    def counted(data, start, seed):
        calls.append(seed)
        return own_training.ignoring_the_data(data, start, seed)

    assert len(try_training(CASE, counted, CPU)[0]) == 1 and len(calls) == 2


def test_samples_that_are_all_equal_tell_nothing():
    errors, warnings = try_training(case_of(torch.ones(80, 3)), own_training.ignoring_the_data, CPU)
    assert errors == [] and len(warnings) == 1 and "is not known" in warnings[0]


def test_a_training_that_cannot_be_repeated_is_a_warning():
    errors, warnings = try_training(CASE, own_training.never_the_same, CPU)
    assert errors == [] and len(warnings) == 1 and "cannot be reproduced" in warnings[0]


def test_a_training_that_does_nothing_on_few_samples_is_a_warning():
    errors, warnings = try_training(CASE, lambda data, start, seed: start, CPU)
    assert errors == [] and "does not change the model" in warnings[0]


def test_shapes_of_one_sample_and_other_warnings_are_no_error():
    """(1, 1) and (1,) mean the same: a last batch may have one sample."""

    def one_by_one(data, start, seed):
        warnings.warn("of another kind", UserWarning, stacklevel=1)
        return own_training.comparing_with_every_target(data, start, seed, batch_size=1)

    with pytest.warns(UserWarning, match="of another kind"):
        assert try_training(CASE, one_by_one, CPU) == ([], [])


def test_the_training_itself_is_guarded_as_its_trial_is():
    with pytest.raises(DataError):
        train(CASE, own_training.comparing_with_every_target, CPU)
