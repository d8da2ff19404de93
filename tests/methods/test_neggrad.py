"""NegGrad+ by hand: retain loss down, forget loss up to its bound."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.data import TensorDataset

from support.contract_subjects import MODELS, trained_on
from support.small_cases import CPU, case_of, filled, weights
from unregress import FineTune, NegGradPlus, Quantile, Recipe, TensorTask
from unregress.errors import DivergenceError, ModelError, PreflightError, SettingError

INFINITE = float("inf")
STEP = Recipe(epochs=1, lr=0.01, optimizer="sgd", batch_size=8)


def line() -> nn.Linear:
    """y = w x with w = 1."""
    return filled(nn.Linear(1, 1, bias=False), 1.0)  # type: ignore[return-value]


def slope(method: NegGradPlus, x: list[float], y: list[float], forget: tuple[int, ...], **more: Any) -> float:
    """The line's slope after unlearning."""
    data = TensorDataset(torch.tensor(x)[:, None], torch.tensor(y))
    case = case_of(data, build=line, forget=forget, **more)
    return float(method.unlearn(line(), case, CPU).model.weight.detach())  # type: ignore[union-attr, operator]


def test_two_steps_by_hand() -> None:
    """Squared error; retained x = 2, y = 10, forgotten x = 1, y = 3; alpha 0.5, learning rate 0.01, momentum 0.9.

    Gradients 4 (2 w − 10) and 2 (w − 3).  First step: −32 + 0.5 × 4 = −30, w = 1.3.  Second: −29.6 + 1.7 = −27.9, with
    momentum −54.9, w = 1.849.
    """
    method = NegGradPlus(recipe=Recipe(epochs=2, lr=0.01, optimizer="sgd", batch_size=8), alpha=0.5, bound=INFINITE)
    assert slope(method, [2.0, 1.0], [10.0, 3.0], (1,), loss="mse") == pytest.approx(1.849)


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (4.0001, 1.32 - 0.01 * 0.5 * 4),  # the forget loss, (3 − 1)² = 4, is below it
        (4.0, 1.32),  # it has been reached: the step is that of the retain loss alone
        (1.0, 1.32),
        (None, 1.32 - 0.01 * 0.5 * 4),  # the retained median, 10, misses 3 by 7: 49
    ],
)
def test_a_sample_counts_up_to_its_bound(bound: float | None, expected: float) -> None:
    """The retain loss alone: gradient −32, w = 1.32; the forget loss: gradient −4, of which half is taken off."""
    method = NegGradPlus(recipe=STEP, alpha=0.5, bound=bound)
    assert slope(method, [2.0, 1.0], [10.0, 3.0], (1,), loss="mse") == pytest.approx(expected)


def test_each_sample_has_a_bound_of_its_own() -> None:
    """Absolute error; retained targets 2, 3 and 100 at x = 0, median 3: they teach nothing, and set the bounds.

    Forgotten, all at x = 1: y = 2.5, error 1.5 beyond its bound of 0.5; y = 9, error 8 beyond its bound of 6; y = 1.5,
    error 0.5 below its bound of 1.5, whose gradient is that of |w − 1.5|: −1, a third of it times alpha.
    """
    method = NegGradPlus(recipe=STEP, alpha=0.6)
    found = slope(method, [0.0, 0.0, 0.0, 1.0, 1.0, 1.0], [2.0, 3.0, 100.0, 2.5, 9.0, 1.5], (3, 4, 5))
    assert found == pytest.approx(1 - 0.01 * 0.6 / 3)


def test_quantiles_are_compared_with_a_constant_at_every_level() -> None:
    """Retained median 3; forgotten y = 5: a constant of 3 is charged (0.1 + 0.5 + 0.9) × 2 = 3.

    Predictions of 1 at x = 1 are charged 1.5 × 4 = 6, beyond the bound; of 4 at x = 4, 1.5 × 1, which counts.
    """
    steps = []
    for x in (1.0, 4.0):
        data = TensorDataset(torch.tensor([[0.0], [0.0], [0.0], [x]]), torch.tensor([2.0, 3.0, 100.0, 5.0]))
        build = lambda: filled(nn.Linear(1, 3, bias=False), 1.0)  # noqa: E731
        case = case_of(data, build=build, forget=(3,), loss=Quantile((0.1, 0.5, 0.9)))
        made = NegGradPlus(recipe=STEP, alpha=1.0).unlearn(build(), case, CPU).model
        steps.append(made.weight.detach().flatten() - 1)  # type: ignore[union-attr, operator]
    assert_close(steps[0], torch.zeros(3))
    assert_close(steps[1], -0.01 * 4 * torch.tensor([0.1, 0.5, 0.9]))


def test_alpha_zero_is_finetuning() -> None:
    kind = MODELS["mlp"]
    recipe = Recipe(epochs=3, lr=0.01, batch_size=8)
    first = NegGradPlus(recipe=recipe, alpha=0.0).unlearn(trained_on(kind), kind.case(), CPU)
    second = FineTune(recipe=recipe).unlearn(trained_on(kind), kind.case(), CPU)
    for one, two in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert_close(one, two)
    assert [epoch.loss for epoch in first.history] == pytest.approx([epoch.loss for epoch in second.history])


def fitted_line() -> tuple[TensorDataset, nn.Module]:
    """Points on a line, which the model fits, so that the retained ones hold nothing back."""
    x = torch.linspace(-1, 1, 24)[:, None]
    return TensorDataset(x, 10 * x[:, 0]), filled(nn.Linear(1, 1, bias=False), 9.99)


def test_without_a_bound_ascent_is_stopped_as_divergence_and_with_one_it_stays_in_bounds() -> None:
    """The planted runaway: ascent that outweighs the retain loss a hundredfold."""
    data, model = fitted_line()
    case = case_of(data, build=line, forget=tuple(range(0, 24, 3)), loss="mse")
    recipe = Recipe(epochs=200, lr=0.05, batch_size=24)
    with pytest.raises(DivergenceError):
        NegGradPlus(recipe=Recipe(epochs=60, lr=10.0, batch_size=24), alpha=100.0, bound=INFINITE).unlearn(
            model, case, CPU
        )
    made = NegGradPlus(recipe=recipe, alpha=100.0).unlearn(model, case, CPU).model
    x, y = data.tensors
    with torch.no_grad():
        worst = float((made(x)[:, 0] - y).abs().max())
    # A constant, the median of nearly 0, misses targets by up to 10.
    assert 1.0 < worst < 15.0


def test_costs_are_the_rows_of_both_sets() -> None:
    """19 retained rows in batches of 8 are 3 steps; 5 forgotten are one batch, seen in each of them."""
    kind = MODELS["mlp"]
    method = NegGradPlus(recipe=Recipe(epochs=2, lr=0.01, batch_size=8))
    cost = method.unlearn(trained_on(kind), kind.case(), CPU).cost
    assert (cost.forward, cost.backward) == (2 * (19 + 15), 2 * (19 + 15))


def log_variance(prediction: Tensor, target: Tensor) -> Tensor:
    """A likelihood of a mean and a variance: no constant is a prediction."""
    mean, variance = prediction.unbind(-1)
    return variance.log() + (target - mean).square() / variance


@pytest.mark.parametrize("targets", [-torch.ones(24), torch.zeros(24)], ids=["no number", "infinite"])
def test_a_loss_that_no_constant_has_needs_a_bound(targets: Tensor) -> None:
    class Head(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            mean, variance = super().forward(x).unbind(-1)
            return torch.stack([mean, variance.exp()], -1)

    class Likelihood(TensorTask):
        def predict(self, model: nn.Module, batch: Any) -> Tensor:
            found: Tensor = model(batch[0])
            return found

        def point(self, prediction: Tensor) -> Tensor:
            return prediction[..., 0]

    data = TensorDataset(torch.linspace(0, 1, 24)[:, None], targets)
    task = Likelihood(lambda: Head(1, 2), loss=log_variance)
    case, model = case_of(data, task=task), Head(1, 2)
    before = weights(model)
    (found,) = NegGradPlus().objections(CPU.private_copy(model), case, CPU)
    assert isinstance(found, ModelError) and "`bound`" in found.remedy
    with pytest.raises(ModelError) as caught:
        NegGradPlus(recipe=STEP).unlearn(model, case, CPU)
    assert caught.value.found == found.found and weights(model) == before
    assert not list(NegGradPlus(bound=1.0).objections(CPU.private_copy(model), case, CPU))
    NegGradPlus(recipe=STEP, bound=1.0).unlearn(model, case, CPU)


def test_settings_out_of_range_are_refused_at_once() -> None:
    with pytest.raises(PreflightError) as caught:
        NegGradPlus(alpha=-1.0, bound=0.0)
    assert [each.found.split()[0] for each in caught.value.complaints] == ["NegGradPlus.alpha", "NegGradPlus.bound"]
    with pytest.raises(SettingError):
        NegGradPlus(alpha=INFINITE)
    with pytest.raises(SettingError):
        NegGradPlus(bound=float("nan"))


def test_the_record_says_where_it_departs_from_the_paper() -> None:
    assert len(NegGradPlus().deviations) == len(NegGradPlus(bound=3.0).deviations) == 2
    assert "median" in NegGradPlus().deviations[0] and "3;" in NegGradPlus(bound=3.0).deviations[0]
    assert len(NegGradPlus(bound=INFINITE).deviations) == 1
