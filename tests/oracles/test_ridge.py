"""Ridge regression knows the perfectly unlearned answer; every method's distance to it is known in advance.

With A = XᵀX + ρI over all of D, θ = A⁻¹Xᵀy, residuals r = y_F − X_F θ and leverages H_FF = X_F A⁻¹ X_Fᵀ, the model
retrained without F is θ − A⁻¹ X_Fᵀ (I − H_FF)⁻¹ r.  The library minimises a mean loss plus half the weight decay times
‖θ‖², so a ridge ρ over n rows is a weight decay of 2 ρ / n.  All of it in float64; a method's limit is reached to 1e-8.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.data import TensorDataset

from support.small_cases import filled, numbers
from unregress import (
    Blindspot,
    Case,
    FineTune,
    ForgetRequest,
    GaussianAmnesiac,
    Method,
    NegGradPlus,
    Recipe,
    Retrain,
    Runtime,
    Splits,
    TensorTask,
    UniformAmnesiac,
)

RIDGE, FEATURES, SAMPLES = 2.0, 3, 30
DOUBLE = Runtime(accelerator="cpu", precision="64-true")
TOLERANCE = 1e-8


def solve(inputs: Tensor, targets: Tensor, ridge: float = RIDGE) -> Tensor:
    """The minimum of ‖Xθ − y‖² + ρ‖θ‖²."""
    return torch.linalg.solve(inputs.T @ inputs + ridge * torch.eye(inputs.shape[1], dtype=inputs.dtype),
                              inputs.T @ targets)  # fmt: skip


def retrained(inputs: Tensor, targets: Tensor, forget: Tensor, ridge: float = RIDGE) -> Tensor:
    """The minimum without the forget rows, from the minimum with them."""
    inverse = torch.linalg.inv(inputs.T @ inputs + ridge * torch.eye(inputs.shape[1], dtype=inputs.dtype))
    theta = inverse @ inputs.T @ targets
    leaving = inputs[forget]
    leverage = leaving @ inverse @ leaving.T
    residual = targets[forget] - leaving @ theta
    identity = torch.eye(len(forget), dtype=inputs.dtype)
    return theta - inverse @ leaving.T @ torch.linalg.solve(identity - leverage, residual)


@dataclass(frozen=True)
class Problem:
    """Linear data of which a biased part is to be forgotten."""

    inputs: Tensor
    targets: Tensor
    forget: Tensor

    @property
    def retain(self) -> Tensor:
        kept = torch.ones(len(self.inputs), dtype=torch.bool)
        kept[self.forget] = False
        return kept.nonzero().squeeze(1)

    @property
    def gold(self) -> Tensor:
        return retrained(self.inputs, self.targets, self.forget)

    @property
    def original(self) -> Tensor:
        return solve(self.inputs, self.targets)

    def relabelled(self, labels: Tensor) -> Tensor:
        """The minimum over all of D with other labels for the forget rows."""
        targets = self.targets.clone()
        targets[self.forget] = labels
        return solve(self.inputs, targets)

    def case(self) -> Case:
        request = ForgetRequest(size=len(self.inputs), forget=tuple(self.forget.tolist()), reason="oracle")
        task = TensorTask(lambda: linear(torch.zeros(FEATURES)), loss="mse")
        return Case(task=task, splits=Splits(train=TensorDataset(self.inputs, self.targets)), request=request)


def problem(forgotten: int, samples: int = SAMPLES, seed: int = 0) -> Problem:
    inputs = numbers(samples, FEATURES, seed=seed).double()
    forget = torch.arange(samples)[:: samples // forgotten][:forgotten]
    targets = inputs @ torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64) + numbers(samples, seed=seed + 1).double()
    targets[forget] += 5 * inputs[forget, 0] + 3  # what is forgotten teaches something else
    return Problem(inputs, targets, forget)


def linear(theta: Tensor) -> nn.Linear:
    model = filled(nn.Linear(FEATURES, 1, bias=False), 0.0).double()
    with torch.no_grad():
        model.weight.copy_(theta)
    return model


def recipe(rows: int, epochs: int = 400, lr: float = 0.05) -> Recipe:
    """Steps over all rows at once, with the ridge as weight decay."""
    return Recipe(epochs=epochs, lr=lr, batch_size=rows, optimizer="sgd", weight_decay=2 * RIDGE / rows)


def found_by(method: Method, about: Problem) -> Tensor:
    return method.unlearn(linear(about.original), about.case(), DOUBLE).model.weight.detach()[0]


PROBLEM = problem(forgotten=6)
ALL, KEPT = recipe(SAMPLES), recipe(len(PROBLEM.retain))


@pytest.mark.parametrize("forgotten", [1, 2, 10, 29])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ridge", [1e-2, 2.0, 100.0])
def test_the_closed_form_is_the_solution_on_what_is_retained(forgotten, seed, ridge):
    about = problem(forgotten, seed=seed)
    direct = solve(about.inputs[about.retain], about.targets[about.retain], ridge)
    assert_close(retrained(about.inputs, about.targets, about.forget, ridge), direct, rtol=1e-10, atol=1e-10)


def test_forgetting_matters_in_this_problem():
    assert float((PROBLEM.original - PROBLEM.gold).norm()) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("forgotten", [1, 6, 28])
def test_retraining_finds_the_closed_form(forgotten):
    about = problem(forgotten)
    result = found_by(Retrain(recipe=recipe(len(about.retain), epochs=600)), about)
    assert_close(result, about.gold, rtol=0, atol=TOLERANCE)


def test_finetuning_comes_nearer_to_it_with_every_budget():
    distances = [
        float((found_by(FineTune(recipe=recipe(len(PROBLEM.retain), epochs, lr=0.005)), PROBLEM) - PROBLEM.gold).norm())
        for epochs in (0, 5, 20, 80, 320)
    ]
    assert distances[0] == pytest.approx(float((PROBLEM.original - PROBLEM.gold).norm()))
    assert all(later < earlier for earlier, later in pairwise(distances))
    assert distances[-1] < 1e-3 * distances[0]
    assert_close(found_by(FineTune(recipe=KEPT), PROBLEM), PROBLEM.gold, rtol=0, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        UniformAmnesiac(recipe=ALL, low=-5, high=5),
        UniformAmnesiac(recipe=ALL, low=-5, high=5, discrete=False),
        GaussianAmnesiac(recipe=ALL),
        GaussianAmnesiac(recipe=ALL, statistics="retain"),
        GaussianAmnesiac(recipe=ALL, statistics="forget"),
    ],
    ids=["discrete", "uniform", "gaussian", "gaussian-retain", "gaussian-forget"],
)
def test_relabelling_finds_the_relabelled_solution(method):
    with DOUBLE.isolated_rng("test"):
        labels, _ = method.draw(PROBLEM.forget.shape, PROBLEM.case(), DOUBLE.generator("labels"))
    limit = PROBLEM.relabelled(labels)
    assert_close(found_by(method, PROBLEM), limit, rtol=0, atol=TOLERANCE)
    assert float((limit - PROBLEM.gold).norm()) > 0.05  # known, and not zero: random labels teach something too


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.0, 0.05, 0.2])
def test_unbounded_ascent_finds_the_minimum_of_the_difference(alpha):
    """Mean losses, so that A = X_RᵀX_R / n_R − α X_FᵀX_F / n_F + ρ / n_R is to be inverted."""
    rows = PROBLEM.retain, PROBLEM.forget
    (kept, known), (leaving, gone) = ((PROBLEM.inputs[own], PROBLEM.targets[own]) for own in rows)
    curvature = kept.T @ kept / len(kept) - alpha * leaving.T @ leaving / len(leaving)
    slope = kept.T @ known / len(kept) - alpha * leaving.T @ gone / len(leaving)
    limit = torch.linalg.solve(curvature + RIDGE / len(kept) * torch.eye(FEATURES, dtype=torch.float64), slope)
    method = NegGradPlus(recipe=recipe(len(kept), epochs=2000), alpha=alpha, bound=float("inf"))
    assert_close(found_by(method, PROBLEM), limit, rtol=0, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [0, 3, 400])
def test_blindspot_finds_the_solution_with_the_helpers_labels(epochs):
    """The helper is a model briefly retrained on D_r; what Blindspot can reach is bounded by how good it is."""
    brief = recipe(len(PROBLEM.retain), epochs)
    helper = found_by(Retrain(recipe=brief), PROBLEM)
    limit = PROBLEM.relabelled(PROBLEM.inputs[PROBLEM.forget] @ helper)
    result = found_by(Blindspot(helper=brief, recipe=ALL, attention_weight=0), PROBLEM)
    assert_close(result, limit, rtol=0, atol=TOLERANCE)


def test_blindspot_with_a_perfect_helper_misses_gold_by_the_ridge_alone():
    """Labels that gold itself gives pull the ridge solution on D towards gold: nearer than the original."""
    limit = PROBLEM.relabelled(PROBLEM.inputs[PROBLEM.forget] @ PROBLEM.gold)
    result = found_by(Blindspot(helper=KEPT, recipe=ALL, attention_weight=0), PROBLEM)
    distance = float((result - PROBLEM.gold).norm())
    assert distance == pytest.approx(float((limit - PROBLEM.gold).norm()), abs=TOLERANCE)
    assert 0 < distance < 0.1 * float((PROBLEM.original - PROBLEM.gold).norm())
