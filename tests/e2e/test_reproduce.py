"""The paper's experiments as commands, on generated faces: what is left behind, found again, and refused."""

from __future__ import annotations

import csv
import importlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.face_images import files, write_faces
from unregress.cli import main
from unregress.evidence import AuditReport
from unregress.experiments.experiment import names
from unregress.experiments.runner import Outcome
from unregress.parallel.jobs import one_thread

MODELS = ("FineTune", "UniformAmnesiac", "GaussianAmnesiac", "Blindspot")
ROW = "utkface-0-30"


@pytest.fixture(scope="module", autouse=True)
def computing_as_workers_do() -> Iterator[None]:
    """Sums over several threads are rounded otherwise."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders: data (with utkface in it), cache, store."""
    folder = tmp_path_factory.mktemp("reproduce")
    write_faces(folder / "data" / "utkface", each=1)
    return folder


@pytest.fixture(autouse=True)
def here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of the test's own, and a cache that is not the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def words(place: Path, *more: str, root: str = "--data-root") -> list[str]:
    return ["reproduce", ROW, root, str(place / "data"), "--scale", "smoke", "--runtime.accelerator", "cpu",
            "--store", str(place / "store"), *more]  # fmt: skip


def ended(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, what was printed, what was complained about in one line; never a traceback."""
    try:
        code = main(arguments)
    except SystemExit as error:
        code = int(error.code or 0)
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err + shown.out
    return code, shown.out, shown.err.replace("\n", " ")


# The list


def test_the_list_has_every_name_whole_and_in_order(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    code, out, err = ended(["reproduce", "--list"], capsys)
    assert (code, err) == (0, "")
    assert " ? " in next(line for line in out.splitlines() if line.startswith(ROW))
    # A name that is broken over two lines can be neither copied nor searched for.
    first = [line.split()[0] for line in out.splitlines() if line.strip()]
    assert [word for word in first if word in names()] == names()
    assert list(here.iterdir()) == []


def test_the_list_says_which_data_are_there(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = ended(["reproduce", "--list", "--data-root", str(place / "data")], capsys)
    assert code == 0
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert "yes" in lines[ROW] and "no" in lines["agedb-0-30"]
    assert "?" not in lines[ROW]


def test_the_list_s_costs_are_of_what_is_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    def minutes(*more: str) -> float:
        _, out, _ = ended(["reproduce", "--list", *more], capsys)
        line = next(line for line in out.splitlines() if line.startswith(f"{ROW} "))
        (number, unit), *_ = re.findall(r"(\d+) (s|min|h|d)\b", line)
        return float(number) * {"s": 1 / 60, "min": 1, "h": 60, "d": 1440}[unit]

    assert minutes("--scale", "smoke", "--golds", "1") < minutes("--scale", "paper", "--seeds", "5")


# What is refused


def lacking(split: str) -> Callable[[Path], None]:
    """An index without a split."""

    def change(root: Path) -> None:
        index = root / "utkface.csv"
        index.write_text("\n".join(line for line in index.read_text().splitlines() if not line.endswith(split)) + "\n")

    return change


def test_no_name_and_no_data(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    assert ended(["reproduce"], capsys)[::2] == (
        2,
        "error: No experiment is named. Name one of those that `unregress reproduce --list` shows. ",
    )
    code, _, err = ended(["reproduce", ROW], capsys)
    assert code == 2 and "No data folder is given" in err and "--data-root" in err
    assert list(here.iterdir()) == []


REFUSED: dict[str, tuple[list[str], str]] = {
    "unknown": (["reproduce", "utkface-0-3", "--data-root", "."], "no experiment 'utkface-0-3'.*'utkface-0-30'"),
    "unknown without a guess": (["reproduce", "qqqq", "--data-root", "."], "no experiment 'qqqq'.*--list"),
    "two names": (["reproduce", ROW, "agedb-0-30", "--data-root", "."], "agedb-0-30"),
    "missing folder": (["reproduce", ROW, "--data-root", "gone"], "no utkface.csv in gone.*UTKFace.*--data-root"),
    "data are a file": (["reproduce", ROW, "--data-root", "file"], "no utkface.csv in file"),
    "empty folder": (["reproduce", ROW, "--data-root", "empty"], "no utkface.csv in empty"),
    "abbreviated root": (["reproduce", ROW, "--data-roo", "."], "data[-_]roo"),
    "abbreviated seeds": (["reproduce", ROW, "--data-root", ".", "--seed", "1"], "seed"),
    "abbreviated runtime": (["reproduce", ROW, "--data-root", ".", "--runtime.acc", "cpu"], "runtime.acc"),
    "unknown option": (["reproduce", ROW, "--data-root", ".", "--epochs", "3"], "epochs"),
    "unknown scale": (["reproduce", ROW, "--data-root", ".", "--scale", "huge"], "huge"),
    "unknown tuning": (["reproduce", ROW, "--data-root", ".", "--tuning", "best"], "best"),
    "seeds in words": (["reproduce", ROW, "--data-root", ".", "--seeds", "two"], "two"),
    "half a seed": (["reproduce", ROW, "--data-root", ".", "--seeds", "1.5"], "1.5"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "file").write_text("")
    (here / "empty").mkdir()
    arguments, expected = REFUSED[name]
    code, _, err = ended(arguments, capsys)
    assert code == 2 and "error: " in err
    assert re.search(expected, err), err
    assert sorted(entry.name for entry in here.iterdir()) == ["empty", "file"]


@pytest.mark.parametrize("more", [("--seeds", "0"), ("--seeds=-1",), ("--golds", "0")])
def test_bad_numbers_of_models(
    more: tuple[str, ...], place: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = ended([*words(place), *more], capsys)
    assert code == 2 and "expected 1 or more of each" in err.lower()
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("split", ["val", "test"])
def test_an_index_without_a_split_is_refused(
    split: str, place: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(place / "data" / "utkface", here / "utkface")
    lacking(split)(here / "utkface")
    code, _, err = ended(["reproduce", ROW, "--data-root", str(here), "--scale", "smoke"], capsys)
    assert code == 2 and split in err and "error: " in err
    assert [entry.name for entry in here.iterdir()] == ["utkface"]


def test_a_broken_index_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "utkface.csv").write_text("age,file\n3,x.jpg\n")
    code, _, err = ended(["reproduce", ROW, "--data-root", str(here)], capsys)
    assert code == 2 and "age, path and split" in err


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_an_output_with_other_content_is_refused_before_any_training(
    kind: str, place: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "folder":
        (here / "out").mkdir()
        (here / "out" / "thesis.tex").write_text("precious")
    else:
        (here / "out").write_text("precious")
    before = files(here)
    code, out, err = ended([*words(place)[:-1], str(here / "store"), "--output", "out"], capsys)
    assert code == 2 and re.search("not a run folder|not a folder", err)
    assert "making" not in out and files(here) == before


def test_a_store_that_is_a_file_is_refused_by_its_own_name(
    place: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "file").write_text("precious")
    code, _, err = ended([*words(place)[:-1], "file", "--output", "out"], capsys)
    assert code == 2 and "--store" in err and "--output" not in err
    assert files(here) == {"file": b"precious"}


def test_the_command_in_the_record_says_the_runtime_s_seed(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module("unregress.cli.commands.reproduce")
    commands: list[str] = []

    def note(*arguments: Any, command: str, **options: Any) -> tuple[()]:
        commands.append(command)
        return ()

    monkeypatch.setattr(module, "run", lambda *arguments, **options: Outcome(stages=(), notes=()))
    monkeypatch.setattr(module, "write", note)
    assert ended(words(place, "--runtime.seed", "3", "--output", "out", "--seeds", "2"), capsys)[0] == 0
    (command,) = commands
    assert command.startswith(f"unregress reproduce {ROW} --data-root DATA --scale smoke")
    assert "--seeds 2" in command and "--runtime.seed 3" in command
    # It names no folder of this machine.
    assert str(place) not in command


# A whole run


@pytest.fixture(scope="module")
def done(place: Path) -> Path:
    """The folder that a smoke run left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        assert main(words(place, "--output", str(place / "out"), root="--data_root")) == 0
    return place / "out"


def test_everything_is_there(done: Path) -> None:
    found = sorted(files(done))
    figures = [name for name in found if name.startswith("figures/")]
    assert figures and all(name.endswith(".svg") for name in figures)
    assert [name for name in found if name not in figures] == sorted(
        [
            "audits/seed-0.html",
            "audits/seed-0.json",
            "config.yaml",
            "index.html",
            "manifest.json",
            "result.json",
            "table.csv",
            "table.md",
        ]
    )


def test_ours_stands_beside_the_paper_s(done: Path) -> None:
    with (done / "table.csv").open(encoding="utf8", newline="") as opened:
        table = {(line["metric"], line["split"], line["model"]): line for line in csv.DictReader(opened)}
    report = AuditReport.from_json(done / "audits" / "seed-0.json")
    # Table 1, AgeDB 0-30, whose twin this is.
    printed = {
        "original": "8.11",
        "retrained": "15.1",
        "FineTune": "10.4",
        "GaussianAmnesiac": "13.73",
        "Blindspot": "18.27",
    }
    for model in ("original", "retrained", *MODELS):
        line = table["mae", "train-forget", model]
        own = report.over_golds("mae", "train-forget")
        value = sum(own) / len(own) if model == "retrained" else report.value("mae", "train-forget", model)
        assert value is not None and float(line["mean"]) == pytest.approx(value, rel=1e-12) and value > 0
        assert line["paper"] == printed.get(model, "")
    golds = ["retrained", *(f"retrained #{number}" for number in range(2, 6))]
    assert report.named("original", "unlearned", "gold") == ["original", *MODELS, *golds]
    page = (done / "index.html").read_text(encoding="utf8")
    assert "paper 18.27" in page and "UTKFace, ages 0 to 30" in page
    assert "| err_Dt_f | paper | 8.11 | 15.1 |" in (done / "table.md").read_text(encoding="utf8")
    record = json.loads((done / "result.json").read_text(encoding="utf8"))
    assert record["experiment"]["twin_of"] == "agedb-0-30"
    assert record["facts"]["Settings"] == "as_published, scale smoke"
    assert any("compare orderings" in note for note in record["notes"])


def test_again_makes_nothing_and_replaces_the_folder_by_the_same_bytes(
    done: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(done)
    (done / "table.md").unlink()
    capsys.readouterr()
    code, out, _ = ended(words(place, "--output", str(done)), capsys)
    assert code == 0 and "making" not in out
    assert files(done) == before
    assert f"{done}/index.html" in out  # in one piece, to be copied
    assert "err_Dt_f" in out and "18.27" in out


def test_a_folder_of_one_dataset_will_do_and_runs_is_the_place_to_write(
    done: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words(place)
    arguments[arguments.index(str(place / "data"))] = str(place / "data" / "utkface")
    code, out, _ = ended(arguments, capsys)
    assert code == 0 and "making" not in out
    assert (Path("runs") / ROW / "result.json").read_bytes() == (done / "result.json").read_bytes()


def test_another_run_is_not_written_over_it(done: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(done)
    code, out, err = ended(words(place, "--output", str(done), "--golds", "3"), capsys)
    assert code == 2 and "holds another run" in err and "making" not in out
    assert files(done) == before


def test_the_written_config_does_the_same_run(done: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = yaml.safe_load((done / "config.yaml").read_text(encoding="utf8"))
    assert config["name"] == ROW and config["scale"] == "smoke"
    shutil.copy(done / "config.yaml", "job.yaml")
    # Where models are kept decides no result, and is not written.
    again = ["reproduce", "--config", "job.yaml", "--output", "out", "--store", str(place / "store")]
    code, out, _ = ended(again, capsys)
    assert code == 0 and "making" not in out
    assert (Path("out") / "table.csv").read_bytes() == (done / "table.csv").read_bytes()


def quick(place: Path, *more: str) -> list[str]:
    """The words of a run of small networks on data that come with a library."""
    return ["reproduce", "diabetes-high", "--scale", "smoke", "--runtime.accelerator", "cpu",
            "--store", str(place / "quick-store"), *more]  # fmt: skip


@pytest.fixture(scope="module")
def small(place: Path) -> Path:
    """The folder that such a run left."""
    assert main(quick(place, "--output", str(place / "small"))) == 0
    return place / "small"


def test_the_number_of_workers_makes_no_other_run(small: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    code, out, err = ended(quick(place, "--workers", "2", "--output", str(small)), capsys)
    assert (code, err) == (0, "") and "making" not in out
    assert "only shows that everything runs" in out
    assert f"less for models already in {place / 'quick-store'}" in out


def test_several_workers_make_the_same_tables(
    small: Path, place: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = quick(place, "--workers", "2", "--output", "out")
    arguments[arguments.index(str(place / "quick-store"))] = "store"
    code, _, _ = ended(arguments, capsys)
    assert code == 0
    made = {path.name for path in Path("store").glob("[!a]*")}
    assert made and made <= {path.name for path in (place / "quick-store").iterdir()}
    assert (Path("out") / "table.csv").read_bytes() == (small / "table.csv").read_bytes()


def test_an_interrupted_run_says_where_its_models_are(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("unregress.cli.commands.reproduce"), "run", stop)
    code, _, err = ended(words(place, "--output", "out"), capsys)
    assert code == 130 and f"kept in {place / 'store'}; the same command resumes from there" in err
    assert not Path("out").exists()


def test_options_that_decide_no_result_make_no_other_run(
    done: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The data are there, so that nothing is fetched; whoever runs it again will leave `--download` out.
    before = files(done)
    more = ("--download", "--runtime.progress", "true", "--output", str(done))
    code, out, err = ended(words(place, *more), capsys)
    assert (code, err) == (0, "") and "making" not in out
    assert {name: files(done)[name] for name in ("table.csv", "result.json")} == {
        name: before[name] for name in ("table.csv", "result.json")
    }


@pytest.mark.slow
def test_data_that_come_with_a_library_need_no_folder(
    small: Path, place: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    code, _out, err = ended(quick(place), capsys)
    assert (code, err) == (0, "")
    record = json.loads((here / "runs" / "diabetes-high" / "result.json").read_text(encoding="utf8"))
    assert record["experiment"]["source"] == "not in the paper" and record["experiment"]["paper"] == {}
    assert record["facts"]["Command"].startswith("unregress reproduce diabetes-high --scale smoke")
    assert record["facts"]["Settings"] == "diabetes, scale smoke"
    # Of 120 samples of the 300, those above the limit that the quarter of all of them has.
    report = AuditReport.from_json(here / "runs" / "diabetes-high" / "audits" / "seed-0.json")
    assert sum(report.samples[part] for part in ("train-retain", "train-forget")) == 120
    assert report.target_band is not None and report.target_band[0] == 214.0
    assert set(report.named("original", "unlearned")) == {"original", *MODELS}


def test_the_list_has_data_that_come_with_a_library(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = ended(["reproduce", "--list"], capsys)
    (line,) = (line for line in out.splitlines() if line.startswith("diabetes-high"))
    assert code == 0 and "yes" in line.split() and line.split()[-2:] == ["?", "?"]
