# ruff: noqa: E501
"""Lists of ids, outputs that are taken already, pages that overwrite something."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from fuzz.project import FINETUNE, PROJECT, audit, forget
from fuzz.trial import DONE, REFUSED, Prepare, Trial

_YES, _NO, _ANY = frozenset({DONE}), frozenset({REFUSED}), frozenset({DONE, REFUSED})
_SOMEBODY = r"person-(?!3\b|7\b|400\b)\d"
"""The ids of people whom no list names."""


def trials() -> Iterator[Trial]:
    """Ids files, then outputs of every command."""
    for name, (content, codes) in _ids().items():
        yield Trial(name=f"ids: {name}", words=_by_ids(), prepare=_file("ids.txt", content), codes=codes,
                    never=_SOMEBODY)  # fmt: skip
    for name, content in {
        "positions": b"0\n7\n",
        "beyond": b"40\n",
        "minus": b"-1\n",
        "float": b"1.5\n",
        "words": b"person-3\n",
        "spaces": b" 1 \n",
        "plus": b"+1\n",
        "other digits": "٣\n".encode(),
    }.items():
        codes = _YES if name in ("positions", "spaces") else _NO
        yield Trial(name=f"positions: {name}", words=(*_by_ids(), "--data.named", "false"),
                    prepare=_file("ids.txt", content), codes=codes)  # fmt: skip
    for name, path in {
        "nothing": "none.txt",
        "a folder": "runs",
        "a device": "/dev/null",
        "weights": "runs/original/original.safetensors",
        "an empty name": "",
    }.items():
        yield Trial(name=f"ids from {name}", words=(*_by_ids(), "--request.ids_file", path), codes=_NO)  # fmt: skip
    yield from _outputs()
    yield from _pages()


def _by_ids() -> tuple[str, ...]:
    return ("forget", *PROJECT, *FINETUNE, "--checkpoint", "runs/original", "--request.reason", "letter",
            "--request.ids_file", "ids.txt", "--output", "out")  # fmt: skip


def _ids() -> dict[str, tuple[bytes, frozenset[int]]]:
    return {
        "good": (b"person-3\nperson-7\n", _YES),
        "with comments": (b"# letter\n\nperson-3\n  person-7  \n", _YES),
        "with a mark and returns": (b"\xef\xbb\xbfperson-3\r\nperson-7\r\n", _YES),
        "with one return": (b"person-3\rperson-7", _YES),
        "empty": (b"", _NO),
        "only comments": (b"# a\n# b\n", _NO),
        "unknown": (b"person-3\nperson-400\n", _NO),
        "twice": (b"person-3\nperson-3\n", _NO),
        "with a header": (b"id\nperson-3\n", _NO),
        "quoted": (b'"person-3"\n"person-7"\n', _NO),
        "columns": (b"person-3,Ann\nperson-7,Bob\n", _NO),
        "tabs": (b"person-3\tAnn\n", _NO),
        "semicolons": (b"person-3;person-7\n", _NO),
        "in one line": (b"person-3 person-7\n", _NO),
        "capitals": (b"PERSON-3\n", _NO),
        "in another width": ("\uff50erson-3\n".encode(), _NO),
        "with a soft hyphen": ("person\u00ad-3\n".encode(), _NO),
        "latin-1": ("pérson-3\n".encode("latin-1"), _NO),
        "utf-16": ("person-3\n".encode("utf-16"), _NO),
        "a null": (b"person-3\x00\n", _NO),
        "escapes": (b"\x1b[2Jperson-3\n", _NO),
        "a pattern": (b"person-*\n", _NO),
        "a prefix": (b"person-\n", _NO),
        "JSON": (b'["person-3", "person-7"]', _NO),
        "everybody": ("".join(f"person-{n}\n" for n in range(40)).encode(), _NO),
        "many unknown": (b"".join(b"x%d\n" % n for n in range(20_000)), _NO),
        "a long one": (b"x" * 2_000_000, _NO),
    }


def _file(name: str, content: bytes) -> Prepare:
    return lambda folder: (folder / name).write_bytes(content)


def _outputs() -> Iterator[Trial]:
    def made(*names: str) -> Prepare:
        def prepare(folder: Path) -> None:
            for name in names:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                if name.endswith("/"):
                    (folder / name).mkdir(exist_ok=True)
                else:
                    (folder / name).write_text("mine\n")

        return prepare

    train = ("train", *PROJECT, "--recipe.epochs", "1", "--output", "out")
    for command, words in {"train": train, "forget": forget(), "audit": audit()}.items():
        yield Trial(name=f"{command} into notes", words=words, prepare=made("out/notes.txt"), codes=_NO)
        yield Trial(name=f"{command} over a file", words=words, prepare=made("out"), codes=_NO)
        yield Trial(name=f"{command} into an empty folder", words=words, prepare=made("out/"), codes=_YES)
        yield Trial(name=f"{command} into another's config", words=words, prepare=made("out/config.yaml"), codes=_NO)
        yield Trial(name=f"{command} over a link to nothing", words=words, codes=_ANY, writes=("none", "none/*"),
                    prepare=lambda folder: (folder / "out").symlink_to("none"))  # fmt: skip
        yield Trial(name=f"{command} over a link to a run", words=words, codes=_NO,
                    prepare=lambda folder: (folder / "out").symlink_to("runs/gold"))  # fmt: skip
        yield Trial(name=f"{command} below a file", words=(*words, "--output", "file/out"), prepare=made("file"),
                    codes=_NO)  # fmt: skip
        yield Trial(name=f"{command} into a run", words=(*words, "--output", "runs/gold/deeper/out"), codes=_NO)
        yield Trial(name=f"{command} into a run's parent", words=(*words, "--output", "runs"), codes=_NO)
    again = forget(output="runs/mine")
    for name in ("notes.txt", "deeper/notes.txt", "config.yaml.bak", ".hidden", "plot.png"):
        yield Trial(name=f"once more over {name}", words=again, prepare=made(f"runs/mine/{name}"), codes=_NO)


def _pages() -> Iterator[Trial]:
    page = ("report", "runs/audit", "--output")
    yield Trial(name="page: new", words=(*page, "out.html"), codes=_YES, writes=("out.html",))
    yield Trial(name="page: over a page", words=(*page, "page.html"), codes=_YES, writes=("page.html",),
                prepare=lambda folder: shutil.copy(folder / "runs/audit/audit.html", folder / "page.html"))  # fmt: skip
    yield Trial(name="page: without suffix", words=(*page, "out"), codes=_ANY)
    refused = (
        *("runs/audit/audit.json", "runs/audit/config.yaml", "runs/audit/audit.html", "runs/gold/unlearned.safetensors", "mine.py", "mine.html"),
        *("runs", "runs/audit", "none/out.html", "/dev/full", "link.html", ""),
    )  # fmt: skip

    def prepare(folder: Path) -> None:
        (folder / "mine.py").write_text("mine = 1\n")
        (folder / "mine.html").write_text("<html>my own page</html>\n")
        (folder / "link.html").symlink_to("mine.py")

    for name in refused:
        yield Trial(name=f"page: over {name or 'nothing'}", words=(*page, name), prepare=prepare, codes=_NO)
