# ruff: noqa: E501
"""Configurations in YAML: wrong types, duplicate keys, encodings, nesting, anchors, tags that would run code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from fuzz.trial import DIVERGED, DONE, REFUSED, Prepare, Trial
from fuzz.values import HOSTILE, VALUES, chosen, short

GOOD: dict[str, Any] = {
    "task": "fuzz.project.make_task",
    "data": {"class_path": "fuzz.project.load_data", "init_args": {"samples": 40, "seed": 0, "named": True}},
    "request": {"band": [55, None], "reason": "letter 17"},
    "method": {"class_path": "FineTune", "init_args": {"recipe": {"epochs": 1, "lr": 0.001, "optimizer": "adam"}}},
    "checkpoint": "runs/original",
    "runtime": {"seed": 0, "accelerator": "cpu", "devices": 1, "precision": "32-true", "workers": 0},
    "allow_overlap": False,
    "output": "out",
}
"""A configuration of `forget`."""
TEXT = yaml.safe_dump(GOOD, sort_keys=False)
NODES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, float("nan"), float("inf"), 10**40, "", "text", "é\u202e", [], {}, [1, 2], ["a", None]),
    *({"a": 1}, {1: 2}, {"class_path": "os.system"}, {"class_path": 7}, {"init_args": {}}, [[[]]], {"": ""}),
    {"class_path": "os.system", "init_args": {"command": "touch MARKER"}},
)  # fmt: skip
"""What may stand in the place of a value."""


def trials() -> Iterator[Trial]:
    """By hand, then each value of a good configuration replaced by others."""
    for name, content in {**_refused(), **_encodings()}.items():
        yield _trial(name, content, frozenset({REFUSED}))
    for name, content in _taken().items():
        yield _trial(name, content, frozenset({DONE}))
    for n, text in enumerate(chosen(VALUES, 20, "text")):
        yield _trial(f"only {short(text)} {n}", text.encode("utf-8", "surrogateescape"), frozenset({REFUSED}))
    any_code = frozenset({DONE, DIVERGED, REFUSED})
    for path in _paths(GOOD):
        for draw, node in enumerate(chosen(NODES, 4, *path)):
            # An output of another name is written where it says.
            writes = ("*",) if path == ("output",) else ("out", "out/*")
            content = yaml.safe_dump(_replaced(GOOD, path, node), sort_keys=False, allow_unicode=True)
            yield _trial(f"{'.'.join(path)}: {short(repr(node))}", content.encode(), any_code, writes, draw)
    for n in range(20):
        yield _trial(f"damaged {n}", _damaged(TEXT.encode(), n), any_code, ("out*",), n // 2)


def _trial(
    name: str, content: bytes, codes: frozenset[int], writes: tuple[str, ...] = ("out", "out/*"), draw: int = 0
) -> Trial:
    words = ("forget", "--config", "job.yaml")
    return Trial(name=name, words=words, prepare=_file(content), codes=codes, writes=writes, draw=draw)


def _file(content: bytes) -> Prepare:
    def prepare(folder: Path) -> None:
        (folder / "job.yaml").write_bytes(content)

    return prepare


def _refused() -> dict[str, bytes]:
    deep = 200
    texts = {
        "empty": "",
        "blank": "  \n\n",
        "comment": "# nothing\n",
        "end of document": "---\n...\n",
        "two documents": f"{TEXT}---\n{TEXT}",
        "list": "- task\n- data\n",
        "number": "7\n",
        "text": "forget\n",
        "null": "null\n",
        "unclosed": "task: [unclosed\n",
        "tab": "task:\n\tclass_path: x\n",
        "colon": "task: a: b\n",
        "null byte": "task: a\x00b\n",
        "escape": "task: a\x1bb\n",
        "same key twice": f"{TEXT}output: other\n",
        "same inner key twice": TEXT.replace("  seed: 0\n  accel", "  seed: 0\n  seed: 1\n  accel"),
        "key of a list": f"{TEXT}? [a, b]\n: c\n",
        "key of a number": f"{TEXT}7: c\n",
        "key of null": f"{TEXT}null: c\n",
        "key of true": f"{TEXT}true: c\n",
        "key with a dot": f"{TEXT}method.recipe.epochs.: 3\n",
        "key that is unknown": f"{TEXT}bogus: 1\n",
        "key that is misspelt": TEXT.replace("output", "outptu"),
        "key with blanks": TEXT.replace("output:", "' output ':"),
        "config in a config": f"{TEXT}config: job.yaml\n",
        "tag that runs": f"{TEXT}x: {HOSTILE}\n",
        "tag that runs, as the whole": HOSTILE,
        "tag that runs, as output": TEXT.replace("output: out", f"output: {HOSTILE}"),
        "tag that is made": f"{TEXT}x: !!python/object/new:os.system ['touch MARKER']\n",
        "tag of a name": TEXT.replace("output: out", "output: !!python/name:os.getcwd"),
        "tag of a module": TEXT.replace("output: out", "output: !!python/module:os"),
        "tag that is unknown": TEXT.replace("output: out", "output: !mine x"),
        "tag of bytes": TEXT.replace("samples: 40", "samples: !!binary aGVsbG8="),
        "tag of a set": TEXT.replace("samples: 40", "samples: !!set {a, b}"),
        "anchor that is unknown": TEXT.replace("output: out", "output: *nobody"),
        "anchor that contains itself": f"{TEXT}x: &x [*x]\n",
        "anchor that is its request": TEXT.replace("request:", "request: &r").replace(
            "reason: letter 17", "reason: *r"
        ),
        "laughs": "a: &a [x, x]\n"
        + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(20)),
        "brackets": f"task: {'[' * 100_000}",
        "braces": f"task: {'{a: ' * deep}1{'}' * deep}",
        "levels": "".join(f"{' ' * n}a:\n" for n in range(deep)),
        "merge of a number": f"{TEXT}<<: 7\n",
        "class that is no task": TEXT.replace("task: fuzz.project.make_task", "task: {class_path: torch.nn.Linear}"),
        "class that is a command": TEXT.replace(
            "task: fuzz.project.make_task", "task: {class_path: os.system, init_args: {command: touch MARKER}}"
        ),
        "class that is a list": TEXT.replace("class_path: FineTune", "class_path: [FineTune]"),
        "argument twice removed": TEXT.replace("epochs: 1", "epochs: {a: {b: 1}}"),
        "epochs of text": TEXT.replace("epochs: 1", "epochs: many"),
        "epochs of a list": TEXT.replace("epochs: 1", "epochs: [1]"),
        "rate of null": TEXT.replace("lr: 0.001", "lr: null"),
        "recipe of seven": TEXT[: TEXT.index("    recipe:")] + "    recipe: 7\n" + TEXT[TEXT.index("checkpoint") :],
        "request of a list": TEXT.replace("request:\n", "request:\n- 1\n"),
        "method of seven": f"{TEXT[: TEXT.index('method')]}method: 7\n{TEXT[TEXT.index('checkpoint') :]}",
        "devices of zero": TEXT.replace("devices: 1", "devices: [0, x]"),
        "output of nothing": TEXT.replace("output: out", "output:"),
        "output of a list": TEXT.replace("output: out", "output: [a]"),
        "long line": f"{TEXT}{'x' * 1_000_000}: 1\n",
    }
    return {name: text.encode() for name, text in texts.items()}


def _encodings() -> dict[str, bytes]:
    return {
        "latin-1": TEXT.replace("letter 17", "Bürger").encode("latin-1"),
        "utf-32": TEXT.encode("utf-32"),
        "utf-16 without a mark": TEXT.encode("utf-16-le"),
        "half a character": TEXT.encode() + b"x: \xe2\x82",
        "utf-16, cut": TEXT.encode("utf-16")[:-1],
        "a program": b"\x7fELF\x02\x01\x01" + bytes(200),
        "an archive": b"PK\x03\x04" + bytes(range(256)),
        "surrogates": b"task: \xed\xa0\x80\n",
    }


def _taken() -> dict[str, bytes]:
    return {
        "good": TEXT.encode(),
        "with a mark": TEXT.encode("utf-8-sig"),
        "in utf-16": TEXT.encode("utf-16"),
        "with returns": TEXT.replace("\n", "\r\n").encode(),
        "as JSON": yaml.safe_dump(GOOD, default_flow_style=True, width=10**6).encode(),
        "with a document's start": f"---\n{TEXT}".encode(),
        "in another script": TEXT.replace("letter 17", "忘れて é").encode(),
        "with an anchor": TEXT.replace("seed: 0\n  accel", "seed: &s 0\n  accel").replace("workers: 0", "workers: *s").encode(),
    }  # fmt: skip


def _paths(node: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in node.items():
        yield (*before, key)
        if isinstance(value, dict):
            yield from _paths(value, (*before, key))


def _replaced(node: Any, path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    return {**node, path[0]: _replaced(node[path[0]], path[1:], value)}


def _damaged(content: bytes, seed: int) -> bytes:
    """Cut off, or with some bytes that are others."""
    from random import Random

    random, changed = Random(seed), bytearray(content)
    if seed % 2:
        return content[: random.randrange(len(content))]
    for _ in range(random.randint(1, 6)):
        changed[random.randrange(len(content))] = random.randrange(256)
    return bytes(changed)
