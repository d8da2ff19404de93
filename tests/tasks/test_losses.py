"""Losses against arithmetic by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from unregress.errors import ModelError, SettingError
from unregress.tasks.losses import NAMED, Huber, Quantile, l1, mean_over_outputs, mse, named_loss

THREE = [1.0, 2.0, -4.0], [3.0, 2.0, -1.0]  # errors 2, 0 and 3
TWO_OUTPUTS = [[1.0, 2.0], [0.0, 0.0], [5.0, 1.0]], [[3.0, 3.0], [0.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("loss", "numbers", "expected"),
    [
        (l1, THREE, [2.0, 0.0, 3.0]),
        (mse, THREE, [4.0, 0.0, 9.0]),
        # delta 1: linear beyond it, delta · (|error| − delta / 2) = 1.5, 0, 2.5
        (Huber(), THREE, [1.5, 0.0, 2.5]),
        # delta 2.5: 2²/2 = 2 is quadratic, 2.5 · (3 − 1.25) = 4.375 is linear
        (Huber(2.5), THREE, [2.0, 0.0, 4.375]),
        # mean over outputs: (2 + 1)/2, 0, (4 + 0)/2
        (l1, TWO_OUTPUTS, [1.5, 0.0, 2.0]),
        # (4 + 1)/2, 0, (16 + 0)/2
        (mse, TWO_OUTPUTS, [2.5, 0.0, 8.0]),
        # (1.5 + 0.5)/2, 0, (3.5 + 0)/2
        (Huber(), TWO_OUTPUTS, [1.0, 0.0, 1.75]),
    ],
)
def test_point_losses_by_hand(loss, numbers, expected):
    prediction, target = map(torch.tensor, numbers)
    assert_close(loss(prediction, target), torch.tensor(expected))


def test_pinball_by_hand():
    """Errors y − q: (2, 0, −3), (−1, −1, −1), (4, 4, 4); pinball is level · error above, (level − 1) · error below.

    0.1·2 + 0 + 0.1·3 = 0.5;  0.9 + 0.5 + 0.1 = 1.5;  0.4 + 2 + 3.6 = 6.
    """
    prediction = torch.tensor([[8.0, 10.0, 13.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    target = torch.tensor([10.0, 0.0, 4.0])
    assert_close(Quantile((0.1, 0.5, 0.9))(prediction, target), torch.tensor([0.5, 1.5, 6.0]))


def test_pinball_sums_over_levels_and_averages_over_outputs():
    """Two outputs of one sample: sums over levels 0.5 and 1.5, mean 1."""
    prediction = torch.tensor([[[8.0, 10.0, 13.0], [1.0, 1.0, 1.0]]])
    assert_close(Quantile()(prediction, torch.tensor([[10.0, 0.0]])), torch.tensor([1.0]))


@pytest.mark.parametrize(
    ("levels", "point"), [((0.1, 0.5, 0.9), 2.0), ((0.9, 0.1, 0.45), 3.0), ((0.25,), 1.0), ((0.1, 0.4, 0.9), 2.0)]
)
def test_point_prediction_is_the_level_nearest_one_half(levels, point):
    prediction = torch.tensor([[1.0, 2.0, 3.0][: len(levels)]])
    assert Quantile(levels).point(prediction).tolist() == [point]


@given(st.floats(0.02, 0.98), st.lists(st.floats(-50, 50), min_size=1, max_size=9))
def test_pinball_of_a_constant_is_least_at_the_samples_quantile(level, values):
    """What makes it a quantile loss: no constant beats the empirical quantile."""
    target = torch.tensor(values, dtype=torch.float64)
    loss = Quantile((level,))
    means = [float(loss(torch.full((len(values), 1), c, dtype=torch.float64), target).mean()) for c in values]
    best = float(torch.quantile(target, level, interpolation="higher"))
    at_quantile = float(loss(torch.full((len(values), 1), best, dtype=torch.float64), target).mean())
    lower = float(torch.quantile(target, level, interpolation="lower"))
    at_lower = float(loss(torch.full((len(values), 1), lower, dtype=torch.float64), target).mean())
    assert min(at_quantile, at_lower) <= min(means) + 1e-9


@pytest.mark.parametrize("loss", [l1, mse, Huber()])
@pytest.mark.parametrize(("prediction", "target"), [((4,), (4, 1)), ((4, 1), (4,)), ((4, 2), (4, 1)), ((1,), (4,))])
def test_shapes_that_would_broadcast_are_refused(loss, prediction, target):
    """Published mistake 10: (B,) against (B, 1) is silently (B, B)."""
    with pytest.raises(ModelError, match="the same shape"):
        loss(torch.zeros(prediction), torch.zeros(target))


@pytest.mark.parametrize("shape", [(4,), (4, 2), (4, 1, 3)])
def test_pinball_refuses_a_prediction_without_one_output_per_level(shape):
    with pytest.raises(ModelError, match="quantile levels"):
        Quantile()(torch.zeros(shape), torch.zeros(4))


@pytest.mark.parametrize("loss", [l1, mse, Huber()])
@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 2, 2)])
def test_a_batch_of_one_keeps_its_axis(loss, shape):
    assert loss(torch.ones(shape), torch.zeros(shape)).shape == (1,)


def test_losses_by_name():
    assert named_loss("l1") is l1
    assert named_loss("quantile") == Quantile((0.1, 0.5, 0.9))
    assert named_loss(mse) is mse
    assert set(NAMED) == {"l1", "mse", "huber", "quantile"}
    with pytest.raises(SettingError, match=r"no loss called 'mae'.*l1, mse, huber, quantile"):
        named_loss("mae")


@pytest.mark.parametrize("levels", [(), (0.0, 0.5), (0.5, 1.0), (-0.1,), (float("nan"),)])
def test_quantile_levels_are_between_0_and_1(levels):
    with pytest.raises(SettingError, match="Quantile levels"):
        Quantile(levels)


@pytest.mark.parametrize("delta", [0.0, -1.0, float("nan")])
def test_hubers_delta_is_positive(delta):
    with pytest.raises(SettingError, match="delta"):
        Huber(delta)


def test_mean_over_outputs_leaves_one_axis_alone():
    assert mean_over_outputs(torch.tensor([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert mean_over_outputs(torch.tensor([[[1.0], [5.0]]])).tolist() == [3.0]


@pytest.mark.parametrize("loss", [l1, mse, Huber(0.5), Quantile((0.1, 0.5))])
def test_unknown_outputs_are_left_out(loss):
    """Each sample's loss is that of its known outputs alone, and so is its gradient, bit by bit."""
    generator = torch.Generator().manual_seed(0)
    shape = (4, 3, 2) if isinstance(loss, Quantile) else (4, 3)
    prediction = torch.randn(shape, generator=generator).requires_grad_()
    target = torch.randn(4, 3, generator=generator)
    target[0, 1], target[1, 0], target[1, 2] = float("nan"), float("nan"), float("nan")
    known = target.isfinite()
    apart = [loss(prediction[None, row, known[row]], target[None, row, known[row]]) for row in range(4)]
    expected = torch.cat(apart)
    found = loss(prediction, target)
    assert found.tolist() == pytest.approx(expected.tolist())
    slopes = [torch.autograd.grad(losses.sum(), prediction)[0] for losses in (found, expected)]
    assert slopes[0].flatten().tolist() == pytest.approx(slopes[1].flatten().tolist())
    assert not slopes[0][~known].any()


@pytest.mark.parametrize("loss", [l1, mse, Huber()])
def test_a_single_unknown_target_and_a_wholly_unknown_one_have_no_loss(loss):
    assert loss(torch.zeros(2), torch.tensor([1.0, float("nan")])).isnan().tolist() == [False, True]
    assert loss(torch.zeros(1, 1), torch.full((1, 1), float("nan"))).isnan().tolist() == [True]
    assert loss(torch.zeros(1, 2), torch.full((1, 2), float("nan"))).isnan().tolist() == [True]


def test_predictions_that_are_no_numbers_are_not_taken_for_unknown():
    target = torch.tensor([[1.0, float("nan")]])
    assert l1(torch.tensor([[float("nan"), 0.0]]), target).isnan().all()
