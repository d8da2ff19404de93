"""What goes wrong is said in a line, with an exit code and without a trace left behind."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from e2e.conftest import PROJECT, REQUEST, SHORT, audit_words
from unregress import Recipe, Retrain
from unregress.auditing.training import DeepTests
from unregress.cli import main
from unregress.errors import SettingError
from unregress.metrics import KLoM, ULiRA

TINY = "support.tiny_project"
RETRAIN = ["--method", "Retrain", "--method.recipe.epochs", "1"]
RANDOM = ["--request.random", "3", "--request.reason", "x"]


def project(task: str = "make_task", data: str = "load_data") -> list[str]:
    return ["--task", f"{TINY}.{task}", "--data", f"{TINY}.{data}"]


CASES: dict[str, tuple[list[str], int, str]] = {
    "misspelt module": (
        ["--task", "e2e.tyni.make_task", "--data", f"{TINY}.load_data", *RANDOM, *RETRAIN],
        2,
        "no attribute 'tyni'.*the import path of a function",
    ),
    "misspelt function": ([*project(task="make_tsk"), *RANDOM, *RETRAIN], 2, "make_tsk"),
    "missing file": ([*project(data="missing_file"), *RANDOM, *RETRAIN], 2, "no-such-table.csv' .*tiny_project.py:"),
    "missing package": ([*project(data="missing_package"), *RANDOM, *RETRAIN], 2, "no_such_package"),
    "bug": ([*project(data="buggy"), *RANDOM, *RETRAIN], 2, "ValueError: mistake in line 7"),
    "forgotten return": ([*project(data="nothing"), *RANDOM, *RETRAIN], 2, "`data` returned a NoneType"),
    "file missed later": (
        [*project(task="late_file"), *RANDOM, *RETRAIN],
        2,
        "no-such-weights.bin' .*tiny_project.py:",
    ),
    "interrupt": ([*project(task="interrupted"), *RANDOM, *RETRAIN], 130, "interrupted"),
    "divergence": (
        [*project(), *RANDOM, *RETRAIN, "--method.recipe.lr", "1e30", "--method.recipe.epochs", "3"],
        1,
        "epoch",
    ),
    "no method": ([*project(), *RANDOM], 2, "method"),
    "unknown method": ([*project(), *RANDOM, "--method", "Amnesia"], 2, "no method 'Amnesia'.*methods.*Blindspot"),
    "no return annotation": ([*project(task="unannotated"), *RANDOM, *RETRAIN], 2, "must say what it returns"),
    "abbreviated option": ([*project(), *RANDOM, *RETRAIN, "--method.recipe.epoch", "3"], 2, "epoch"),
    "bad setting": ([*project(), *RANDOM, *RETRAIN, "--method.recipe.lr", "-1"], 2, "Recipe.lr is -1.0"),
    "not a number": ([*project(), *RANDOM, *RETRAIN, "--method.recipe.lr", "fast"], 2, "fast"),
    "unknown option": ([*project(), *RANDOM, *RETRAIN, "--bogus", "1"], 2, "bogus"),
    "no checkpoint": ([*project(), *RANDOM, "--method", "FineTune"], 2, "no model for FineTune"),
    "checkpoint not there": (
        [*project(), *RANDOM, "--method", "FineTune", "--checkpoint", "gone.pt"],
        2,
        "There is no gone.pt. Expected a run folder, or a weights file",
    ),
    "no request": ([*project(), *RETRAIN], 2, "2 problems.*names its samples by nothing.*no reason"),
    "two requests": ([*project(), *RANDOM, "--request.band", "[1, 2]", *RETRAIN], 2, "by band and random"),
    "band without limits": (
        [*project(), "--request.band", "[null, null]", "--request.reason", "x", *RETRAIN],
        2,
        "no limits",
    ),
    "band upside down": (
        [*project(), "--request.band", "[2, 1]", *RETRAIN],
        2,
        "2 problems.*no reason.*lower limit 2.0 is above",
    ),
    "empty band": (
        [*project(), "--request.band", "[900, null]", "--request.reason", "x", *RETRAIN],
        2,
        "No target lies in",
    ),
    "everything": ([*project(), "--request.random", "60", "--request.reason", "x", *RETRAIN], 2, "60 of 60"),
    "nothing drawn": ([*project(), "--request.random", "0", "--request.reason", "x", *RETRAIN], 2, "0 samples"),
    "no ids file": (
        [*project(), "--request.ids_file", "gone.txt", "--request.reason", "x", *RETRAIN],
        2,
        "ids file gone.txt cannot be read",
    ),
    "empty ids file": (
        [*project(), "--request.ids_file", "empty.txt", "--request.reason", "x", *RETRAIN],
        2,
        "contains no ids",
    ),
    "unknown and repeated ids": (
        [*project(), "--request.ids_file", "wrong.txt", "--request.reason", "x", *RETRAIN],
        2,
        "2 problems.*'p999'.*named more than once: 'p1'",
    ),
    "no run to take over": ([*project(), "--request.from_run", "gone", *RETRAIN], 2, "request.json cannot be read"),
    "bad data": ([*project(data="overlapping"), *RANDOM, *RETRAIN], 2, "2 problems.*NaN.*same content"),
    "no config": (["--config", "gone.yaml"], 2, "gone.yaml"),
    "broken config": (["--config", "broken.yaml"], 2, "broken.yaml is not YAML in line 2"),
    "unknown accelerator": ([*project(), *RANDOM, *RETRAIN, "--runtime.accelerator", "abacus"], 2, "abacus"),
}


@pytest.mark.parametrize("name", CASES)
def test_forget_refuses(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, code, expected = CASES[name]
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text("# none\n\n")
    Path("wrong.txt").write_text("p1\np999\np1\n")
    Path("broken.yaml").write_text("task: [unclosed\n")
    found = main(["forget", *words, "--output", "deep/run"])
    shown = capsys.readouterr()
    assert found == code, shown.err
    assert "error: " in shown.err and "Traceback" not in shown.err + shown.out
    assert re.search(expected, shown.err.replace("\n", " ")), shown.err
    assert len(shown.err.splitlines()) < 10, shown.err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["broken.yaml", "empty.txt", "wrong.txt"]


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return shown.err


def test_an_audit_of_a_model_made_for_another_request_is_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["forget", *PROJECT, *RANDOM, *RETRAIN, "--output", str(tmp_path / "other")]) == 0
    words = audit_words(runs, tmp_path / "audit")
    for position in (words.index(f"--models.Blindspot={runs / 'Blindspot'}"), words.index(str(runs / "retrained-2"))):
        swapped = list(words)
        swapped[position] = words[position].replace(
            str(runs / words[position].rsplit("/")[-1]), str(tmp_path / "other")
        )
        assert "made for another request" in refused(swapped, capsys)
    assert [entry.name for entry in tmp_path.iterdir()] == ["other"]


def test_models_and_requests_of_other_data_are_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*audit_words(runs, tmp_path / "audit"), "--data.seed", "1"]
    assert "made with other data" in refused(words, capsys)
    forget = ["forget", *PROJECT, *RANDOM, "--checkpoint", str(runs / "original"), "--method", "FineTune", *SHORT]
    assert "made with other data" in refused([*forget, "--data.seed", "1", "--output", str(tmp_path / "x")], capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_request_that_was_tampered_with_is_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(runs / "retrained", tmp_path / "run")
    path = tmp_path / "run" / "request.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "forget": content["forget"][1:]}))
    words = ["forget", *PROJECT, "--request.from_run", str(tmp_path / "run"), *RETRAIN, "--output", str(tmp_path / "x")]
    assert "not a request as it was written" in refused(words, capsys)
    path.write_text("{}")
    assert "is not a request as it was written" in refused(words, capsys)


def cut(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "request truncated": (
        lambda run, other: cut(run, "request.json"),
        "request.json is not a request as it was written: it is not JSON",
    ),
    "request missing": (
        lambda run, other: (run / "request.json").unlink(),
        "was changed: request.json is missing",
    ),
    "weights swapped": (
        lambda run, other: shutil.copy(other / "unlearned.safetensors", run),
        "unlearned.safetensors was changed after it was written",
    ),
    "manifest truncated": (lambda run, other: cut(run, "manifest.json"), "manifest.json cannot be read"),
    "a file added": (
        lambda run, other: (run / "notes.txt").write_text("mine"),
        "was changed: notes.txt was added",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_run_folder_that_is_not_as_it_was_written_is_refused(
    name: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, expected = DAMAGE[name]
    shutil.copytree(runs / "FineTune", tmp_path / "run")
    words = ["audit", *PROJECT, *REQUEST, "--metrics", "[Errors]", f"--models.original={runs / 'original'}",
             f"--models.mine={tmp_path / 'run'}", "--output", str(tmp_path / "audit")]  # fmt: skip
    damage(tmp_path / "run", runs / "GaussianAmnesiac")
    assert expected in refused(words, capsys)
    assert not (tmp_path / "audit").exists()


def test_a_run_folder_of_an_earlier_version_is_read_as_far_as_it_can_be_checked(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs / "FineTune", run)
    (run / "manifest.json").unlink()
    words = ["audit", *PROJECT, *REQUEST, "--metrics", "[Errors]", f"--models.original={runs / 'original'}",
             f"--models.mine={run}", "--output", str(tmp_path / "audit")]  # fmt: skip
    assert main(words) == 0
    shutil.rmtree(tmp_path / "audit")
    assert main(["forget", *PROJECT, *RANDOM, *RETRAIN, "--output", str(tmp_path / "other")]) == 0
    shutil.copy(tmp_path / "other" / "request.json", run)
    assert "request.json: digest is " in refused(words, capsys)
    cut(run, "request.json")
    assert "request.json is not a request as it was written" in refused(words, capsys)


def test_weights_of_another_architecture_are_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["forget", "--task", f"{TINY}.wide_task", "--data", f"{TINY}.load_data", *RANDOM, "--method", "FineTune",
             "--checkpoint", str(runs / "original"), "--output", str(tmp_path / "x")]  # fmt: skip
    assert "does not fit the model" in refused(words, capsys)
    words[words.index(str(runs / "original"))] = str(runs / "audit")
    assert "not a folder of one model" in refused(words, capsys)


def test_an_audit_without_original_is_refused(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["audit", *PROJECT, *REQUEST, f"--models.mine={runs / 'FineTune'}", "--output", str(tmp_path / "audit")]
    assert "no model called 'original'" in refused(words, capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", [[], ["--retrain", "{}"]], ids=["", "retrain"])
@pytest.mark.parametrize("name", ["Blindspot", "retrained"])
def test_an_original_that_forgot_this_request_already_is_refused(
    name: str, more: list[str], runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["audit", *PROJECT, *REQUEST, f"--models.original={runs / name}", f"--models.mine={runs / 'FineTune'}",
             "--output", str(tmp_path / "audit"), *more]  # fmt: skip
    found = refused(words, capsys)
    assert f"{runs / name} is given as the original, but it has already forgotten this request." in found
    assert "Expected a model that was trained on the samples to forget" in found
    assert list(tmp_path.iterdir()) == []


def test_report_refuses_what_is_no_audit(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot be read" in refused(["report", str(tmp_path / "gone.json")], capsys)
    (tmp_path / "x.json").write_text("[]")
    assert "is not an audit report" in refused(["report", str(tmp_path / "x.json")], capsys)
    audit = str(runs / "audit" / "audit.json")
    assert "cannot be written" in refused(["report", audit, "--output", str(tmp_path / "no" / "x.html")], capsys)


def test_an_output_that_is_not_ours_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for command in (["demo"], ["train", *PROJECT], ["forget", *PROJECT, *RANDOM, *RETRAIN]):
        assert "is not a run folder" in refused([*command, "--output", str(tmp_path)], capsys)
        assert "is not a folder" in refused([*command, "--output", str(tmp_path / "thesis.txt")], capsys)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_program_itself_exits_with_the_code_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from e2e_tiny_missing import task\n")
    words = ["train", "--task", "mine.task", "--data", "mine.data", "--output", "run"]
    done = subprocess.run([sys.executable, "-m", "unregress", *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "No module named 'e2e_tiny_missing'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


IMPORTED = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)
except BaseException as error:
    raise ImportError("multiarray failed to import") from error  # as NumPy's C interface does
"""


@pytest.mark.parametrize("module", ["jsonargparse", "torch"])
def test_an_interrupt_while_libraries_are_imported_is_a_line(module: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}.py").write_text(IMPORTED)
    program = [sys.executable, "-c", "import sys; from unregress.cli import main; sys.exit(main())"]
    # A suite that runs in a shell's background has its children ignore interrupts.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    for start in ([sys.executable, "-m", "unregress"], program):
        words = [*start, "forget", *project()]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, preexec_fn=heard)
        assert (done.returncode, done.stdout) == (130, "")
        assert done.stderr == "error: interrupted; no unfinished run folder is left behind.\n"


WORDS: dict[str, tuple[list[str], str]] = {
    "retrain: not a number": (
        ["--retrain.recipe.epochs", "fast"],
        "`retrain.recipe.epochs` is 'fast'. Expected a whole",
    ),
    "retrain: misspelt": (["--retrain.recipe.epoch", "3"], "no option `retrain.recipe.epoch`.*'retrain.recipe.epochs'"),
    "retrain: misspelt, short": (["--retrain.gold", "3"], "no option `retrain.gold`.*'retrain.golds'"),
    "retrain: misspelt in YAML": (["--retrain", "{recipe: {epoch: 3}}"], "no option `retrain.recipe.epoch`"),
    "retrain: no such schedule": (["--retrain.recipe.schedule", "onecycle"], "schedule.*is 'onecycle'.*one-cycle"),
    "retrain: out of range": (["--retrain.recipe.lr", "-1"], "error: Recipe.lr is -1.0. Expected a positive number."),
    "retrain: no worker": (["--retrain.workers", "0"], "error: Retraining has golds=5, workers=0 and stack=1"),
    "deep: odd halves": (["--deep", "{halves: 7}"], "error: `deep.halves` is 7. Expected an even number, 6 or more."),
    "deep: few seeds": (["--deep.seeds", "3"], "error: `deep.seeds` is 3. Expected 4 or more."),
    "deep: misspelt": (["--deep.halfs", "3"], "no option `deep.halfs`.*'deep.halves'"),
    "deep: not a number": (["--deep.halves", "many"], "`deep.halves` is 'many'. Expected a whole number"),
    "deep: no such method": (
        ["--deep.methods", "{mine: Blindspott}"],
        "no method 'Blindspott'.*mean 'Blindspot'",
    ),
    "rule: not a number": (["--rule.level", "high"], "`rule.level` is 'high'. Expected a number"),
    "rule: misspelt": (["--rule.levels", "0.1"], "no option `rule.levels`.*Did you mean 'rule.level'"),
    "rule: out of range": (["--rule.level", "2"], "error: Rule.level is 2.0. Expected between 0 and 0.5"),
    "no such metric": (["--metrics", "[Errors, Wassersteyn]"], "no metric 'Wassersteyn'.*Did you mean 'Wasserstein'"),
    "one metric, not a list": (["--metrics", "Errors"], "`metrics` is 'Errors'. Expected a list"),
    "metric's option": (
        ["--metrics", "[{class_path: Anamnesis, init_args: {shufles: 3}}]"],
        "no option `metrics.shufles`.*'metrics.shuffles'",
    ),
    "no such protocol": (
        ["--protocol", "publishd"],
        "`protocol` is 'publishd'.*repaired, published.*Did you mean 'published'",
    ),
    "no such requirement": (["--require", "Pass"], "`require` is 'Pass'. Expected pass"),
    "models without names": (["--models", "x"], "`models` is 'x'. Expected names with values"),
    "golds as one word": (["--golds", "g"], "`golds` is 'g'. Expected a list.*"),
    "misspelt option": (["--outptu", "x"], "no option `outptu`.*Did you mean 'output'"),
    "option of a group": (["--seed", "1"], "no option `seed`.*Did you mean '(runtime|request|data|deep)s?.seeds?'"),
    "misspelt in a task": (["--task.los", "l2"], "no option `task.los`.*Did you mean 'task.loss'"),
    "not a number in data": (["--data.samples", "many"], "`data.samples` is 'many'. Expected a whole number"),
    "band of one": (["--request.band", "55"], "`request.band` is '55'. Expected a list"),
    "no such precision": (["--runtime.precision", "half"], "`runtime.precision` is 'half'. Expected one of 32-true"),
    "a word too many": (["more"], "Unexpected argument 'more'"),
    "an option without value": (["--require"], "argument --require: expected one argument"),
}


@pytest.mark.parametrize("name", WORDS)
def test_audit_s_words_are_refused_in_a_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more, expected = WORDS[name]
    words = ["audit", *PROJECT, *REQUEST, "--models.original=o", "--models.mine=m", "--output", str(tmp_path / "x")]
    found = refused([*words, *more], capsys)
    assert re.search(expected, found), found
    assert len(found.splitlines()) == 1 and len(found) < 360
    for theirs in ("<class", "NestedArg", "Namespace(", "Union", "usage:", "typing."):
        assert theirs not in found
    assert list(tmp_path.iterdir()) == []


def test_all_that_is_wrong_with_a_deep_audit_is_said_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["audit", *PROJECT, *REQUEST, "--models.original=o", "--models.mine=m", "--output", str(tmp_path / "x")]
    assert refused([*words, "--deep", "{halves: 4, seeds: 3}"], capsys).splitlines() == [
        "error: 2 problems found before starting:",
        "  1. `deep.halves` is 4. Expected an even number, 6 or more.",
        "  2. `deep.seeds` is 3. Expected 4 or more.",
    ]


def test_a_deep_audit_takes_what_its_metrics_take() -> None:
    fields = {"recipe": Recipe(epochs=1, lr=0.1), "methods": {"mine": Retrain()}}
    for number in range(10):
        for metric, option in ((ULiRA, "halves"), (KLoM, "seeds")):
            taken = []
            for make in (lambda: metric(models=number, **fields), lambda: DeepTests(**{option: number})):  # noqa: B023
                try:
                    taken.append(make() is not None)
                except SettingError:
                    taken.append(False)
            assert taken[0] == taken[1], (option, number)


VALUES = {
    "recipe: 7": "`recipe` is 7. Expected names with values",
    "recipe: [1]": r"`recipe` is \[1\]. Expected names with values",
    "recipe: {lr: null}": "`recipe.lr` is null. Expected a number",
    "recipe: {lr: .nan}": "Recipe.lr is nan",
    "recipe:\n  lr: 1\n  epochs: 2\n  lr: 2": "has `lr` twice, in lines 5 and 7",
    "runtime: {seed: -1}": "Runtime.seed is -1. Expected 0 or more",
    "runtime: {devices: [-1]}": "Runtime.devices is",
    "runtime: {devices: 100000}": "100000 devices are asked for",
    "output: x": "has `output` twice, in lines 3 and 4",
    '"\\e[2J": 1': r"There is no option `\\x1b\[2J`",
}


@pytest.mark.parametrize("line", VALUES)
def test_values_that_cannot_be_used_are_refused_by_name(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = f"task: {TINY}.make_task\ndata: {TINY}.load_data\noutput: {tmp_path / 'run'}\n"
    (tmp_path / "job.yaml").write_text(own + line + "\n")
    found = refused(["train", "--config", str(tmp_path / "job.yaml")], capsys)
    assert re.search(VALUES[line], found), found
    assert len(found.splitlines()) == 1 and "0x" not in found
    assert [entry.name for entry in tmp_path.iterdir()] == ["job.yaml"]


CONTENTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"# nothing\n", "is empty"),
    "list": (b"- task\n", "holds a list"),
    "text": (b"task\n", "holds the text 'task'"),
    "brackets": (b"[" * 100_000, "holds a list"),
    "deep": (b"a: " + b"{a: " * 100_000, "is nested more than 50 levels deep in line 1"),
    "laughs": (b"a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]\n", "refers in line 2 to an earlier part"),
    "latin-1": ("reason: für".encode("latin-1"), "is not UTF-8 text: byte 0xfc at position 9"),
    "binary": (bytes(range(256)), "is not"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_no_configuration_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "job.yaml").write_bytes(CONTENTS[name][0])
    found = refused(["train", "--config", str(tmp_path / "job.yaml")], capsys)
    assert f"job.yaml {CONTENTS[name][1]}" in found and len(found.splitlines()) == 1


def test_a_configuration_in_utf_16_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "job.yaml").write_bytes("recipe: {epochs: 7}\n".encode("utf-16"))
    assert main(["train", *PROJECT, "--config", str(tmp_path / "job.yaml"), "--print_config"]) == 0
    assert "epochs: 7" in capsys.readouterr().out


TABLES = {
    "id,name\np1,a\np2,b\n": "has up to 2 columns, separated by commas",
    "p1;a\np2;b\n": "has up to 2 columns, separated by semicolons",
    '"p1"\n"p2"\n': "has ids in quotes",
    "id\np1\np2\n": "seems to be a heading",
}


@pytest.mark.parametrize("text", TABLES)
def test_a_table_is_no_ids_file(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ids.txt").write_text(text)
    words = ["forget", *PROJECT, "--request.ids_file", str(tmp_path / "ids.txt"), "--request.reason", "x", *RETRAIN]
    assert TABLES[text] in refused([*words, "--output", str(tmp_path / "run")], capsys)


LOADED = ["--data", "support.tiny_project.load_data"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "No command is named. .*unregress demo"),
        (["audti"], "no command 'audti'.*Did you mean 'audit'"),
        (["audit", "--output", "x"], "`task` and `data`.* are missing.*`unregress audit --help`"),
        (["report"], "`folder` is missing. `unregress report --help`"),
        (["train", "--task", "make_task", *LOADED], "`task` is 'make_task'. Expected an import path"),
        (["train", "--task", "support.tiny_project.make_tsk", *LOADED], "no attribute 'make_tsk'.*the import path"),
        (["demo", "--seed", "x"], "`seed` is 'x'. Expected a whole number. `unregress demo --help`"),
        (["reproduce", "stsb-0-2", "--scale", "papers"], "`scale` is 'papers'.*Did you mean 'paper'"),
        (["reproduce", "stsb-0-2", "--seds", "2"], "no option `seds`.*Did you mean 'seeds'"),
        (["forget", *PROJECT, *RANDOM, "--method", "Retrain", "--method.recipe.epoch", "1"],
         "no option `method.recipe.epoch`.*Did you mean 'method.recipe.epochs'"),
        (["forget", *PROJECT, *RANDOM, "--method", "Blindspot", "--method.helper.lr", "fast"],
         "`method.helper.lr` is 'fast'. Expected a number"),
    ],
)  # fmt: skip
def test_every_command_refuses_words_in_a_line(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = refused(words, capsys)
    assert re.search(expected, found), found
    assert len(found.splitlines()) == 1 and found.startswith("error: ")


def test_report_takes_a_run_folder_and_refuses_others(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(runs / "audit"), "--output", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").read_text() == (runs / "audit" / "audit.html").read_text()
    capsys.readouterr()
    assert f"{runs / 'original'} holds no audit.json" in refused(["report", str(runs / "original")], capsys)
