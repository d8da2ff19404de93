"""Every edit of the evidence is found by `unregress verify`, or changes the digest that was quoted."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from e2e.conftest import PROJECT, REQUEST, SHORT
from support import tiny_project as tiny
from support.tampering import TAMPERINGS, Tampering, drop_person
from unregress.cli import main
from unregress.cli.commands.agreement import require_agreement
from unregress.cli.commands.verify import verify
from unregress.data.case import Case
from unregress.data.request import ForgetRequest
from unregress.errors import CheckpointError, SettingError, StaleError
from unregress.files.writing import sha256_of
from unregress.runs.manifest import MANIFEST
from unregress.runs.model_io import read_model
from unregress.runs.provenance import digest_of_folder, unverified, weights_file
from unregress.runs.request_record import read_request
from unregress.training.runtime import Runtime

RUNTIME = Runtime(accelerator="cpu")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders: original, FineTune and Blindspot, audit of both, store with the golds of the audit."""
    folder = tmp_path_factory.mktemp("chain") / "runs"
    checkpoint = ["--checkpoint", str(folder / "original")]
    commands = [["train", *PROJECT, "--recipe.epochs", "3", "--output", str(folder / "original")]]
    for name in ("FineTune", "Blindspot"):
        commands.append(["forget", *PROJECT, *REQUEST, *checkpoint, "--method", name, *SHORT,
                         "--output", str(folder / name)])  # fmt: skip
    models = [f"--models.{name}={folder / run}" for name, run in
              (("original", "original"), ("mine", "FineTune"), ("train", "Blindspot"))]  # fmt: skip
    commands.append(["audit", *PROJECT, *REQUEST, *models, "--metrics", "[Errors]", "--retrain", "{golds: 1}",
                     "--retrain.store", str(folder / "store"), "--output", str(folder / "audit")])  # fmt: skip
    for words in commands:
        assert main(words) == 0, words
    return folder


@pytest.fixture
def runs(chain: Path, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    return Path(shutil.copytree(chain, tmp_path / "runs"))


@pytest.fixture(scope="module")
def case(chain: Path) -> Case:
    found = read_request(chain / "FineTune")
    request = ForgetRequest(size=found.size, forget=found.forget, reason=found.reason, target_band=found.target_band)
    return Case(task=tiny.make_task(), splits=tiny.load_data(), request=request)


def complaints(folder: Path, digest: str | None = None) -> str:
    """What `unregress verify` complains of; empty if nothing."""
    try:
        verify(folder, digest=digest, among=[folder.parent / "store"])
    except StaleError as error:
        return error.found
    return ""


def test_folders_as_they_were_written_are_whole(chain: Path, case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("original", "FineTune", "Blindspot", "audit"):
        folder = chain / name
        capsys.readouterr()
        assert complaints(folder, digest_of_folder(folder)) == ""
        first, *others = capsys.readouterr().out.splitlines()
        assert first.split() == [sha256_of(folder / MANIFEST), str(folder)]
        assert all(line.startswith("whole: ") for line in others)
        # itself, original, FineTune, Blindspot, one gold, one of another start
        assert len(others) == {"original": 1, "audit": 6}.get(name, 2)
    assert weights_file(chain / "FineTune") == chain / "FineTune" / "unlearned.safetensors"


def refused(folder: Path, case: Case) -> bool:
    """Whether a folder's model is refused, for other reasons than that it is no model."""
    try:
        require_agreement([folder])
        read_model(folder, case, RUNTIME, forgot=folder.name != "original")
    except (CheckpointError, StaleError):
        return True
    return False


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda tampering: tampering.what)
def test_every_tampering_is_found_or_shown(tampering: Tampering, runs: Path, case: Case) -> None:
    folder = runs / tampering.folder
    quoted, audits = digest_of_folder(folder), digest_of_folder(runs / "audit")
    tampering.do(runs)
    found = complaints(folder)
    assert re.search(tampering.names, found) if tampering.names else found == "", found
    assert bool(complaints(runs / "audit")) == tampering.later
    assert complaints(folder, quoted) and complaints(runs / "audit", audits)
    if tampering.folder != "audit":
        assert refused(folder, case) == tampering.refused
        # The one case that is let through for the sake of earlier versions' folders; the audit has a caveat then.
        assert unverified(folder) == (tampering.what.endswith("the manifest removed"))


def row(tampering: Tampering) -> str:
    """A tampering's line in the documentation."""
    model = tampering.folder != "audit"
    told = [tampering.names != "", model and tampering.refused, tampering.later]
    words = ["yes" if each else "–" if not model and n == 1 else "no" for n, each in enumerate(told)]
    return f"| {tampering.folder} | {tampering.what} | {' | '.join(words)} |"


def test_the_documentation_s_table_is_this_one() -> None:
    page = Path(__file__).parents[2] / "docs" / "evidence.md"
    if not page.is_file():
        pytest.skip("there is no docs/evidence.md here")
    listed = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert listed[1:] == [row(tampering) for tampering in TAMPERINGS]


def test_a_request_is_taken_only_from_a_file_that_was_not_changed(runs: Path) -> None:
    words = ["forget", *PROJECT, "--request.from_run", str(runs / "FineTune"), "--method", "Retrain",
             "--method.recipe.epochs", "1", "--output", str(runs / "gold")]  # fmt: skip
    assert main(words) == 0
    drop_person(digest=True, history=True)(runs)
    assert main([*words[:-1], str(runs / "other")]) == 2 and not (runs / "other").exists()


def test_an_ancestor_that_was_deleted_is_said_and_no_failure(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = digest_of_folder(runs / "original")
    shutil.rmtree(runs / "original")
    assert complaints(runs / "audit") == ""
    out = capsys.readouterr().out
    assert out.count(f"not checked: original (original), {digest}, is not here") == 1
    assert f"not checked: original (checkpoint), {digest}, is not here" in out


def test_an_ancestor_is_found_under_another_name_and_elsewhere(runs: Path, tmp_path: Path) -> None:
    (runs / "original").rename(runs / "first")
    assert complaints(runs / "audit") == ""
    (tmp_path / "archive").mkdir()
    (runs / "first").rename(tmp_path / "archive" / "first")
    (tmp_path / "archive" / "first" / "history.json").unlink()
    verify(runs / "FineTune")
    with pytest.raises(StaleError, match=r"first: history\.json is missing"):
        verify(runs / "FineTune", among=[tmp_path / "archive"])


def test_weights_files_are_ancestors_too(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = Path(shutil.copy(runs / "original" / "original.safetensors", runs / "model.safetensors"))
    assert main(["forget", *PROJECT, *REQUEST, "--checkpoint", str(weights), "--method", "FineTune",
                 "--method.recipe.epochs", "1", "--output", str(runs / "bare")]) == 0  # fmt: skip
    capsys.readouterr()
    assert complaints(runs / "bare") == ""
    assert "whole: model.safetensors (checkpoint), a file" in capsys.readouterr().out
    weights.write_bytes(b"other")
    assert re.search(r"model\.safetensors is not the checkpoint that .*bare was made from", complaints(runs / "bare"))


def test_a_rerun_of_an_ancestor_is_told_from_other_weights(runs: Path) -> None:
    """The same weights, made once more: another run, of which the audit knows nothing."""
    assert main(["train", *PROJECT, "--recipe.epochs", "3", "--output", str(runs / "again")]) == 0
    shutil.rmtree(runs / "original")
    (runs / "again").rename(runs / "original")
    found = complaints(runs / "FineTune")
    assert "is not the checkpoint that" in found and found.endswith("; its weights are the same")


def test_the_command_prints_the_digest_and_exits_with_2(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    digest = digest_of_folder(runs / "FineTune")
    assert main(["verify", "FineTune", "--digest", digest.upper()]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [f"{digest}  FineTune", "whole: FineTune, 6 files"]
    assert main(["verify", "FineTune", "--digest", "0" * 64]) == 2
    shown = capsys.readouterr()
    # A digest on standard output is of a folder that is whole and the one that was asked for.
    assert digest not in shown.out and f"FineTune has another digest, {digest}, than the given" in shown.err
    (runs / "FineTune" / "history.json").unlink()
    (runs / "FineTune" / "mine.txt").write_text("mine")
    assert main(["verify", "FineTune", "--among+", "store"]) == 2
    shown = capsys.readouterr()
    assert "history.json is missing; FineTune: mine.txt was added" in shown.err
    for folder in ("gone", "store", "."):
        assert main(["verify", folder]) == 2
    with pytest.raises(SettingError):
        verify(runs / "FineTune", digest="12ab")


def test_no_file_holds_a_path_of_this_machine_but_the_options_that_were_typed(chain: Path) -> None:
    for file in chain.rglob("*"):
        if file.is_file() and file.name != "config.yaml":
            assert str(chain).encode() not in file.read_bytes(), file
