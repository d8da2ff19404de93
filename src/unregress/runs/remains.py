"""Find what may still hold a trace of forgotten samples: models in run folders and stores, weights files, ids files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from unregress.errors import StaleError, UnregressError
from unregress.evidence import AuditReport
from unregress.files.partial import sweep
from unregress.files.writing import sha256_of
from unregress.runs.folder import CONFIG
from unregress.runs.lenient import (
    is_plain_file,
    manifest_or_none,
    mapping_of,
    record_or_none,
    text_of,
    texts_in,
    weights_in,
)
from unregress.runs.manifest import MANIFEST, Manifest, departures, digest_of_folder, read_manifest
from unregress.runs.provenance import HISTORY, Record
from unregress.runs.remainder import Kind, Remainder
from unregress.runs.remembering import remembered
from unregress.runs.request_record import RequestRecord, read_requests
from unregress.runs.table_folder import partitions_in
from unregress.runs.unfinished_tables import parts_in

AUDIT = "audit.json"
WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""Endings of the files that are compared with known weights."""
_KINDS: dict[str, Kind] = {"trained": "original", "retrained": "retrained model", "unlearned": "unlearned model"}
_WORDS = ("reason", "requested_by", "requested_on")
"""Options of a request that are words, and never files."""
_NOTED = re.compile(r"^# weights of [^:\n]+: ([0-9a-f]{64})$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Remains:
    """What may still hold a trace of the forgotten samples, and what was not understood."""

    found: tuple[Remainder, ...]
    passed: bool
    """Whether the weights that stay passed an audit in one of the folders."""
    unknown: tuple[str, ...]
    """Remarks on models that were found and of which it is not known what they were trained on."""


def remains(folder: str | Path, among: Sequence[str | Path] = (), *, further: Sequence[str | Path] = ()) -> Remains:
    """Find what may still hold a trace of the samples that a run folder's model was made to forget.

    Looks at run folders (those of `train` and `forget`, and entries of a store of trained models) and at weights files,
    which are known by their digests.  Hidden folders and links are not followed.  Nothing is changed.

    Args:
        folder: run folder of the model that stays: a folder that `unregress forget` wrote.
        among: folders to look in, with all folders below.  They, and what lies in them, may be deleted.
        further: folders to look in without anything to be deleted, besides the folder's own parent.

    Raises:
        StaleError: the folder has no request, or was changed.
    """
    own = Path(os.path.realpath(folder))
    if not (requests := read_requests(own)):
        raise StaleError(f"{folder} holds no request", expected="a folder that `unregress forget` wrote")
    named = [Path(os.path.realpath(place)) for place in among]
    others = [Path(os.path.realpath(place)) for place in (own.parent, *further)]
    return _Search(own=own, wanted=requests, named=named, others=others).run()


@dataclass(kw_only=True)
class _Search:
    own: Path
    wanted: tuple[RequestRecord, ...]
    named: list[Path]
    others: list[Path]
    folders: dict[Path, Manifest | None] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    unfinished: list[Path] = field(default_factory=list)
    """Files of unfinished leave-out tables."""
    holding: dict[str, str] = field(default_factory=dict)
    """Why weights with a digest may remember."""
    clean: set[str] = field(default_factory=set)
    """Digests of weights that do not: those to deploy, golds, and models that passed an audit."""
    chains: dict[tuple[str | None, str], tuple[RequestRecord, ...]] = field(default_factory=dict)
    """The requests in all run folders, each with those before it, by the digests of request and data."""
    requests: dict[Path, tuple[RequestRecord, ...]] = field(default_factory=dict)
    """The requests in each run folder where they can be read."""
    related: set[Path] = field(default_factory=set)
    """Run folders that are about the same requests."""
    passed: bool = False
    unknown: list[str] = field(default_factory=list)

    def run(self) -> Remains:
        for place in dict.fromkeys([*self.named, *self.others]):
            sweep(place)
            self._look_into(place)
        data, ancestors = self._lineage()
        self._read_audits()
        self._read_requests()
        found = [*self._models(data, ancestors), *self._weights(), *self._ids_files(), *self._leave_out_tables()]
        order = list(dict.fromkeys(each.path for each in sorted(found, key=lambda each: str(each.path))))
        by_path = {each.path: each for each in reversed(found)}
        kept = tuple(replace(by_path[path], kept=self._kept(by_path[path])) for path in order)
        return Remains(found=kept, passed=self.passed, unknown=tuple(dict.fromkeys(self.unknown)))

    def _look_into(self, place: Path) -> None:
        """Collect run folders, and weights files that are in none."""
        for where, below, names in os.walk(place):
            inside = Path(where)
            if inside in self.folders:
                below.clear()
                continue
            if MANIFEST in names and CONFIG in names:
                below.clear()
                try:
                    self.folders[inside] = read_manifest(inside)
                except StaleError as error:
                    self.unknown.append(error.found)
                continue
            if parts := parts_in(inside):
                below.clear()
                self.unfinished += parts
                continue
            below[:] = sorted(name for name in below if not name.startswith("."))
            weights = (inside / name for name in sorted(names) if Path(name).suffix in WEIGHTS)
            self.files += [path for path in weights if path.is_file() and not path.is_symlink()]

    def _lineage(self) -> tuple[set[str], set[Path]]:
        """The digests of the data that the models before the present one were trained on, and their folders."""
        by_digest = {digest_of_folder(folder): folder for folder in self.folders}
        data, ancestors, queue = {each.data_digest for each in self.wanted}, set[Path](), [self.own]
        while queue:
            folder = queue.pop()
            if record := record_or_none(folder):
                data.add(record.data_digest)
            manifest = self.folders.get(folder) or manifest_or_none(folder)
            for source in () if manifest is None else manifest.made_from:
                if (parent := by_digest.get(source.digest)) is not None and parent not in ancestors:
                    ancestors.add(parent)
                    queue.append(parent)
                elif folder == self.own and source.digest:
                    self.holding[source.digest] = f"{self.own.name} was made from it."
        for digest in _NOTED.findall(text_of(self.own / CONFIG)):
            self.holding[digest] = f"{self.own.name} was made from it."
        return data, ancestors

    def _read_audits(self) -> None:
        """Learn from audits of the same requests what the files are that they were about."""
        passed, failed = set[str](), set[str]()
        for folder, report in self._audits():
            self.related.add(folder)
            verdicts = {verdict.model: verdict for verdict in report.verdicts}
            last = report.request_digest == self.wanted[-1].digest
            for model in report.models:
                digest, verdict = "" if model.file is None else model.file.sha256, verdicts.get(model.name)
                if digest and model.role == "original":
                    self.holding[digest] = f"It is the original of the audit {folder.name}."
                elif digest and model.role == "unlearned" and (verdict is None or verdict.outcome != "PASS"):
                    self.holding.setdefault(digest, f"It did not pass the audit {folder.name}.")
                    failed |= {digest} if verdict is not None and verdict.rejected else set()
                elif digest and last:
                    self.clean.add(digest)
                    passed |= {digest} if model.role == "unlearned" else set()
        # What one audit failed is not cleared by another that was less sharp.
        self.clean -= failed
        own = weights_in(self.own)
        self.passed = bool(own & (passed - failed))
        self.clean |= own

    def _audits(self) -> Iterator[tuple[Path, AuditReport]]:
        """The audits of the same requests, as they were written."""
        digests = {each.digest for each in self.wanted}
        for folder, manifest in {self.own: manifest_or_none(self.own), **self.folders}.items():
            path = folder / AUDIT
            if manifest is None or not path.is_file():
                continue
            try:
                report = AuditReport.from_json(path)
            except UnregressError as error:
                self.unknown.append(error.found)
                continue
            if manifest.files.get(AUDIT) != sha256_of(path):
                self.unknown.append(f"{path} was changed")
            elif report.request_digest in digests:
                yield folder, report

    def _read_requests(self) -> None:
        for folder in self.folders:
            try:
                self.requests[folder] = requests = read_requests(folder)
            except StaleError as error:
                self.unknown.append(error.found)
                continue
            for n, each in enumerate(requests):
                self.chains[each.digest, each.data_digest] = requests[: n + 1]

    def _models(self, data: set[str], ancestors: set[Path]) -> Iterator[Remainder]:
        """The models in run folders that may remember, which makes their weights known."""
        for folder, manifest in self.folders.items():
            if folder == self.own or manifest is None or not (folder / HISTORY).is_file():
                continue
            if folder not in self.requests:  # its file was changed
                continue
            record = record_or_none(folder)
            if record is None:
                self.unknown.append(f"{folder} has a record that cannot be read")
                continue
            known = record.request_digest in {each.digest for each in self.wanted}
            if not (record.data_digest in data or folder in ancestors or known):
                self.unknown.append(f"{folder} was trained on other data")
                continue
            if known:
                self.related.add(folder)
            if why := self._why(folder, record, manifest):
                for name in filter(None, (record.weights, record.helper)):
                    self.holding.setdefault(manifest.files.get(name, ""), f"It is a copy of {folder.name}/{name}.")
                yield Remainder.at(folder, _KINDS.get(record.made.kind, "original"), why)
        record = record_or_none(self.own)
        if record is not None and record.helper is not None and record.made.module:
            why = f"It is not known what {record.made.method} trained it on."
            yield Remainder.at(self.own / record.helper, "helper", why)

    def _why(self, folder: Path, record: Record, manifest: Manifest) -> str:
        """Why a run folder's model may remember; empty if it does not."""
        if manifest.files.get(record.weights) in weights_in(self.own):
            return ""
        excluded = mapping_of(folder / CONFIG).get("excluded")
        # Entries of a store have no file of their request: another run folder may have it.
        requests = self.requests[folder] or self.chains.get((record.request_digest, record.data_digest), ())
        left = remembered(self.wanted, record, requests, excluded if isinstance(excluded, str) else None)
        if left:
            reasons = ", ".join(repr(each.reason) for each in left)
            return f"It was trained on the samples of {reasons}."
        if record.made.kind != "unlearned" or manifest.files.get(record.weights) in self.clean:
            return ""
        return f"It was made to forget them by {record.made.method}, and no audit in these folders passed it."

    def _weights(self) -> Iterator[Remainder]:
        """Files with known weights: by themselves, and in run folders that are not those of one model."""
        for path in dict.fromkeys(self.files):
            if (digest := sha256_of(path)) in self.clean:
                continue
            if why := self.holding.get(digest):
                yield Remainder.at(path, "weights file", why)
            else:
                self.unknown.append(f"{path} holds weights of unknown origin")
        for folder, manifest in self.folders.items():
            if manifest is None or (folder / HISTORY).is_file():
                continue
            for name, digest in manifest.files.items():
                if digest in self.holding and digest not in self.clean and (folder / name).is_file():
                    yield Remainder.at(folder / name, "weights file", self.holding[digest])

    def _ids_files(self) -> Iterator[Remainder]:
        """Files that the configurations of the same requests name."""
        for folder in [self.own, *sorted(self.related)]:
            request = mapping_of(folder / CONFIG).get("request")
            named = {} if not isinstance(request, dict) else {k: v for k, v in request.items() if k not in _WORDS}
            for text in texts_in(named):
                places = (Path.cwd(), folder.parent, *self.named)
                if path := next((place / text for place in places if is_plain_file(place / text)), None):
                    why = f"The configuration of {folder.name} takes the records to forget from it."
                    yield Remainder.at(Path(os.path.realpath(path)), "ids file", why)

    def _leave_out_tables(self) -> Iterator[Remainder]:
        """Folders of leave-out tables, which have a prediction for each training sample until they are updated."""
        for folder, manifest in self.folders.items():
            if manifest is not None and partitions_in(folder):
                why = "It has predictions of the training samples; `unregress table` removes those of forgotten ones."
                yield Remainder.at(folder, "leave-out table", why)
        for path in self.unfinished:
            why = "It has predictions of training samples; `unregress table` finishes the table, or deletes it."
            yield Remainder.at(path, "unfinished leave-out table", why)

    def _kept(self, each: Remainder) -> str:
        """Why something is never deleted; empty if it may be."""
        path = each.path
        if path == self.own or self.own in path.parents or path in self.own.parents:
            return f"it is part of {self.own.name}, which stays"
        if inside := next((folder for folder in path.parents if folder in self.folders), None):
            return f"it lies in the run folder {inside}, which is not changed"
        if not any(place in (path, *path.parents) for place in self.named):
            return "it lies in no folder that is named with `among`"
        manifest = self.folders.get(path)
        if manifest is None:
            return ""
        odd = departures(path, manifest)
        if odd.changed or odd.foreign:
            return f"it holds files that no run wrote: {', '.join([*odd.changed, *odd.foreign][:3])}"
        return ""
