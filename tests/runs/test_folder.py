"""Run folders: whole or not at all, never over anything else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from unregress.errors import RunFolderError
from unregress.runs.folder import new_run
from unregress.runs.manifest import MANIFEST, digest_of_folder, read_manifest


def tree(folder: Path) -> dict[str, str]:
    """Every file under a folder with its text, less manifests."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != MANIFEST]
    return {str(file.relative_to(folder)): file.read_text() for file in files}


def write(path: Path, config: str, **files: str) -> None:
    with new_run(path, config) as folder:
        for name, text in files.items():
            (folder / name).write_text(text)


def test_a_run_appears_whole_with_its_config_and_missing_parents(tmp_path: Path) -> None:
    with new_run(tmp_path / "a" / "b", "seed: 0\n") as folder:
        assert not (tmp_path / "a" / "b").exists()
        (folder / "deep").mkdir()
        (folder / "deep" / "x").write_text("1")
    assert tree(tmp_path) == {"a/b/config.yaml": "seed: 0\n", "a/b/deep/x": "1"}
    assert os.listdir(tmp_path / "a") == ["b"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_after_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), new_run(tmp_path / "a" / "b", "") as folder:
        (folder / "x").write_text("1")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_earlier_run(tmp_path: Path) -> None:
    write(tmp_path / "run", "seed: 0\n", x="1")
    with pytest.raises(ValueError), new_run(tmp_path / "run", "seed: 0\n") as folder:
        (folder / "x").write_text("2")
        raise ValueError
    assert tree(tmp_path) == {"run/config.yaml": "seed: 0\n", "run/x": "1"}


def test_the_same_run_again_replaces_the_whole_folder(tmp_path: Path) -> None:
    write(tmp_path / "run", "seed: 0\n", x="1", y="1")
    write(tmp_path / "run", "seed: 0\n", x="2")
    assert tree(tmp_path) == {"run/config.yaml": "seed: 0\n", "run/x": "2"}
    assert os.listdir(tmp_path) == ["run"]


def test_another_run_is_refused_and_unchanged(tmp_path: Path) -> None:
    write(tmp_path / "run", "seed: 0\n", x="1")
    before = tree(tmp_path)
    with pytest.raises(RunFolderError, match=r"holds another run.*Choose another `--output`, or remove"):
        write(tmp_path / "run", "seed: 1\n", x="2")
    assert tree(tmp_path) == before


DIFFERENT = {
    "one": ("recipe: {lr: 0.1, epochs: 3}\n", "recipe: {lr: 0.2, epochs: 3}\n", "recipe.lr (0.1 there, 0.2 here)"),
    "not set": ("seed: 0\nclip: null\n", "seed: 0\nclip: 1.0\n", "clip (none there, 1.0 here)"),
    "a long value": (f"reason: {'a' * 41}\nseed: 0\n", "reason: b\nseed: 1\n", "reason, seed (0 there, 1 here)"),
    "content": (
        f"checkpoint: a.pt\n# Made from, SHA-256 by content:\n# checkpoint: {'0' * 64}\n",
        f"checkpoint: a.pt\n# Made from, SHA-256 by content:\n# checkpoint: {'1' * 64}\n",
        "the content of checkpoint",
    ),
    "of another kind": (
        "a: {of: 1}\nkind: x\n",
        "b: 2\nkind: y\n",
        "kind (x there, y here), b (none there, 2 here), a.of (1 there, none here)",
    ),
    "many": (
        "".join(f"s{number}: 0\n" for number in range(7)),
        "".join(f"s{number}: 1\n" for number in range(7)),
        ", ".join(f"s{number} (0 there, 1 here)" for number in range(5)) + " and 2 more",
    ),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_another_run_s_settings_are_named_where_they_differ(name: str, tmp_path: Path) -> None:
    theirs, ours, expected = DIFFERENT[name]
    write(tmp_path / "run", theirs)
    with pytest.raises(RunFolderError) as caught:
        write(tmp_path / "run", ours)
    assert caught.value.found.endswith(f"holds another run: its config.yaml differs from this run's in {expected}")


@pytest.mark.parametrize("theirs", ["seed: [0\n", "\x00", "# seed\nseed: 0\n", "- seed\n"])
def test_a_config_that_says_no_setting_is_another_run_s_all_the_same(theirs: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(theirs)
    with pytest.raises(RunFolderError, match=r"holds another run: its config\.yaml differs from this run's"):
        write(tmp_path / "run", "seed: 0\n")


def test_a_folder_that_is_no_run_is_refused_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(RunFolderError, match="is not a run folder"):
        write(tmp_path / "thesis", "")
    assert tree(tmp_path) == {"thesis/chapter.txt": "years of work"}


def test_a_file_is_refused_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunFolderError, match=r"is not a folder|cannot be"):
            write(path, "")
    assert tree(tmp_path) == {"file": "text"}


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write(tmp_path / "run", "seed: 0\n")
    assert tree(tmp_path) == {"run/config.yaml": "seed: 0\n"}


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    write(tmp_path / "run", "seed: 0\n")
    assert (tmp_path / "run").is_symlink()
    assert tree(tmp_path / "disk") == {"config.yaml": "seed: 0\n"}


def test_a_run_that_appeared_meanwhile_is_kept(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds another run"), new_run(tmp_path / "run", "seed: 0\n"):
        write(tmp_path / "run", "seed: 1\n", x="theirs")
    assert tree(tmp_path) == {"run/config.yaml": "seed: 1\n", "run/x": "theirs"}


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_parent_is_said(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(RunFolderError, match="cannot be written: Permission denied"):
        write(tmp_path / "locked" / "run", "")


def test_a_place_that_cannot_be_made_is_said() -> None:
    with pytest.raises(RunFolderError, match="cannot be"):
        write(Path("/dev/null/run"), "")


def test_the_manifest_lists_every_file_and_what_the_run_was_made_from(tmp_path: Path) -> None:
    write(tmp_path / "first", "seed: 0\n", x="1")
    (tmp_path / "weights.pt").write_text("w")
    made_from = {"checkpoint": tmp_path / "first", "gold 1": tmp_path / "weights.pt", "other": tmp_path / "none"}
    with new_run(tmp_path / "run", "seed: 1\n", made_from) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "x").write_text("2")
        # As it was when the run began.
        shutil.rmtree(tmp_path / "first")
    manifest = read_manifest(tmp_path / "run")
    assert manifest is not None
    assert manifest.files == {"config.yaml": sha256(b"seed: 1\n"), "deep/x": sha256(b"2")}
    written = {"layout": 1, "made_from": [], "files": {"config.yaml": sha256(b"seed: 0\n"), "x": sha256(b"1")}}
    first = sha256((json.dumps(written, indent=1) + "\n").encode())
    found = [(source.role, source.name, source.digest) for source in manifest.made_from]
    assert found == [("checkpoint", "first", first), ("gold 1", "weights.pt", sha256(b"w")), ("other", "none", "")]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_same_run_has_the_same_digest(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, "seed: 0\n", y="2", x="1")
    assert digest_of_folder(tmp_path / "a") == digest_of_folder(tmp_path / "b") != ""


FOREIGN: dict[str, Callable[[Path], object]] = {
    "notes": lambda run: (run / "notes.txt").write_text("mine"),
    "a file in a folder": lambda run: ((run / "mine").mkdir(), (run / "mine" / "notes.txt").write_text("mine")),
    "a link to a folder": lambda run: (run / "notes.txt").symlink_to(run.parent, target_is_directory=True),
    "a broken link": lambda run: (run / "notes.txt").symlink_to("nowhere"),
    "a link to a file": lambda run: (run / "notes.txt").symlink_to(run / "x"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_that_holds_what_the_run_has_not_written_is_refused_and_unchanged(name: str, tmp_path: Path) -> None:
    write(tmp_path / "run", "seed: 0\n", x="1")
    FOREIGN[name](tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunFolderError) as caught:
        write(tmp_path / "run", "seed: 0\n", x="1")
    assert "notes.txt" in caught.value.found and "Move these files elsewhere" in caught.value.remedy
    assert sorted(tmp_path.rglob("*")) == before


def test_a_changed_file_is_named_and_kept_and_a_missing_one_written_again(tmp_path: Path) -> None:
    write(tmp_path / "run", "seed: 0\n", x="1", y="1")
    (tmp_path / "run" / "x").write_text("my correction")
    with pytest.raises(RunFolderError, match=r"would delete them: x \(changed\)"):
        write(tmp_path / "run", "seed: 0\n", x="1", y="1")
    assert (tmp_path / "run" / "x").read_text() == "my correction"
    (tmp_path / "run" / "x").unlink()
    write(tmp_path / "run", "seed: 0\n", x="1", y="1")
    assert tree(tmp_path) == {"run/config.yaml": "seed: 0\n", "run/x": "1", "run/y": "1"}


def test_what_operating_systems_put_into_folders_is_nobody_s(tmp_path: Path) -> None:
    write(tmp_path / "run", "seed: 0\n", x="1")
    (tmp_path / "run" / ".DS_Store").touch()
    (tmp_path / "run" / "empty").mkdir()
    write(tmp_path / "run", "seed: 0\n", x="1")
    assert tree(tmp_path) == {"run/config.yaml": "seed: 0\n", "run/x": "1"}


@pytest.mark.parametrize(
    "content", [None, b"", b"[]", b"{}", b"[" * 100_000, b'{"layout": 2, "made_from": [], "files": {}}']
)
def test_without_a_readable_manifest_nothing_is_replaced(content: bytes | None, tmp_path: Path) -> None:
    write(tmp_path / "run", "seed: 0\n", x="1")
    manifest = tmp_path / "run" / MANIFEST
    manifest.unlink() if content is None else manifest.write_bytes(content)
    with pytest.raises(RunFolderError, match=r"manifest\.json"):
        write(tmp_path / "run", "seed: 0\n", x="2")
    assert tree(tmp_path) == {"run/config.yaml": "seed: 0\n", "run/x": "1"}


@pytest.mark.parametrize("mark", ["manifest.json", "history.json", "digests.json"])
def test_a_run_inside_another_run_s_folder_is_refused(mark: str, tmp_path: Path) -> None:
    write(tmp_path / "run", "seed: 0\n", x="1")
    (tmp_path / "run" / MANIFEST).rename(tmp_path / "run" / mark)
    (tmp_path / "link").symlink_to(tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    for path in (tmp_path / "run" / "inner", tmp_path / "run" / "a" / "b", tmp_path / "link" / "inner"):
        with pytest.raises(RunFolderError, match="the folder of another run"):
            write(path, "seed: 0\n")
    assert sorted(tmp_path.rglob("*")) == before
    # A project with a `config.yaml` of its own is no run.
    (tmp_path / "run" / mark).unlink()
    write(tmp_path / "run" / "inner", "seed: 0\n")
