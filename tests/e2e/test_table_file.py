"""A project in one file without any Python: a table, the widths of a network, a recipe; and all commands read it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from unregress import Project
from unregress.cli import main
from unregress.errors import DataError, SettingError, UnregressError
from unregress.project.table_file import TableFile, table_data

DATA = {"table": "people.csv", "features": ["hours", "age"], "target": "wage", "id": "record", "subject": "nr"}
SETTINGS = {
    "task": {"hidden": [16]},
    "data": {**DATA, "scale_target": True, "units": {"wage": "CHF"}},
    "training": {"epochs": 4, "lr": 0.01, "batch_size": 16},
    "model": "original",
    "runtime": {"accelerator": "cpu"},
    "retrain": {"golds": 2},
    "metrics": ["Errors"],
}


def frame_of(people: int, first: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(first)
    nr = np.repeat(np.arange(first, first + people), 4)
    frame = pd.DataFrame({"record": [f"r{n:04}" for n in range(4 * first, 4 * (first + people))], "nr": nr})
    frame = frame.assign(hours=rng.normal(size=len(nr)), age=rng.integers(20, 60, len(nr)), city="Basel")
    return frame.assign(wage=20 + 3 * frame.hours + rng.normal(size=len(nr)))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    frame_of(30).to_csv("people.csv", index=False)
    (tmp_path / "unregress.yaml").write_text(yaml.safe_dump(SETTINGS))
    return tmp_path


def changed(here: Path, **settings: object) -> None:
    (here / "unregress.yaml").write_text(yaml.safe_dump({**SETTINGS, **settings}))


def test_all_commands_read_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 0
    project = Project.open()
    people = [int(person) for person in dict.fromkeys(project.splits.subjects)][:2]
    request = ["--request.subjects", json.dumps(people), "--request.reason", "Art. 17", "--output", "deploy"]
    assert main(["forget", *request]) == 0
    assert main(["audit", "--request.from_run", "deploy", "--models.mine", "deploy", "--output", "audit"]) == 0
    report = json.loads((here / "audit" / "audit.json").read_text())
    assert report["samples"]["train-forget"] == 8
    assert "CHF" in {each["unit"] for each in report["about"]}
    for folder in ("original", "deploy", "audit"):
        assert main(["verify", folder]) == 0
    assert main(["table", "--output", "table", "--folds", "2"]) == 0
    # The request is closed by the number of folds that its tables have.
    capsys.readouterr()
    assert main(["table", "--checkpoint", "deploy", "--output", "table"]) == 0
    said = capsys.readouterr().out
    assert "Table 1: the predictions of 8 samples" in said and "to train" not in said
    assert main(["remains", "deploy"]) == 0
    # The same in Python.
    done = project.forget(subjects=people, reason="Art. 17")
    done.save(here / "again")
    files = [json.loads((here / name / "manifest.json").read_text())["files"] for name in ("deploy", "again")]
    assert files[0]["unlearned.safetensors"] == files[1]["unlearned.safetensors"]
    assert [(each.name, each.unit) for each in project.task.outputs] == [("wage", "CHF")]


def without(people: list[int], more: int = 0) -> None:
    """Write the table anew, without some people and with others."""
    frame = pd.concat([frame_of(30), *([frame_of(more, first=100)] if more else [])])
    frame["part"] = np.where(frame.nr % 5 == 4, "test", np.where(frame.nr % 5 == 3, "validation", "train"))
    frame[~frame.nr.isin(people)].to_csv("people.csv", index=False)


@pytest.mark.parametrize("more", [0, 12])
def test_all_commands_go_on_after_rows_are_deleted_or_added(
    here: Path, more: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scalers are the original's: the inputs of who stays are the same to the bit."""
    changed(here, data={**SETTINGS["data"], "split": "part"})  # type: ignore[dict-item]
    without([])
    method = ["--method", "FineTune", "--method.recipe.epochs", "1", "--request.reason", "Art. 17"]
    assert main(["train"]) == 0
    before = dict(zip(Project.open().splits.ids, Project.open().splits.train[:][0].tolist(), strict=True))
    assert main(["forget", *method, "--request.subjects", "[0, 1]", "--output", "one"]) == 0
    without([0, 1], more)
    second = ["--checkpoint", "one", "--request.subjects", "[2]"]
    assert main(["forget", *method, *second, "--output", "two"]) == 0
    assert main(["audit", "--request.from_run", "two", "--models.mine", "two", "--output", "audit"]) == 0
    assert main(["table", "--checkpoint", "one", "--output", "table", "--folds", "2"]) == 0
    without([0, 1, 2], more)
    assert main(["forget", *method, "--checkpoint", "two", "--request.subjects", "[5]", "--output", "three"]) == 0
    for folder in ("original", "one", "two", "three", "audit"):
        assert main(["verify", folder]) == 0
    files = {Path(folder, "scalers.json").read_bytes() for folder in ("original", "one", "two", "three")}
    asked = json.loads(Path("three", "request.json").read_text())
    assert len(files) == 1 and len(asked["before"]) == 2
    project = Project.open()
    now = dict(zip(project.splits.ids, project.splits.train[:][0].tolist(), strict=True))
    assert all(now[name] == before[name] for name in now.keys() & before.keys())
    assert "Note: The scalers" not in capsys.readouterr().out


def test_a_bare_weights_file_has_its_scalers_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 0
    shutil.copy(here / "original" / "original.safetensors", here / "mine.safetensors")
    forget = ["forget", "--method", "FineTune", "--method.recipe.epochs", "1", "--checkpoint", "mine.safetensors",
              "--request.subjects", f"[{Project.open().splits.subjects[0]}]", "--request.reason", "x"]  # fmt: skip
    capsys.readouterr()
    assert main([*forget, "--output", "one"]) == 0
    assert "Note: The scalers" in capsys.readouterr().out
    changed(here, data={**SETTINGS["data"], "scalers": "original"}, model="mine.safetensors")  # type: ignore[dict-item]
    assert main([*forget, "--output", "two"]) == 0
    assert "Note: The scalers" not in capsys.readouterr().out
    kept = json.loads(Path("original", "scalers.json").read_text())["scalers"]
    assert Project.open().splits.fitted["feature scaler"].mean == tuple(kept["feature scaler"]["mean"])
    changed(here, data={**SETTINGS["data"], "scalers": "absent"})  # type: ignore[dict-item]
    assert main([*forget, "--output", "three"]) == 2 and "scalers.json" in capsys.readouterr().err


def test_trained_weights_are_no_start(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 0
    model = "original/original.safetensors"
    request = ["--request.subjects", f"[{Project.open().splits.subjects[0]}]", "--request.reason", "x"]
    named = ["--method", "FineTune", "--method.recipe.epochs", "1"]
    assert main(["forget", *named, *request, "--checkpoint", "original", "--output", "one"]) == 0
    for words in (
        ["forget", *request, "--checkpoint", model],
        ["forget", *request, "--checkpoint", model, "--method", "Retrain"],
        ["forget", *request, "--checkpoint", "original", "--method", "Retrain"],
        ["table", "--checkpoint", model],
        ["audit", "--request.from_run", "one", "--models.mine", "one", "--models.original", model],
    ):
        capsys.readouterr()
        assert main([*words, "--start", model, "--output", "new"]) == 2
        assert "trained" in capsys.readouterr().err and not (here / "new").exists()
    # Without the trained model there is nothing to compare with.
    assert main(["forget", *request, "--method", "Retrain", "--start", "original", "--output", "new"]) == 0


def test_it_holds_what_from_table_makes(here: Path) -> None:
    frame_of(5, first=100).to_csv("later.csv", index=False)
    frame_of(6, first=200).to_json("test.jsonl", orient="records", lines=True)
    changed(
        here,
        task={"build_model": "support.tables_project.two_inputs", "loss": "l1"},
        data={**DATA, "validation": "later.csv", "test": "test.jsonl", "weights": "age"},
    )
    project = Project.open()
    expected = Project.from_table(
        frame_of(30), build_model=project.task.build_model, features=["hours", "age"], target="wage", id="record",
        subject="nr", validation=frame_of(5, first=100), test=frame_of(6, first=200), training=project.training,
        weights="age",
    ).splits  # fmt: skip
    for split in ("train", "validation", "test"):
        assert project.splits.subjects_of(split) == expected.subjects_of(split)
        given, made = (getattr(each, split)[:] for each in (project.splits, expected))
        np.testing.assert_allclose(given[0], made[0], atol=1e-6)
        np.testing.assert_allclose(given[1], made[1], atol=1e-6)
    assert project.splits.ids == expected.ids
    assert project.splits.weight_array.tolist() == expected.weight_array.tolist()


def test_the_columns_of_a_csv_file(here: Path) -> None:
    Path("odd.csv").write_text("id;code;year;value;note;who\n1;007;2020;1.5;a;x1\n2;010;2021;;b;\n")
    table = TableFile(Path("odd.csv"), ("code", "who"))
    assert table.columns == ["id", "code", "year", "value", "note", "who"] and len(table) == 2
    assert table["id"].tolist() == [1, 2] and table["code"].tolist() == ["007", "010"]
    assert table["year"].dtype.kind == "i" and np.isnan(table["value"][1]) and table["value"][0] == 1.5
    assert table["note"].tolist() == ["a", "b"] and table["who"].tolist() == ["x1", None]
    with pytest.raises(UnregressError) as caught:
        table_data(table=Path("odd.csv"), features=["year"], target="value", subject="who", test=0.5, validation=0)
    assert isinstance(caught.value, DataError) and "missing" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"data": {**DATA, "table": "absent.csv"}}, "absent.csv"),
        ({"data": {**DATA, "target": "wages"}}, "'wages'"),
        ({"data": {**DATA, "features": ["hours", "city"]}}, "'city'"),
        ({"data": {**DATA, "tabel": "people.csv"}}, "'tabel'"),
        ({"data": {"features": ["hours"], "target": "wage"}}, "no table"),
        ({"data": {**DATA, "units": {"age": "years"}}}, "'age'"),
        ({"data": "support.tiny_project.load_data"}, "names no table"),
        ({"task": "support.tiny_project.make_task"}, "units"),
        ({"task": {"loss": "l1"}}, "names no model"),
        ({"task": {"hidden": [0]}}, "width 0"),
        ({"task": {"hiden": [4]}}, "hiden"),
        ({"task": {"build_model": "support.absent"}}, "absent"),
    ],
)
def test_a_wrong_file_is_refused(
    here: Path, settings: dict[str, object], found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(here, **settings)
    assert main(["train"]) == 2
    message = capsys.readouterr().err
    assert found in message and "Traceback" not in message and not (here / "original").exists()
    with pytest.raises((SettingError, DataError), match=found):
        Project.open()
