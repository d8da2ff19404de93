"""Leave-out tables: folds of people, models that never saw them, predictions kept and found again."""

from __future__ import annotations

import importlib.util
import json
import linecache
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from support.tiny_project import people_data
from unregress import Case, ForgetRequest, LeaveOutEdit, Recipe, Retrain, Runtime, Splits, TensorTask, Unlearned, train
from unregress.auditing.pipeline import audit
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.sample_keys import sample_keys
from unregress.errors import CheckpointError, DataError, JobsError, SettingError, StaleError
from unregress.hooks.raw_predictions import predict_rows
from unregress.methods.unlearned import lineage, with_trained_on
from unregress.metrics import Errors, Revival
from unregress.metrics.memory_kept import MemoryKept
from unregress.metrics.memory_slope import memory_kept, null_of, p_value, power
from unregress.retraining.leave_out import _coupling, _failed, fit_table, fold_of_each, key_of
from unregress.runs.table_folder import partitions_in, read_table, write_table
from unregress.tasks.weights import weights_of

pytestmark = pytest.mark.slow

CPU = Runtime(accelerator="cpu")
RECIPE = Recipe(epochs=4, lr=1e-2, batch_size=16)
TASK = TensorTask(lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)), loss="mse")
CASE = Case(task=TASK, splits=people_data())
ORIGINAL = train(CASE, RECIPE, CPU)


@pytest.fixture(scope="module")
def table() -> LeaveOutTable:
    return fit_table(CASE, RECIPE, CPU, ORIGINAL.model, start=ORIGINAL.start, folds=4)


def test_all_samples_of_a_person_are_in_one_fold_and_folds_are_even() -> None:
    folds = fold_of_each(CASE, CPU, 4, 0)
    people = np.array(CASE.splits.subjects)
    assert all(len(set(folds[people == person])) == 1 for person in range(20))
    assert np.bincount(folds).tolist() == [15, 15, 15, 15]
    assert (fold_of_each(CASE, CPU, 4, 0) == folds).all() and (fold_of_each(CASE, CPU, 4, 1) != folds).any()
    with pytest.raises(SettingError, match="20 people"):
        fold_of_each(CASE, CPU, 21, 0)


def test_copies_of_a_sample_share_a_fold() -> None:
    """Otherwise the model that predicts a sample was trained on its copy."""
    x, y = CASE.splits.train[:]
    once = Splits(train=TensorDataset(x, y), test=CASE.splits.test)
    twice = Splits(train=TensorDataset(x.repeat(2, 1), y.repeat(2)), test=CASE.splits.test)
    apart = fold_of_each(Case(task=TASK, splits=once), CPU, 4, 0)
    folds = fold_of_each(Case(task=TASK, splits=twice), CPU, 4, 0)
    assert folds.tolist() == [*apart, *apart] and np.bincount(folds).tolist() == [30] * 4


def test_outputs_count_alike_in_the_coupling_whatever_their_units() -> None:
    """κ of outputs of which one is in a unit a thousand times as small: that of both in units of their spread."""
    own = torch.tensor([[0.0, 0.0], [2.0, 2.0]])
    same, other = own + torch.tensor([0.1, 0.9]), own + torch.tensor([1.0, 1.0])
    for factor in (1.0, 1000.0):
        unit = torch.tensor([1.0, factor])
        assert _coupling(CASE, same * unit, other * unit, own * unit) == pytest.approx(0.5)


def test_a_fold_whose_training_failed_is_told(table: LeaveOutTable) -> None:
    rows = np.arange(60)
    assert _failed(table, CASE, rows) == ""
    for wrong in (1000.0, float("nan")):
        off = table.predictions.clone()
        off[table.folds == 2] += wrong
        assert "on fold 3 the model that was trained without it errs more than 3 times" in _failed(
            replace(table, predictions=off), CASE, rows
        )
        # Of two folds the other one is usual.
        two = replace(table, predictions=off, folds=table.folds // 2, number_of_folds=2)
        assert "on fold 2 the model" in _failed(two, CASE, rows)
    exact = CASE.splits.train[:][1].clone()
    exact[table.folds == 1] += 1
    without_error = replace(table, predictions=exact)
    assert _failed(without_error, CASE, rows) == ""  # nothing to compare with
    single = replace(table, folds=torch.arange(60), number_of_folds=60)
    assert _failed(single, CASE, rows) == ""  # one error says little


def test_a_request_that_leaves_copies_of_its_samples_is_refused_by_the_table() -> None:
    x, y = CASE.splits.train[:]
    splits = Splits(train=TensorDataset(torch.cat([x, x[:6]]), torch.cat([y, y[:6]])), test=CASE.splits.test)
    made = fit_table(Case(task=TASK, splits=splits), RECIPE, CPU, ORIGINAL.model, folds=4)

    def asked(*rows: int) -> Case:
        return Case(task=TASK, splits=splits, request=ForgetRequest(size=66, forget=rows, reason="test"))

    for look in (made.targets, made.corrected):
        with pytest.raises(StaleError, match="Copies of 3 of 3 samples are retained"):
            look(asked(0, 1, 2))
        assert len(look(asked(0, 1, 2, 60, 61, 62))) == 6
        assert len(look(asked(0, *range(20, 40)))) == 21  # one in twenty counts for little


def test_a_table_with_copies_in_several_folds_is_used_by_nothing() -> None:
    """As an earlier version made them: models predicted samples whose copies they had seen."""
    x, y = CASE.splits.train[:]
    splits = Splits(train=TensorDataset(x.repeat(2, 1), y.repeat(2)), test=CASE.splits.test)
    case = Case(task=TASK, splits=splits, request=ForgetRequest(size=120, forget=(0, 1, 60, 61), reason="test"))
    model = train(Case(task=TASK, splits=splits), RECIPE, CPU)
    made = fit_table(replace(case, request=None), RECIPE, CPU, model.model, start=model.start, folds=4)
    made.require_current(case, case.kept("train"), *lineage(model))
    apart = replace(made, folds=torch.arange(120) // 60)
    uses: list[Callable[[], object]] = [
        lambda: LeaveOutEdit(table=apart).unlearn(model, case, CPU),
        lambda: audit(case, {"original": model}, CPU, metrics=[Errors(), MemoryKept(apart)]),
        lambda: audit(case, {"original": model}, CPU, metrics=[Errors(), Revival(table=apart)]),
    ]
    for use in uses:
        with pytest.raises(StaleError, match="Copies of a sample are in several folds"):
            use()


def test_a_table_made_by_hand_has_the_size_of_its_samples(table: LeaveOutTable) -> None:
    assert replace(table, made_with=0).made_with == 60
    with pytest.raises(DataError, match="57 keys and the folds of 60 samples"):
        replace(table, keys=table.keys[3:])
    assert replace(table, number_of_folds=5).summary != table.summary


def test_predictions_are_in_full_precision_as_those_of_audits_are() -> None:
    rows = np.arange(60)
    mixed = replace(CPU, precision="bf16-mixed")
    full = predict_rows(ORIGINAL.model, CASE, "train_eval", rows, CPU)
    assert torch.equal(predict_rows(ORIGINAL.model, CASE, "train_eval", rows, mixed), full)
    double = predict_rows(ORIGINAL.model, CASE, "train_eval", rows, replace(CPU, precision="64-true"))
    assert double.dtype == torch.float64 and torch.allclose(double.float(), full, atol=1e-6)


def test_each_prediction_is_of_a_model_that_never_saw_the_sample(table: LeaveOutTable) -> None:
    for fold in range(4):
        rows = np.flatnonzero(table.folds.numpy() == fold)
        model = train(CASE, RECIPE, CPU, start=ORIGINAL.start, left_out=rows).model
        with torch.no_grad():
            expected = model(CASE.splits.train[:][0][rows]).squeeze(1)
        torch.testing.assert_close(table.predictions[rows], expected)
    assert table.start_digest == weights_of(ORIGINAL.start) and 0 < table.coupling < math.inf
    assert len(table.unseen) == len(table.unseen_keys) == 60  # test and validation: nothing monitors them


def test_fold_models_in_a_stack_predict_what_separate_ones_do(table: LeaveOutTable) -> None:
    together = fit_table(CASE, RECIPE, CPU, ORIGINAL.model, start=ORIGINAL.start, folds=4, stack=3)
    torch.testing.assert_close(together.predictions, table.predictions, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together.unseen, table.unseen, rtol=1e-4, atol=1e-4)
    normed = TensorTask(lambda: nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)), loss="mse")
    case = replace(CASE, task=normed)
    with pytest.raises(JobsError, match="batch normalisation"):
        fit_table(case, RECIPE, CPU, normed.build_model(), folds=4, stack=4)


def test_an_interrupted_table_continues(table: LeaveOutTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions of finished trainings are kept until the tables are written; they are not trained again."""
    trained: list[int] = []

    def failing(case: Case, *arguments: object, **named: object) -> Unlearned:
        trained.append(1)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return train(case, *arguments, **named)

    monkeypatch.setattr("unregress.retraining.fold_models.train", failing)
    settings = {"start": ORIGINAL.start, "folds": 4, "store": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        fit_table(CASE, RECIPE, CPU, ORIGINAL.model, **settings)
    (kept,) = tmp_path.iterdir()
    assert kept.name == key_of(CASE, RECIPE, CPU, start=ORIGINAL.start, folds=4, partition=0)
    assert sorted(path.name for path in kept.iterdir()) == ["0.safetensors", "1.safetensors"]
    again = fit_table(CASE, RECIPE, CPU, ORIGINAL.model, **settings)
    assert len(trained) == 3 + 3 and torch.equal(again.predictions, table.predictions)


FUNCTION = """
import torch

def fitted(data, start, seed):
    # plain
    x, y = data.train[range(len(data.train))]
    torch.nn.init.normal_(start[2].bias, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        start[2].bias += 0.1 * y.mean()
    return start
"""


def training_function(folder: Path, text: str = FUNCTION) -> Callable[..., nn.Module]:
    """A user's training function, as a file of his defines it."""
    linecache.clearcache()
    folder.mkdir()
    (folder / "own.py").write_text(text)
    spec = importlib.util.spec_from_file_location("own_training_file", folder / "own.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["own_training_file"] = module
    spec.loader.exec_module(module)
    return module.fitted


def trainings_after(
    monkeypatch: pytest.MonkeyPatch, store: Path, change: Callable[[], None] = lambda: None, **changed: Any
) -> int:
    """How many of three trainings a resumed table needs, two of which were finished before something changed.

    Args:
        monkeypatch: pytest's.
        store: where the predictions are kept.
        change: called between the two.
        changed: arguments that differ afterwards, and of both calls that of `before`.
    """
    arguments = {"case": CASE, "training": RECIPE, "runtime": CPU, **changed.pop("before", {})}
    count: list[int] = []

    def counted(case: Case, *arguments: object, **named: object) -> Unlearned:
        count.append(1)
        if len(count) == 3:
            raise KeyboardInterrupt
        return train(case, *arguments, **named)

    monkeypatch.setattr("unregress.retraining.fold_models.train", counted)
    settings = {"original": ORIGINAL.model, "start": ORIGINAL.start, "folds": 2, "store": store}
    with pytest.raises(KeyboardInterrupt):
        fit_table(**arguments, **settings)
    change()
    made = fit_table(**{**arguments, **settings, **changed})
    assert torch.isfinite(made.predictions).all()
    return len(count) - 3


def moved(dataset: TensorDataset) -> TensorDataset:
    """The same inputs with other targets."""
    x, y = dataset.tensors
    return TensorDataset(x, y + 1)


SPLITS = CASE.splits
MONITORED = replace(RECIPE, stop_after=3)
RESUMED: dict[str, tuple[int, dict[str, Any]]] = {
    "nothing": (1, {}),
    "batches of predictions": (1, {"runtime": replace(CPU, evaluation_batch_size=7)}),
    "people": (3, {"case": replace(CASE, splits=replace(SPLITS, subjects=[row // 3 for row in range(60)]))}),
    "people of test samples": (3, {"case": replace(CASE, splits=replace(SPLITS, test_subjects=[5] * 30))}),
    "test data": (3, {"case": replace(CASE, splits=replace(SPLITS, test=moved(SPLITS.test)))}),
    "validation data": (3, {"case": replace(CASE, splits=replace(SPLITS, validation=moved(SPLITS.validation)))}),
    "monitored data": (
        3,
        {
            "before": {"training": MONITORED},
            "case": replace(CASE, splits=replace(SPLITS, validation=moved(SPLITS.validation))),
        },
    ),
    "weights of samples": (
        3,
        {"case": replace(CASE, splits=replace(SPLITS, weights=[1.0 + n % 2 for n in range(60)]))},
    ),
    "precision": (3, {"runtime": replace(CPU, precision="64-true")}),
    "seed": (3, {"runtime": replace(CPU, seed=1)}),
    "recipe": (3, {"training": replace(RECIPE, lr=1e-3)}),
    "partition": (3, {"partition": 1}),
    "initial weights": (3, {"start": TASK.build_model()}),
    "loss": (3, {"case": replace(CASE, task=TensorTask(TASK.build_model, loss="l1"))}),
    "request": (3, {"case": replace(CASE, request=ForgetRequest.subjects(SPLITS, [7], reason="test"))}),
}


@pytest.mark.parametrize("name", RESUMED)
def test_a_table_is_resumed_only_if_nothing_that_decides_it_has_changed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, changed = RESUMED[name]
    assert trainings_after(monkeypatch, tmp_path, **changed) == expected


def test_a_table_is_not_resumed_with_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def edit() -> None:
        monkeypatch.setattr("unregress.retraining.leave_out.code", lambda modules: f"edited {modules}")

    assert trainings_after(monkeypatch, tmp_path, edit) == 3


@pytest.mark.parametrize(("old", "new", "expected"), [("0.1 *", "0.2 *", 3), ("# plain", "# a remark", 1)])
def test_a_table_is_not_resumed_with_another_training_function(
    old: str, new: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = training_function(tmp_path / "before")
    after = training_function(tmp_path / "after", FUNCTION.replace(old, new))
    store = tmp_path / "store"
    assert trainings_after(monkeypatch, store, before={"training": before}, training=after) == expected


def test_left_out_samples_are_masked_in_their_batches() -> None:
    """Without the samples of a fold, the others come in the original's order: nothing left out gives the original."""
    nobody = train(CASE, RECIPE, CPU, start=ORIGINAL.start, left_out=np.zeros(0, np.int64))
    assert weights_of(nobody.model) == weights_of(ORIGINAL.model)


def test_a_table_finds_samples_by_content(table: LeaveOutTable) -> None:
    moved = Case(task=TASK, splits=people_data(shuffled=3))
    request = ForgetRequest.subjects(moved.splits, [7], reason="test")
    first = ForgetRequest.subjects(CASE.splits, [7], reason="test")
    found, known = table.targets(replace(moved, request=request)), table.targets(replace(CASE, request=first))
    assert sorted(found.tolist()) == sorted(known.tolist()) and len(found) == 3
    closed = table.retained(replace(CASE, request=first))
    assert len(closed.keys) == 57 and closed.made_with == 60 and closed.summary == table.summary
    # The held-out samples of person 7 go too.
    held = {sample_keys(CASE.splits, "test")[row] for row in first.test}
    assert len(held) == 2 and held <= set(table.unseen_keys) and not held & set(closed.unseen_keys)
    assert len(closed.unseen) == len(closed.unseen_keys) == 58
    with pytest.raises(StaleError, match="3 of 3"):
        closed.targets(replace(CASE, request=first))


def with_same_content(first: int, second: int) -> Case:
    """The case in which one sample of a person has the content of another person's."""
    splits = people_data()
    x, y = (tensor.clone() for tensor in splits.train.tensors)  # type: ignore[attr-defined]
    x[second], y[second] = x[first], y[first]
    return replace(CASE, splits=replace(splits, train=TensorDataset(x, y)))


def test_samples_of_two_people_with_the_same_content_are_told_apart() -> None:
    """Each has the prediction of the model that never saw its own person, and goes with this person."""
    subjects = list(people_data().subjects or ())
    first, second = subjects.index(7), subjects.index(8)
    case = with_same_content(first, second)
    size = len(subjects)
    table = LeaveOutTable(
        keys=tuple(sample_keys(case.splits, "train_eval")), predictions=torch.arange(float(size)),
        folds=torch.tensor([0 if each == 7 else 1 for each in subjects]), unseen=torch.zeros(0), unseen_keys=(),
    )  # fmt: skip
    for person in (7, 8):
        asked = replace(case, request=ForgetRequest.subjects(case.splits, [person], reason="test"))
        rows = [row for row, each in enumerate(subjects) if each == person]
        assert table.targets(asked).tolist() == rows
        closed = table.retained(asked)
        assert sorted(set(range(size)) - set(closed.predictions.int().tolist())) == rows


def test_of_copies_without_people_as_many_go_as_are_forgotten() -> None:
    whole = with_same_content(0, 5)
    case = replace(whole, splits=replace(whole.splits, subjects=None, test_subjects=None, validation_subjects=None))
    size = case.splits.size
    keys = tuple(sample_keys(case.splits, "train_eval"))
    assert keys[0] == keys[5]
    table = LeaveOutTable(
        keys=keys, predictions=torch.arange(float(size)), folds=torch.arange(size) % 4,
        unseen=torch.zeros(0), unseen_keys=(),
    )  # fmt: skip
    both = replace(case, request=ForgetRequest(size=size, forget=(0, 5), reason="test"))
    assert table.targets(both).tolist() == [0, 5]
    for row in (0, 5):
        asked = replace(case, request=ForgetRequest(size=size, forget=(row,), reason="test"))
        assert set(range(size)) - set(table.retained(asked).predictions.int().tolist()) == {row}


def test_a_table_belongs_to_one_version_of_the_model(table: LeaveOutTable) -> None:
    """An exact retraining belongs to it; a training otherwise, or on other data, from the same start does not."""
    request = ForgetRequest.subjects(CASE.splits, [7], reason="test")
    case = replace(CASE, request=request)
    gold = Retrain(recipe=RECIPE, start=ORIGINAL.start).unlearn(ORIGINAL, case, CPU)
    exact = with_trained_on(gold, case)
    longer = train(CASE, replace(RECIPE, epochs=6), CPU)
    assert longer.start_digest == exact.start_digest == table.start_digest
    table.require_current(CASE, CASE.rows("train"), *lineage(ORIGINAL))
    table.require_current(case, case.rows("train"), *lineage(exact))
    with pytest.raises(StaleError, match="not recorded on which samples"):
        table.require_current(case, case.rows("train"), *lineage(gold))
    with pytest.raises(StaleError, match="trained otherwise"):
        table.require_current(CASE, CASE.rows("train"), *lineage(longer))
    with pytest.raises(StaleError, match="another version"):
        table.require_current(CASE, CASE.rows("train"), *lineage(longer.model))
    absolute = Case(task=TensorTask(TASK.build_model, loss="l1"), splits=CASE.splits)
    with pytest.raises(StaleError, match="trained otherwise"):
        table.require_current(absolute, absolute.rows("train"), *lineage(train(absolute, RECIPE, CPU)))
    fewer = Case(task=TASK, splits=people_data(without=7))
    table.require_current(fewer, fewer.rows("train"), *lineage(exact))
    # It lacks somebody whom no request names.
    with pytest.raises(StaleError, match="without some that it knows"):
        table.require_current(CASE, CASE.rows("train"), *lineage(exact))
    # A table of a part of the data, and a model of all of them.
    part = replace(
        table, keys=table.keys[3:], folds=table.folds[3:], data=fewer.splits.data_digest, original="", made_with=57
    )
    part.require_current(CASE, CASE.rows("train"), *lineage(exact))
    with pytest.raises(StaleError, match="does not know"):
        replace(part, original="00").require_current(CASE, CASE.rows("train"), *lineage(exact))


def test_a_table_of_an_earlier_version_is_judged_by_the_models_digest_alone(
    table: LeaveOutTable, tmp_path: Path
) -> None:
    write_table(tmp_path, table)
    described = json.loads((tmp_path / "table-0.json").read_text())
    assert described["versions"]["torch"] == version("torch") and described["data"] == CASE.splits.data_digest
    assert described["training"]["recipe"]["epochs"] == 4
    for name in ("training", "data", "versions"):
        del described[name]
    (tmp_path / "table-0.json").write_text(json.dumps(described))
    old = read_table(tmp_path)
    old.require_current(CASE, CASE.rows("train"), *lineage(ORIGINAL))
    with pytest.raises(StaleError, match="another version"):
        old.require_current(
            CASE, CASE.rows("train"), *lineage(train(CASE, RECIPE, replace(CPU, seed=0), left_out=np.arange(3)))
        )


def test_a_table_comes_back_as_it_was_written(table: LeaveOutTable, tmp_path: Path) -> None:
    write_table(tmp_path, table)
    write_table(tmp_path, replace(table, partition=1, coupling=None))
    assert partitions_in(tmp_path) == [0, 1]
    read = read_table(tmp_path)
    assert read.summary == table.summary and read.keys == table.keys and read.coupling == table.coupling
    assert (read.training, read.data) == (table.training, table.data)
    assert read.start_digest == table.start_digest and torch.equal(read.folds, table.folds)
    assert read_table(tmp_path, 1).coupling is None
    with pytest.raises(CheckpointError, match="partition 2"):
        read_table(tmp_path, 2)


def test_folds_may_have_no_never_seen_sample() -> None:
    """All of these are of one person, whom one fold's model predicts; each has two outputs."""
    task = TensorTask(lambda: nn.Linear(3, 2), loss="mse")
    train_set, test_set = (
        TensorDataset(each[:][0], each[:][0][:, :2])
        for each in (CASE.splits.train, CASE.splits.test)
        if each is not None
    )
    splits = Splits(train=train_set, test=test_set, test_subjects=[-1] * len(test_set), subjects=CASE.splits.subjects)
    case = Case(task=task, splits=splits)
    original = train(case, RECIPE, CPU)
    made = fit_table(case, RECIPE, CPU, original.model, start=original.start, folds=4)
    assert made.unseen.shape == (len(test_set), 2) and made.predictions.shape == (len(train_set), 2)
    models = [
        train(case, RECIPE, CPU, start=original.start, left_out=np.flatnonzero(made.folds.numpy() == fold)).model
        for fold in range(4)
    ]
    with torch.no_grad():
        agree = [torch.allclose(model(test_set[:][0]), made.unseen, atol=1e-6) for model in models]
    assert agree.count(True) == 1


def test_never_seen_samples_are_needed() -> None:
    with pytest.raises(DataError, match="never-seen"):
        fit_table(
            Case(task=TASK, splits=Splits(train=CASE.splits.train)), replace(RECIPE, stop_after=2), CPU, ORIGINAL.model
        )


def test_the_slope_by_hand() -> None:
    # Halfway from the leave-out prediction to the target, whatever the distances.
    target, left_out = np.array([3.0, -1.0, np.nan]), np.array([1.0, 1.0, 0.0])
    assert memory_kept((target + left_out) / 2, target, left_out, 0.0) == pytest.approx(0.5)
    assert memory_kept(target, target, left_out, scale=100.0) == pytest.approx(8 / (8 + 2 * 4))


def test_null_and_power_of_planted_memory() -> None:
    rng = np.random.default_rng(0)
    target, left_out = rng.normal(size=500), np.zeros(500)
    model = 0.2 * rng.normal(size=500)  # never saw any of them
    groups = np.stack([rng.choice(500, 20, replace=False) for _ in range(500)])
    null = null_of(model, target, left_out, groups, 1.0)
    assert abs(float(null.slopes.mean())) < 0.05
    remembered, own = rng.normal(size=20), np.zeros(20)
    found = [power(remembered, remembered, own, null, share, 1.0) for share in (0.0, 0.1, 0.5, 1.0)]
    assert found[0] < 0.15 and found == sorted(found) and found[2] > 0.95
    assert p_value(1.0, null.slopes) == pytest.approx(1 / 501)


def test_an_audit_by_the_table_needs_no_gold() -> None:
    """A model that learnt a few samples by heart is told from one that never saw them."""
    rng = torch.Generator().manual_seed(1)
    x, y = torch.randn(260, 20, generator=rng), torch.randn(260, generator=rng)
    task = TensorTask(lambda: nn.Sequential(nn.Linear(20, 128), nn.ReLU(), nn.Linear(128, 1)), loss="mse")
    parts = [torch.utils.data.TensorDataset(x[rows], y[rows]) for rows in (slice(0, 60), slice(60, 260))]
    case = Case(task=task, splits=Splits(train=parts[0], test=parts[1]))
    recipe = Recipe(epochs=120, lr=1e-2, batch_size=20)
    original = train(case, recipe, CPU)
    request = ForgetRequest(size=60, forget=tuple(range(10)), reason="test")
    table = fit_table(case, recipe, CPU, original.model, start=original.start, folds=5)
    never = train(case, recipe, CPU, start=original.start, left_out=np.arange(10))
    report = audit(
        replace(case, request=request),
        {"original": original, "never": never},
        CPU,
        metrics=[Errors(), MemoryKept(table)],
    )
    kept = {each.model: each for each in report.measures if each.metric == "memory-kept"}
    assert kept["original"].value > 0.8 and kept["original"].p < 0.01
    assert kept["never"].value < 0.3 and kept["never"].p > 0.05 and "would be noticed" in kept["never"].note
