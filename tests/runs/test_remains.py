"""What still remembers is found by records and digests; nothing but that is deleted, and a log is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from unregress import ForgetRequest
from unregress.cli import main
from unregress.errors import StaleError
from unregress.evidence import AuditReport
from unregress.runs.deletion import delete, log_of, read_log
from unregress.runs.manifest import digest_of_folder, read_manifest, write_manifest
from unregress.runs.provenance import record_of
from unregress.runs.remainder import Remainder
from unregress.runs.remains import remains
from unregress.runs.remembering import remembered
from unregress.runs.request_record import RequestRecord, read_requests

PROJECT = ["--task", "support.tiny_project.make_task", "--data", "support.tiny_project.load_data"]
SHORT = ["--method.recipe.epochs", "1"]


def forget(number: int, name: str, *more: str) -> list[str]:
    return ["forget", *PROJECT, "--request.ids_file", f"ids/{number}.txt", "--request.reason", f"letter {number}",
            *more, *SHORT, "--output", f"runs/{name}"]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two requests one after the other, other methods beside, golds of each in a store, and an audit of the first."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "ids").mkdir()
    (folder / "ids/1.txt").write_text("p3\np7\n")
    (folder / "ids/2.txt").write_text("p11\np40\n")
    start = ["--checkpoint", "runs/original"]
    audit = ["audit", *PROJECT, "--metrics", "[Errors]", "--retrain.golds", "1", "--retrain.store"]
    commands = [
        ["train", *PROJECT, "--recipe.epochs", "2", "--output", "runs/original"],
        ["train", *PROJECT, "--data.seed", "5", "--recipe.epochs", "1", "--output", "runs/elsewhere"],
        forget(1, "first", "--request.requested_by", "a patient", "--request.requested_on", "2026-01-31",
               "--method", "FineTune", *start),
        forget(1, "other", "--method", "GaussianAmnesiac", "--method.recipe.lr", "0.1", *start),
        forget(1, "gold", "--method", "Retrain"),
        forget(2, "second", "--method", "FineTune", "--checkpoint", "runs/first"),
        [*audit, "store", "--request.from_run", "runs/first", "--output", "runs/audit",
         "--models.original", "runs/original", "--models.first", "runs/first"],
        [*audit, "store", "--request.from_run", "runs/second", "--output", "runs/audit-2",
         "--models.original", "runs/first", "--models.second", "runs/second"],
    ]  # fmt: skip
    with chdir(folder):
        for words in commands:
            assert main(words) == 0, words
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, with copies of weights, links and files of the user's own."""
    folder = tmp_path / "project"
    shutil.copytree(made, folder)
    shutil.copy(folder / "runs/original/original.safetensors", folder / "copy.pt")
    shutil.copy(folder / "runs/second/unlearned.safetensors", folder / "deployed.safetensors")
    (folder / "mine.pt").write_bytes(b"mine")
    (folder / "notes.txt").write_text("mine")
    (folder / "link.pt").symlink_to(folder / "copy.pt")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def named(found: Sequence[Remainder], folder: Path) -> dict[str, Remainder]:
    """What was found, by path; entries of the store as `store/gold of NUMBER`."""
    paths = {each.path.relative_to(folder).as_posix(): each for each in found}
    return {name.split("-")[0]: each for name, each in paths.items()}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_all_that_remembers_is_found_and_nothing_is_changed(project: Path) -> None:
    before = content(project)
    found = remains("runs/second", ["."])
    assert content(project) == before
    by_name = named(found.found, project)
    assert {name: each.kind for name, each in by_name.items()} == {
        "copy.pt": "weights file",
        "ids/1.txt": "ids file",
        "ids/2.txt": "ids file",
        "runs/first": "unlearned model",
        "runs/gold": "retrained model",
        "runs/original": "original",
        "runs/other": "unlearned model",
        "store/gold": "retrained model",  # that of the first request alone: the second's never saw either
    }
    assert by_name["runs/original"].why == "It was trained on the samples of 'letter 1', 'letter 2'."
    for name in ("runs/first", "runs/gold", "runs/other", "store/gold"):
        assert by_name[name].why == "It was trained on the samples of 'letter 2'."
    assert by_name["runs/original"].sha256 == digest_of_folder(project / "runs/original")
    assert by_name["copy.pt"].size == (project / "copy.pt").stat().st_size
    assert all(each.kept == "" for each in found.found) and not found.passed
    assert [text.split()[0] for text in found.unknown] == [
        str(project / "runs/elsewhere"), str(project / "mine.pt"),
    ]  # fmt: skip


def test_of_the_first_request_the_other_methods_model_needs_an_audit(project: Path) -> None:
    by_name = named(remains("runs/first", ["."]).found, project)
    # The second request's model comes from the first's; golds of the second saw the samples of neither.
    assert set(by_name) == {
        "copy.pt", "deployed.safetensors", "ids/1.txt", "runs/original", "runs/other", "runs/second",
    }  # fmt: skip
    assert by_name["runs/other"].why.startswith("It was made to forget them by GaussianAmnesiac, and no audit")


def test_an_audit_says_what_passed(project: Path) -> None:
    report = AuditReport.from_json(project / "runs/audit/audit.json")
    verdicts = tuple(replace(v, outcome="PASS", obstacle=None) for v in report.verdicts)
    manifest = read_manifest(project / "runs/audit")
    assert manifest is not None
    replace(report, verdicts=verdicts).to_json(project / "runs/audit/audit.json")
    write_manifest(project / "runs/audit", manifest.made_from)
    assert remains("runs/first").passed
    # An audit that was changed after it was written counts for nothing.
    with (project / "runs/audit/audit.json").open("a") as file:
        file.write(" ")
    changed = remains("runs/first")
    assert not changed.passed and any("audit.json" in text for text in changed.unknown)


def test_ids_files_are_named_by_configurations_of_the_same_requests(project: Path) -> None:
    found = {each.path.name: each for each in remains("runs/first", ["ids"]).found if each.kind == "ids file"}
    assert set(found) == {"1.txt"} and found["1.txt"].kept == ""
    assert found["1.txt"].why.endswith("takes the records to forget from it.")
    (project / "ids/1.txt").unlink()
    (project / "ids/1.txt").symlink_to(project / "notes.txt")
    assert not any(each.kind == "ids file" for each in remains("runs/first", ["."]).found)


def test_only_what_lies_in_named_folders_is_deleted_and_logged(project: Path) -> None:
    first = remains("runs/second", ["store"]).found
    # A gold of the first request, and the model of other initial weights beside it: both saw the second one's samples.
    assert [each.path.parent.name for each in first if not each.kept] == ["store", "store"]
    found = remains("runs/second", ["."]).found
    gone = {each.path for each in found}
    digests = {str(each.path): each.sha256 for each in found}
    log = log_of(project / "runs/second")
    assert log == project / "runs/second.deletions.json"
    made = delete(found, log)
    assert not any(path.exists() for path in gone)
    assert {entry.path: entry.sha256 for entry in made} == digests and all(entry.done for entry in made)
    assert read_log(log) == made
    entry = next(each for each in made if each.path == str(project / "runs/original"))
    assert {"original.safetensors", "history.json", "config.yaml"} <= set(entry.files)
    left = {path.relative_to(project).as_posix() for path in project.iterdir()}
    assert {"deployed.safetensors", "mine.pt", "notes.txt", "link.pt"} <= left and not list(project.glob("ids/*"))
    assert {path.name for path in (project / "runs").iterdir()} == {
        "second", "second.deletions.json", "elsewhere", "audit", "audit-2",
    }  # fmt: skip
    assert main(["verify", "runs/second"]) == 0
    # Nothing is left to delete; the log is kept and goes on.
    assert remains("runs/second", ["."]).found == () and delete((), log) == () and read_log(log) == made


@pytest.mark.parametrize("what", ["added", "changed"])
def test_a_run_folder_with_other_files_is_kept(project: Path, what: str) -> None:
    folder = project / "runs/original"
    target = folder / ("notes.txt" if what == "added" else "original.safetensors")
    found = remains("runs/second", ["."]).found
    target.write_bytes(b"mine")
    before = content(folder)
    with pytest.raises(StaleError):
        delete([each for each in found if each.path == folder], log_of(project / "runs/second"))
    assert content(folder) == before
    again = named(remains("runs/second", ["."]).found, project)
    assert target.name in again["runs/original"].kept
    delete(list(again.values()), log_of(project / "runs/second"))
    assert content(folder) == before


def test_a_file_that_changed_since_it_was_listed_is_kept(project: Path) -> None:
    found = [each for each in remains("runs/second", ["."]).found if each.path.name == "copy.pt"]
    (project / "copy.pt").write_bytes(b"mine")
    with pytest.raises(StaleError):
        delete(found, log_of(project / "runs/second"))
    assert (project / "copy.pt").read_bytes() == b"mine"


def test_an_interrupted_deletion_is_in_the_log_and_can_be_repeated(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [each for each in remains("runs/second", ["."]).found if each.path.name == "original"]
    unlink = Path.unlink

    def interrupted(path: Path, missing_ok: bool = False) -> None:
        if path.name == "config.yaml":
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    log = log_of(project / "runs/second")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", interrupted)
        delete(found, log)
    assert [entry.done for entry in read_log(log)] == [""]
    assert not (project / "runs/original/original.safetensors").exists()
    delete([each for each in remains("runs/second", ["."]).found if each.path.name == "original"], log)
    assert not (project / "runs/original").exists()
    assert [bool(entry.done) for entry in read_log(log)] == [False, True]


def test_the_command_lists_asks_and_deletes(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(project)
    assert main(["remains", "runs/second"]) == 0
    said = capsys.readouterr().out
    assert str(project / "runs/original") in said and digest_of_folder(project / "runs/original") in said
    assert main(["remains", "runs/second", "--delete"]) == 2  # no folder is named
    assert main(["remains", "runs/second", "--among+", "nowhere"]) == 2
    assert main(["remains", "runs/second", "--among+", "runs", "--delete"]) == 2  # no terminal to ask
    assert main(["remains", "runs/original"]) == 2  # forgot nothing
    assert content(project) == before
    # A folder that is named itself, and nothing else.
    assert main(["remains", "runs/second", "--among+", "runs/gold", "--delete", "--yes"]) == 0
    assert not (project / "runs/gold").exists() and (project / "runs/original").exists()
    assert main(["remains", "runs/second", "--among+", "runs", "--delete", "--yes"]) == 0
    assert (project / "copy.pt").exists() and not (project / "runs/original").exists()
    assert json.loads((project / "runs/second.deletions.json").read_text())["layout"] == 1


def test_the_word_must_be_typed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for word, code in (("yes", 2), ("delete", 0)):
        monkeypatch.setattr("builtins.input", lambda word=word: word)
        assert main(["remains", "runs/second", "--among+", "runs", "--delete"]) == code
        assert (project / "runs/original").exists() == bool(code)


def test_a_folder_whose_request_was_changed_is_named_and_kept(project: Path) -> None:
    path = project / "runs/other/request.json"
    path.write_text(path.read_text().replace("letter 1", "letter 3"))
    found = remains("runs/second", ["."])
    assert "runs/other" not in named(found.found, project)
    assert any(str(path) in text for text in found.unknown)


def test_a_file_of_another_kind_is_not_taken_for_a_log(project: Path) -> None:
    found = remains("runs/second", ["."]).found
    log_of(project / "runs/second").write_text("{}")
    with pytest.raises(StaleError):
        delete(found, log_of(project / "runs/second"))
    assert all(each.path.exists() for each in found)


def test_who_asked_goes_from_the_request_to_the_audit(made: Path) -> None:
    report = AuditReport.from_json(made / "runs/audit/audit.json")
    assert (report.requested_by, report.requested_on) == ("a patient", "2026-01-31")
    assert [(trace.what, trace.name) for trace in report.traces] == [
        ("original model", "original.safetensors"), ("retrained models", "store"),
    ]  # fmt: skip
    later = AuditReport.from_json(made / "runs/audit-2/audit.json")
    assert (later.requested_by, later.requested_on) == ("", "")


def test_a_day_that_is_none_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = forget(1, "new", "--method", "Retrain", "--request.requested_on", "yesterday")
    assert main(words) == 2 and "requested_on" in capsys.readouterr().err


def test_what_a_record_says_about_earlier_and_later_requests(made: Path) -> None:
    first, second = read_requests(made / "runs/second")
    original, gold = record_of(made / "runs/original"), record_of(made / "runs/gold")
    wanted = (first, second)
    assert remembered(wanted, original, ()) == [first, second]
    assert remembered(wanted, gold, (first,)) == [second]
    assert remembered(wanted, gold, ()) == [second]  # an entry of a store, by its digest
    assert remembered(wanted, replace(gold, request_digest=second.digest), ()) == []
    assert remembered(wanted, replace(gold, request_digest="0" * 64), ()) == [first, second]
    assert remembered(wanted, gold, (first, second)) == []


def test_positions_count_for_the_same_data_and_ids_for_any(made: Path) -> None:
    first, _ = read_requests(made / "runs/second")
    gold = record_of(made / "runs/gold")

    def record(forget: tuple[int, ...], data: str, ids: tuple[str, ...]) -> RequestRecord:
        digest = ForgetRequest(size=60, forget=forget, reason="r").digest
        salt = first.salt if ids else ""
        return replace(first, forget=forget, digest=digest, data_digest=data, ids=ids, salt=salt)

    same, other = first.data_digest, "0" * 64
    wider = (*first.forget, 50)
    assert remembered([first], gold, [record(wider, same, ())]) == []
    assert remembered([first], gold, [record(wider, other, ())]) == [first]
    assert remembered([first], gold, [record((1, 2), other, first.ids)]) == []
    assert remembered([first], gold, [record((1, 2), other, first.ids[:1])]) == [first]
    assert remembered([first], gold, [record(first.forget[:1], same, ())]) == [first]


def test_an_unfinished_leave_out_table_is_found_and_deleted(project: Path) -> None:
    part = project / "runs/table.unfinished/0123456789abcdef/0.safetensors"
    part.parent.mkdir(parents=True)
    save_file({"own": torch.zeros(2), "unseen": torch.zeros(3)}, part)
    other = project / "runs/table.unfinished/mine.safetensors"
    other.write_bytes(b"mine")
    (aside,) = (each for each in remains("runs/first").found if each.path == part)
    assert aside.kind == "unfinished leave-out table" and aside.kept
    found = remains("runs/first", ["runs"])
    assert not any(str(part) in remark for remark in found.unknown) and any(str(other) in u for u in found.unknown)
    delete([each for each in found.found if each.path == part], log_of(Path("runs/first")))
    assert not part.parent.exists() and other.exists()
