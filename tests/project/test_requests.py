"""Requests of a project: what they name, what of it is not in the data, and who asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from support import own_training
from unregress import Errors, FineTune, ForgetRequest, Project, Recipe, Runtime, Splits, TensorTask
from unregress.data.case import Case
from unregress.errors import DataError, ModelError, RequestError, SettingError, StaleError
from unregress.project.requests import named_request
from unregress.runs.request_record import read_request, read_requests

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
        ({"ids": iter(["r3", "r99"])}, (3,), "1 ids of the request are not among the training records"),
    ],
)
def test_what_is_not_in_the_data_is_counted_in_the_report(named: Any, forget: tuple[int, ...], note: str) -> None:
    project, lines = project_of()
    done = project.forget(**named, reason="test", missing="report", method=SHORT)
    assert (done.case.requested.forget, done.case.requested.not_found) == (forget, (note,))
    assert f"Note: {note}" in lines
    report = project.audit(done, golds=0, metrics=[Errors()])
    assert report.not_found == (f"{note}.",)


def test_a_request_that_is_made_first_keeps_what_was_not_found(tmp_path: Path) -> None:
    project, _ = project_of()
    request = project.request(ids=["r3", "r99"], reason="test", missing="report")
    done = project.forget(request, method=SHORT)
    note = "1 ids of the request are not among the training records"
    assert project.audit(done, golds=0, metrics=[Errors()]).not_found == (f"{note}.",)
    done.save(tmp_path / "run")
    assert read_request(tmp_path / "run").not_found == (note,)
    with pytest.raises(RequestError, match="a request and subjects"):
        project.forget(request, subjects=[1])


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
    for missing in ("error", "report"):
        with pytest.raises(RequestError, match="held-out samples only"):
            project.request(subjects=[6], reason="test", missing=missing)
    with pytest.raises(RequestError, match="held-out samples only"):
        project.request(subjects=[1, 6], reason="test")
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
    assert second.case.requested.not_found == ("2 of 3 samples named are forgotten by an earlier request already",)


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


def frame_of(**changes: Any) -> pd.DataFrame:
    """Ten people, 100 to 109, with two records each, 0 to 19; the last two people are in the test set."""
    rng = np.random.default_rng(0)
    records = {"record": np.arange(20), "nr": np.repeat(np.arange(100, 110), 2), "x": rng.normal(size=20)}
    return pd.DataFrame(records).assign(y=rng.normal(size=20), part=["train"] * 16 + ["test"] * 4, **changes)


def from_table(frame: pd.DataFrame) -> Project:
    return Project.from_table(
        frame, build_model=lambda: nn.Linear(1, 1), features=["x"], target="y", id="record", subject="nr",
        split="part", training=SHORT.recipe, runtime=Runtime(accelerator="cpu"), log=lambda _: None,
    )  # fmt: skip


def test_ids_of_held_out_records_are_known_of_a_table() -> None:
    project = from_table(frame_of())
    assert project.splits.test_ids == [16, 17, 18, 19] and project.splits.validation_ids is None
    found = named_request(project.splits, project.task, ids=[3, 17, 99], reason="test", missing="report")
    assert (found.forget, found.test, found.by) == ((3,), (1,), "samples")
    assert found.not_found[0] == "1 ids of the request are not in the data"
    assert found.not_found[1].startswith("1 ids of the request have held-out samples only")
    for missing in ("error", "report"):
        with pytest.raises(RequestError, match="held-out samples only, 1 of 1: 17"):
            project.request(ids=[17], reason="test", missing=missing)
    with pytest.raises(RequestError, match="held-out samples only, 1 of 2: 17"):
        project.request(ids=[3, 17], reason="test")


def test_a_list_with_somebody_who_has_held_out_samples_only_is_carried_out() -> None:
    project, _ = project_of()
    found = named_request(project.splits, project.task, subjects=[1, 6, 77], reason="test", missing="report")
    assert (found.forget, found.test) == ((4, 5, 6, 7), (1, 2))
    assert [note[:28] for note in found.not_found] == ["1 people of the request are ", "1 people of the request have"]


@pytest.mark.parametrize("kind", [int, float, str, "Int64"])
@pytest.mark.parametrize(
    ("name", "form"), [("a.csv", "nr\n100\n101\n"), ("a.csv", "nr\n100.0\n101.0\n100\n"), ("a.parquet", float)]
)
def test_whole_numbers_are_the_same_however_a_table_holds_them(tmp_path: Path, kind: Any, name: str, form: Any) -> None:
    frame = frame_of()
    project = from_table(frame.assign(nr=frame["nr"].astype(kind), record=frame["record"].astype(kind)))
    file = tmp_path / name
    if isinstance(form, str):
        file.write_text(form, encoding="utf-8")
    else:
        pd.DataFrame({"nr": [100.0, 101.0]}).to_parquet(file)
    for path in (file, str(file)):
        assert project.request(subjects=path, reason="test").forget == (0, 1, 2, 3)
    if kind is not str:
        assert project.request(subjects=[100.0, 101], reason="test").forget == (0, 1, 2, 3)
        assert [type(each) for each in project.splits.subjects[:1]] == [int]


def test_texts_with_zeros_of_their_own_are_told_apart(tmp_path: Path) -> None:
    frame = frame_of()
    project = from_table(frame.assign(nr=["1", "1.0"] * 8 + ["2", "2.5"] * 2))
    (tmp_path / "a.csv").write_text("nr\n1.0\n", encoding="utf-8")
    assert project.request(subjects=tmp_path / "a.csv", reason="test").forget == tuple(range(1, 16, 2))


def test_of_a_file_nobody_is_told_to_check_types(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("nr\n100\n4242\n", encoding="utf-8")
    with pytest.raises(RequestError) as caught:
        from_table(frame_of()).request(subjects=tmp_path / "a.csv", reason="test")
    assert caught.value.found.endswith("1 of 2: '4242'")
    assert caught.value.expected == "people of the data" and "type" not in caught.value.remedy


@pytest.mark.parametrize("column", ["nr", "record"])
@pytest.mark.parametrize("gap", [None, float("nan"), "", " "])
def test_records_without_a_person_or_an_id_are_refused(column: str, gap: Any) -> None:
    frame = frame_of()
    with pytest.raises(DataError, match="2 missing values, the first at position 0"):
        from_table(frame.assign(**{column: [gap, gap, *frame[column].astype(str)[2:]]}))


def test_a_mask_of_another_length_is_refused_at_once() -> None:
    project, _ = project_of()
    for size in (23, 25):
        with pytest.raises(RequestError) as caught:
            project.request(where=[True] + [False] * (size - 1), reason="test")
        assert caught.value.found == f"The mask has {size} values for 24 training samples"


def test_a_request_that_undoes_an_earlier_result_says_so() -> None:
    project, lines = project_of()
    first = project.forget(subjects=[1], reason="first", method=SHORT)
    again = project.forget(subjects=[1], reason="first, by another method", method=SHORT)
    assert not [line for line in lines if "are retained here" in line] and again.case.requested.forget == (4, 5, 6, 7)
    project.forget(subjects=[2], reason="second", method=SHORT)
    assert [line[:32] for line in lines if "are retained here" in line] == [
        "Warning: 4 samples that the requ",
        "Warning: 4 samples that the requ",
    ]
    lines.clear()
    second = project.forget(subjects=[2], reason="second", method=SHORT, after=first)
    assert second.case.requested.excluded.tolist() == [4, 5, 6, 7]
    project.forget(subjects=[3], reason="third", method=SHORT, after=second)
    assert not [line for line in lines if "are retained here" in line]


def other_day(project: Project, model: Any, splits: Splits | None = None) -> Project:
    """The project with another model, and other data."""
    return Project(
        task=project.task, training=project.training, splits=splits or project.splits, model=model,
        runtime=project.runtime, log=lambda line: None,
    )  # fmt: skip


def in_order(splits: Splits, rows: list[int]) -> Splits:
    """Some training samples, in another order."""
    x, y = splits.train[:]
    names = {name: [getattr(splits, name)[row] for row in rows] for name in ("ids", "subjects")}
    return replace(splits, train=TensorDataset(x[rows], y[rows]), **names)


@pytest.mark.parametrize("how", ["model", "after"])
def test_the_chain_of_requests_is_the_same_from_memory_and_from_a_folder(tmp_path: Path, how: str) -> None:
    project, _ = project_of()
    june = project.forget(subjects=[1], reason="June", method=SHORT)
    later, given = (other_day(project, june), {}) if how == "model" else (project, {"after": june})
    july = later.forget(subjects=[2], reason="July", method=SHORT, **given)
    assert [record.reason for record in july.before] == ["June"]
    july.save(tmp_path / "july")
    august = other_day(project, tmp_path / "july").forget(subjects=[3], reason="August", method=SHORT)
    assert august.case.requested.excluded.tolist() == [4, 5, 6, 7, 8, 9, 10, 11]
    assert [record.reason for record in august.before] == ["June", "July"]


def test_requests_of_a_method_s_result_are_kept_as_well(tmp_path: Path) -> None:
    project, _ = project_of()
    june = ForgetRequest(size=24, forget=(4, 5, 6, 7), reason="June")
    july = ForgetRequest(size=24, forget=(8,), reason="July").beside(june)
    made = SHORT.unlearn(project.model, Case(task=project.task, splits=project.splits, request=july), project.runtime)
    other_day(project, made).forget(subjects=[3], reason="August", method=SHORT).save(tmp_path / "run")
    assert [(each.reason, each.forget) for each in read_requests(tmp_path / "run")] == [
        ("June", (4, 5, 6, 7)), ("July", (8,)), ("August", (12, 13, 14, 15)),
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["model", "after"])
def test_a_result_is_continued_with_other_data_by_its_records(how: str) -> None:
    project, _ = project_of()
    done = project.forget(subjects=[1], reason="June", method=SHORT)
    # As many samples in the opposite order: person 1 has other positions, which person 4 had.
    turned = in_order(project.splits, list(range(23, -1, -1)))
    later = other_day(project, done if how == "model" else project.model, turned)
    again = later.forget(subjects=[2], reason="July", method=SHORT, after=done if how == "after" else None)
    assert again.case.requested.excluded.tolist() == [16, 17, 18, 19]
    assert {turned.subjects[row] for row in again.case.requested.excluded} == {1}


def test_a_result_is_not_continued_with_other_data_by_position() -> None:
    project, _ = project_of()
    bare = replace(project.splits, subjects=None, test_subjects=None, ids=None)
    named = other_day(project, project.model, bare)
    done = named.forget(where=np.arange(24) < 3, reason="June", method=SHORT)
    x, y = bare.train[:]
    turned = other_day(project, project.model, replace(bare, train=TensorDataset(x.flip(0), y.flip(0))))
    with pytest.raises(StaleError):
        turned.forget(where=np.arange(24) == 5, reason="July", method=SHORT, after=done)


def test_a_bare_weights_file_s_past_is_unknown(tmp_path: Path) -> None:
    project, lines = project_of()
    done = project.forget(subjects=[1], reason="first", method=SHORT)
    done.save(tmp_path / "run")
    (tmp_path / "bare.safetensors").write_bytes((tmp_path / "run" / "unlearned.safetensors").read_bytes())
    for model, told in (("run", False), ("bare.safetensors", True)):
        lines.clear()
        later = Project(
            task=project.task, training=project.training, splits=project.splits, model=tmp_path / model,
            runtime=project.runtime, log=lines.append,
        )  # fmt: skip
        made = later.forget(subjects=[2], reason="second", method=SHORT)
        assert any("bare weights file" in warning for warning in made.warnings) == told
        # The file's own neighbour is the run folder, whose request it would undo.
        assert any("'first' (run)" in line for line in lines) == told
