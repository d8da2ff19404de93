"""What the others of a fold did to a table: found by the original's gradients, kept with it, and taken back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from support.tiny_project import people_data
from unregress import Case, ForgetRequest, LeaveOutEdit, Recipe, Runtime, Splits, TensorTask, train
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.sample_keys import sample_keys
from unregress.retraining import fold_effects
from unregress.retraining.fold_effects import with_fold_effects
from unregress.retraining.leave_out import fit_table
from unregress.runs.table_folder import read_table, write_table

CPU = Runtime(accelerator="cpu")
SIZE, WIDTH = 120, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(SIZE, WIDTH))
Y = X @ RNG.normal(size=WIDTH) + RNG.normal(size=SIZE)
FOLDS = np.arange(SIZE) % 5
RIDGE = 0.3 * float((X**2).sum(1).mean())
"""One of the ridges that are tried: relative to the mean squared gradient, which is the input."""


def solved(left_out: np.ndarray) -> np.ndarray:
    kept = np.setdiff1d(np.arange(SIZE), left_out)
    return np.linalg.solve(X[kept].T @ X[kept] + RIDGE * np.eye(WIDTH), X[kept].T @ Y[kept])


def case_of(outputs: int = 1, *, loss: Any = "mse", **parts: Any) -> Case:
    target = torch.from_numpy(np.repeat(Y[:, None], outputs, 1)).float()
    return Case(
        task=TensorTask(lambda: nn.Linear(WIDTH, outputs, bias=False), loss=loss),
        splits=Splits(train=TensorDataset(torch.from_numpy(X).float(), target.squeeze(1)), **parts),
    )


def table_of(case: Case, noise: float = 0.0) -> LeaveOutTable:
    """The table of ridge regression, in closed form, with noise."""
    left_out = np.array([X[row] @ solved(np.flatnonzero(FOLDS[row] == FOLDS)) for row in range(SIZE)])
    return LeaveOutTable(
        keys=tuple(sample_keys(case.splits, "train_eval")),
        predictions=torch.from_numpy(left_out + noise * RNG.normal(size=SIZE)).float(),
        folds=torch.from_numpy(FOLDS),
        unseen=torch.zeros(0),
        unseen_keys=(),
    )


def original() -> nn.Module:
    model = nn.Linear(WIDTH, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(solved(np.array([], dtype=int)))[None])
    return model


def requested(case: Case, rows: tuple[int, ...]) -> Case:
    return replace(case, request=ForgetRequest(size=SIZE, forget=rows, reason="test"))


def test_a_table_of_ridge_regression_is_corrected_exactly() -> None:
    case, lines = case_of(), list[str]()
    table = with_fold_effects(table_of(case), original(), case, CPU, lines.append)
    assert table.effects is not None and table.effects.agreement == pytest.approx(1, abs=1e-3)
    assert len(lines) == 1 and "explain 100% of what was measured" in lines[0]
    for rows in ((3,), (0, 5, 10), (1, 7, 33, 90)):
        asked, places = requested(case, rows), list(rows)
        expected = torch.from_numpy(X[places] @ solved(np.array(rows))).float()
        torch.testing.assert_close(table.corrected(asked), expected, rtol=1e-3, atol=1e-3)
        assert torch.equal(table.targets(asked), table.predictions[places])
        off = [float((each(asked) - expected).abs().mean()) for each in (table.corrected, table.targets)]
        assert off[0] < 0.05 * off[1]


@pytest.mark.parametrize("removed", [False, True])
def test_a_later_request_is_taught_by_a_model_without_the_earlier_one(removed: bool) -> None:
    """Whether or not the earlier request's predictions have been removed from the table."""
    case = case_of()
    table = with_fold_effects(table_of(case), original(), case, CPU)
    before, rows = (0, 1, 40, 77, 118), (3, 5, 64)
    earlier, asked = requested(case, before), requested(case, rows)
    later = replace(case, request=asked.requested.beside(earlier.requested))
    expected = torch.from_numpy(X[list(rows)] @ solved(np.array([*rows, *before]))).float()
    found = (table.retained(earlier) if removed else table).corrected(later)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    # As if the earlier request had not been.
    assert float((table.corrected(asked) - expected).abs().mean()) > 10 * float((found - expected).abs().mean())


def test_an_edit_is_taught_by_corrected_predictions() -> None:
    case = case_of()
    table, model = with_fold_effects(table_of(case), original(), case, CPU), original()
    asked = requested(case, (1, 7, 33, 90))
    edited = LeaveOutEdit(table=table, anchors=0, ridge=1e-4).unlearn(model, asked, CPU)
    inputs = torch.from_numpy(X[[1, 7, 33, 90]]).float()
    wanted, plain = table.corrected(asked), table.targets(asked)
    with torch.no_grad():
        now, before = edited.model(inputs).squeeze(1), model(inputs).squeeze(1)
    assert float((now - wanted).abs().mean()) < 0.2 * float((before - wanted).abs().mean())
    assert float((now - wanted).abs().mean()) < float((now - plain).abs().mean())
    assert "1 of 1 leave-out tables were corrected for the others of a fold" in edited.notes


def test_where_each_person_is_a_fold_samples_stand_for_people() -> None:
    """As the blocks of a series do: nobody else is in a fold, and a request is about a part of it."""
    case = case_of(subjects=FOLDS.tolist())
    table = with_fold_effects(table_of(case), original(), case, CPU)
    asked = requested(case, (0, 5, 10))
    expected = torch.from_numpy(X[[0, 5, 10]] @ solved(np.array([0, 5, 10]))).float()
    torch.testing.assert_close(table.corrected(asked), expected, rtol=1e-3, atol=1e-3)


def test_outputs_count_alike_whatever_their_units() -> None:
    """The second output is noisier; in a unit a thousand times as small it counts as much as before."""
    noise = RNG.normal(size=(SIZE, 2)) * np.array([0.05, 0.1])
    exact = np.array([X[row] @ solved(np.flatnonzero(FOLDS[row] == FOLDS)) for row in range(SIZE)])
    weights, found = solved(np.array([], dtype=int)), []
    for factor in (1.0, 1000.0):
        units = np.array([1.0, factor])
        case = Case(
            task=TensorTask(lambda: nn.Linear(WIDTH, 2, bias=False), loss="mse"),
            splits=Splits(
                train=TensorDataset(torch.from_numpy(X).float(), torch.from_numpy(Y[:, None] * units).float())
            ),
        )
        table = replace(table_of(case), predictions=torch.from_numpy((exact[:, None] + noise) * units).float())
        model = nn.Linear(WIDTH, 2, bias=False)
        with torch.no_grad():
            model.weight.copy_(torch.from_numpy(weights * units[:, None]))
        made = with_fold_effects(table, model, case, CPU)
        assert made.effects is not None
        found.append(made.effects.agreement)
    assert found[1] == pytest.approx(found[0], rel=1e-3) and 0.3 < found[0] < 0.95


def test_corrections_and_edits_compute_in_full_precision() -> None:
    """Where training is in mixed precision, as audits predict."""
    case, mixed = case_of(), replace(CPU, precision="bf16-mixed")
    full, half = (with_fold_effects(table_of(case), original(), case, runtime) for runtime in (CPU, mixed))
    assert full.effects is not None and half.effects is not None
    assert torch.equal(full.effects.features, half.effects.features)
    assert torch.equal(full.effects.pulls, half.effects.pulls)
    asked = requested(case, (1, 7, 33, 90))
    edit = LeaveOutEdit(table=full, anchors=0, ridge=1e-4)
    first, second = (edit.unlearn(original(), asked, runtime).model for runtime in (CPU, mixed))
    assert torch.equal(first.weight, second.weight) and not torch.equal(first.weight, original().weight)


def test_noise_lowers_the_agreement() -> None:
    case = case_of(subjects=(np.arange(SIZE) // 2).tolist())
    table = with_fold_effects(table_of(case, noise=0.1), original(), case, CPU)
    assert table.effects is not None and 0.05 < table.effects.agreement < 0.9


def test_nothing_is_corrected_where_the_gradients_explain_too_little() -> None:
    case, lines = case_of(), list[str]()
    table, own = table_of(case), torch.from_numpy(X @ solved(np.array([], dtype=int))).float()
    opposite = replace(table, predictions=2 * own - table.predictions)
    noise = [replace(table, predictions=own + torch.from_numpy(RNG.normal(size=SIZE)).float()) for _ in range(10)]
    found = [with_fold_effects(each, original(), case, CPU, lines.append) for each in (opposite, *noise)]
    assert [each.effects for each in found].count(None) >= 10 and found[0].effects is None
    assert len(lines) == 11 and sum("cannot be corrected" in line for line in lines) >= 10
    asked = requested(case, (3, 4))
    assert torch.equal(found[0].corrected(asked), found[0].targets(asked))


class ByName(nn.Module):
    """A layer that is called by the name of its argument."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(input=x).squeeze(1)


def constant_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """A loss that has no derivative."""
    return (prediction.detach() - target).abs()


def with_nan() -> nn.Module:
    model = original()
    with torch.no_grad():
        model.weight[0, 0] = torch.nan
    return model


@pytest.mark.parametrize(
    ("changes", "model", "why"),
    [
        ({}, original().requires_grad_(False), "no layer that can be changed"),
        ({}, ByName(), "IndexError"),
        ({}, with_nan(), "not finite"),
        ({"loss": constant_loss}, original(), "RuntimeError"),
        ({"weights": [1.0, 2.0] * (SIZE // 2)}, original(), "weights"),
        ({"outputs": 17}, nn.Linear(WIDTH, 17, bias=False), "17 outputs"),
    ],
)
def test_what_cannot_be_corrected_is_still_a_table(changes: dict[str, Any], model: nn.Module, why: str) -> None:
    case, lines = case_of(**changes), list[str]()
    table = table_of(case_of())
    if why == "17 outputs":
        table = replace(table, predictions=torch.zeros(SIZE, 17))
    found = with_fold_effects(table, model, case, CPU, lines.append)
    assert found.effects is None and torch.equal(found.predictions, table.predictions)
    assert len(lines) == 1 and "cannot be corrected" in lines[0] and why in lines[0]


def test_copies_of_a_sample_are_left_out_together_and_later_ones_not_twice() -> None:
    case = case_of()
    table = with_fold_effects(table_of(case), original(), case, CPU)
    x, y = case.splits.train.tensors
    # Two copies of sample 3 come after the table was made, and its influence is large.
    later = replace(case, splits=Splits(train=TensorDataset(torch.cat([x, x[[3, 3]]]), torch.cat([y, y[[3, 3]]]))))
    asked = replace(later, request=ForgetRequest(size=SIZE + 2, forget=(3, SIZE, SIZE + 1), reason="test"))
    once = table.corrected(requested(case, (3,)))
    torch.testing.assert_close(table.corrected(asked), once.expand(3))
    # Copies that the table knows keep a place each.
    keys = (*table.keys[:4], table.keys[3], *table.keys[5:])
    assert torch.equal(replace(table, keys=keys).targets(asked), table.predictions[[3, 4, 4]])


@pytest.mark.slow
def test_effects_go_with_their_samples_and_are_written_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Four folds of fifteen samples are too few to tell.
    monkeypatch.setattr(fold_effects, "SIGMAS", -float("inf"))
    task = TensorTask(lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)), loss="mse")
    case = Case(task=task, splits=people_data())
    recipe = Recipe(epochs=20, lr=1e-2, batch_size=16)
    first = train(case, recipe, CPU)
    made = fit_table(case, recipe, CPU, first.model, start=first.start, folds=4)
    again = fit_table(case, recipe, CPU, first.model, start=first.start, folds=4)
    assert made.effects is not None and again.effects is not None
    assert torch.equal(made.effects.features, again.effects.features)
    rows = tuple(range(3))
    left = made.retained(replace(case, request=ForgetRequest(size=60, forget=rows, reason="test")))
    assert left.effects is not None and len(left.effects.features) == len(left.keys) == 57
    write_table(tmp_path, left)
    read = read_table(tmp_path)
    assert read.effects is not None and read.effects.agreement == made.effects.agreement
    assert torch.equal(read.effects.pulls, left.effects.pulls)
    asked = replace(case, request=ForgetRequest(size=60, forget=(10, 50), reason="test"))
    assert torch.equal(read.corrected(asked), left.corrected(asked))
