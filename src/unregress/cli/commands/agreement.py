"""Compare the records of a run folder with each other: fields that state the same fact must agree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from unregress.cli.error_messages import METHODS
from unregress.errors import StaleError, UnregressError
from unregress.evidence import AuditReport
from unregress.evidence.model_record import differences
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
TRAINED_WITH = "trained with"
"""Name of the comment of an audit's configuration that holds the golds' recipe as JSON."""


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
    config, made = notes[CONFIG], at(notes.get(HISTORY), "made")
    if isinstance(made, dict):
        name, settings = at(made, "method"), at(made, "settings")
        asked = _asked(config)
        # A method of the user's own has another import path in the configuration, as a script's `__main__`.
        known = asked is not None and bool({name, asked[0]} & {*METHODS, "train"})
        if asked is not None and known and asked[0] != name:
            yield f"{HISTORY}: method is {name} and {CONFIG}: method is {asked[0]}"
        elif asked is not None and known and isinstance(settings, dict):
            yield from (
                f"{HISTORY}: {field} is {ours!r} and {CONFIG}: {field} is {theirs!r}"
                for field, ours, theirs in differences(settings, asked[1])
            )
        own, recipe = at(settings, "recipe"), at(made, "recipe")
        if at(made, "kind") != "unlearned" and isinstance(own, dict) and isinstance(recipe, dict):
            yield from (
                f"{HISTORY}: made.recipe.{field} is {ours!r} and made.settings.recipe.{field} is {theirs!r}"
                for field, ours, theirs in differences(recipe, own)
            )
    recipe = at(notes.get(GOLDS), "recipe")
    if TRAINED_WITH in comments and isinstance(recipe, dict):
        try:
            trained = build(dict[str, Any], parse(comments[TRAINED_WITH].encode()))
        except Misfit as error:
            yield f"{CONFIG}: # {TRAINED_WITH} cannot be read: {error}"
            return
        yield from (
            f"{GOLDS}: recipe.{field} is {ours!r} and {CONFIG}: # {TRAINED_WITH} says {theirs!r}"
            for field, ours, theirs in differences(recipe, trained)
        )


def _asked(config: Any) -> tuple[str, dict[str, Any]] | None:
    """Name and settings of the method that a configuration asks for; None if it asks for none."""
    path, settings = at(config, "method", "class_path"), at(config, "method", "init_args")
    if isinstance(path, str):
        return path.rpartition(".")[2], settings if isinstance(settings, dict) else {}
    recipe = at(config, "recipe")
    return ("train", {"recipe": recipe}) if isinstance(recipe, dict) else None


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
        rule = report.settings.get("rule")
        if report.version != version("unregress") or not isinstance(rule, dict):
            return
        judged = {verdict.model: verdict.outcome for verdict in judge(report, Rule(**rule))}
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


def _short(digest: Any) -> str:
    return f"{digest[:12]}…" if isinstance(digest, str) else repr(digest)
