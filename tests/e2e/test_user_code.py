"""The user's own code that raises: exit code 2, one line that names function, file and sample, and no traceback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import unregress
from support import faulty_project as faulty
from support.faulty_project import RAISING, Rows
from unregress import ForgetRequest, TensorTask, collect
from unregress.cli import main
from unregress.cli.exit_codes import FAULT, ending
from unregress.data.loading import Source
from unregress.errors import DataError

FILE = re.escape(faulty.__file__)


def words(task: str, data: str, split: str, output: Path, *more: str) -> list[str]:
    options = {"task": "support.faulty_project.make_task", "task.broken": task,
               "data": "support.faulty_project.load_data", "data.broken": data, "data.split": split,
               "recipe.epochs": "1", "output": str(output)}  # fmt: skip
    return ["train", *(word for name, value in options.items() for word in (f"--{name}", value)), *more]


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says that ends with exit code 2: a line for each complaint, and nothing for terminals."""
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and "Traceback" not in shown.err
    assert shown.err.startswith("error: ")
    for line in shown.err.splitlines():
        assert len(line) < 900 and line.isprintable()
    return shown.err


@pytest.mark.parametrize("kind", RAISING)
@pytest.mark.parametrize("where", ["data", "len", "item", "collate", "augment", "task", "build", "target", "training"])
def test_what_the_user_s_code_raises_is_said_in_a_line(
    where: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = f"{where}:{kind}"
    of_data = where in ("data", "len", "item", "collate", "augment")
    found = complaint(words("" if of_data else broken, broken if of_data else "", "train", tmp_path / "run"), capsys)
    assert kind in found
    if kind != "StopIteration" or where not in ("item", "collate"):
        assert re.search(rf"\({FILE}:\d+, in ", found), found
    if kind != "SystemExit" and where in ("item", "collate"):
        assert f"sample {17 if where == 'item' else 0} of `train`" in found
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_sample_is_named_with_its_split(
    split: str, workers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = complaint(words("", "item:KeyError", split, tmp_path / "run", "--runtime.workers", workers), capsys)
    assert "KeyError: 'age'" in found and f"while reading sample 17 of `{split}`" in found


def test_a_sample_that_does_not_fit_the_others_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = complaint(words("", "ragged", "test", tmp_path / "run"), capsys)
    assert "while collating sample 17 with those before it in the batch of `test`" in found
    assert "has no usable length" in complaint(words("", "negative", "test", tmp_path / "run"), capsys)


@pytest.mark.parametrize("kind", ["ValueError", "SystemExit", "StopIteration"])
def test_a_method_that_raises_is_named(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words("", "", "train", tmp_path / "original")) == 0
    capsys.readouterr()
    arguments = ["forget", "--task", "support.faulty_project.make_task",
                 "--data", "support.faulty_project.load_data", "--request.random", "3", "--request.reason", "x",
                 "--method", "support.faulty_project.Broken", "--method.broken", kind,
                 "--checkpoint", str(tmp_path / "original"), "--output", str(tmp_path / "run")]  # fmt: skip
    found = complaint(arguments, capsys)
    assert kind in found and re.search(rf"\({FILE}:\d+, in ", found)
    assert [entry.name for entry in tmp_path.iterdir()] == ["original"]


MODULES = {
    "syntax": ("def task(:\n", "SyntaxError"),
    "tabs": ("def task():\n\treturn 1\n        return 2\n", "TabError"),
    "encoding": (b"x = '\xff'\n", "SyntaxError"),
    "exit": ("import sys\nsys.exit(0)\n", "SystemExit"),
    "division": ("1 / 0\n", "ZeroDivisionError"),
    "attribute": ("import os\nos.nothing\n", "AttributeError"),
    "package": ("import no_such_package\n", "ModuleNotFoundError"),
    "base": ("class Mine(BaseException): ...\nraise Mine\n", "Mine"),
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("option", ["--task", "--data", "--method"])
def test_a_module_that_cannot_be_imported_is_named(
    name: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, kind = MODULES[name]
    module = f"broken_{name}_{option[2:]}"
    path = tmp_path / f"{module}.py"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    monkeypatch.syspath_prepend(tmp_path)
    options = {
        "--task": "support.tiny_project.make_task",
        "--data": "support.tiny_project.load_data",
        option: f"{module}.task",
    }
    arguments = [word for pair in options.items() for word in pair]
    command = "forget" if option == "--method" else "train"
    found = complaint([command, *arguments, "--output", str(tmp_path / "run")], capsys)
    assert kind in found and f"{path}:" in found


def test_debug_shows_the_traceback_wherever_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words("task:ValueError", "", "train", tmp_path / "run")
    for with_debug in (["--debug", *arguments], [*arguments, "--debug"], [*arguments[:3], "--debug", *arguments[3:]]):
        assert main(with_debug) == 2
        shown = capsys.readouterr().err
        assert shown.startswith("Traceback") and shown.splitlines()[-1].startswith("error: your code raised")
    monkeypatch.setenv("UNREGRESS_DEBUG", "1")
    assert main(arguments) == 2 and "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("UNREGRESS_DEBUG", "0")
    complaint(arguments, capsys)


@pytest.mark.parametrize("workers", [0, 2])
def test_in_python_the_exception_is_the_user_s_with_a_note(workers: int) -> None:
    case = unregress.Case(
        task=TensorTask(lambda: torch.nn.Linear(3, 1)),
        splits=unregress.Splits(train=Rows(40, 0, "item:KeyError")),
        request=ForgetRequest(size=40, forget=(1,), reason="x"),
    )
    with pytest.raises(KeyError) as caught:
        collect(torch.nn.Linear(3, 1), case.task, case.source("train"), unregress.Runtime(workers=workers))
    assert caught.value.args == ("age",)
    assert caught.value.__notes__ == ["while reading sample 17 of `train`"]


def test_a_dataset_cannot_end_an_epoch_by_stop_iteration() -> None:
    source = Source(Rows(40, 0, "item:StopIteration"), torch.zeros(40, dtype=torch.bool))
    with pytest.raises(DataError) as caught:
        list(source.fetch([torch.arange(20)]))
    assert "sample 17" in caught.value.found


def test_what_is_neither_ours_nor_the_user_s_is_our_fault() -> None:
    code, message = ending(TypeError("an argument too many"))
    assert code == FAULT == 70
    assert "fault of unregress" in message and "TypeError: an argument too many" in message and "--debug" in message
