"""Leave-out tables that exist: requests are closed in them without training, and what is made again is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from support import tables_project
from unregress import FineTune, LeaveOutEdit, Project, Recipe, Retrain, Runtime, Splits
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.sample_keys import sample_keys
from unregress.errors import RunFolderError, SettingError, StaleError
from unregress.retraining import fold_models
from unregress.runs.table_folder import read_tables
from unregress.tasks.weights import weights_of

pytestmark = pytest.mark.slow

RECIPE = Recipe(epochs=2, lr=1e-3, batch_size=20)
CPU = Runtime(accelerator="cpu")
PEOPLE = 30


class Lines(list[str]):
    def __call__(self, line: str) -> None:
        self.append(line)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An entry for each training of a fold's model."""
    count, run = list[int](), fold_models._run_stack

    def counted(trainings: list[fold_models.FoldTraining]) -> list[fold_models.Part]:
        count.extend(1 for _ in trainings)
        return run(trainings)

    monkeypatch.setattr(fold_models, "_run_stack", counted)
    return count


def project_with(folder: Path | None = None, **settings: Any) -> Project:
    """A project with a trained model, whose tables are in memory or in a folder."""
    given = {"training": RECIPE, **settings}
    made = Project(
        task=tables_project.task(), splits=tables_project.data(), runtime=CPU, table=folder, log=Lines(), **given
    )
    made.train()
    return made


def people_of(project: Project, table: LeaveOutTable, fold: int) -> list[int]:
    """The people in a fold."""
    hashes = sample_keys(project.splits, "train_eval")
    folds = dict(zip(table.keys, table.folds.tolist(), strict=True))
    return sorted({row // 2 for row, key in enumerate(hashes) if folds.get(key) == fold})


@pytest.mark.parametrize("kept", [False, True])
def test_closing_a_request_trains_nothing(tmp_path: Path, trained: list[int], kept: bool) -> None:
    project = project_with(tmp_path / "table" if kept else None)
    before = project.table(folds=3, partitions=1)
    assert len(trained) == 3 + 1 and before[0].number_of_folds == 3
    done = project.forget(subjects=[4], reason="test")
    trained.clear()
    # The numbers of the tables that exist are the default, also where they are not those of new tables.
    for after in (project.table(after=done), project.table(after=done, folds=3, partitions=1)):
        assert [len(table.keys) for table in after] == [58] and after[0].summary == before[0].summary
    assert trained == [] and not any("made again" in line for line in project.log)


def test_what_is_made_again_or_left_out_is_said(trained: list[int]) -> None:
    project = project_with()
    project.table(folds=3)
    trained.clear()
    said = len(project.log)
    (made,) = project.table(folds=2, partitions=1)
    assert made.number_of_folds == 2 and len(trained) == 2 + 1
    assert any(line.startswith("Table 1 is dropped") for line in project.log[said:])
    assert any(line.startswith("Table 0 is made again: it has 3 folds") for line in project.log[said:])
    with pytest.raises(SettingError):
        project.table(folds=0)


@pytest.mark.parametrize("kept", [False, True])
def test_a_table_whose_last_fold_is_empty_is_closed_again(tmp_path: Path, trained: list[int], kept: bool) -> None:
    """A fold for each person: there are then fewer people than folds, and fewer folds with people in them."""
    folder = tmp_path / "table" if kept else None
    project = project_with(folder)
    (table,) = project.table(folds=PEOPLE, partitions=1, stack=PEOPLE)
    last = people_of(project, table, PEOPLE - 1)
    assert len(last) == 1
    first = project.forget(subjects=last, reason="first")
    trained.clear()
    project.table(after=first)
    second = project.forget(subjects=people_of(project, table, 0), reason="second", after=first)
    (left,) = project.table(after=second)
    assert trained == [] and len(left.keys) == 2 * (PEOPLE - 2)
    assert left.number_of_folds == PEOPLE
    if folder is not None:
        assert [each.number_of_folds for each in read_tables(folder)] == [PEOPLE]


def test_the_number_of_folds_of_a_table_without_it_is_that_of_its_folds() -> None:
    project = project_with()
    (table,) = project.table(folds=4, partitions=1)
    assert replace(table, number_of_folds=0).number_of_folds == 4
    assert replace(table, number_of_folds=0, keys=(), folds=table.folds[:0]).number_of_folds == 0


def test_a_project_of_a_data_frame_keeps_its_tables_in_a_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=60), "y": rng.normal(size=60), "nr": np.arange(60) // 2})
    project = Project.from_table(
        frame,
        build_model=lambda: nn.Linear(1, 1),
        features=["x"],
        target="y",
        subject="nr",
        training=RECIPE,
        runtime=CPU,
        table=tmp_path / "table",
        log=Lines(),
    )
    project.train()
    made = project.table(folds=2, partitions=1)
    assert [table.summary for table in read_tables(tmp_path / "table")] == [made[0].summary]


def interrupted(project: Project, monkeypatch: pytest.MonkeyPatch, finished: int, **settings: Any) -> None:
    """Make tables until some trainings are finished."""
    count, run = list[int](), fold_models._run_stack

    def failing(trainings: list[fold_models.FoldTraining]) -> list[fold_models.Part]:
        count.append(1)
        if len(count) > finished:
            raise KeyboardInterrupt
        return run(trainings)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fold_models, "_run_stack", failing)
        project.table(**settings)


def test_an_interrupted_table_leaves_no_predictions_of_people_who_are_forgotten_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, unfinished = project_with(tmp_path / "table"), tmp_path / "table.unfinished"
    interrupted(project, monkeypatch, 2, folds=3)
    (before,) = unfinished.iterdir()
    assert sorted(path.name for path in before.iterdir()) == ["0.safetensors", "1.safetensors"]
    own = unfinished / "mine" / "0.safetensors"
    own.parent.mkdir()
    own.write_text("mine")
    done = project.forget(subjects=[4], reason="test")
    # They go before anything is trained.
    interrupted(project, monkeypatch, 1, folds=3, after=done)
    assert not before.exists() and len(list(unfinished.iterdir())) == 2
    project.table(folds=3, after=done)
    assert [path for path in unfinished.rglob("*") if path.is_file()] == [own]


def test_tables_that_were_finished_before_an_interruption_are_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: list[int]
) -> None:
    project = project_with(tmp_path / "table")
    interrupted(project, monkeypatch, 4 + 2, folds=3)
    trained.clear()
    project.table(folds=3)
    assert len(trained) == 2 and not (tmp_path / "table.unfinished").exists()


@pytest.mark.parametrize("closed", [True, False])
def test_a_retrained_model_keeps_its_tables_when_people_join(tmp_path: Path, trained: list[int], closed: bool) -> None:
    """The rows of the person who left are gone from the data, and another person's are new."""
    project = project_with(tmp_path / "table")
    (table, _) = project.table(folds=3)
    done = project.forget(subjects=[4], reason="test", method=Retrain(recipe=RECIPE, start=project.start))
    assert not table.retrained
    if closed:
        (table, _) = project.table(after=done)
        assert table.retrained == (weights_of(done.model),) != (table.original,)
        assert project.table(after=done)[0].retrained == table.retrained
    done.save(tmp_path / "deployed")
    later = continued(project, tmp_path, changed(without=[4], new=[99]))
    trained.clear()
    few = later.forget(subjects=[5], reason="test", method=LeaveOutEdit())
    assert few.record is not None and weights_of(done.model) in few.record.parents
    later.table(after=few)
    few.save(tmp_path / "deployed 2")
    # The edit needs no entry of its own where the retraining has one.
    known = {weights_of(done.model)} if closed else {weights_of(few.model), weights_of(done.model)}
    assert set(later.tables[0].retrained) == known and trained == []
    # Later still, when the samples that are left are fewer than it was trained on.
    last = continued(project, tmp_path, changed(without=[4, 5], new=[99]), "deployed 2")
    assert last.forget(subjects=[6], reason="test", method=LeaveOutEdit()).record.method == "LeaveOutEdit"


@pytest.mark.parametrize("how", ["left by a request", "deleted", "copied", "came back"])
def test_a_table_is_refused_to_a_model_that_was_trained_on_other_samples(tmp_path: Path, how: str) -> None:
    """What the data hold today says nothing of what a model saw then."""
    project = project_with(tmp_path / "table")
    project.table(folds=3)
    splits = project.splits
    if how == "came back":
        # The second request's retraining sees the first one's samples again.
        project.table(after=project.forget(subjects=[4], reason="first", method=exact(project)))
        made, asked = project.forget(subjects=[5], reason="second", method=exact(project)), 6
    else:
        joined = changed(new=[99], copied=[7] if how == "copied" else [])
        grown = Project(
            task=project.task, splits=joined, training=RECIPE, runtime=CPU, start=project.start, log=Lines()
        )
        made, asked = grown.forget(subjects=[99 if how == "copied" else 4], reason="test", method=exact(project)), 6
        splits = joined
        if how == "left by a request":
            made = grown.forget(subjects=[99], reason="leaves", method=FineTune(recipe=RECIPE), after=made)
        elif how == "deleted":
            splits = changed(without=[4])
    made.save(tmp_path / "deployed")
    later = continued(project, tmp_path, splits)
    with pytest.raises(StaleError, match="was trained again from the same initial weights, on samples"):
        later.forget(subjects=[asked], reason="test", method=LeaveOutEdit())


def test_a_new_table_belongs_to_the_models_of_its_line_only(tmp_path: Path) -> None:
    """A further table after two requests: the retraining of the first one read the samples of the second one."""
    project = project_with(tmp_path / "table")
    project.table(folds=3)
    june = project.forget(subjects=[4], reason="June", method=exact(project))
    project.table(after=june)
    july = project.forget(subjects=[5], reason="July", method=LeaveOutEdit(), after=june)
    assert set(project.table(after=july, partitions=3)[2].retrained) == {weights_of(july.model), weights_of(june.model)}
    longer = Retrain(recipe=replace(RECIPE, epochs=3), start=project.start)
    other = project.forget(subjects=[4], reason="June", method=longer)
    said = len(project.log)
    assert project.table(after=other, partitions=4)[3].retrained == ()
    assert any("table 3 does not belong to the model" in line for line in project.log[said:])


def exact(project: Project) -> Retrain:
    return Retrain(recipe=RECIPE, start=project.start)


def continued(project: Project, folder: Path, splits: Splits, model: str = "deployed") -> Project:
    """The project on another day, with a deployed model and other data."""
    return Project(
        task=project.task,
        splits=splits,
        training=RECIPE,
        runtime=CPU,
        model=folder / model,
        table=folder / "table",
        log=Lines(),
    )


def changed(without: Sequence[int] = (), new: Sequence[int] = (), copied: Sequence[int] = ()) -> Splits:
    """The data without some people, with others who have two samples each, and with some people's samples twice."""
    splits = tables_project.data()
    people = list(splits.subjects or ())
    kept = [row for row, person in enumerate(people) if person not in without]
    kept += [row for row, person in enumerate(people) if person in copied]
    x, y = splits.train[:]
    more = torch.randn(2 * len(new), 20, generator=torch.Generator().manual_seed(5))
    train = TensorDataset(torch.cat([x[kept], more]), torch.cat([y[kept], more[:, 0]]))
    return replace(
        splits, train=train, subjects=[*(people[row] for row in kept), *(each for each in new for _ in "12")]
    )


def test_the_remedy_for_a_stale_table_holds_after_another_training(tmp_path: Path) -> None:
    """A folder of tables belongs to one training: those of another are made in a new one."""
    project_with(tmp_path / "table").table(folds=2)
    settings = {"training": replace(RECIPE, epochs=3)}
    other = project_with(tmp_path / "table", **settings)
    with pytest.raises(StaleError):
        other.forget(subjects=[4], reason="test", method=LeaveOutEdit())
    with pytest.raises(RunFolderError):
        other.table()
    (table, _) = project_with(tmp_path / "new", **settings).table(folds=2)
    assert table.original == weights_of(other.model.model)


def test_samples_that_were_removed_come_back_in_a_new_folder_only(tmp_path: Path) -> None:
    project = project_with(tmp_path / "table")
    project.table(folds=2)
    project.table(after=project.forget(subjects=[4], reason="test"))
    project.table()
    with pytest.raises(StaleError):
        project.forget(subjects=[4], reason="test", method=LeaveOutEdit())
    again = project_with(tmp_path / "new")
    again.table(folds=2)
    assert again.forget(subjects=[4], reason="test", method=LeaveOutEdit()).record.method == "LeaveOutEdit"
