"""Compare the records of a run folder with each other: fields that state the same fact must agree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from unregress.cli.error_messages import METHODS
from unregress.errors import StaleError, UnregressError
from unregress.evidence import AuditReport
from unregress.evidence.long_values import shortened
from unregress.evidence.model_record import differences
from unregress.evidence.rule import Rule
from unregress.evidence.verdict import judge
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
        paths: run folders; weights files are skipped.

    Raises:
        StaleError: records contradict each other, or cannot be read.
    """
    found = [f"{path}: {each}" for path in paths if path.is_dir() for each in disagreements(path, read_manifest(path))]
    if found:
        raise StaleError(
            "; ".join(found),
            expected="records of one run that agree",
            remedy="Copy the folder again from an intact one, or make the model again",
        )


def disagreements(folder: Path, manifest: Manifest | None) -> Iterator[str]:
    """Yield messages about fields that contradict each other, and about records that cannot be read.

    Args:
        folder: a run folder.
        manifest: its manifest, if it has one.
    """
    records: dict[str, Any] = {}
    for name in (HISTORY, REQUEST, AUDIT, GOLDS):
        try:
            records[name] = parse(content_of(folder / name))
        except FileNotFoundError:
            continue
        except (OSError, Misfit) as error:
            yield f"{name} cannot be read: {error}"
    try:
        text = content_of(folder / CONFIG).decode("utf-8")
        records[CONFIG] = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        yield f"{CONFIG} cannot be read: {error}"
        return
    comments = comments_of(text)
    yield from _digests(records, comments)
    yield from _malformed(folder, records, manifest)
    yield from _settings(records, comments)
    if manifest is not None:
        yield from _audited(records, manifest)
    if AUDIT in records:
        yield from _verdicts(folder / AUDIT)


def comments_of(config: str) -> dict[str, str]:
    """The comments of a configuration, `# name: value` each, which name the sources of the run."""
    return {match["name"]: match["value"] for line in config.splitlines() if (match := _NOTE.fullmatch(line))}


def at(value: Any, *names: str) -> Any:
    """A nested field; None if it does not exist."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _digests(records: Mapping[str, Any], comments: Mapping[str, str]) -> Iterator[str]:
    """Differences between files in the digests of request and data."""
    for own, other in (("request_digest", "digest"), ("data_digest", "data_digest")):
        said = {f"{name}: {own}": at(records.get(name), own) for name in (HISTORY, AUDIT)}
        said[f"{REQUEST}: {other}"] = at(records.get(REQUEST), other)
        comment = "request" if other == "digest" else "train"
        said[f"{CONFIG}: # {comment}"] = comments.get(comment)
        known = [(where, value) for where, value in said.items() if value is not None]
        yield from (
            f"{where} is {_short(value)} and {known[0][0]} is {_short(known[0][1])}"
            for where, value in known[1:]
            if value != known[0][1]
        )


def _malformed(folder: Path, records: Mapping[str, Any], manifest: Manifest | None) -> Iterator[str]:
    """Records that unregress cannot have written, whatever their digests."""
    if HISTORY in records:
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
    if REQUEST in records:
        request = records[REQUEST]
        try:
            own = {name: each for name, each in request.items() if name != "before"} if isinstance(request, dict) else 0
            build(RequestRecord, own)
        except (Misfit, UnregressError) as error:
            yield f"{REQUEST} is not a request as it was written: {error}"


def _settings(records: Mapping[str, Any], comments: Mapping[str, str]) -> Iterator[str]:
    """Differences between record and configuration in how the model, or the golds, were made."""
    config, made = records[CONFIG], at(records.get(HISTORY), "made")
    if isinstance(made, dict):
        name, settings = at(made, "method"), at(made, "settings")
        asked = _configured_method(config)
        # A user's own method may have another import path in the configuration, such as a script's `__main__`.
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
    recipe = at(records.get(GOLDS), "recipe")
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


def _configured_method(config: Any) -> tuple[str, dict[str, Any]] | None:
    """Name and settings of the method that a configuration asks for; None if it asks for none."""
    path, settings = at(config, "method", "class_path"), at(config, "method", "init_args")
    if isinstance(path, str):
        own = "." in path and not path.startswith("unregress.")
        return path.rpartition(".")[2], _recorded(settings) if own or not isinstance(settings, dict) else settings
    if at(config, "request") is not None:
        # No method was named: the command chose one, and says which in the record.
        return None
    recipe, training = at(config, "recipe"), at(config, "training")
    if training is not None:
        # A function's import path may be another one than that of its definition; its settings are comparable.
        return "train", {"recipe": _recorded(at(training, "init_args"))}
    return ("train", {"recipe": recipe}) if isinstance(recipe, dict) else None


def _recorded(settings: Any) -> dict[str, Any]:
    """Settings of a function or method as a record has them, with long ones shortened; empty if there are none."""
    return {name: shortened(value) for name, value in settings.items()} if isinstance(settings, dict) else {}


def _audited(records: Mapping[str, Any], manifest: Manifest) -> Iterator[str]:
    """Audited files that are not among the sources in the manifest."""
    models, golds = at(records.get(AUDIT), "models"), at(records.get(GOLDS), "golds")
    if not isinstance(models, list):
        return
    known = {source.digest for source in manifest.made_from}
    known |= {at(gold, key) for gold in (golds if isinstance(golds, list) else []) for key in ("digest", "weights")}
    for model in models:
        digest = at(model, "file", "folder") or at(model, "file", "sha256")
        if digest and manifest.made_from and digest not in known:
            yield f"{AUDIT}: the file of {at(model, 'name')!r} has the digest {_short(digest)}, not in made_from"


def _verdicts(path: Path) -> Iterator[str]:
    """Verdicts that differ from those that the numbers give, if this version of unregress and of its rule judged."""
    try:
        report = AuditReport.from_json(path)
        rule = report.settings.get("rule")
        if report.version != version("unregress") or not isinstance(rule, dict):
            return
        if rule.keys() < {field.name for field in fields(Rule)}:
            return  # a rule that had fewer settings judged by fewer criteria
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
