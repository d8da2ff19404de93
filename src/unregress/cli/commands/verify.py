"""The command `unregress verify`: check that a run folder and its sources are unchanged."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from unregress.cli.commands.agreement import GOLDS, at, comments_of, disagreements
from unregress.cli.console import say
from unregress.errors import SettingError, StaleError, UnregressError
from unregress.errors.wording import printable
from unregress.files.partial import sweep
from unregress.files.typed_json import Misfit, parse
from unregress.files.writing import content_of, sha256_of
from unregress.runs.digests import WEIGHTS_OF, weights_digest
from unregress.runs.folder import CONFIG
from unregress.runs.manifest import MANIFEST, Manifest, Source, departures, digest_of_folder, is_bare, read_manifest


def verify(folder: Path, *, digest: str | None = None, among: list[Path] = []) -> None:  # noqa: B006 never changed
    """Check whether a run folder is as it was written.

    Also checks the folders and files that it was made from, back to the first.  Names each file that is missing, was
    changed or was added, and fields of its records that contradict each other.  Prints the folder's digest, which
    identifies all of its files and all of its sources.

    Args:
        folder: a run folder.
        digest: the expected digest, as quoted for example in a letter; any other one is refused.
        among: further folders in which to look for the sources, such as a store of golds; the folder's own parent is
            always searched.  Sources that are not found are listed, and are no failure: originals may be deleted.

    Raises:
        StaleError: a folder is not as it was written, or has another digest; all complaints at once.
    """
    if digest is not None and not re.fullmatch("[0-9a-f]{64}", digest := digest.strip().lower()):
        raise SettingError(f"`digest` is {digest!r}", expected="64 hexadecimal digits, as `unregress verify` prints")
    place = Path(os.path.realpath(folder)).parent
    # Restore a run folder that an interrupted process had moved aside.
    sweep(place)
    if not folder.is_dir():
        raise StaleError(f"There is no folder {folder}", expected="a run folder")
    found = Verification(places=(place, *among))
    found.examine(folder, "")
    own = digest_of_folder(folder)
    if digest is not None and own != digest:
        found.complaints.insert(0, f"{folder} has another digest, {own or 'none'}, than the given {digest}")
    # Only an intact folder's digest is printed, since a digest would suggest that the folder is intact.
    first = [f"{own}  {folder}"] if own and not found.complaints else []
    where = "`--among+ FOLDER` names further places to look in, such as a store of golds"
    hint = [where] if any(line.endswith("is not here") for line in found.lines) else []
    say(*map(printable, [*first, *found.lines, *hint]))
    if found.complaints:
        raise StaleError(
            "; ".join(found.complaints),
            expected="a run folder and what it was made from, as they were written",
            remedy="Copy the changed files again from intact ones, or make them again",
        )


@dataclass
class Verification:
    """The result of verifying a folder and its ancestors."""

    places: tuple[Path, ...]
    """Folders in which ancestors are looked for."""
    lines: list[str] = field(default_factory=list)
    """Lines about intact folders, and about sources that were not checked."""
    complaints: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def examine(self, folder: Path, role: str) -> None:
        """Check a folder, and then its sources.

        Args:
            folder: a run folder.
            role: its role in the run that was made from it; empty for the first folder.
        """
        if (real := os.path.realpath(folder)) in self._seen:
            return
        self._seen.add(real)
        try:
            manifest = read_manifest(folder)
        except StaleError as error:
            self.complaints.append(error.found)
            return
        if manifest is None:
            self.complaints.append(
                f"{folder} has no {MANIFEST}: it was removed, or an earlier version of unregress wrote the folder"
            )
            return
        own = [*departures(folder, manifest), *disagreements(folder, manifest)]
        self.complaints += [f"{folder}: {each}" for each in own]
        if not own:
            self.lines.append(f"whole: {folder}{f' ({role})' if role else ''}, {len(manifest.files) + 1} files")
        for source, weights in _sources(folder, manifest):
            self._follow(folder, source, weights)

    def _follow(self, folder: Path, source: Source, weights: str) -> None:
        """Find one source of a folder, and check it."""
        what = f"{source.name} ({source.role})"
        if not source.digest:
            self.lines.append(f"not checked: {what} had no {MANIFEST} when {folder} was made from it")
        elif beside := self._folders.get(source.digest):
            # Of several copies, prefer the one with the original name.
            there = min(beside, key=lambda copy: copy.name != source.name)
            self.examine(there, source.role)
            if weights and weights != (its := _weights(there)):
                self.complaints.append(f"{folder}: it notes {weights} for the weights of {there}, which have {its}")
        elif any(sha256_of(file) == source.digest for file in self._files(source.name)):
            self.lines.append(f"whole: {what}, a file")
        elif other := next((path for place in self.places if (path := place / source.name).exists()), None):
            same = "; its weights are the same" if weights and _weights(other) == weights else ""
            its = digest_of_folder(other) or f"no {MANIFEST}"
            self.complaints.append(
                f"{other} is not the {source.role} that {folder} was made from: it has {its}, expected "
                f"{source.digest}{same}"
            )
        else:
            self.lines.append(f"not checked: {what}, {source.digest}, is not here")

    @cached_property
    def _folders(self) -> dict[str, list[Path]]:
        """The run folders in all places, by digest."""
        found: dict[str, list[Path]] = {}
        for folder in (folder for place in self.places for folder in _inside(place)):
            # A folder that cannot be read cannot be a source.
            with suppress(OSError):
                if folder.is_dir():
                    found.setdefault(digest_of_folder(folder), []).append(folder)
        return found

    def _files(self, name: str) -> Iterator[Path]:
        """The files with a name in all places, and in the folders there."""
        for place in self.places:
            yield from (file for beside in (place, *_inside(place)) if (file := beside / name).is_file())


def _sources(folder: Path, manifest: Manifest) -> Iterator[tuple[Source, str]]:
    """The sources of a folder, including golds that it trained, each with the digest of its weights if recorded."""
    try:
        comments = comments_of(content_of(folder / CONFIG).decode("utf-8"))
        golds = at(parse(content_of(folder / GOLDS)), "golds") if (folder / GOLDS).is_file() else []
    except (OSError, ValueError, Misfit):
        # `disagreements` has reported that.
        comments, golds = {}, []
    yield from ((source, comments.get(WEIGHTS_OF + source.role, "")) for source in manifest.made_from)
    for gold in golds if isinstance(golds, list) else []:
        name, entry, digest, weights = (at(gold, key) for key in ("name", "folder", "digest", "weights"))
        if all(isinstance(each, str) for each in (name, entry, digest, weights)) and is_bare(entry):
            yield Source(role=name, name=entry, digest=digest), weights


def _weights(path: Path) -> str:
    """The digest of weights; empty if they cannot be read."""
    try:
        return weights_digest(path)
    except (UnregressError, OSError):
        return ""


def _inside(place: Path) -> Sequence[Path]:
    try:
        return sorted(place.iterdir())
    except OSError:
        return ()
