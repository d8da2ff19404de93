"""The closed-form edit of models with layers that influence no prediction, or those of some samples only."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from support.edit_problems import FORGET, X, changed, problem
from unregress import LeaveOutEdit, Runtime
from unregress.errors import ModelError

CPU = Runtime(accelerator="cpu")
DOUBLE = replace(CPU, precision="64-true")


def dense() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))


class WithUnused(nn.Module):
    """A network, and layers before and after it that are never called."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.before = nn.ModuleList(nn.Linear(4, 3) for _ in range(before))
        self.net = dense()
        self.after = nn.ModuleList(nn.Linear(4, 3) for _ in range(after))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Apart(nn.Module):
    """A network, and a layer that is called without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.aside = dense(), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.aside(x)
        return self.net(x)


class Dead(nn.Module):
    """A network whose hidden units give zero for every sample."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(5, 16), nn.Linear(16, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.hidden(x) - 1e3))


class Gated(nn.Module):
    """A network whose first layer gives zero, or is not called, for all but one forgotten sample and some others."""

    def __init__(self, *, called: bool) -> None:
        super().__init__()
        self.gated, self.rest, self.called = nn.Linear(5, 8), nn.Linear(5, 1), called

    def forward(self, x: Tensor) -> Tensor:
        open_ = (x[:, :1] >= X[FORGET[2], 0]).to(x)
        if not self.called and not open_.any():
            return self.rest(x)
        return self.rest(x) + open_ * torch.tanh(self.gated(x)).sum(1, keepdim=True)


class Experts(nn.Module):
    """One of two layers for each sample, which sees its own samples of a batch, or all of them."""

    def __init__(self, *, parted: bool) -> None:
        super().__init__()
        # A layer that sees all samples decides which anchors are the nearest.
        self.start = nn.Linear(5, 5).requires_grad_(False)
        self.one, self.other, self.parted = nn.Linear(5, 1), nn.Linear(5, 1), parted

    def forward(self, x: Tensor) -> Tensor:
        first, x = x[:, 0] < 0, self.start(x)
        if not self.parted:
            return torch.where(first[:, None], self.one(x), self.other(x))
        places = torch.cat([torch.nonzero(first), torch.nonzero(~first)]).flatten()
        return torch.cat([self.one(x[first]), self.other(x[~first])])[places.argsort()]


@pytest.mark.slow
@pytest.mark.parametrize("layers", ["least drift", "all", "first", "last"])
@pytest.mark.parametrize(("before", "after"), [(1, 0), (0, 1), (0, 2), (2, 2)])
def test_unused_layers_play_no_part(layers: str, before: int, after: int) -> None:
    plain, case, wanted, table = problem(dense)
    method = LeaveOutEdit(table=table, layers=layers, anchors=20, iterations=1)
    expected = method.unlearn(plain, case, CPU).model
    model, case, _, table = problem(lambda: WithUnused(before, after))
    model.net.load_state_dict(plain.state_dict())
    method = replace(method, table=replace(table, predictions=wanted.squeeze(1)))
    made = method.unlearn(model, case, CPU)
    for found, weight in zip(made.model.net.parameters(), expected.parameters(), strict=True):
        assert torch.equal(found, weight)
    assert changed(model, made.model) == {f"net.{name}" for name in changed(plain, expected)} != set()
    assert made.cost.passes <= method.passes(model, case, CPU)


def test_layers_without_gradients_play_no_part() -> None:
    model, case, _, table = problem(Apart)
    made = LeaveOutEdit(table=table, layers="last", anchors=0).unlearn(model, case, CPU)
    assert changed(model, made.model) == {f"net.{layer}.{kind}" for layer in (2, 4) for kind in ("weight", "bias")}


@pytest.mark.parametrize("layers", ["least drift", "all", "first", "last"])
def test_of_dead_units_only_the_bias_after_them_is_left(layers: str) -> None:
    """The best shift of all predictions is the targets' mean."""
    model, case, _, table = problem(lambda: Dead(bias=True))
    shift = torch.tensor([1.0, 2.0, 6.0])
    predictions = table.predictions.clone()
    predictions[list(FORGET)] += shift
    method = LeaveOutEdit(table=replace(table, predictions=predictions), layers=layers, anchors=0, ridge=1e-6)
    made = method.unlearn(model, case, DOUBLE).model
    assert changed(model, made) == {"out.bias"}
    assert (made.out.bias - model.out.bias).item() == pytest.approx(3.0, rel=1e-4)


def test_where_nothing_moves_the_predictions_the_edit_is_refused_before_it_starts() -> None:
    model, case, _, table = problem(lambda: Dead(bias=False))
    method = LeaveOutEdit(table=table)
    (objection,) = method.objections(model, case, CPU)
    assert isinstance(objection, ModelError) and objection.remedy
    with pytest.raises(ModelError):
        method.unlearn(model, case, CPU)


@pytest.mark.parametrize("called", [True, False])
def test_a_layer_that_one_forgotten_sample_uses_is_changed(called: bool) -> None:
    model, case, wanted, table = problem(lambda: Gated(called=called))
    wanted[FORGET[2]] += 1
    table = replace(table, predictions=wanted.squeeze(1))
    made = LeaveOutEdit(table=table, layers="all", anchors=0, iterations=4).unlearn(model, case, CPU)
    assert {"gated.weight", "rest.weight"} <= changed(model, made.model)
    with torch.no_grad():
        before, after = (float((each(X) - wanted)[list(FORGET)].abs().mean()) for each in (model, made.model))
    assert after < 0.1 * before


@pytest.mark.parametrize("anchors", [0, 30])
def test_layers_that_see_a_part_of_a_batch_are_changed_alike(anchors: int) -> None:
    """The forgotten samples share an expert, so that its products are right until an anchor uses the other one."""
    model, case, _, table = problem(lambda: Experts(parted=False))
    method = LeaveOutEdit(table=table, layers="all", anchors=anchors)
    expected = method.unlearn(model, case, DOUBLE).model
    model, case, _, table = problem(lambda: Experts(parted=True))
    made = method.unlearn(model, case, DOUBLE).model
    assert changed(model, made) == {"one.weight", "one.bias"}
    for found, weight in zip(made.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found, weight, rtol=1e-9, atol=1e-11)
