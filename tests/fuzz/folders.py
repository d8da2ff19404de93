# ruff: noqa: E501
"""Run folders: each file deleted, truncated, changed, of other types, another folder's, a link; files too many."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from fuzz.project import PROJECT, RETRAIN, audit, forget
from fuzz.trial import DONE, REFUSED, Prepare, Trial
from fuzz.values import HOSTILE

_NO, _ANY = frozenset({REFUSED}), frozenset({DONE, REFUSED})
FILES = {
    "original": ("config.yaml", "manifest.json", "history.json", "original.safetensors", "start.safetensors"),
    "mine": ("config.yaml", "manifest.json", "history.json", "request.json", "unlearned.safetensors"),
    "gold": ("request.json", "history.json", "manifest.json", "unlearned.safetensors"),
}
NODES: tuple[Any, ...] = (
    *(None, True, 0, -1, 0.5, 10**25, "", "text", "\x1b[31mred", "../../x", "/etc/passwd", "original.safetensors"),
    *([], {}, [None], [1, 2, 3], {"a": 1}, [[]], ["a", "b"], [-1], [0, 0], [10**25], [39, 39]),
)
USES = {
    "original": forget(),
    "mine": audit(),
    "gold": audit(),
    "chained": (*forget("--request.band", "[50, null]", checkpoint="runs/chained"),),
}
"""The command that reads each folder."""
OWN = "class Mine:\n    pass\n\n\nfrom pathlib import Path\n\nPath('MARKER').touch()\n"
"""A module that another person's folder names."""


def trials() -> Iterator[Trial]:
    """Whole files first, then fields, then what surrounds them."""
    for folder, files in FILES.items():
        for file in files:
            yield from _of_file(folder, file)
    for folder, file in (("original", "history.json"), ("mine", "history.json"), ("mine", "request.json"),
                         ("gold", "request.json"), ("chained", "request.json"), ("original", "manifest.json")):  # fmt: skip
        for n in range(14):
            # An edit of a listed file is found by its digest, whatever the field is.
            draw = 0 if file == "manifest.json" else n
            yield _trial(folder, f"{file} field {n}", _edited(folder, file, n), _ANY, draw)
            if file != "manifest.json":
                unlisted = _edited(folder, file, n, listed=False)
                yield _trial(folder, f"{file} field {n}, without manifest", unlisted, _ANY)
    yield from _hostile()
    yield from _around()
    for folder in (*FILES, "chained", "audit"):
        yield Trial(name=f"{folder} verified", words=("verify", f"runs/{folder}"), codes=frozenset({DONE}))
    for name, words in {
        "nothing": (), "no folder": ("none",), "a file": ("runs/mine/config.yaml",), "folders": ("runs",),
        "a digest of text": ("runs/mine", "--digest", "x"), "another digest": ("runs/mine", "--digest", "0" * 64),
    }.items():  # fmt: skip
        yield Trial(name=f"verified: {name}", words=("verify", *words), codes=_NO)


def _trial(folder: str, name: str, prepare: Prepare, codes: frozenset[int], draw: int = 0) -> Trial:
    return Trial(name=f"{folder}: {name}", words=USES[folder], prepare=prepare, codes=codes, draw=draw)


def _of_file(folder: str, file: str) -> Iterator[Trial]:
    path = f"runs/{folder}/{file}"
    # Without its manifest a folder is only less sure; all else is listed there.
    needed = _ANY if file == "manifest.json" else _NO
    read = _NO

    def content(made: bytes) -> Prepare:
        return lambda root: (root / path).write_bytes(made)

    def changed(seed: int) -> Prepare:
        return lambda root: _flip(root / path, seed)

    def half(root: Path) -> None:
        whole = (root / path).read_bytes()
        (root / path).write_bytes(whole[: len(whole) // 2])

    def linked(root: Path) -> None:
        (root / path).unlink()
        (root / path).symlink_to(path.rpartition("/")[2])

    def folder_instead(root: Path) -> None:
        (root / path).unlink()
        (root / path).mkdir()

    def unnamed(root: Path) -> None:
        os.rename(root / path, root / f"{path}.old")

    # Whatever a listed file holds instead, it is found by its digest; a manifest is read.
    alike = range(7) if file != "manifest.json" else [0] * 7
    for name, prepare, codes, *draws in (
        ("deleted", lambda root: (root / path).unlink(), needed),
        ("renamed", unnamed, needed),
        ("a link to itself", linked, needed),
        ("a folder", folder_instead, needed),
        ("another's", lambda root: _swap(root, folder, file), _NO),
        ("empty", content(b""), read, alike[0]),
        ("nested", content(b"[" * 100_000), read, alike[1]),
        ("cut in half", half, read, alike[2]),
        ("not text", content(b"\xff\xfe\x00\xd8"), read, alike[3]),
        ("null", content(b"null"), read, alike[4]),
        ("a list", content(b"[]"), read, alike[5]),
        ("an empty object", content(b"{}"), read, alike[6]),
        *((f"flipped {n}", changed(n), _NO, n) for n in range(3)),
    ):
        if (file, name) == ("start.safetensors", "another's"):
            continue  # models that descend from one original have the same initial weights
        yield _trial(folder, f"{file} {name}", prepare, codes, *draws)
        yield Trial(
            name=f"{folder} verified: {file} {name}", words=("verify", f"runs/{folder}"), prepare=prepare, codes=_NO,
            draw=sum(draws),
        )  # fmt: skip


def _flip(path: Path, seed: int) -> None:
    content = bytearray(path.read_bytes())
    place = Random(f"{path.name}/{seed}").randrange(len(content))
    content[place] ^= 1 << seed
    path.write_bytes(content)


def _swap(root: Path, folder: str, file: str) -> None:
    """Put in the file of the same kind of another folder."""
    other = root / "runs" / ("mine" if folder == "original" else "chained")
    source = other / file if (other / file).exists() else other / "unlearned.safetensors"
    shutil.copy(source, root / "runs" / folder / file)


def _edited(folder: str, file: str, seed: int, *, listed: bool = True) -> Prepare:
    def prepare(root: Path) -> None:
        if not listed:
            (root / "runs" / folder / "manifest.json").unlink()
        path = root / "runs" / folder / file
        content = json.loads(path.read_text(encoding="utf-8"))
        random = Random(f"{folder}/{file}/{seed}")
        name = sorted(content)[seed % len(content)]
        if random.randrange(6):
            content[name] = random.choice(NODES)
        else:
            content.pop(name)
        path.write_text(json.dumps(content), encoding="utf-8")

    return prepare


def _hostile() -> Iterator[Trial]:
    """Folders of somebody who wants code to run, or files to be read from elsewhere."""

    def config(folder: str, old: str, new: str) -> Prepare:
        def prepare(root: Path) -> None:
            (root / "theirs.py").write_text(OWN)
            path = root / "runs" / folder / "config.yaml"
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(old, new), encoding="utf-8")
            (path.parent / "manifest.json").unlink()

        return prepare

    def history(folder: str, **fields: Any) -> Prepare:
        def prepare(root: Path) -> None:
            path = root / "runs" / folder / "history.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), **fields}), encoding="utf-8")
            (path.parent / "manifest.json").unlink()

        return prepare

    def made(folder: str, **fields: Any) -> Prepare:
        def prepare(root: Path) -> None:
            (root / "theirs.py").write_text(OWN)
            path = root / "runs" / folder / "history.json"
            told = json.loads(path.read_text())
            path.write_text(json.dumps({**told, "made": {**told["made"], **fields}}), encoding="utf-8")
            (path.parent / "manifest.json").unlink()

        return prepare

    deep = (*audit("--retrain.golds", "3", "--retrain.store", "store"), "--deep", "{}")
    retrain = audit("--retrain.golds", "3", "--retrain.store", "store")
    finetune = "class_path: unregress.FineTune"
    # The configuration is compared with the record, and never read in its place.
    own = {
        "a class of theirs": ("mine", finetune, "class_path: theirs.Mine", deep),
        "a command": ("mine", finetune, "class_path: os.system", deep),
        "a tag": ("mine", "method:\n", f"method: {HOSTILE}\nmethod_was:\n", deep),
        "a recipe that is a command": ("original", "recipe:\n", f"recipe: {HOSTILE}\nx:\n", retrain),
        "a recipe of text": ("original", "epochs: 3", "epochs: '3'", retrain),
        "a recipe of nothing": ("original", "epochs: 3", "epochs: -3", retrain),
        "a recipe of everything": ("original", "lr: 0.01", "lr: [0.01]", retrain),
    }
    for name, (folder, old, new, words) in own.items():
        yield Trial(name=f"hostile: {name}", words=words, prepare=config(folder, old, new), codes=_NO)
    records: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
        "a class of theirs": ("mine", {"method": "Mine", "module": "theirs"}, deep),
        "a command": ("mine", {"method": "system", "module": "os"}, deep),
        "a class within settings": ("mine", {"settings": {"recipe": {"class_path": "theirs.Mine"}}}, deep),
        "settings of text": ("mine", {"settings": {"recipe": HOSTILE}}, deep),
        "a recipe of theirs": ("original", {"recipe": {"class_path": "theirs.Mine"}}, retrain),
        "a recipe that is a command": ("original", {"recipe": HOSTILE}, retrain),
        "a recipe of text": ("original", {"recipe": {"epochs": "3"}}, retrain),
        "a recipe of nothing": ("original", {"recipe": {"epochs": -3}}, retrain),
        "a recipe of everything": ("original", {"recipe": {"lr": [0.01]}}, retrain),
    }
    for name, (folder, changes, words) in records.items():
        yield Trial(name=f"hostile record: {name}", words=words, prepare=made(folder, **changes), codes=_NO)
    for name, fields in {
        "weights outside": {"weights": "../original/original.safetensors"},
        "weights of the root": {"weights": "/etc/passwd"},
        "weights of nothing": {"weights": ""},
        "helper outside": {"helper": "../../../x"},
        "escapes in a method": {"made": {"method": "\x1b]0;owned\x07FineTune"}},
        "a page in a note": {"notes": ["<script>alert(1)</script>"]},
        "a cost below zero": {"cost": {"forward": -1, "backward": -1, "seconds": -1.0}},
        "history of text": {"history": "all of it"},
    }.items():
        codes = _NO if "outside" in name or "root" in name or "nothing" in name or "text" in name else _ANY
        yield Trial(name=f"hostile: {name}", words=audit(), prepare=history("mine", **fields), codes=codes)


def _around() -> Iterator[Trial]:
    """What lies beside the files, and folders that are not what they are taken for."""

    def extra(root: Path) -> None:
        (root / "runs/mine/notes.txt").write_text("mine\n")

    def weights(root: Path) -> None:
        shutil.copy(root / "runs/gold/unlearned.safetensors", root / "runs/mine/a.safetensors")

    def unreadable(root: Path) -> None:
        (root / "runs/mine").rename(root / "runs/elsewhere")
        (root / "runs/mine").symlink_to("elsewhere")

    for name, prepare in {"an extra file": extra, "extra weights": weights, "a link": unreadable}.items():
        yield _trial("mine", name, prepare, _ANY)
    twice = "[runs/gold, runs/gold]"
    refused = {
        "the same gold twice": audit("--golds", twice),
        "a copy of a gold": audit("--golds", "[runs/gold, runs/copy]"),
        "a gold that is judged too": audit(model="runs/gold"),
        "an original that forgot": audit(original="runs/mine"),
        "a model that forgot nothing": audit(model="runs/original"),
        "a fine-tuned gold": audit(gold="runs/mine"),
        "a request of an original": audit(request="runs/original"),
        "a request of an audit": audit(request="runs/audit"),
        "a request of weights": audit(request="runs/gold/unlearned.safetensors"),
        "models of other data": audit("--data.seed", "5"),
        "models of fewer data": audit("--data.samples", "10"),
        "a request of other data": ("forget", *PROJECT, "--data.seed", "5", "--request.from_run", "runs/gold", *RETRAIN,
                                    "--output", "out"),
        "a checkpoint of other data": forget("--data.seed", "5"),
        "what is forgotten already": forget(checkpoint="runs/mine"),
        "a further gold without its past": audit(model="runs/chained"),
    }  # fmt: skip
    for name, words in refused.items():
        copied = "copy" in name
        prepare: Prepare = (lambda root: shutil.copytree(root / "runs/gold", root / "runs/copy")) if copied else _same
        # What a person may do on purpose, and is told in the report.
        on_purpose = ("a gold that is judged too", "an original that forgot", "a model that forgot nothing")
        codes = _ANY if name in on_purpose else _NO
        yield Trial(name=f"mixed: {name}", words=words, prepare=prepare, codes=codes)


def _same(root: Path) -> None:
    """Leave the folders as they are."""
