"""Archives: what is unpacked, where it ends up, and what is refused."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from unregress.datasets.download.archive import extract
from unregress.errors import DataError

FILES = {"top/a.txt": b"a", "top/deep/b.txt": b"bb", "top/c.txt": b"c", "__MACOSX/top/._a.txt": b"finder"}
KINDS = ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"]


def packed(path: Path, kind: str, files: dict[str, bytes] = FILES) -> Path:
    """An archive, whose name does not tell its kind."""
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, body in files.items():
                opened.writestr(name, body)
        return path
    with tarfile.open(path, "w:" + kind.removeprefix("tar").removeprefix(".")) as tar:  # type: ignore[call-overload]
        for name, body in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_it(tmp_path: Path, kind: str) -> None:
    assert extract(packed(tmp_path / "archive", kind), tmp_path / "new" / "data") == ["top"]
    assert contents(tmp_path / "new") == {"data/top/a.txt": b"a", "data/top/c.txt": b"c", "data/top/deep/b.txt": b"bb"}


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_part_of_it(tmp_path: Path, kind: str) -> None:
    archive = packed(tmp_path / "archive", kind)
    assert extract(archive, tmp_path / "data", inside="top", only=["a.txt", "deep"], extras=["none"]) == [
        "a.txt", "deep",
    ]  # fmt: skip
    assert contents(tmp_path / "data") == {"a.txt": b"a", "deep/b.txt": b"bb"}


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_what_is_there_is_replaced_and_the_rest_stays(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "data"
    for name in ("top/old.txt", "mine.txt", ".archive.partial/left.over"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("old")
    extract(packed(tmp_path / "archive", kind, {"top/a.txt": b"a"}), folder)
    assert contents(folder) == {"mine.txt": b"old", "top/a.txt": b"a"}
    assert sorted(os.listdir(folder)) == ["mine.txt", "top"]


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize("name", ["../evil", "top/../../evil", "/tmp/evil", "..\\evil", "C:/evil"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    archive = packed(tmp_path / "archive", kind, {"top/a.txt": b"a", name: b"evil"})
    with pytest.raises(DataError, match="leads out of the folder"):
        extract(archive, tmp_path / "deep" / "data")
    assert contents(tmp_path).keys() == {"archive"}
    assert not (tmp_path / "deep" / "data").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE], ids=["symbolic", "hard"])
def test_a_link_that_leads_out_is_refused(tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "secret").write_text("secret")
    with tarfile.open(tmp_path / "archive", "w:gz") as tar:
        entry = tarfile.TarInfo("link")
        entry.type, entry.linkname = kind, "../../secret"
        tar.addfile(entry)
    with pytest.raises(DataError, match="cannot be unpacked"):
        extract(tmp_path / "archive", tmp_path / "data")
    assert contents(tmp_path).keys() == {"archive", "secret"}


def test_a_missing_part_moves_nothing(tmp_path: Path) -> None:
    archive = packed(tmp_path / "archive", "zip")
    with pytest.raises(DataError, match=r"There is no d.txt and no e.txt in .*archive"):
        extract(archive, tmp_path / "data", inside="top", only=["a.txt", "d.txt", "e.txt"])
    with pytest.raises(DataError, match="There is no elsewhere in"):
        extract(archive, tmp_path / "data", inside="elsewhere")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
def test_a_damaged_archive_leaves_nothing(tmp_path: Path, kind: str) -> None:
    files = {"a.txt": b"a", "b.bin": os.urandom(50_000)}
    archive = packed(tmp_path / "archive", kind, files)
    body = bytearray(archive.read_bytes())
    if kind == "zip":
        body[20_000] ^= 1  # its list of files, at the end, stays whole
    else:
        del body[30_000:]
    archive.write_bytes(body)
    with pytest.raises(DataError, match=r"cannot be unpacked.*fetch it again"):
        extract(archive, tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("length", [1024, 1024 + 100, 1024 + 512], ids=["between files", "in a header", "in a file"])
def test_a_tar_archive_that_is_cut_off_is_never_taken_for_a_whole_one(tmp_path: Path, length: int) -> None:
    archive = packed(tmp_path / "archive", "tar", {"a.txt": b"a", "b.txt": b"b"})  # each a header and a block
    archive.write_bytes(archive.read_bytes()[:length])
    with pytest.raises(DataError, match=r"cannot be unpacked.*fetch it again"):
        extract(archive, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_no_archive(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("<html>Please log in</html>")
    for name in ("page", "none"):
        with pytest.raises(DataError, match="is not a zip or tar archive"):
            extract(tmp_path / name, tmp_path / "data")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_nothing_has_its_name_before_all_is_unpacked(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if it was killed between unpacking and moving: what is there is hidden, and the next call clears it."""
    archive = packed(tmp_path / "archive", kind)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", lambda *args, **options: None)

        def killed(source: Path, target: Path) -> None:
            raise KeyboardInterrupt

        patched.setattr("os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            extract(archive, tmp_path / "data")
    assert os.listdir(tmp_path / "data") == [".archive.partial"]
    extract(archive, tmp_path / "data")
    assert os.listdir(tmp_path / "data") == ["top"]
