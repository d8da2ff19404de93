"""Requests of a project: what they name, what of it is not in the data, and who asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from support import own_training
from unregress import Errors, FineTune, Project, Recipe, Runtime, TensorTask
from unregress.errors import DataError, ModelError, RequestError, SettingError

SHORT = FineTune(recipe=Recipe(epochs=1))


def project_of(training: Any = SHORT.recipe) -> tuple[Project, list[str]]:
    """Six people with four training samples each, of whom 0, 1 and 6 have one test sample too."""
    lines: list[str] = []
    x = torch.randn(27, 3, generator=torch.Generator().manual_seed(0))
    project = Project(
        task=TensorTask(build_model=lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))),
        training=training,
        model=nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)),
        train=TensorDataset(x[:24], x[:24, 0]),
        test=TensorDataset(x[24:], x[24:, 0]),
        subjects=[number // 4 for number in range(24)],
        test_subjects=[0, 1, 6],
        ids=[f"r{number}" for number in range(24)],
        runtime=Runtime(accelerator="cpu"),
        log=lines.append,
    )
    return project, lines


@pytest.mark.parametrize(
    ("named", "forget", "note"),
    [
        ({"subjects": [1, 77, 78]}, (4, 5, 6, 7), "2 people of the request are not in the data"),
        ({"ids": iter(["r3", "r99"])}, (3,), "1 ids of the request are not in the data"),
    ],
)
def test_what_is_not_in_the_data_is_counted_in_the_report(named: Any, forget: tuple[int, ...], note: str) -> None:
    project, lines = project_of()
    done = project.forget(**named, reason="test", missing="report", method=SHORT)
    assert (done.case.requested.forget, done.not_found) == (forget, (note,))
    assert f"Note: {note}" in lines
    report = project.audit(done, golds=0, metrics=[Errors()])
    assert report.not_found == (f"{note}.",)


@pytest.mark.parametrize(
    ("ending", "text"),
    [("csv", "nr,record\n3,r1\n1,r3\n3,r1\n"), ("jsonl", '{"nr": 3, "record": "r1"}\n{"nr": 1, "record": "r3"}\n')],
)
def test_people_and_ids_are_read_from_a_column_of_a_file(tmp_path: Path, ending: str, text: str) -> None:
    """Numbers in a CSV are text, and name people whose names are numbers; one who occurs again counts once."""
    project, _ = project_of()
    file = tmp_path / f"requests.{ending}"
    file.write_text(text, encoding="utf-8")
    people = project.request(subjects=file, column="nr", reason="test")
    assert people == project.request(subjects=[3, 1], reason="test")
    assert people.forget == (4, 5, 6, 7, 12, 13, 14, 15)
    assert project.request(ids=file, column="record", reason="test").forget == (1, 3)


def test_a_file_without_the_column_and_a_column_without_a_file_are_refused(tmp_path: Path) -> None:
    project, _ = project_of()
    file = tmp_path / "requests.csv"
    file.write_text("nr,record\n3,r1\n77,r2\n", encoding="utf-8")
    for named in ({"subjects": file}, {"subjects": file, "column": "person"}, {"subjects": [3], "column": "nr"}):
        with pytest.raises(RequestError, match="column"):
            project.request(**named, reason="test")
    with pytest.raises(RequestError, match="'77'"):
        project.request(subjects=file, column="nr", reason="test")
    assert project.request(subjects=file, column="nr", reason="test", missing="report").forget == (12, 13, 14, 15)
    with pytest.raises(DataError):
        project.request(subjects=tmp_path / "absent.csv", column="nr", reason="test")


def test_unknown_people_are_an_error_unless_they_are_to_be_reported() -> None:
    project, _ = project_of()
    for missing in ("error", "report"):
        with pytest.raises(RequestError):
            project.request(subjects=[77], reason="test", missing=missing)
    with pytest.raises(RequestError) as caught:
        project.request(subjects=[1, 77], reason="test")
    assert "77" in caught.value.found
    # A person with held-out samples only is in the data, and has nothing that was learnt.
    with pytest.raises(RequestError, match="held-out samples only"):
        project.request(subjects=[1, 6], reason="test", missing="report")
    with pytest.raises(SettingError):
        project.request(subjects=[1], reason="test", missing="ignore")
    for single in (1, "1"):
        with pytest.raises(RequestError) as caught:
            project.request(subjects=single, reason="test")
        assert caught.value.expected == "a list of ids or people"


def test_what_was_forgotten_before_is_said() -> None:
    project, _ = project_of()
    first = project.forget(subjects=[1], reason="first", method=SHORT)
    second = project.forget(ids=["r6", "r7", "r8"], reason="second", method=SHORT, after=first)
    assert second.case.requested.forget == (8,)
    assert second.not_found == ("2 of 3 samples named are forgotten by an earlier request already",)


def test_who_asked_stands_in_the_report() -> None:
    project, _ = project_of()
    asked = {"requested_by": "the customer, by letter", "requested_on": "2026-01-31"}
    done = project.forget(subjects=[1], reason="test", method=SHORT, **asked)
    report = project.audit(done, golds=0, metrics=[Errors()])
    assert (report.requested_by, report.requested_on) == ("the customer, by letter", "2026-01-31")
    with pytest.raises(RequestError):
        project.request(subjects=[1], reason="test", requested_on="yesterday")


@pytest.mark.parametrize(
    ("training", "found"),
    [
        (own_training.ignoring_the_seed, "ignores its seed"),
        (own_training.ignoring_the_start, "ignores `start`"),
        (own_training.of_another_architecture, "another architecture"),
    ],
)
def test_a_wrong_training_function_is_refused_before_golds_are_trained(training: Any, found: str) -> None:
    project, lines = project_of(training)
    done = project.forget(subjects=[1], reason="test", method=SHORT)
    with pytest.raises(ModelError) as caught:
        project.audit(done, golds=2, metrics=[Errors()])
    assert found in caught.value.found and not any("models to train" in line for line in lines)
    assert project.audit(done, golds=0, metrics=[Errors()]).golds == []


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ({"subjets": [1], "reason": "a"}, "names its samples by subjets"),
        ({"subjects": [1], "ids": ["a"], "reason": "a"}, "by subjects and ids"),
        ({"reason": "a"}, "by nothing"),
        ({"subjects": [1]}, "has no reason"),
    ],
)
def test_names_that_are_no_request_are_refused(named: dict[str, Any], found: str) -> None:
    project, _ = project_of()
    with pytest.raises(RequestError, match=found):
        project.forget(method=SHORT, **named)
