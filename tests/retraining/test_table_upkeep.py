"""Leave-out tables that exist: requests are closed in them without training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support import tables_project
from unregress import Project, Recipe, Runtime
from unregress.data.leave_out_table import LeaveOutTable
from unregress.retraining import fold_models
from unregress.runs.table_folder import read_tables

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
    hashes = project.splits.row_hashes("train_eval")
    folds = dict(zip(table.keys, table.folds.tolist(), strict=True))
    return sorted({row // 2 for row, key in enumerate(hashes) if folds.get(key) == fold})


@pytest.mark.parametrize("kept", [True])
def test_a_table_whose_last_fold_is_empty_is_closed_again(tmp_path: Path, trained: list[int], kept: bool) -> None:
    """A fold for each person: there are then fewer people than folds, and fewer folds with people in them."""
    folder = tmp_path / "table" if kept else None
    project = project_with(folder)
    (table,) = project.table(folds=PEOPLE, partitions=1, stack=PEOPLE)
    last = people_of(project, table, PEOPLE - 1)
    assert len(last) == 1
    first = project.forget(subjects=last, reason="first")
    trained.clear()
    project.table(folds=PEOPLE, partitions=1, after=first)
    second = project.forget(subjects=people_of(project, table, 0), reason="second", after=first)
    (left,) = project.table(folds=PEOPLE, partitions=1, after=second)
    assert trained == [] and len(left.keys) == 2 * (PEOPLE - 2)
    assert left.number_of_folds == PEOPLE
    if folder is not None:
        assert [each.number_of_folds for each in read_tables(folder)] == [PEOPLE]


def test_the_number_of_folds_of_a_table_without_it_is_that_of_its_folds() -> None:
    project = project_with()
    (table,) = project.table(folds=4, partitions=1)
    assert replace(table, number_of_folds=0).number_of_folds == 4
    assert replace(table, number_of_folds=0, folds=table.folds[:0]).number_of_folds == 0
