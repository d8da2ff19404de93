"""The closed-form edit of layers whose gradients are not known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from support.edit_problems import FORGET, X, changed, problem
from unregress import LeaveOutEdit, Runtime, TensorTask
from unregress.errors import ModelError
from unregress.hooks import exact_layers, gram_passes
from unregress.methods import closed_form_edit

CPU = Runtime(accelerator="cpu")
DOUBLE = replace(CPU, precision="64-true")
TOKENS = torch.randint(0, 60, (60, 4), generator=torch.Generator().manual_seed(1))


class Recurrent(nn.Module):
    """A recurrent layer over five time steps, and a small output layer."""

    def __init__(self, kind: type[nn.GRU | nn.LSTM]) -> None:
        super().__init__()
        self.cells, self.out = kind(1, 12, batch_first=True), nn.Linear(12, 1)
        with torch.no_grad():
            for weight in self.cells.parameters():
                weight.mul_(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cells(x[:, :, None])[0][:, -1])


class Bag(nn.Module):
    """A mean of embeddings and an output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.out = nn.EmbeddingBag(60, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.bag(x)))


class Raw(nn.Module):
    """Two matrices of the model's own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(0.5 * torch.randn(5, 32)), nn.Parameter(0.2 * torch.randn(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.first) @ self.second


class Attentive(nn.Module):
    """Attention between the five inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.places, self.up = nn.Parameter(torch.randn(5, 8)), nn.Parameter(torch.randn(8))
        self.attention, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        steps = x[:, :, None] * self.up + self.places
        return self.out(torch.tanh(self.attention(steps, steps, steps)[0]).mean(1))


def normalised() -> nn.Module:
    """A network of which only a layer normalisation is trained."""
    model = nn.Sequential(nn.Linear(5, 64), nn.LayerNorm(64), nn.Tanh(), nn.Linear(64, 1)).requires_grad_(False)
    model[1].requires_grad_(True)
    return model


def biases_only() -> nn.Module:
    model = nn.Sequential(nn.Linear(5, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    for layer in (model[0], model[2], model[4]):
        layer.weight.requires_grad_(False)
    return model


def dense(outputs: int = 1) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, outputs))


BUILDS: dict[str, tuple[Callable[[], nn.Module], set[str]]] = {
    "GRU": (lambda: Recurrent(nn.GRU), {"cells.weight_ih_l0", "cells.weight_hh_l0"}),
    "LSTM": (lambda: Recurrent(nn.LSTM), {"cells.weight_ih_l0", "cells.weight_hh_l0"}),
    "embedding bag": (Bag, {"bag.weight"}),
    "own parameters": (Raw, {"first"}),
    "attention": (Attentive, {"places"}),
    "normalisation": (normalised, {"1.weight", "1.bias"}),
    "biases": (biases_only, {"0.bias"}),
}


@pytest.mark.parametrize("name", BUILDS)
def test_samples_reach_their_targets_by_weights_of_any_kind(name: str) -> None:
    build, expected = BUILDS[name]
    model, case, wanted, table = problem(build, TOKENS if name == "embedding bag" else X)
    method = LeaveOutEdit(table=table, anchors=18, iterations=4, ridge=0.01)
    made = method.unlearn(model, case, CPU)
    inputs = case.splits.train.tensors[0]
    with torch.no_grad():
        left = (made.model(inputs) - wanted).abs()[list(FORGET)].mean()
        first = (model(inputs) - wanted).abs()[list(FORGET)].mean()
    assert left < 0.2 * first and not any("of the distance to the targets remains" in note for note in made.notes)
    assert expected <= changed(model, made.model)
    assert changed(model, made.model) <= {n for n, w in model.named_parameters() if w.requires_grad}
    assert made.cost.passes <= method.passes(model, case, CPU)


@pytest.mark.slow
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("layers", ["all", "first"])
def test_a_linear_layer_taken_as_unknown_is_changed_alike(
    layers: str, outputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, case, _, table = problem(lambda: dense(outputs))
    # Later changes of known layers use the first one's gradients again.
    method = LeaveOutEdit(table=table, layers=layers, anchors=30, iterations=1)
    known = method.unlearn(model, case, DOUBLE)
    monkeypatch.setattr(exact_layers, "supported_layers", lambda _: {})
    monkeypatch.setattr(closed_form_edit, "RIDGES", (1.0,))
    unknown = method.unlearn(model, case, DOUBLE)
    assert changed(model, unknown.model) == changed(model, known.model) != set()
    for found, expected in zip(unknown.model.parameters(), known.model.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    # In windows of forty weights, and a sample at a time.
    monkeypatch.setattr(gram_passes, "HELD", 40 * 8 * 33 * outputs)
    monkeypatch.setattr(gram_passes, "WORKING", 1)
    windows = method.unlearn(model, case, DOUBLE)
    for found, expected in zip(windows.model.parameters(), known.model.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    assert windows.cost.backward > 1.5 * unknown.cost.backward


class Scaled(nn.Module):
    """Two outputs, of which the second is told in a smaller unit."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.inner, self.factor = dense(2), torch.tensor([1.0, factor], dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) * self.factor.to(x.dtype)


@pytest.mark.parametrize("factor", [1e-3, 30.0, 1e4])
def test_the_unit_of_an_output_changes_nothing(factor: float) -> None:
    made = {}
    for each in (1.0, factor):
        model, case, _, table = problem(partial(Scaled, 1.0))
        units = torch.tensor([1.0, each])
        case = replace(case, task=TensorTask(build_model=partial(Scaled, each), loss="mse"))
        model.factor *= units
        made[each] = LeaveOutEdit(table=replace(table, predictions=table.predictions * units), anchors=30).unlearn(
            model, case, DOUBLE
        )
    for found, expected in zip(made[factor].model.parameters(), made[1.0].model.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert made[factor].notes[1].split(",")[0] == made[1.0].notes[1].split(",")[0]
    assert made[1.0].notes[1].endswith("each output in units of its spread")


def test_known_layers_are_preferred_where_they_suffice() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(5, 64), nn.LayerNorm(64), nn.Tanh(), nn.Linear(64, 1))

    model, case, _, table = problem(build)
    made = LeaveOutEdit(table=table, layers="all", anchors=10).unlearn(model, case, CPU).model
    assert changed(model, made) == {"0.weight", "0.bias", "3.weight", "3.bias"}


def test_what_remains_is_measured_and_warned_of() -> None:
    """One bias cannot move three samples to three targets: the best shift of all is the targets' mean."""

    def build() -> nn.Module:
        model = nn.Linear(5, 1)
        model.weight.requires_grad_(False)
        return model

    model, case, wanted, table = problem(build)
    made = LeaveOutEdit(table=table, anchors=0, ridge=1e-6).unlearn(model, case, DOUBLE)
    with torch.no_grad():
        shift = (wanted - model(X))[list(FORGET)].double()
        assert float(made.model.bias - model.bias) == pytest.approx(float(shift.mean()), rel=1e-4)
    share = float((shift - shift.mean()).abs().mean() / shift.abs().mean())
    assert share > 0.5
    assert any(note.startswith(f"Warning: {share:.0%} of the distance") for note in made.notes)


def test_frozen_weights_of_other_layers_stay_frozen() -> None:
    def build() -> nn.Module:
        model = Recurrent(nn.GRU)
        model.cells.weight_ih_l0.requires_grad_(False)
        model.out.requires_grad_(False)
        return model

    model, case, _, table = problem(build)
    made = LeaveOutEdit(table=table, anchors=10).unlearn(model, case, CPU).model
    assert changed(model, made) == {"cells.weight_hh_l0", "cells.bias_ih_l0", "cells.bias_hh_l0"}
    assert not made.cells.weight_ih_l0.requires_grad


def test_predictions_that_are_not_finite_are_refused() -> None:
    model, case, _, table = problem(dense)
    with torch.no_grad():
        model[4].weight[0, 0] = float("nan")
    with pytest.raises(ModelError):
        LeaveOutEdit(table=table).unlearn(model, case, CPU)


def test_units_that_die_in_a_step_end_the_edit_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    model, case, _, table = problem(lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1, bias=False)))
    monkeypatch.setattr("unregress.methods.closed_form_edit.ClosedFormEdit._step", _kill)
    made = LeaveOutEdit(table=table, layers="all", anchors=0).unlearn(model, case, CPU)
    assert made.notes[0].startswith("changed in 1 steps: 0, 2;")
    assert torch.equal(made.model[2](torch.relu(made.model[0](X))), torch.zeros(60, 1))


def _kill(edit: object, *_: object) -> None:
    with torch.no_grad():
        edit.model[0].bias.fill_(-1e6)
