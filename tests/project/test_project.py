"""One object for a user's model, data and training: forget, audit, save, and the next request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from support import own_training
from support.tiny_project import load_data, make_task
from unregress import FineTune, LeaveOutEdit, Project, Recipe, Retrain, Runtime, Splits, UnregressError
from unregress.cli import main
from unregress.errors import DataError, ModelError, RequestError, SettingError
from unregress.methods.unlearned import module_of
from unregress.metrics import Errors
from unregress.retraining.method_choice import choose_method
from unregress.runs.checkpoint import save_weights
from unregress.tasks.weights import weights_of

CPU = Runtime(accelerator="cpu")
RECIPE = Recipe(epochs=5, lr=1e-2, batch_size=16)
SHORT = FineTune(recipe=Recipe(epochs=1))
DATA = load_data()


class Lines(list[str]):
    def __call__(self, line: str) -> None:
        self.append(line)


def project_of(**changes: object) -> Project:
    fields = {"task": make_task("mse"), "training": RECIPE, "splits": DATA, "runtime": CPU, "log": Lines()}
    made = Project(**{**fields, **changes})
    if "model" not in changes:
        made.train()
    return made


def test_the_whole_job(tmp_path: Path) -> None:
    project = project_of()
    done = project.forget(ids=["p3", "p4"], reason="Art. 17, ticket 4711")
    assert done.case.requested.forget == (3, 4) and done.case.requested.reason == "Art. 17, ticket 4711"
    # Exact retraining is cheap here, and starts from the original's own initial weights.
    assert done.record.method == "Retrain" and done.record.start == weights_of(project.start)
    # The price list, with the choice as its last line, is printed and recorded.
    assert [line.split(":")[0] for line in project.log[:5]] == [
        "Retrain",
        "Blindspot",
        "GaussianAmnesiac",
        "FineTune",
        "Chosen",
    ]
    assert "budget of 600 s" in project.log[4] and list(done.notes[-5:]) == project.log[:5]
    digest = done.save(tmp_path / "deploy")
    report = project.audit(done, golds=2, metrics=[Errors()])
    assert [model.name for model in report.models if model.role in ("original", "unlearned")] == ["original", "Retrain"]
    assert report.reason == "Art. 17, ticket 4711" and len(report.golds) == 2
    assert "Art. 17, ticket 4711" in repr(report) and f"Retrain: {report.verdict().outcome}" in repr(report)
    assert report.date in repr(report) and len(repr(report)) < 200
    # The verdict is about the file that was saved.
    file = next(model.file for model in report.models if model.name == "Retrain")
    manifest = json.loads((tmp_path / "deploy" / "manifest.json").read_text())
    assert manifest["files"][file.name] == file.sha256
    assert main(["verify", str(tmp_path / "deploy"), "--digest", digest]) == 0


def test_exact_retraining_equals_the_method() -> None:
    project = project_of()
    done = project.forget(ids=["p3"], reason="test")
    expected = Retrain(recipe=RECIPE, start=project.start).unlearn(project.model.model, done.case, CPU)
    assert weights_of(done.model) == weights_of(expected.model)


def test_the_next_request_keeps_what_was_forgotten(tmp_path: Path) -> None:
    project = project_of()
    first = project.forget(ids=["p3"], reason="first", method=SHORT)
    second = project.forget(ids=["p7"], reason="second", method=SHORT, after=first)
    first.save(tmp_path / "first")
    deployed = project_of(model=tmp_path / "first")
    again = deployed.forget(ids=["p7"], reason="second", method=SHORT)
    for done in (second, again):
        assert done.case.requested.excluded.tolist() == [3]
        assert [record.reason for record in done.before] == ["first"]
    assert weights_of(second.model) == weights_of(again.model)
    # The initial weights of the original are known after the first request too.
    assert weights_of(deployed.start) == weights_of(project.start) == second.start_digest


def test_a_model_in_memory_and_a_weights_file(tmp_path: Path) -> None:
    original = project_of()
    bare = original.model.model
    save_weights(bare, tmp_path / "model.safetensors")
    save_weights(original.start, tmp_path / "start.safetensors")
    digests = set()
    for model in (bare, tmp_path / "model.safetensors", str(tmp_path / "model.safetensors")):
        project = project_of(model=model)
        assert project.start is None
        digests.add(weights_of(project.forget(ids=["p1"], reason="test", method=SHORT).model))
    assert len(digests) == 1
    known = project_of(model=bare, start=tmp_path / "start.safetensors")
    assert known.forget(ids=["p1"], reason="test").record.start == weights_of(original.start)


def test_trained_weights_are_no_initial_weights(tmp_path: Path) -> None:
    """A retraining, gold or fold model that started from them would have seen what it must not know."""
    original = project_of()
    bare = original.model.model
    save_weights(bare, tmp_path / "model.safetensors")
    done = project_of(model=bare).forget(ids=["p3"], reason="test", method=SHORT)
    done.save(tmp_path / "w1")
    again = project_of(model=tmp_path / "w1").forget(ids=["p4"], reason="test", method=SHORT)
    for start in (bare, nn.DataParallel(bare), tmp_path / "model.safetensors"):
        # The second has forgotten one request, and its record names the weights that it was made from.
        for project, models in ((project_of(model=bare, start=start), done), (project_of(model=tmp_path / "w1",
                                start=start), again)):  # fmt: skip
            attempts: list[Callable[[], object]] = [
                lambda project=project: project.forget(ids=["p1"], reason="test"),
                lambda project=project: project.table(folds=2),
                lambda project=project: project.forget(
                    ids=["p1"], reason="test", method=Retrain(recipe=RECIPE, start=project.start)
                ),
                lambda project=project, models=models: project.audit(models, golds=2, metrics=[Errors()]),
                lambda project=project, models=models: project.audit(models, golds=0, metrics=[Errors()]),
            ]
            for attempt in attempts:
                with pytest.raises(SettingError, match="start"):
                    attempt()


def test_a_training_of_no_epochs_leaves_the_initial_weights() -> None:
    none = replace(RECIPE, epochs=0)
    original = project_of(training=none)
    bare = original.model.model
    for project in (original, project_of(training=none, model=bare, start=bare)):
        done = project.forget(ids=["p3"], reason="test")
        assert weights_of(done.model) == weights_of(bare) == done.record.start


def test_a_training_function_trains_original_golds_and_retraining() -> None:
    project = project_of(training=own_training.by_rmsprop)
    done = project.forget(band=(58, None), reason="high")
    report = project.audit(done, golds=2, metrics=[Errors()])
    recipes = [model.record.recipe for model in report.models if model.role != "reference"]
    assert recipes == [{"class_path": "support.own_training.by_rmsprop", "init_args": {}}] * 4


def test_data_may_be_given_one_by_one() -> None:
    project = Project(
        task=make_task(), training=RECIPE, train=DATA.train, test=DATA.test, ids=DATA.ids, runtime=CPU, log=Lines()
    )
    assert project.splits.ids == DATA.ids and project.splits.validation is None


@pytest.mark.parametrize("kind", [np.array, pd.Series, iter])
def test_ids_may_be_any_iterable(kind: Callable[[list[str]], Iterable[str]]) -> None:
    assert project_of().request(ids=kind(["p3", "p4"]), reason="test").forget == (3, 4)


def test_samples_in_two_splits_are_refused_unless_allowed() -> None:
    x, y = DATA.train.tensors
    twice = Splits(train=DATA.train, test=TensorDataset(x[5:9], y[5:9]), ids=DATA.ids)
    project = project_of(splits=twice)
    with pytest.raises(DataError, match="allow_overlap"):
        project.forget(ids=["p3"], reason="test")
    done = project.forget(ids=["p3"], reason="test", allow_overlap=True)
    assert "4 test samples" in done.warnings[0] and done.case.requested.forget == (3,)


def test_a_table_s_targets_may_be_scaled_and_have_units() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=80), "mass": rng.normal(70, 10, 80), "size": rng.normal(1.7, 0.1, 80)})
    project = Project.from_table(
        frame, build_model=lambda: nn.Linear(1, 2), features=["x"], target=["mass", "size"], scale_target=True,
        units={"mass": "kg"}, training=RECIPE, runtime=CPU, log=Lines(),
    )  # fmt: skip
    y = project.splits.train[:][1]
    assert torch.allclose(y.mean(0), torch.zeros(2), atol=1e-5) and set(project.splits.fitted) == {
        "feature scaler", "target scaler",
    }  # fmt: skip
    masses = torch.tensor(project.splits.columns["mass"], dtype=torch.float64)
    torch.testing.assert_close(project.task.to_units(y)[:, 0], masses, rtol=1e-5, atol=1e-4)
    assert [(output.name, output.unit) for output in project.task.outputs] == [("mass", "kg"), ("size", "")]


def table_of(count: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": rng.normal(size=count), "record": np.arange(count) + 1000 * seed, "nr": seed * 100})
    frame["nr"] += np.arange(count) // 4
    return frame.assign(y=10 + 5 * frame.x + rng.normal(size=count), w=1.0 + np.arange(count) % 3)


NAMES = {"features": ["x"], "target": "y", "id": "record", "subject": "nr"}
KEPT = {"build_model": lambda: nn.Linear(1, 1), "runtime": CPU}


def test_weights_are_a_column_of_the_table() -> None:
    frame = table_of(80)
    project = Project.from_table(frame, **NAMES, **KEPT, weights="w", training=RECIPE, log=Lines())
    expected = frame.set_index("record").w[list(project.splits.ids)]
    assert project.splits.weight_array.tolist() == expected.tolist()
    project.train()
    assert len(project.log) == 1 and "no training uses them" in project.log[0]
    done = project.forget(ids=[project.splits.ids[0]], reason="test")
    assert [warning for warning in done.warnings if "no training uses them" in warning]
    # The helper and the repair play no part in an edit by a table.
    project.table(folds=2, partitions=1)
    edited = project.forget(ids=[project.splits.ids[0]], reason="test", method=LeaveOutEdit())
    assert not [warning for warning in edited.warnings if "no training uses them" in warning]
    used = Project.from_table(
        frame, **NAMES, **KEPT, weights="w", training=replace(RECIPE, weights="loss"), log=Lines()
    )
    used.train()
    assert used.log == [] and weights_of(used.model.model) != weights_of(project.model.model)


@pytest.mark.parametrize(("weights", "kind"), [("v", DataError), (np.ones(80), SettingError), ("text", DataError)])
def test_wrong_weights_of_a_table_are_refused(weights: object, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        Project.from_table(table_of(80).assign(text="a"), **NAMES, **KEPT, weights=weights, training=RECIPE)


def test_held_out_records_may_be_tables_of_their_own() -> None:
    train, validation, test = table_of(40), table_of(12, seed=1), table_of(20, seed=2)
    splits = Project.from_table(
        train, **NAMES, **KEPT, training=RECIPE, validation=validation, test=test.drop(columns="w")
    ).splits
    assert list(splits.ids) == train.record.tolist() and list(splits.validation_subjects) == validation.nr.tolist()
    assert list(splits.test_subjects) == test.nr.tolist() and "w" not in splits.test_columns
    torch.testing.assert_close(splits.test[:][1], torch.tensor(test.y.to_numpy(), dtype=torch.float32))
    mixed = Project.from_table(train, **NAMES, **KEPT, training=RECIPE, validation=0.2, test=test).splits
    # 2 of 10 people, with 4 records each.
    assert len(mixed.validation) == 8 and mixed.size == 32 and len(mixed.test) == 20
    with pytest.raises(DataError, match="no column 'nr'"):
        Project.from_table(train, **NAMES, **KEPT, training=RECIPE, test=test.drop(columns="nr"))


def test_methods_side_by_side_on_one_request() -> None:
    project = project_of()
    request = project.request(ids=["p2", "p9"], reason="test")
    # Ids are often a column of a table.
    assert project.request(ids=pd.Series(["p2", "p9"]), reason="test") == request
    models = [project.forget(request, method=method) for method in (SHORT, FineTune(recipe=Recipe(epochs=2)))]
    models.append(project.forget(request))
    report = project.audit(*models, golds=2, metrics=[Errors()])
    assert report.named("unlearned") == ["FineTune", "FineTune #2", "Retrain"]


def test_a_method_is_derived_where_retraining_is_too_dear() -> None:
    project = project_of()
    case = project.forget(ids=["p2"], reason="test", method=SHORT).case
    long = Recipe(epochs=100, lr=1e-2, batch_size=16)
    model = module_of(project.model)
    method, why, prices = choose_method(case, long, None, CPU, budget=0.0, model=model)
    assert type(method).__name__ == "Blindspot" and "exceeds the budget of 0 s" in why
    assert [price.passes for price in prices] == [2 * 59 * 100, 2 * 59 * 20, 2 * 59 * 10, 2 * 59 * 10]
    assert (method.helper.epochs, method.recipe.epochs, method.recipe.lr) == (10, 10, 1e-3)
    with pytest.raises(SettingError, match="none can be derived"):
        choose_method(case, own_training.by_rmsprop, None, CPU, budget=0.0, model=model)
    with pytest.raises(SettingError, match="there is no model"):
        choose_method(case, long, None, CPU, budget=0.0)


@pytest.mark.parametrize(
    ("training", "found"),
    [
        (own_training.failing, r"failing fails on \d+ samples: KeyError: 'learning_rate'"),
        (own_training.ignoring_the_seed, "ignores its seed"),
        (own_training.ignoring_the_start, "ignores `start`"),
        (own_training.ignoring_the_data, "ignores `data`"),
    ],
)
def test_a_wrong_function_is_refused_before_its_time_is_estimated(
    training: Callable[..., nn.Module], found: str
) -> None:
    project = project_of(training=training, model=make_task().build_model())
    for work in (project.train, project.table, lambda: project.forget(ids=["p2"], reason="test")):
        with pytest.raises(ModelError, match=found):
            work()
    assert project.log == [] and project.tables == ()


def test_wrong_data_are_refused_before_a_method_is_chosen() -> None:
    x, y = DATA.train.tensors
    splits = Splits(train=TensorDataset(x, torch.full_like(y, torch.nan)), test=DATA.test, ids=DATA.ids)
    project = project_of(splits=splits, model=make_task().build_model())
    with pytest.raises(DataError, match="NaN"):
        project.forget(ids=["p2"], reason="test")
    assert project.log == []


@pytest.mark.parametrize(
    ("arguments", "kind", "found"),
    [
        ({"reason": "x"}, RequestError, "nothing"),
        ({"ids": ["p1"], "band": (1, 2), "reason": "x"}, RequestError, "ids and band"),
        ({"ids": ["nobody"], "reason": "x"}, RequestError, "nobody"),
        ({"ids": ["p1"], "reason": " "}, RequestError, "reason"),
        ({"where": [True, False], "reason": "x"}, UnregressError, "2 values for 60"),
    ],
)
def test_a_wrong_request_is_refused(arguments: dict[str, object], kind: type[Exception], found: str) -> None:
    with pytest.raises(kind, match=found):
        project_of().forget(**arguments)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"splits": None}, "no data"),
        ({"train": DATA.train}, "as `splits` and one by one"),
        ({"splits": None, "trian": DATA.train}, "'trian'"),
    ],
)
def test_wrong_data_are_refused(arguments: dict[str, object], found: str) -> None:
    with pytest.raises(SettingError, match=found):
        project_of(model=nn.Linear(3, 1), **arguments)


def test_a_project_without_a_model_says_so() -> None:
    project = project_of(model=None)
    with pytest.raises(SettingError, match="no model"):
        project.forget(ids=["p1"], reason="test", method=SHORT)


def test_a_model_that_is_not_where_the_file_says_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = "task: support.tiny_project.make_task\ndata: support.tiny_project.load_data\n"
    Path("unregress.yaml").write_text(
        names + "training: {epochs: 2}\nmodel: runs/orignal\nruntime: {accelerator: cpu}\n"
    )
    project = Project.open(log=Lines())
    assert len(project.log) == 1 and "runs/orignal" in project.log[0]
    with pytest.raises(SettingError, match="runs/orignal does not exist"):
        _ = project.model
    project.train()
    assert project.model is not None


@pytest.mark.parametrize("training", [None, "job.tr", 3])
def test_what_is_no_training_is_refused_at_once(training: object) -> None:
    with pytest.raises(SettingError, match=type(training).__name__):
        project_of(training=training, model=None)


def test_the_original_may_not_have_forgotten_already(tmp_path: Path) -> None:
    project_of().forget(ids=["p1"], reason="test", method=SHORT).save(tmp_path / "run")
    with pytest.raises(UnregressError):
        project_of(model=tmp_path / "run").forget(ids=["p1"], reason="again", method=SHORT)


def test_audits_are_of_one_request() -> None:
    project = project_of()
    with pytest.raises(SettingError, match="0 models"):
        project.audit()
    with pytest.raises(SettingError, match="different requests"):
        project.audit(*(project.forget(ids=[name], reason="test", method=SHORT) for name in ("p1", "p2")))


def test_the_user_s_model_and_random_state_stay_as_they_are() -> None:
    torch.manual_seed(5)
    project = project_of()
    before, state = weights_of(project.model.model), torch.get_rng_state()
    project.audit(project.forget(ids=["p1"], reason="test"), golds=1, metrics=[Errors()])
    assert weights_of(project.model.model) == before and torch.equal(torch.get_rng_state(), state)
