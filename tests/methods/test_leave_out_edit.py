"""The closed-form edit: what it changes, what it holds, and where its targets come from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from unregress import Case, ForgetRequest, LeaveOutEdit, Recipe, Runtime, Splits, TensorTask, train
from unregress.data.leave_out_table import LeaveOutTable
from unregress.errors import ModelError, PreflightError, SettingError, StaleError
from unregress.hooks import gram_passes
from unregress.methods.closed_form_edit import ClosedFormEdit
from unregress.tasks.weights import weights_of
from unregress.training.precision import Precision

CPU = Runtime(accelerator="cpu")
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(200, 30, generator=GENERATOR)
Y = X[:, 0] + torch.randn(200, generator=GENERATOR)
FORGET = (3, 50, 120)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(30, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))


def case_of(build=mlp, y: Tensor = Y, loss: str = "mse", forget: tuple[int, ...] = FORGET) -> Case:
    splits = Splits(train=TensorDataset(X, y), test=TensorDataset(X[:20] + 1, y[:20]))
    request = ForgetRequest(size=200, forget=forget, reason="test")
    return Case(task=TensorTask(build_model=build, loss=loss), splits=splits, request=request)


def table_of(case: Case, predictions: Tensor) -> LeaveOutTable:
    keys = tuple(case.splits.row_hashes("train_eval"))
    nothing = torch.empty(0)
    return LeaveOutTable(
        keys=keys, predictions=predictions, folds=torch.zeros(len(keys)), unseen=nothing, unseen_keys=()
    )


CASE = case_of()
ORIGINAL = train(CASE, Recipe(epochs=60, lr=1e-2, batch_size=32), CPU).model


def predicted(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(X).squeeze(1)


def test_a_linear_model_by_ridge_regression_in_its_dual_form() -> None:
    case = case_of(lambda: nn.Linear(30, 1))
    torch.manual_seed(1)
    model = nn.Linear(30, 1)
    wanted = predicted(model) + 1.0
    made = LeaveOutEdit(table=table_of(case, wanted), anchors=0, iterations=1, ridge=0.01, layers="all").unlearn(
        model, case, CPU
    )
    rows = np.c_[X[list(FORGET)].numpy(), np.ones(3)].astype(np.float64)
    kernel = rows @ rows.T
    change = rows.T @ np.linalg.solve(kernel + 0.01 * np.diag(kernel).mean() * np.eye(3), np.ones(3))
    found = torch.cat([made.model.weight - model.weight, (made.model.bias - model.bias).unsqueeze(1)], 1)
    np.testing.assert_allclose(found.detach().numpy()[0], change, rtol=1e-4, atol=1e-6)


def test_several_tables_teach_by_their_mean() -> None:
    wanted = predicted(ORIGINAL) + 0.5
    one = LeaveOutEdit(table=table_of(CASE, wanted)).unlearn(ORIGINAL, CASE, CPU)
    apart = [table_of(CASE, wanted + shift) for shift in (0.75, -1.0, 0.25)]
    several = LeaveOutEdit(table=apart).unlearn(ORIGINAL, CASE, CPU)
    torch.testing.assert_close(predicted(several.model), predicted(one.model), rtol=0, atol=1e-5)
    # The record names each, whatever their number, and one in a list as one.
    assert several.record.settings["table"] == [table.summary for table in apart]
    alone = LeaveOutEdit(table=apart[:1]).unlearn(ORIGINAL, CASE, CPU)
    assert alone.record.settings["table"] == apart[0].summary
    with pytest.raises(SettingError):
        LeaveOutEdit(table=[])
    # A table that does not know the samples is told before anything is changed, whichever it is.
    first = apart[0]
    unknown = replace(first, keys=first.keys[60:], predictions=first.predictions[60:], folds=first.folds[60:])
    with pytest.raises(StaleError):
        LeaveOutEdit(table=[apart[0], unknown]).unlearn(ORIGINAL, CASE, CPU)


def test_forgotten_samples_reach_their_targets_and_the_others_stay() -> None:
    before = predicted(ORIGINAL)
    wanted = before.clone()
    wanted[list(FORGET)] += torch.tensor([1.0, -1.0, 0.5])
    made = LeaveOutEdit(table=table_of(CASE, wanted)).unlearn(ORIGINAL, CASE, CPU)
    after = predicted(made.model)
    first = (before - wanted).abs()[list(FORGET)].mean()
    assert (after - wanted).abs()[list(FORGET)].mean() < 0.1 * first
    retained = [row for row in range(200) if row not in FORGET]
    assert (after - before).abs()[retained].mean() < 0.1 * first
    assert made.helper is None and made.history == ()
    # Three steps of products and direction over all 200 rows, three tried groups of layers, and the search for layers.
    assert 0 < made.cost.backward <= 9 * 200 + 3


def test_anchors_are_what_holds_the_others() -> None:
    before = predicted(ORIGINAL)
    wanted = before.clone()
    wanted[list(FORGET)] += 1.0
    retained = [row for row in range(200) if row not in FORGET]
    moved = [
        (
            predicted(LeaveOutEdit(table=table_of(CASE, wanted), anchors=count).unlearn(ORIGINAL, CASE, CPU).model)
            - before
        )
        .abs()[retained]
        .mean()
        for count in (0, 150)
    ]
    assert moved[1] < 0.5 * moved[0]


@pytest.mark.parametrize(("anchors", "far"), [(0, True), (190, False)])
def test_how_far_others_moved_is_noted_with_a_warning_if_far(anchors: int, far: bool) -> None:
    """Without anchors all 197 retained samples are watched, so that their shift can be computed from outside."""
    before = predicted(ORIGINAL)
    wanted = before.clone()
    wanted[list(FORGET)] += torch.tensor([0.3, -0.3, 0.15])
    method = LeaveOutEdit(table=table_of(CASE, wanted), anchors=anchors)
    made = method.unlearn(ORIGINAL, CASE, CPU)
    shift = predicted(made.model) - before
    (note,) = (note for note in made.notes if "that were not held moved by" in note)
    retained = torch.tensor([row for row in range(200) if row not in FORGET])
    drift, moved = (float(shift[rows].square().mean().sqrt()) for rows in (retained, torch.tensor(FORGET)))
    numbers = [float(word.strip(",")) for word in note.split() if word[0].isdigit() and "." in word]
    assert numbers[1] == pytest.approx(moved, rel=1e-3)
    if far:
        assert numbers[0] == pytest.approx(drift, rel=1e-3)
    assert note.startswith("Warning") == (numbers[0] > 0.1 * 0.75 / 3) == far
    assert f"{197 - anchors} retained samples" in note
    assert made.cost.passes <= method.passes(ORIGINAL, CASE, CPU)


def test_where_all_others_are_held_there_is_no_drift_to_note() -> None:
    made = LeaveOutEdit(table=table_of(CASE, predicted(ORIGINAL) + 0.1), anchors=300).unlearn(ORIGINAL, CASE, CPU)
    assert "197 retained samples were held" in made.notes and not any("not held" in note for note in made.notes)


def test_a_helper_teaches_where_there_is_no_table() -> None:
    method = LeaveOutEdit(helper=Recipe(epochs=5, lr=1e-2, batch_size=32))
    made = method.unlearn(ORIGINAL, CASE, CPU)
    assert made.helper is not None and [epoch.stage for epoch in made.history] == ["helper"] * 5
    gap = [(predicted(model) - predicted(made.helper)).abs()[list(FORGET)].mean() for model in (ORIGINAL, made.model)]
    assert gap[1] < 0.2 * gap[0]


def test_several_passes_give_the_same_edit_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = predicted(ORIGINAL).clone()
    wanted[list(FORGET)] += 1.0
    method = LeaveOutEdit(table=table_of(CASE, wanted), layers="all", iterations=1)
    double = replace(CPU, precision="64-true")
    one = method.unlearn(ORIGINAL, CASE, double)
    monkeypatch.setattr(gram_passes, "HELD", 1)
    several = method.unlearn(ORIGINAL, CASE, double)
    for found, expected in zip(several.model.parameters(), one.model.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    # Over all 200 samples: two passes more, one for each of three layers, and one for the change, whose gradients are
    # not held; with them it takes half of a backward pass.
    assert several.cost.forward - one.cost.forward == (2 + 1) * 200
    assert several.cost.backward - one.cost.backward == (2 + 1) * 200 - 200 / 2
    # A sample at a time, in chunks and in predictions.
    monkeypatch.setattr(gram_passes, "WORKING", 1)
    single = method.unlearn(ORIGINAL, CASE, double)
    for found, expected in zip(single.model.parameters(), one.model.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_gradients_serve_again_while_predictions_move_as_they_say() -> None:
    """By hand, for 3 forgotten and 197 held samples."""
    wanted = predicted(ORIGINAL).clone()
    wanted[list(FORGET)] += 0.1
    method = LeaveOutEdit(table=table_of(CASE, wanted), layers="all", iterations=2, ridge=1e-9)
    made = method.unlearn(ORIGINAL, CASE, CPU)
    assert any("changed in 1 steps" in note for note in made.notes)
    # Live weights, before, gradients, two checks of the change, present predictions (near enough), distance, after.
    assert made.cost.forward == 3 + 3 + 200 + 2 * 3 + 3 + 3 + 3
    assert made.cost.backward == 3 + 200 + 100
    assert made.cost.passes <= method.passes(ORIGINAL, CASE, CPU)


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed", "bf16-true"])
def test_samples_move_in_any_precision(precision: Precision) -> None:
    wanted = predicted(ORIGINAL).clone()
    wanted[list(FORGET)] += 1.0
    method = LeaveOutEdit(table=table_of(CASE, wanted), layers="all")
    made = method.unlearn(ORIGINAL, CASE, replace(CPU, precision=precision))
    assert (predicted(made.model.float()) - wanted).abs()[list(FORGET)].mean() < 0.2


@pytest.mark.parametrize("layers", ["all", "first", "last"])
def test_only_the_chosen_layers_change(layers: str) -> None:
    wanted = predicted(ORIGINAL) + 0.3
    made = LeaveOutEdit(table=table_of(CASE, wanted), layers=layers).unlearn(ORIGINAL, CASE, CPU).model
    changed = [name for name, w in made.named_parameters() if not torch.equal(w, ORIGINAL.get_parameter(name))]
    linear = {"all": "024", "first": "0", "last": "24"}[layers]
    assert changed == [f"{number}.{kind}" for number in linear for kind in ("weight", "bias")]


def test_frozen_weights_stay_frozen() -> None:
    model = mlp()
    model[0].requires_grad_(False)
    made = LeaveOutEdit(table=table_of(CASE, predicted(model) + 0.3)).unlearn(model, CASE, CPU).model
    assert torch.equal(made[0].weight, model[0].weight) and not made[0].weight.requires_grad
    assert not torch.equal(made[2].weight, model[2].weight)


def test_rounds_train_a_few_steps_and_edit_again() -> None:
    wanted = predicted(ORIGINAL)
    wanted[list(FORGET)] += 1.0
    method = LeaveOutEdit(
        table=table_of(CASE, wanted), rounds=2, repair=Recipe(epochs=5, batch_size=64), repair_steps=3
    )
    made = method.unlearn(ORIGINAL, CASE, CPU)
    assert [epoch.stage for epoch in made.history] == ["repair 1", "repair 2"]
    assert (predicted(made.model) - wanted).abs()[list(FORGET)].mean() < 0.2


def test_after_a_repair_the_edit_is_in_evaluation_mode_again() -> None:
    """Training leaves batch normalisation and dropout on, by which gradients would be of another function.

    A repair with a learning rate of 0 changes nothing, so that the second edit only has what the first one left to do.
    """
    case = case_of(
        lambda: nn.Sequential(nn.Linear(30, 64), nn.BatchNorm1d(64), nn.Tanh(), nn.Dropout(), nn.Linear(64, 1))
    )
    model = case.task.build_model().eval()
    with torch.no_grad():
        wanted = model(X).squeeze(1)
    wanted[list(FORGET)] += 1.0
    modes = []

    def seen(layer: nn.Module, args: object) -> None:
        modes.append(layer.training)

    plain = LeaveOutEdit(table=table_of(case, wanted), layers="all", iterations=1)
    still = Recipe(epochs=1, lr=1e-12, batch_size=64)
    with_round = replace(plain, iterations=2, rounds=1, repair=still, repair_steps=1)
    apply = ClosedFormEdit.apply

    def watched(edit: ClosedFormEdit) -> None:
        handle = edit.model[1].register_forward_pre_hook(seen)
        apply(edit)
        handle.remove()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClosedFormEdit, "apply", watched)
        made = with_round.unlearn(model, case, CPU).model
    assert modes and not any(modes)
    with torch.no_grad():
        assert (made(X).squeeze(1) - wanted)[list(FORGET)].abs().mean() < 0.1


def test_quantiles_are_moved_level_by_level() -> None:
    case = case_of(lambda: nn.Sequential(nn.Linear(30, 32), nn.Tanh(), nn.Linear(32, 3)), loss="quantile")
    torch.manual_seed(2)
    model = case.task.build_model()
    with torch.no_grad():
        wanted = model(X)
    wanted[list(FORGET)] += torch.tensor([-1.0, 0.0, 1.0])
    made = LeaveOutEdit(table=table_of(case, wanted), iterations=4).unlearn(model, case, CPU)
    with torch.no_grad():
        torch.testing.assert_close(made.model(X)[list(FORGET)], wanted[list(FORGET)], rtol=0, atol=0.1)


def test_samples_that_the_table_does_not_know_are_refused() -> None:
    other = Y.clone()
    other[list(FORGET)] += 1
    table = table_of(case_of(y=other), predicted(ORIGINAL))
    with pytest.raises(StaleError, match="3 of 3 samples"):
        LeaveOutEdit(table=table).unlearn(ORIGINAL, CASE, CPU)
    assert [type(error) for error in LeaveOutEdit(table=table).objections(ORIGINAL, CASE, CPU)] == [StaleError]


def test_a_table_of_another_model_or_of_data_that_are_gone_is_refused() -> None:
    table = table_of(CASE, predicted(ORIGINAL))
    LeaveOutEdit(table=replace(table, original=weights_of(ORIGINAL))).unlearn(ORIGINAL, CASE, CPU)
    for old in (replace(table, original="00"), replace(table, made_with=230)):
        with pytest.raises(StaleError) as caught:
            LeaveOutEdit(table=old).unlearn(ORIGINAL, CASE, CPU)
        assert "delete the old one" in caught.value.remedy


def test_weights_on_which_nothing_depends_cannot_be_changed() -> None:
    case = case_of(lambda: nn.Linear(30, 1))
    model = nn.Linear(30, 1).requires_grad_(False)
    with pytest.raises(ModelError):
        LeaveOutEdit(table=table_of(case, Y)).unlearn(model, case, CPU)


def test_settings_out_of_range_are_refused_together() -> None:
    with pytest.raises(PreflightError) as caught:
        LeaveOutEdit(anchors=-1, iterations=0, ridge=0.0)
    assert all(name in str(caught.value) for name in ("anchors", "iterations", "ridge"))


def test_the_seed_draws_the_anchors() -> None:
    table = table_of(CASE, predicted(ORIGINAL) + 1)
    one, same, other = (
        weights_of(LeaveOutEdit(table=table, anchors=20).unlearn(ORIGINAL, CASE, replace(CPU, seed=seed)).model)
        for seed in (0, 0, 1)
    )
    assert one == same != other
