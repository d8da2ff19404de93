"""Ways to tamper with evidence, and the checks that detect them: the table of docs/evidence.md and its test's cases."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from support import tiny_project as tiny
from unregress.data.request import ForgetRequest
from unregress.files.writing import sha256_of
from unregress.runs.checkpoint import load_weights, save_weights
from unregress.runs.manifest import MANIFEST, read_manifest, write_manifest


class Tampering(NamedTuple):
    """A manipulation of the folders of a chain: an original, FineTune and Blindspot models, and an audit of them."""

    what: str
    """Description for the table."""
    do: Callable[[Path], object]
    """Carries it out, given the parent folder of the chain."""
    folder: str = "FineTune"
    """Name of the folder that is changed."""
    names: str = ""
    """Regular expression for the complaint of `unregress verify` on that folder; empty if there is none."""
    refused: bool = True
    """Whether `forget` and `audit` refuse the folder, if it has a model."""
    later: bool = True
    """Whether `unregress verify` of the audit made from the folder detects it."""


def edit(file: str, **changes: Any) -> Callable[[Path], None]:
    """Change fields of a JSON note."""

    def do(runs: Path) -> None:
        content = json.loads((runs / file).read_text())
        (runs / file).write_text(json.dumps({**content, **changes}, indent=1) + "\n")

    return do


def replace(file: str, old: str, new: str) -> Callable[[Path], None]:
    """Replace a piece of a text file."""

    def do(runs: Path) -> None:
        text = (runs / file).read_text()
        assert old in text
        (runs / file).write_text(text.replace(old, new))

    return do


def write(file: str, content: bytes) -> Callable[[Path], None]:
    def do(runs: Path) -> None:
        (runs / file).parent.mkdir(exist_ok=True)
        (runs / file).write_bytes(content)

    return do


def remove(file: str) -> Callable[[Path], None]:
    return lambda runs: (runs / file).unlink()


def copy(source: str, target: str) -> Callable[[Path], None]:
    return lambda runs: shutil.copyfile(runs / source, runs / target) and None


def flip(file: str) -> Callable[[Path], None]:
    """Change one bit."""

    def do(runs: Path) -> None:
        content = bytearray((runs / file).read_bytes())
        content[-1] ^= 1
        (runs / file).write_bytes(bytes(content))

    return do


def seal(folder: str) -> Callable[[Path], None]:
    """Write the manifest again, so that it fits the files."""

    def do(runs: Path) -> None:
        manifest = read_manifest(runs / folder)
        assert manifest is not None
        (runs / folder / MANIFEST).unlink()
        write_manifest(runs / folder, manifest.made_from)

    return do


def both(*steps: Callable[[Path], object]) -> Callable[[Path], None]:
    def do(runs: Path) -> None:
        for step in steps:
            step(runs)

    return do


def drop_person(digest: bool = False, history: bool = False) -> Callable[[Path], None]:
    """Remove one sample from the request; optionally adapt the request's digest, and the digest in history.json."""

    def do(runs: Path) -> None:
        content = json.loads((runs / "FineTune/request.json").read_text())
        fewer = ForgetRequest(size=content["size"], forget=content["forget"][1:], reason=content["reason"])
        changes = {"forget": list(fewer.forget), "ids": content["ids"][1:]}
        changes |= {"digest": fewer.digest} if digest else {}
        edit("FineTune/request.json", **changes)(runs)
        if history:
            edit("FineTune/history.json", request_digest=fewer.digest)(runs)

    return do


def other_weights(runs: Path) -> None:
    save_weights(tiny.make_model(), runs / "FineTune/unlearned.safetensors")


def digest_in_manifest(runs: Path) -> None:
    path = runs / "FineTune" / MANIFEST
    content = json.loads(path.read_text())
    content["files"]["unlearned.safetensors"] = sha256_of(runs / "FineTune/unlearned.safetensors")
    path.write_text(json.dumps(content, indent=1) + "\n")


def manifest(**changes: Any) -> Callable[[Path], None]:
    return edit(f"FineTune/{MANIFEST}", **changes)


def unlisted(runs: Path) -> None:
    """Remove a file and its line in the manifest."""
    path = runs / "FineTune" / MANIFEST
    content = json.loads(path.read_text())
    del content["files"]["request.json"]
    path.write_text(json.dumps(content, indent=1) + "\n")
    (runs / "FineTune/request.json").unlink()


def pipe(runs: Path) -> None:
    (runs / "FineTune/request.json").unlink()
    os.mkfifo(runs / "FineTune/request.json")


def swap_folders(runs: Path) -> None:
    shutil.rmtree(runs / "FineTune")
    shutil.copytree(runs / "Blindspot", runs / "FineTune")


def swap_original(runs: Path) -> None:
    """Replace the original's weights by other ones, and write its manifest again."""
    model = tiny.make_model()
    load_weights(model, runs / "FineTune/unlearned.safetensors")
    save_weights(model, runs / "original/original.safetensors")
    seal("original")(runs)


def pass_all(runs: Path) -> None:
    path = runs / "audit/audit.json"
    content = json.loads(path.read_text())
    for verdict in content["verdicts"]:
        verdict["outcome"] = "PASS"
    path.write_text(json.dumps(content, indent=1) + "\n")


def better_number(runs: Path) -> None:
    path = runs / "audit/audit.json"
    content = json.loads(path.read_text())
    content["measures"][0]["value"] += 1
    path.write_text(json.dumps(content, indent=1) + "\n")


def golds(**changes: Any) -> Callable[[Path], None]:
    def do(runs: Path) -> None:
        path = runs / "audit/golds.json"
        content = json.loads(path.read_text())
        content["golds"][0] |= changes
        path.write_text(json.dumps(content, indent=1) + "\n")

    return do


def gold_weights(runs: Path) -> None:
    flip(str(next((runs / "store").glob("gold-*")).relative_to(runs) / "weights.safetensors"))(runs)


HISTORY, CONFIG, REQUEST = "FineTune/history.json", "FineTune/config.yaml", "FineTune/request.json"
WEIGHTS = "FineTune/unlearned.safetensors"
WRITTEN = "was changed after it was written"
DEEP = b"[" * 100_000
CHEAP = {"forward": 1, "backward": 1, "seconds": 0.1}
RELABELLED = replace(HISTORY, '"method": "FineTune"', '"method": "Retrain"')
LONGER = both(replace(HISTORY, '"epochs": 3,', '"epochs": 300,'), replace(CONFIG, "epochs: 3", "epochs: 300"))

TAMPERINGS = (
    Tampering(
        "a method relabelled in history.json",
        RELABELLED,
        names=f"history.json {WRITTEN}.*method is Retrain and config.yaml: method is FineTune",
    ),
    Tampering("a cheaper cost in history.json", edit(HISTORY, cost=CHEAP), names=f"history.json {WRITTEN}"),
    Tampering(
        "notes removed from history.json",
        edit("Blindspot/history.json", notes=[], deviations=[]),
        folder="Blindspot",
        names=f"history.json {WRITTEN}",
    ),
    Tampering(
        "a path that leads out of the folder as `weights`",
        edit(HISTORY, weights="../original/original.safetensors"),
        names="weights is '../original/original.safetensors'",
    ),
    Tampering(
        "another file of the folder as `helper`", edit(HISTORY, helper="config.yaml"), names=f"history.json {WRITTEN}"
    ),
    Tampering(
        "another request's digest in history.json",
        edit(HISTORY, request_digest="0" * 64),
        names="request.json: digest is .* and history.json: request_digest is 000000000000",
    ),
    Tampering(
        "other data's digest in history.json",
        edit(HISTORY, data_digest="0" * 64),
        names="request.json: data_digest is .* and history.json: data_digest is 000000000000",
    ),
    Tampering(
        "a field of history.json of another type",
        edit(HISTORY, cost={**CHEAP, "forward": "1"}),
        names="cost.forward is '1', expected a whole number",
    ),
    Tampering(
        "history.json nested 100,000 deep", write(HISTORY, DEEP), names="history.json cannot be read: it is nested"
    ),
    Tampering(
        "history.json that is not UTF-8", write(HISTORY, b"\xff{}"), names="history.json cannot be read: byte 0 is"
    ),
    Tampering("history.json removed", remove(HISTORY), names="history.json is missing"),
    Tampering(
        "another method in config.yaml",
        replace(CONFIG, "FineTune", "Blindspot"),
        names=f"config.yaml {WRITTEN}.*method is FineTune and config.yaml: method is Blindspot",
    ),
    Tampering(
        "another recipe in config.yaml",
        replace(CONFIG, "epochs: 3", "epochs: 300"),
        names="history.json: recipe.epochs is 3 and config.yaml: recipe.epochs is 300",
    ),
    Tampering(
        "the same other recipe in config.yaml and history.json",
        LONGER,
        names=f"config.yaml {WRITTEN}; .*history.json {WRITTEN}",
    ),
    Tampering(
        "another digest of the original's weights in config.yaml",
        replace(CONFIG, "# weights of checkpoint: ", "# x: "),
        names=f"config.yaml {WRITTEN}",
    ),
    Tampering("config.yaml nested 100,000 deep", write(CONFIG, DEEP), names="config.yaml cannot be read"),
    Tampering("config.yaml removed", remove(CONFIG), names="config.yaml is missing"),
    Tampering(
        "a person dropped from request.json", drop_person(), names="request.json is not a request as it was written"
    ),
    Tampering(
        "a person dropped, and the request's digest computed again",
        drop_person(digest=True),
        names=f"request.json {WRITTEN}.*request.json: digest is",
    ),
    Tampering(
        "a person dropped, in history.json too",
        drop_person(digest=True, history=True),
        names=f"history.json {WRITTEN}.*request.json {WRITTEN}.*config.yaml: # request is",
    ),
    Tampering("another reason in request.json", edit(REQUEST, reason="letter 18"), names=f"request.json {WRITTEN}"),
    Tampering("request.json removed", remove(REQUEST), names="request.json is missing"),
    Tampering("a pipe in the place of request.json", pipe, names=f"request.json {WRITTEN}"),
    Tampering("one bit of the weights flipped", flip(WEIGHTS), names=f"unlearned.safetensors {WRITTEN}"),
    Tampering(
        "weights of another method",
        copy("Blindspot/unlearned.safetensors", WEIGHTS),
        names=f"unlearned.safetensors {WRITTEN}",
    ),
    Tampering("weights removed", remove(WEIGHTS), names="unlearned.safetensors is missing"),
    Tampering(
        "other weights, and their digest in the manifest", both(other_weights, digest_in_manifest), refused=False
    ),
    Tampering(
        "the helper's weights exchanged",
        copy("FineTune/unlearned.safetensors", "Blindspot/helper.safetensors"),
        folder="Blindspot",
        names=f"helper.safetensors {WRITTEN}",
    ),
    Tampering(
        "the helper left out of history.json",
        edit("Blindspot/history.json", helper=None),
        folder="Blindspot",
        names=f"history.json {WRITTEN}",
    ),
    Tampering("a file added", write("FineTune/notes.txt", b"fine"), names="notes.txt was added"),
    Tampering(
        "a file added in a folder inside", write("FineTune/more/notes.txt", b"fine"), names="more/notes.txt was added"
    ),
    Tampering("the manifest removed", remove(f"FineTune/{MANIFEST}"), names="has no manifest.json", refused=False),
    Tampering(
        "the manifest cut off", write(f"FineTune/{MANIFEST}", b'{"layout": 1,'), names="manifest.json cannot be read"
    ),
    Tampering(
        "the manifest nested 100,000 deep", write(f"FineTune/{MANIFEST}", DEEP), names="manifest.json cannot be read"
    ),
    Tampering(
        "a manifest that lists files outside",
        manifest(files={"../../../../dev/zero": "0" * 64}),
        names="dev/zero is missing",
    ),
    Tampering("a file removed, and its line in the manifest", unlisted, refused=False),
    Tampering("`made_from` emptied in the manifest", manifest(made_from=[]), refused=False),
    Tampering(
        "a folder outside as `made_from`",
        manifest(made_from=[{"role": "x", "name": "../x", "digest": "0" * 64}]),
        names="made_from names '../x'",
    ),
    Tampering("another run's folder in its place", swap_folders, refused=False),
    Tampering(
        "a method relabelled, and the manifest written again",
        both(RELABELLED, seal("FineTune")),
        names="method is Retrain and config.yaml: method is FineTune",
    ),
    Tampering(
        "a method relabelled, and the manifest removed",
        both(RELABELLED, remove(f"FineTune/{MANIFEST}")),
        names="has no manifest.json",
    ),
    Tampering("recipe, record and manifest rewritten so that they fit", both(LONGER, seal("FineTune")), refused=False),
    Tampering(
        "a cheaper cost, and the manifest written again",
        both(edit(HISTORY, cost=CHEAP), seal("FineTune")),
        refused=False,
    ),
    Tampering(
        "one bit of the original's weights flipped",
        flip("original/original.safetensors"),
        folder="original",
        names=f"original.safetensors {WRITTEN}",
    ),
    Tampering(
        "another original in its place, with a manifest that fits", swap_original, folder="original", refused=False
    ),
    Tampering(
        "verdicts set to PASS in audit.json",
        pass_all,
        folder="audit",
        names=f"audit.json {WRITTEN}.*verdict on 'mine' is PASS, and its numbers give INCONCLUSIVE",
    ),
    Tampering(
        "verdicts set to PASS, and the manifest written again",
        both(pass_all, seal("audit")),
        folder="audit",
        names="verdict on 'mine' is PASS, and its numbers give INCONCLUSIVE",
    ),
    Tampering(
        "caveats removed from audit.json",
        edit("audit/audit.json", caveats=[]),
        folder="audit",
        names=f"audit.json {WRITTEN}",
    ),
    Tampering(
        "caveats removed, and the manifest written again",
        both(edit("audit/audit.json", caveats=[]), seal("audit")),
        folder="audit",
        later=False,
    ),
    Tampering("a better number in audit.json", better_number, folder="audit", names=f"audit.json {WRITTEN}"),
    Tampering(
        "a field of audit.json of another type",
        edit("audit/audit.json", models=7),
        folder="audit",
        names=f"audit.json {WRITTEN}",
    ),
    Tampering(
        "another request in audit.json, and the manifest written again",
        both(edit("audit/audit.json", request_digest="0" * 64), seal("audit")),
        folder="audit",
        names="config.yaml: # request is .* and audit.json: request_digest is 000000000000",
    ),
    Tampering(
        "the page edited",
        replace("audit/audit.html", "INCONCLUSIVE", "PASS"),
        folder="audit",
        names=f"audit.html {WRITTEN}",
    ),
    Tampering("another seed in golds.json", golds(seed=7), folder="audit", names=f"golds.json {WRITTEN}"),
    Tampering(
        "another recipe in golds.json, and the manifest written again",
        both(replace("audit/golds.json", '"epochs": 3', '"epochs": 300'), seal("audit")),
        folder="audit",
        names="golds.json: recipe.epochs is 300 and config.yaml: # trained with says 3",
    ),
    Tampering(
        "another gold's digest in golds.json, and the manifest written again",
        both(golds(digest="0" * 64), seal("audit")),
        folder="audit",
        names="gold-.* is not the retrained that",
    ),
    Tampering(
        "one bit of a gold in the store flipped",
        gold_weights,
        folder="audit",
        names=f"gold-.*: weights.safetensors {WRITTEN}",
    ),
)
"""If `names` is empty and `later` is false, only a digest noted elsewhere reveals the manipulation."""
