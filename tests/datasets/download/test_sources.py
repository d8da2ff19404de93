"""Fetching datasets, from a server on this machine in place of their publishers'."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.webserver import Web, serving
from unregress.datasets.download.sources import SOURCES, fetch
from unregress.datasets.text.stsb import read_stsb
from unregress.errors import DataError, SettingError
from unregress.experiments.families import FAMILIES

LINE = b"main-news\tMSRpar\t2012test\t0001\t4.000\tA dog runs.\tA dog is running.\n"


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A server to which all datasets' urls point."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        for name, source in SOURCES.items():
            remotes = tuple(replace(each, url=f"{server.address}/{each.file}") for each in source.remotes)
            monkeypatch.setitem(SOURCES, name, replace(source, remotes=remotes))
        yield server


def tar(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode=mode) as opened:  # type: ignore[call-overload]
            for name, body in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(body)
                opened.addfile(entry, io.BytesIO(body))
        return file.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as opened:
            for name, body in files.items():
                opened.writestr(name, body)
        return file.getvalue()


def listed(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_stsb_can_be_read_where_it_is_put(web: Web, tmp_path: Path) -> None:
    files = {f"stsbenchmark/sts-{part}.csv": LINE for part in ("train", "dev", "test", "mt")}
    web.put("Stsbenchmark.tar.gz", tar(files | {"stsbenchmark/LICENSE.txt": b"licence"}))
    said: list[str] = []
    fetch("stsb", tmp_path, said.append)
    assert listed(tmp_path / "stsb") == ["LICENSE.txt", "sts-dev.csv", "sts-test.csv", "sts-train.csv"]
    assert read_stsb(tmp_path / "stsb")["train"]["score"].tolist() == [4.0]
    assert FAMILIES["stsb"].missing(tmp_path) == []
    assert said[0].startswith("Fetching Stsbenchmark.tar.gz from http://127.0.0.1")
    assert said[1].startswith("Licence: by the sentences' sources, CC BY-SA 4.0")
    assert f"glove.6B.zip (862 MB) into {tmp_path / 'stsb'}" in said[-1]


def test_plain_files(web: Web, tmp_path: Path) -> None:
    for number in (1, 2):
        web.put(f"ETTh{number}.csv", b"date,OT\n" * number)
    fetch("ett", tmp_path)
    assert listed(tmp_path / "ett") == ["ETTh1.csv", "ETTh2.csv"]
    assert (tmp_path / "ett" / "ETTh2.csv").read_bytes() == b"date,OT\n" * 2


@pytest.mark.parametrize(
    ("name", "archive", "files", "kept"),
    [
        ("electricity", "electricityloaddiagrams20112014.zip", ["LD2011_2014.txt", "__MACOSX/._LD"], "LD2011_2014.txt"),
        ("glove", "glove.6B.zip", ["glove.6B.50d.txt", "glove.6B.300d.txt"], "glove.6B.300d.txt"),
    ],
)
def test_zip_archives(web: Web, tmp_path: Path, name: str, archive: str, files: list[str], kept: str) -> None:
    web.put(archive, zipped({file: file.encode() for file in files}))
    fetch(name, tmp_path, lambda line: None)
    assert listed(tmp_path / name) == [kept]
    assert (tmp_path / name / kept).read_text() == kept


def test_what_is_there_is_not_fetched_again(web: Web, tmp_path: Path) -> None:
    imdb = tar({"imdb_crop/imdb.mat": b"imdb", "imdb_crop/00/a.jpg": b"a"}, "w")
    web.put("imdb_crop.tar", imdb)
    with pytest.raises(DataError, match=r"The server refuses .*wiki_crop.tar: 404"):
        fetch("imdb-wiki", tmp_path, lambda line: None)
    assert listed(tmp_path / "imdb-wiki") == ["imdb_crop"]

    web.put("wiki_crop.tar", tar({"wiki_crop/wiki.mat": b"wiki"}, "w"))
    said: list[str] = []
    fetch("imdb-wiki", tmp_path, said.append)
    assert said[0] == f"imdb_crop: in {tmp_path / 'imdb-wiki'} already"
    assert any("research only" in line for line in said)
    assert len(web.pages["imdb_crop.tar"].asked) == 1
    assert listed(tmp_path / "imdb-wiki") == ["imdb_crop", "wiki_crop"]
    assert (tmp_path / "imdb-wiki" / "imdb_crop" / "00" / "a.jpg").read_bytes() == b"a"


def test_a_page_in_place_of_an_archive(web: Web, tmp_path: Path) -> None:
    web.put("glove.6B.zip", b"<html>under maintenance</html>")
    with pytest.raises(DataError, match=r"glove.6B.zip is not a zip or tar archive"):
        fetch("glove", tmp_path, lambda line: None)
    assert listed(tmp_path / "glove") == ["glove.6B.zip"]  # for a look at it


@pytest.mark.parametrize(("name", "page"), [("agedb", "ibug.doc.ic.ac.uk/resources/agedb"), ("utkface", "susanqq")])
def test_what_a_person_must_ask_for(tmp_path: Path, name: str, page: str) -> None:
    with pytest.raises(DataError, match=page) as error:
        fetch(name, tmp_path)
    assert f"{tmp_path / name}" in str(error.value)
    assert f"{name}.csv" in str(error.value)
    assert listed(tmp_path) == []


def test_an_unknown_dataset(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"'mnist' is unknown. Expected one of agedb, utkface, imdb-wiki, stsb"):
        fetch("mnist", tmp_path)


def test_every_family_has_a_source() -> None:
    assert {family.folder for family in FAMILIES.values() if not family.shipped} <= SOURCES.keys()
    for name, source in SOURCES.items():
        assert bool(source.remotes) != bool(source.steps), name
        for remote in source.remotes:
            assert remote.url.startswith(("http://", "https://"))
            assert remote.licence and remote.home.startswith("http")
