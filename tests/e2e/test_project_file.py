"""`unregress.yaml`: four lines on the command line, with one configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from unregress import Project
from unregress.cli import main
from unregress.evidence.model_record import plain
from unregress.tasks.weights import weights_of

SETTINGS = {
    "task": "support.tiny_project.make_task",
    "data": "support.tiny_project.load_data",
    "training": {"epochs": 4, "lr": 0.01, "batch_size": 16},
    "model": "original",
    "runtime": {"accelerator": "cpu"},
    "retrain": {"golds": 2, "store": "store"},
    "metrics": ["Errors"],
}
REQUEST = ["--request.random", "6", "--request.reason", "Art. 17, ticket 4711"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unregress.yaml").write_text(yaml.safe_dump(SETTINGS))
    return tmp_path


def made(folder: Path) -> dict[str, object]:
    record: dict[str, object] = json.loads((folder / "history.json").read_text())["made"]
    return record


def test_four_lines(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 0
    assert made(here / "original")["recipe"]["epochs"] == 4
    assert main(["forget", *REQUEST, "--output", "deploy"]) == 0
    assert "within the budget of 600 s" in capsys.readouterr().out
    assert made(here / "deploy")["method"] == "Retrain"
    assert made(here / "deploy")["start"] == made(here / "original")["start"]
    assert main(["audit", "--request.from_run", "deploy", "--models.mine", "deploy", "--output", "audit"]) == 0
    report = json.loads((here / "audit" / "audit.json").read_text())
    assert [(model["name"], model["role"]) for model in report["models"]][:4] == [
        ("original", "original"), ("mine", "unlearned"), ("retrained", "gold"), ("retrained #2", "gold"),
    ]  # fmt: skip
    assert report["reason"] == "Art. 17, ticket 4711"
    for folder in ("original", "deploy", "audit"):
        assert main(["verify", folder]) == 0


def test_what_a_training_does_not_name_is_the_same_for_all_commands(here: Path) -> None:
    """The paper's recipe, the default of `train`, has another schedule than `Recipe`."""
    assert main(["train"]) == 0
    assert main(["forget", *REQUEST, "--output", "deploy"]) == 0
    assert main(["audit", "--request.from_run", "deploy", "--models.mine", "deploy", "--output", "audit"]) == 0
    golds = json.loads((here / "audit" / "golds.json").read_text())
    trained = made(here / "original")["recipe"]
    assert trained == made(here / "deploy")["recipe"] == golds["recipe"]
    assert trained == plain(Project.open(here / "unregress.yaml").training)
    assert trained["schedule"] == "constant"


def test_another_training_than_the_model_s_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--recipe.schedule", "one-cycle"]) == 0
    capsys.readouterr()
    assert main(["forget", *REQUEST, "--output", "deploy"]) == 0
    told = "schedule is 'constant', and was 'one-cycle'"
    assert told in capsys.readouterr().out.replace("\n", " ")
    assert any(told in warning for warning in json.loads((here / "deploy" / "history.json").read_text())["warnings"])
    project = Project.open(here / "unregress.yaml", log=(lines := []).append)
    project.table(folds=2, partitions=1)
    assert any(told in line for line in lines)


def test_options_go_before_the_file(here: Path) -> None:
    assert main(["train", "--recipe.epochs", "1", "--output", "other"]) == 0
    recipe = made(here / "other")["recipe"]
    assert (recipe["epochs"], recipe["batch_size"]) == (1, 16)
    (here / "more.yaml").write_text("recipe: {lr: 0.5}\noutput: third\n")
    assert main(["train", "--config", "more.yaml"]) == 0
    assert made(here / "third")["recipe"]["lr"] == 0.5
    assert main(["forget", *REQUEST, "--checkpoint", "other", "--method", "FineTune", "--method.recipe.epochs", "1",
                 "--output", "tuned"]) == 0  # fmt: skip
    assert made(here / "tuned")["method"] == "FineTune"


def test_a_training_function_in_the_file(here: Path) -> None:
    (here / "unregress.yaml").write_text(
        yaml.safe_dump({**SETTINGS, "training": {"class_path": "support.own_training.Scheduled"}})
    )
    assert main(["train"]) == 0
    assert main(["forget", *REQUEST, "--output", "deploy"]) == 0
    assert main(["audit", "--request.from_run", "deploy", "--models.mine", "deploy", "--output", "audit"]) == 0
    golds = json.loads((here / "audit" / "golds.json").read_text())
    assert golds["recipe"] == {"class_path": "support.own_training.Scheduled", "init_args": {"epochs": 1}}


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"modle": "x"}, "'modle'"),
        ({"training": {"epoch": 3}}, "epoch"),
        ({"training": 3}, "training"),
        ({"task": "support.tiny_project.absent"}, "absent"),
    ],
)
def test_a_wrong_file_is_refused(
    here: Path, settings: dict[str, object], found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "unregress.yaml").write_text(yaml.safe_dump({**SETTINGS, **settings}))
    assert main(["train"]) == 2
    message = capsys.readouterr().err
    assert found in message and "Traceback" not in message and not (here / "original").exists()


def test_other_commands_do_not_read_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "unregress.yaml").write_text("nonsense: 1\n")
    assert main(["reproduce", "--list"]) == 0
    assert main(["train", "--help"]) == 0


def test_the_same_file_in_python(here: Path) -> None:
    assert main(["train"]) == 0
    assert main(["forget", *REQUEST, "--output", "deploy"]) == 0
    project = Project.open()
    assert weights_of(project.start) == made(here / "original")["start"]
    done = project.forget(where=_mask(here), reason="Art. 17, ticket 4711")
    # The same request, method, start and seed give the same bytes.
    written = json.loads((here / "deploy" / "manifest.json").read_text())["files"]["unlearned.safetensors"]
    done.save(here / "again")
    assert json.loads((here / "again" / "manifest.json").read_text())["files"]["unlearned.safetensors"] == written


def _mask(here: Path) -> list[bool]:
    request = json.loads((here / "deploy" / "request.json").read_text())
    return [row in request["forget"] for row in range(request["size"])]
