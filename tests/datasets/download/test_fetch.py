"""Downloads from a server on this machine: whole, cut off and resumed, changed, refused."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.webserver import Web, serving
from unregress.datasets.download import fetch as module
from unregress.datasets.download import resume
from unregress.datasets.download.fetch import download
from unregress.errors import DataError, SettingError

BODY = bytes(range(256)) * 40
OTHER = BODY[::-1] + b"more"


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        yield server


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def cut_off(web: Web, target: Path, **how: object) -> str:
    """A file of which 3,000 bytes have come; returns its url."""
    url = web.put("data.bin", BODY, cuts=[3000, 3000], **how)
    with pytest.raises(DataError, match=r"cut off after 3,000 bytes of 10,240 bytes, 1 times"):
        download(url, target, tries=1, pause=0)
    web.put("data.bin", BODY, **how)
    assert names(target.parent) == ["data.bin.partial", "data.bin.partial.json"]
    return url


def test_a_whole_file(web: Web, tmp_path: Path) -> None:
    target = tmp_path / "new" / "data.bin"
    assert download(web.put("data.bin", BODY), target) == target
    assert target.read_bytes() == BODY
    assert names(target.parent) == ["data.bin"]


def test_an_empty_file(web: Web, tmp_path: Path) -> None:
    assert download(web.put("data.bin", b""), tmp_path / "data.bin").read_bytes() == b""


@pytest.mark.parametrize("how", [{"says_length": False}, {"etag": ""}, {"ranges": False}])
def test_a_server_that_says_less(web: Web, tmp_path: Path, how: dict[str, object]) -> None:
    assert download(web.put("data.bin", BODY, **how), tmp_path / "data.bin").read_bytes() == BODY


def test_a_cut_connection_is_resumed(web: Web, tmp_path: Path) -> None:
    url = web.put("data.bin", BODY, cuts=[3000, 7000])
    said: list[str] = []
    assert download(url, tmp_path / "data.bin", say=said.append, pause=0).read_bytes() == BODY
    assert web.pages["data.bin"].asked == ["", "bytes=3000-", "bytes=7000-"]
    assert said[1] == "data.bin: resuming after 3,000 bytes"
    assert names(tmp_path) == ["data.bin"]


@pytest.mark.parametrize("how", [{}, {"etag": "", "modified": "Mon, 01 Jan 2024 00:00:00 GMT"}])
def test_a_later_call_goes_on(web: Web, tmp_path: Path, how: dict[str, object]) -> None:
    url = cut_off(web, tmp_path / "data.bin", **how)
    assert download(url, tmp_path / "data.bin").read_bytes() == BODY
    assert web.pages["data.bin"].asked == ["bytes=3000-"]


def test_getting_further_does_not_use_up_the_tries(web: Web, tmp_path: Path) -> None:
    url = web.put("data.bin", BODY, cuts=[1000, 2000, 3000, 4000, 5000])
    assert download(url, tmp_path / "data.bin", tries=2, pause=0).read_bytes() == BODY


def test_getting_nowhere_does(web: Web, tmp_path: Path) -> None:
    url = web.put("data.bin", BODY, cuts=[1000] * 9)
    with pytest.raises(DataError, match=r"cut off .*, 3 times .* resumed"):
        download(url, tmp_path / "data.bin", tries=3, pause=0)
    assert len(web.pages["data.bin"].asked) == 4  # the first got further than nothing
    assert (tmp_path / "data.bin.partial").read_bytes() == BODY[:1000]


@pytest.mark.parametrize("how", [{"ranges": False}, {"etag": ""}, {"etag": 'W/"1"'}])
def test_without_ranges_or_versions_it_starts_over(web: Web, tmp_path: Path, how: dict[str, object]) -> None:
    url = cut_off(web, tmp_path / "data.bin", **how)
    assert download(url, tmp_path / "data.bin").read_bytes() == BODY


@pytest.mark.parametrize("heeds", [True, False], ids=["server heeds If-Range", "server overlooks it"])
@pytest.mark.parametrize("body", [OTHER, BODY[:3000], b"short"], ids=["longer", "as long as what came", "shorter"])
def test_a_changed_file_starts_over(web: Web, tmp_path: Path, body: bytes, heeds: bool) -> None:
    url = cut_off(web, tmp_path / "data.bin")
    web.put("data.bin", body, etag='"2"', heeds_condition=heeds)
    assert download(url, tmp_path / "data.bin", pause=0).read_bytes() == body
    assert names(tmp_path) == ["data.bin"]


def test_a_part_of_another_url_starts_over(web: Web, tmp_path: Path) -> None:
    cut_off(web, tmp_path / "data.bin")
    assert download(web.put("other", OTHER), tmp_path / "data.bin").read_bytes() == OTHER
    assert web.pages["other"].asked == [""]


def test_a_part_without_its_version_starts_over(web: Web, tmp_path: Path) -> None:
    url = cut_off(web, tmp_path / "data.bin")
    (tmp_path / "data.bin.partial.json").write_text('{"url"')
    assert download(url, tmp_path / "data.bin").read_bytes() == BODY
    assert web.pages["data.bin"].asked == [""]


def test_a_whole_part_is_not_fetched_again(web: Web, tmp_path: Path) -> None:
    url = cut_off(web, tmp_path / "data.bin")
    (tmp_path / "data.bin.partial").write_bytes(BODY)  # as when it is killed before it gives the file its name
    assert download(url, tmp_path / "data.bin").read_bytes() == BODY
    assert web.pages["data.bin"].asked == []


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_the_checksum(web: Web, tmp_path: Path, kind: str) -> None:
    right, wrong = (f"{kind}:{hashlib.new(kind, body).hexdigest()}" for body in (BODY, OTHER))
    url = web.put("data.bin", BODY)
    with pytest.raises(DataError, match=f"another checksum: .*{right.partition(':')[2]}.* Expected {wrong}"):
        download(url, tmp_path / "data.bin", checksum=wrong)
    assert names(tmp_path) == []
    assert (
        download(url, tmp_path / "data.bin", checksum=f"{kind}:{right.partition(':')[2].upper()}").read_bytes() == BODY
    )


def test_what_is_there_is_kept_unless_its_checksum_is_another(web: Web, tmp_path: Path) -> None:
    url, target = web.put("data.bin", BODY), tmp_path / "data.bin"
    target.write_bytes(b"mine")
    assert download(url, target).read_bytes() == b"mine"
    assert download(url, target, checksum=f"md5:{hashlib.md5(b'mine').hexdigest()}").read_bytes() == b"mine"
    assert web.pages["data.bin"].asked == []
    assert download(url, target, checksum=f"md5:{hashlib.md5(BODY).hexdigest()}").read_bytes() == BODY


@pytest.mark.parametrize(("code", "remedy"), [(403, "login or consent"), (404, "where it is now"), (410, "by hand")])
def test_a_refusal_is_not_tried_again(web: Web, tmp_path: Path, code: int, remedy: str) -> None:
    url = web.put("data.bin", BODY, refusals=[code])
    with pytest.raises(DataError, match=rf"{code} .*{remedy}"):
        download(url, tmp_path / "data.bin")
    assert len(web.pages["data.bin"].asked) == 1
    assert names(tmp_path) == []


def test_a_busy_server_is_tried_again(web: Web, tmp_path: Path) -> None:
    url = web.put("data.bin", BODY, refusals=[503, 429])
    assert download(url, tmp_path / "data.bin", pause=0).read_bytes() == BODY
    web.put("data.bin", BODY, refusals=[503] * 9)
    with pytest.raises(DataError, match=r"the server answers 503 .*, 2 times"):
        download(url, tmp_path / "other.bin", tries=2, pause=0)


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DataError, match=rf"127.0.0.1:{port} cannot be reached .*[Rr]efused.* Check the connection"):
        download(f"http://127.0.0.1:{port}/data.bin", tmp_path / "data.bin")


def test_a_silent_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/data.bin"
        with pytest.raises(DataError, match=r"no answer \(timed out\), 2 times"):
            download(url, tmp_path / "data.bin", tries=2, timeout=0.05, pause=0)


@pytest.mark.parametrize("spoil", ["folder is a file", "disk full"])
def test_the_disk(web: Web, tmp_path: Path, spoil: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = web.put("data.bin", BODY)
    target = tmp_path / "folder" / "data.bin"
    if spoil == "folder is a file":
        (tmp_path / "folder").touch()
    else:
        full = Path("/dev/full")
        if not full.exists():
            pytest.skip("no /dev/full")
        target.parent.mkdir()
        begin: Callable[..., None] = resume.Partial.begin

        def begin_on_full_disk(self: resume.Partial, version: resume.Version) -> None:
            begin(self, version)
            self.path.unlink()
            self.path.symlink_to(full)

        monkeypatch.setattr(resume.Partial, "begin", begin_on_full_disk)
    with pytest.raises(DataError, match=r"data.bin cannot be written: .*Free some space or name another folder"):
        download(url, target)
    assert not target.exists()


def test_progress_is_said(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 4000)
    monkeypatch.setattr(module, "PROGRESS_EVERY", 4000)
    said: list[str] = []
    download(web.put("data.bin", BODY), tmp_path / "data.bin", say=said.append)
    assert said == ["data.bin: 4,000 bytes of 10,240 bytes", "data.bin: 8,000 bytes of 10,240 bytes"]


@pytest.mark.parametrize(
    ("url", "checksum"), [("file:///etc/hosts", ""), ("data.bin", ""), ("http://127.0.0.1/", "md5:12"),
                          ("http://127.0.0.1/", "crc:1")],
)  # fmt: skip
def test_settings_that_make_no_sense(tmp_path: Path, url: str, checksum: str) -> None:
    with pytest.raises(SettingError):
        download(url, tmp_path / "data.bin", checksum=checksum)
