"""Compare the records of a run folder with each other: fields that state the same fact must agree."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from unregress.cli.error_messages import METHODS
from unregress.errors import StaleError, UnregressError
from unregress.evidence import AuditReport
from unregress.evidence.verdict import Rule, judge
from unregress.files.typed_json import Misfit, build, parse
from unregress.files.writing import content_of
from unregress.runs.folder import CONFIG
from unregress.runs.manifest import Manifest, read_manifest
from unregress.runs.provenance import HISTORY, record_of
from unregress.runs.request_record import REQUEST, RequestRecord

AUDIT = "audit.json"
GOLDS = "golds.json"
"""The record of golds that an audit trained by itself."""
_NOTE = re.compile(r"# (?P<name>[^:]+): (?P<value>.+)")
_LONGEST = 10_000
"""Characters of a method's description that is looked into."""


def require_agreement(paths: Iterable[Path]) -> None:
    """Refuse run folders whose records contradict each other, even if their manifests are right.

    Args:
        paths: run folders; weights files are passed over.

    Raises:
        StaleError: they do.
    """
    found = [f"{path}: {each}" for path in paths if path.is_dir() for each in disagreements(path, read_manifest(path))]
    if found:
        raise StaleError(
            "; ".join(found),
            expected="notes of one run that agree",
            remedy="Take the folder once more from where it is whole, or make the model again",
        )


def disagreements(folder: Path, manifest: Manifest | None) -> Iterator[str]:
    """Complaints about fields that cannot all be true, and about notes that cannot be read.

    Args:
        folder: a run folder.
        manifest: its manifest, if it has one.
    """
    notes: dict[str, Any] = {}
    for name in (HISTORY, REQUEST, AUDIT, GOLDS):
        try:
            notes[name] = parse(content_of(folder / name))
        except FileNotFoundError:
            continue
        except (OSError, Misfit) as error:
            yield f"{name} cannot be read: {error}"
    try:
        text = content_of(folder / CONFIG).decode("utf-8")
        notes[CONFIG] = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        yield f"{CONFIG} cannot be read: {error}"
        return
    comments = noted(text)
    yield from _digests(notes, comments)
    yield from _malformed(folder, notes, manifest)
    yield from _settings(notes, comments)
    if manifest is not None:
        yield from _audited(notes, manifest)
    if AUDIT in notes:
        yield from _verdicts(folder / AUDIT)


def noted(config: str) -> dict[str, str]:
    """What the comments of a configuration say that the run was made from."""
    return {match["name"]: match["value"] for line in config.splitlines() if (match := _NOTE.fullmatch(line))}


def at(value: Any, *names: str) -> Any:
    """A field within fields; None where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _digests(notes: Mapping[str, Any], comments: Mapping[str, str]) -> Iterator[str]:
    """The request's digest and the data's, which stand in several files."""
    for own, other in (("request_digest", "digest"), ("data_digest", "data_digest")):
        said = {f"{name}: {own}": at(notes.get(name), own) for name in (HISTORY, AUDIT)}
        said[f"{REQUEST}: {other}"] = at(notes.get(REQUEST), other)
        comment = "request" if other == "digest" else "train"
        said[f"{CONFIG}: # {comment}"] = comments.get(comment)
        known = [(where, value) for where, value in said.items() if value is not None]
        yield from (
            f"{where} is {_short(value)} and {known[0][0]} is {_short(known[0][1])}"
            for where, value in known[1:]
            if value != known[0][1]
        )


def _malformed(folder: Path, notes: Mapping[str, Any], manifest: Manifest | None) -> Iterator[str]:
    """Notes that cannot be as they were written, whatever their digests."""
    if HISTORY in notes:
        try:
            record = record_of(folder)
            names = {"weights": record.weights, "helper": record.helper}
            yield from (
                f"{HISTORY}: {field} is {name!r}, which the manifest does not list"
                for field, name in names.items()
                if manifest is not None and name is not None and name not in manifest.files
            )
        except UnregressError as error:
            yield error.found
    if REQUEST in notes:
        request = notes[REQUEST]
        try:
            own = {name: each for name, each in request.items() if name != "before"} if isinstance(request, dict) else 0
            build(RequestRecord, own)
        except (Misfit, UnregressError) as error:
            yield f"{REQUEST} is not a request as it was written: {error}"


def _settings(notes: Mapping[str, Any], comments: Mapping[str, str]) -> Iterator[str]:
    """How the model, or the golds, were made: by the record and by the configuration."""
    config, made = notes[CONFIG], described(at(notes.get(HISTORY), "method"))
    if made is not None:
        name, settings = made
        asked = described(at(config, "method"))
        if asked is None and (class_path := at(config, "method", "class_path")) is not None:
            asked = str(class_path).rpartition(".")[2], _plain(at(config, "method")) or {}
        if asked is None and isinstance(at(config, "recipe"), dict):
            asked = "train", {"recipe": config["recipe"]}
        # A method of the user's own may describe itself as it likes.
        known = asked is not None and bool({name, asked[0]} & {*METHODS, "train"})
        if asked is not None and known and asked[0] != name:
            yield f"{HISTORY}: method is {name} and {CONFIG}: method is {asked[0]}"
        elif asked is not None and known:
            yield from (
                f"{HISTORY}: method says {field} {ours!r} and {CONFIG} {theirs!r}"
                for field, ours, theirs in _differing(settings, asked[1])
            )
        own = {"recipe": at(notes[HISTORY], "recipe") or {}} if name in ("train", "Retrain") else {}
        yield from (
            f"{HISTORY}: {field} is {ours!r} and method says {theirs!r}"
            for field, ours, theirs in _differing(own, settings)
        )
    trained, recipe = described(comments.get("trained with")), at(notes.get(GOLDS), "recipe")
    if trained is not None and isinstance(recipe, dict):
        yield from (
            f"{GOLDS}: recipe.{field} is {ours!r} and {CONFIG}: # trained with says {theirs!r}"
            for field, ours, theirs in _differing(recipe, trained[1])
        )


def _audited(notes: Mapping[str, Any], manifest: Manifest) -> Iterator[str]:
    """Whether the files that an audit names are among those that it was made from."""
    models, golds = at(notes.get(AUDIT), "models"), at(notes.get(GOLDS), "golds")
    if not isinstance(models, list):
        return
    known = {source.digest for source in manifest.made_from}
    known |= {at(gold, key) for gold in (golds if isinstance(golds, list) else []) for key in ("digest", "weights")}
    for model in models:
        digest = at(model, "file", "folder") or at(model, "file", "sha256")
        if digest and manifest.made_from and digest not in known:
            yield f"{AUDIT}: the file of {at(model, 'name')!r} has the digest {_short(digest)}, which made_from lacks"


def _verdicts(path: Path) -> Iterator[str]:
    """Whether the verdicts are those that the numbers give, where this version judged."""
    try:
        report = AuditReport.from_json(path)
        rule = described(report.settings.get("rule"))
        if report.version != version("unregress") or rule is None:
            return
        judged = {verdict.model: verdict.outcome for verdict in judge(report, Rule(**rule[1]))}
    except UnregressError as error:
        yield error.found
        return
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        yield f"{AUDIT}: its numbers cannot be judged: {error!r}"
        return
    said = {verdict.model: verdict.outcome for verdict in report.verdicts}
    for model in {**judged, **said}:
        ours, theirs = judged.get(model, "none"), said.get(model, "none")
        if ours != theirs:
            yield f"{AUDIT}: the verdict on {model!r} is {theirs}, and its numbers give {ours}"


def described(text: object) -> tuple[str, dict[str, Any]] | None:
    """Name and settings of a method as it is described in records; None for anything else.

    >>> described("FineTune(recipe=Recipe(epochs=3, lr=0.01))")
    ('FineTune', {'recipe': {'epochs': 3, 'lr': 0.01}})
    >>> described("train(Recipe(epochs=3))")
    ('train', {'recipe': {'epochs': 3}})
    """
    if not isinstance(text, str) or len(text) > _LONGEST:
        return None
    try:
        call = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        return None
    settings = _arguments(call)
    if call.func.id == "train" and len(call.args) == 1 and isinstance(call.args[0], ast.Call):
        settings["recipe"] = _arguments(call.args[0])
    return call.func.id, settings


def _arguments(call: ast.Call) -> dict[str, Any]:
    """The named arguments of a call that are plain values, or calls again."""
    found: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is not None and isinstance(keyword.value, ast.Call):
            found[keyword.arg] = _arguments(keyword.value)
        elif keyword.arg is not None:
            try:
                found[keyword.arg] = ast.literal_eval(keyword.value)
            except (ValueError, TypeError):
                # An object of the user's own, which shows itself as it likes.
                continue
    return found


def _plain(value: Any) -> Any:
    """Settings without the classes that they belong to."""
    if isinstance(value, dict) and "class_path" in value:
        return _plain(value.get("init_args") or {})
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Settings of the same name that differ: name, our value, their value."""
    for name in ours.keys() & theirs.keys():
        mine, other = _plain(ours[name]), _plain(theirs[name])
        if isinstance(mine, dict) and isinstance(other, dict):
            yield from _differing(mine, other, f"{where}{name}.")
        elif mine != other:
            yield f"{where}{name}", mine, other


def _short(digest: Any) -> str:
    return f"{digest[:12]}…" if isinstance(digest, str) else repr(digest)
