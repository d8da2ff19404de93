"""Where random labels come from, and that they replace the forget labels and no others."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import TensorDataset

from support.contract_subjects import BRIEF, FORGET, MODELS, SAMPLES, trained_on
from support.small_cases import CPU, case_of, filled, numbers
from unregress import GaussianAmnesiac, UniformAmnesiac
from unregress.errors import SettingError
from unregress.training.objective import relabelled_loss

MANY = torch.Size((20_000,))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(method, shape=MANY, targets=None, forget=FORGET, seed=0):
    targets = numbers(SAMPLES) if targets is None else targets
    labels, notes = method.draw(shape, case_of(TensorDataset(targets, targets), forget=forget), generator(seed))
    return labels, notes


@pytest.mark.parametrize(("low", "high"), [(1, 101), (-3, 3), (5, 5), (0.0, 1.0)])
def test_discrete_labels_are_whole_numbers_with_both_ends(low, high):
    labels, _ = drawn(UniformAmnesiac(low=low, high=high))
    values, counts = labels.unique(return_counts=True)
    assert values.tolist() == list(range(int(low), int(high) + 1))
    expected = len(labels) / len(values)
    assert (counts - expected).abs().max() < 6 * expected**0.5 + 1


def test_continuous_labels_fill_the_range():
    labels, _ = drawn(UniformAmnesiac(low=-2.5, high=7.5, discrete=False))
    assert -2.5 <= float(labels.min()) < -2.49
    assert 7.49 < float(labels.max()) <= 7.5
    assert float(labels.mean()) == pytest.approx(2.5, abs=5 * 10 / (12 * len(labels)) ** 0.5)
    assert not torch.equal(labels, labels.round())


@pytest.mark.parametrize(("statistics", "kept"), [("all", [1, 2, 3, 10, 20, 60]), ("retain", [1, 2, 3]),
                                                  ("forget", [10, 20, 60])])  # fmt: skip
def test_gaussian_labels_have_the_mean_and_deviation_asked_for(statistics, kept):
    """Published mistake 7 is which of these three is meant; targets 1, 2, 3 are retained, 10, 20, 60 forgotten."""
    targets, asked = torch.tensor([1.0, 10.0, 2.0, 20.0, 3.0, 60.0]), torch.tensor(kept, dtype=torch.float64)
    labels, (note,) = drawn(GaussianAmnesiac(statistics=statistics), targets=targets, forget=(1, 3, 5))
    mean, deviation = float(asked.mean()), float(asked.std(correction=0))
    standard_error = deviation / len(labels) ** 0.5
    assert float(labels.mean()) == pytest.approx(mean, abs=5 * standard_error)
    assert float(labels.std()) == pytest.approx(deviation, abs=5 * standard_error)
    assert note == f"labels drawn from N({mean:.4g}, {deviation:.4g}) of {statistics} labels"


def test_gaussian_labels_of_several_outputs_have_each_its_own():
    targets = torch.stack([numbers(SAMPLES), 100 + 5 * numbers(SAMPLES, seed=1)], dim=1)
    labels, _ = drawn(GaussianAmnesiac(), shape=torch.Size((20_000, 2)), targets=targets)
    assert_close(labels.mean(0).float(), targets.mean(0), atol=0.2, rtol=0)
    assert_close(labels.std(0).float(), targets.std(0, correction=0), atol=0.2, rtol=0)


def test_one_retained_label_is_drawn_without_deviation():
    labels, _ = drawn(GaussianAmnesiac(statistics="retain"), targets=torch.tensor([4.0, 9.0, 9.0]), forget=(1, 2))
    assert labels.unique().tolist() == [4.0]


@pytest.mark.parametrize("method", [UniformAmnesiac(), UniformAmnesiac(discrete=False), GaussianAmnesiac()])
def test_draws_follow_their_generator(method):
    first, again, other = (drawn(method, shape=torch.Size((9,)), seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("number", [torch.float32, torch.float64, torch.int64])
def test_only_forget_rows_are_relabelled(number):
    """A zero model: each loss is the size of its label.  Rows 4, 1, 0, 3 of which 1 and 4 are forgotten."""
    targets = torch.tensor([10, 20, 30, 40, 50], dtype=number)
    case = case_of(TensorDataset(torch.zeros(5, 1), targets), forget=(1, 4))
    loss = relabelled_loss(case, torch.tensor([1.5, 2.5], dtype=torch.float64))
    (batch,) = case.source("train").fetch([torch.tensor([4, 1, 0, 3])])
    losses = loss(filled(nn.Linear(1, 1), 0.0), batch)
    assert_close(losses.float(), torch.tensor([2.5, 1.5, 10.0, 40.0]))
    assert targets.tolist() == [10, 20, 30, 40, 50]
    assert batch.data[1].tolist() == [50, 20, 10, 40]


def test_each_forget_sample_keeps_its_label_over_epochs():
    """The label is drawn once: relabelled losses of an unchanged model are the same in every epoch."""
    case = MODELS["mlp"].case()
    loss = relabelled_loss(case, torch.arange(len(FORGET), dtype=torch.float64))
    model = filled(nn.Linear(3, 1), 0.0)
    (batch,) = case.source("train").fetch([torch.tensor(FORGET)])
    assert loss(model, batch).tolist() == loss(model, batch).tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("name", ["outputs", "quantile"])
@pytest.mark.parametrize("method", [UniformAmnesiac(recipe=BRIEF), GaussianAmnesiac(recipe=BRIEF)])
def test_labels_have_the_targets_shape(method, name):
    kind = MODELS[name]
    result = method.unlearn(trained_on(kind), kind.case(), CPU)
    assert [epoch.stage for epoch in result.history] == ["unlearn", "unlearn"]
    assert result.cost.backward == 2 * SAMPLES


@pytest.mark.parametrize(
    "options",
    [
        {"low": 2.0, "high": 1.0},
        {"low": 0.5, "high": 3.0},
        {"low": 0.0, "high": 3.5},
        {"low": float("nan"), "discrete": False},
        {"high": float("inf"), "discrete": False},
    ],
)
def test_a_range_that_cannot_be_drawn_from_is_refused(options):
    with pytest.raises(SettingError, match="draws labels from"):
        UniformAmnesiac(**options)


def test_unknown_statistics_are_refused():
    with pytest.raises(SettingError, match="all, retain or forget"):
        GaussianAmnesiac(statistics="test")


def test_the_published_defaults():
    assert (UniformAmnesiac().low, UniformAmnesiac().high, UniformAmnesiac().discrete) == (1, 101, True)
    assert GaussianAmnesiac().statistics == "all"
    assert (GaussianAmnesiac().recipe.epochs, GaussianAmnesiac().recipe.lr) == (1, 1e-3)
