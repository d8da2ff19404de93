"""`unregress report`: which audits it reads, and what it replaces."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from unregress.cli import main
from unregress.evidence import AuditReport
from unregress.files.writing import sha256_of
from unregress.report import model_card, render_html
from unregress.runs.manifest import write_manifest


@pytest.fixture
def bare(report: AuditReport, tmp_path: Path) -> Path:
    """A folder with an audit.json alone."""
    folder = tmp_path / "bare"
    folder.mkdir()
    replace(report, figures=()).to_json(folder / "audit.json")
    return folder


@pytest.fixture
def run(report: AuditReport, tmp_path: Path) -> Path:
    """A run folder as an audit leaves it."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text("seed: 7\n")
    replace(report, figures=()).to_json(folder / "audit.json")
    render_html(replace(report, figures=()), folder / "audit.html")
    write_manifest(folder, ())
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_bare_audit_gets_its_page_and_is_said_not_to_be_verified(
    bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(bare)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Not verified: " in said and f"Wrote {bare / 'audit.html'}" in said
    first = (bare / "audit.html").read_bytes()
    assert main(["report", str(bare / "audit.json")]) == 0
    assert (bare / "audit.html").read_bytes() == first


def test_a_run_folder_is_checked_named_by_its_digest_and_left_as_it_is(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(run)
    assert main(["report", str(run)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{run} has the digest {sha256_of(run / 'manifest.json')}" in said
    assert f"The page is {run / 'audit.html'}" in said
    assert main(["report", str(run / "audit.json"), "--output", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").read_bytes() == before["audit.html"]
    assert content(run) == before


@pytest.mark.parametrize("state", ["missing", "changed"])
def test_a_page_that_is_not_as_it_was_written_is_mentioned_and_left(
    run: Path, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "audit.html").unlink() if state == "missing" else (run / "audit.html").write_text("<p>PASS</p>")
    before = content(run)
    assert main(["report", str(run)]) == 0
    assert f"{run / 'audit.html'} is {state}" in (said := capsys.readouterr().out)
    assert "`--output FILE`" in said
    assert content(run) == before


def test_an_edited_audit_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (run / "audit.json").read_text(encoding="utf-8")
    (run / "audit.json").write_text(text.replace("Deletion request 17", "Deletion request 18"), encoding="utf-8")
    assert main(["report", str(run)]) == 2
    assert f"{run / 'audit.json'} was changed" in capsys.readouterr().err


def test_an_audit_further_down_in_a_run_folder_is_checked_too(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deep = run / "audits" / "seed-0.json"
    deep.parent.mkdir()
    deep.write_bytes((run / "audit.json").read_bytes())
    assert main(["report", str(deep)]) == 2  # added later
    write_manifest(run, ())
    capsys.readouterr()
    assert main(["report", str(deep)]) == 0
    assert f"{deep.with_suffix('.html')} is missing" in capsys.readouterr().out


def test_a_broken_manifest_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "manifest.json").write_text("{}")
    (run / "config.yaml").unlink()
    assert main(["report", str(run)]) == 2
    assert "manifest.json" in capsys.readouterr().err


def test_nothing_but_a_page_is_replaced(bare: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bare / "module.py").write_text("x = 1\n")
    (bare / "notes.html").write_text("<!doctype html>\n<title>mine</title>\n")
    (bare / "folder").mkdir()
    for name in ("audit.json", "module.py", "notes.html", "folder"):
        before = content(bare)
        assert main(["report", str(bare), "--output", str(bare / name)]) == 2
        assert str(bare / name) in capsys.readouterr().err
        assert content(bare) == before
    for name in ("audit.html", "new.html", "below/new.html"):
        before = content(run)
        assert main(["report", str(bare), "--output", str(run / name)]) == 2
        assert f"lies in the run folder {run}" in capsys.readouterr().err
        assert content(run) == before


def test_a_page_in_no_folder_is_refused_and_makes_none(
    bare: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for output in (tmp_path / "no" / "page.html", bare / "audit.json" / "page.html"):
        assert main(["report", str(bare), "--output", str(output)]) == 2
        assert f"{output} cannot be written: there is no folder {output.parent}" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["audit.json", "bare"]


def test_a_foreign_page_beside_a_bare_audit_is_left(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bare / "audit.html").write_text("mine")
    assert main(["report", str(bare)]) == 2
    assert (bare / "audit.html").read_text() == "mine"
    assert "--output" in capsys.readouterr().err


def test_a_page_is_replaced_and_through_a_link_the_page_that_it_leads_to(bare: Path, tmp_path: Path) -> None:
    page, link = tmp_path / "page.html", tmp_path / "link.html"
    render_html(replace(AuditReport.from_json(bare / "audit.json"), reason="another"), page)
    link.symlink_to(page)
    assert main(["report", str(bare), "--output", str(link)]) == 0
    assert link.is_symlink() and "Deletion request 17" in page.read_text(encoding="utf-8")


def test_a_full_disk_names_the_page_and_leaves_the_earlier_one(
    bare: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(bare)]) == 0
    before = content(bare)

    def full(self: Path, *_: object, **__: object) -> int:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert main(["report", str(bare)]) == 2
    assert f"{bare / 'audit.html'} cannot be written: No space left on device" in capsys.readouterr().err
    assert content(bare) == before


def test_a_card_is_written_and_replaces_nothing_but_a_card(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(run)
    card = tmp_path / "card.md"
    for _ in range(2):
        assert main(["report", str(run), "--card", str(card)]) == 0
        assert card.read_text(encoding="utf-8") == model_card(AuditReport.from_json(run / "audit.json"))
    assert f"Wrote {card}" in capsys.readouterr().out
    (tmp_path / "README.md").write_text("# Mine\n")
    for other in (tmp_path / "README.md", run / "card.md", tmp_path / "none" / "card.md", tmp_path):
        assert main(["report", str(run), "--card", str(other)]) == 2
        assert "--card" in capsys.readouterr().err
    assert content(run) == before and (tmp_path / "README.md").read_text() == "# Mine\n"
