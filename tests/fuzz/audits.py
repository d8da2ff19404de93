"""Edits of an audit's JSON: each field with values of other types, left out, doubled; and damaged files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from fuzz.trial import DONE, REFUSED, Prepare, Trial
from fuzz.values import short

FILE = "alone/audit.json"
"""Where no manifest says what it was."""
NODES: tuple[Any, ...] = (
    *(None, True, 0, -1, 0.5, 1e308, 10**25, "", "text", "\x1b[31mred\u202e", "<script>alert(1)</script>"),
    *([], {}, [None], [1, 2, 3], {"a": 1}, [[]], ["a", "b"], {"": ""}),
)
SECTIONS = {
    "top": (),
    "samples": ("samples",),
    "settings": ("settings",),
    "model": ("models", 0),
    "cost": ("models", 1, "cost"),
    "about": ("about", 0),
    "measure": ("measures", 3),
    "figure": ("figures", 0),
    "curve": ("figures", 0, "curves", 0),
    "verdict": ("verdicts", 0),
}
"""Objects whose fields are edited, as paths."""
_ANY, _NO = frozenset({DONE, REFUSED}), frozenset({REFUSED})
_WRITES = ("alone/audit.html",)


def trials() -> Iterator[Trial]:
    """Damaged files first, then edits of fields, which depend on the file and are chosen when it is there."""
    for name, content in _refused().items():
        yield _trial(name, _written(content), _NO)
    for n in range(15):
        yield _trial(f"damaged {n}", lambda folder, n=n: _damage(folder, n))
    for section, path in SECTIONS.items():
        for n in range(12 if section in ("top", "measure", "model", "verdict") else 7):
            yield _trial(f"{section} {n}", lambda folder, path=path, n=n: _edit(folder, path, n))
    for node in NODES:
        yield _trial(f"whole: {short(repr(node))}", _written(json.dumps(node).encode()), _NO)
        yield _trial(f"schema: {short(repr(node))}", lambda folder, node=node: _set(folder, ("schema",), node), _NO)


def _trial(name: str, prepare: Prepare, codes: frozenset[int] = _ANY) -> Trial:
    def alone(folder: Path) -> None:
        (folder / "alone").mkdir()
        shutil.copy(folder / "runs/audit/audit.json", folder / FILE)
        prepare(folder)

    return Trial(name=name, words=("report", "alone"), prepare=alone, codes=codes, writes=_WRITES)


def _written(content: bytes) -> Prepare:
    return lambda folder: (folder / FILE).write_bytes(content)


def _refused() -> dict[str, bytes]:
    return {
        "empty": b"",
        "blank": b" \n",
        "text": b"audit",
        "latin-1": b'{"reason": "\xe9"}',
        "utf-16": '{"schema": 3}'.encode("utf-16"),
        "null byte": b"\x00",
        "NaN": b'{"schema": NaN}',
        "brackets": b"[" * 100_000,
        "braces": b'{"a":' * 100_000,
        "long number": b'{"schema": ' + b"9" * 10_000 + b"}",
        "an archive": b"PK\x03\x04" + bytes(200),
        "a page": b"<html></html>",
        "lines of JSON": b'{"schema": 3}\n{"schema": 3}\n',
    }


def _edit(folder: Path, path: tuple[Any, ...], seed: int) -> None:
    """Change one field of an object: take it away, name it otherwise, or give it another value."""
    content = _content(folder)
    random = Random(f"{path}/{seed}")
    edited = _inside(content, path)
    name = sorted(edited)[seed % len(edited)] if edited else "a"
    way = random.randrange(8)
    if way == 0:
        edited.pop(name, None)
    elif way == 1:
        edited[f"{name}\x1b[2J"] = edited.pop(name, None)
    else:
        edited[name] = random.choice(NODES)
    _write(folder, content)


def _set(folder: Path, path: tuple[Any, ...], value: Any) -> None:
    content = _content(folder)
    _inside(content, path[:-1])[path[-1]] = value
    _write(folder, content)


def _inside(content: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        content = content[step]
    return content


def _damage(folder: Path, seed: int) -> None:
    random, content = Random(seed), bytearray((folder / FILE).read_bytes())
    if seed % 3 == 0:
        del content[random.randrange(len(content)) :]
    for _ in range(random.randint(1, 10)):
        content[random.randrange(len(content))] = random.randrange(256)
    (folder / FILE).write_bytes(content)


def _content(folder: Path) -> Any:
    return json.loads((folder / FILE).read_text(encoding="utf-8"))


def _write(folder: Path, content: Any) -> None:
    (folder / FILE).write_text(json.dumps(content), encoding="utf-8")
