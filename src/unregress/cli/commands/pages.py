"""Check the files that `unregress report` reads and replaces."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unregress.errors import SettingError, StaleError
from unregress.files.writing import sha256_of
from unregress.report.card import is_card
from unregress.report.render import is_page
from unregress.runs.folder import CONFIG
from unregress.runs.manifest import MANIFEST, Manifest, read_manifest


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run folder with a manifest, which must not be changed."""

    folder: Path
    manifest: Manifest

    def state(self, path: Path) -> Literal["missing", "written", "changed"]:
        """Compare a file in the folder with the digest that the manifest lists."""
        if not path.is_file():
            return "missing"
        listed = self.manifest.files.get(path.absolute().relative_to(self.folder).as_posix())
        return "written" if listed == sha256_of(path) else "changed"

    def where(self, page: Path) -> str:
        """A sentence on the state of the page that was written with an audit."""
        if (state := self.state(page)) == "written":
            return f"The page is {page}"
        return f"{page} is {state}, and {self.folder} is not changed: `--output FILE` writes the page elsewhere"


def run_of(audit: Path) -> Run | None:
    """Find the run folder of an audit; None if it is in no folder with a manifest.

    Raises:
        StaleError: the manifest cannot be read, or the audit is not the file that it lists.
    """
    folder = _folder(audit)
    manifest = None if folder is None or not audit.is_file() else read_manifest(folder)
    if folder is None or manifest is None:
        return None
    run = Run(folder=folder, manifest=manifest)
    if run.state(audit) != "written":
        raise StaleError(
            f"{audit} was changed: it is not the file that {folder / MANIFEST} lists",
            remedy="Copy the folder again from an intact one, or audit again",
        )
    return run


def _folder(path: Path) -> Path | None:
    """The nearest run folder above a file; a parent with a manifest counts even without its configuration."""
    path = path.absolute()
    if (path.parent / MANIFEST).is_file():
        return path.parent
    return next((each for each in path.parents if (each / MANIFEST).is_file() and (each / CONFIG).is_file()), None)


def require_replaceable(page: Path, option: Literal["output", "card"] = "output") -> None:
    """Refuse to write a page or card over a file that is not one, or into a run folder.

    Args:
        page: the file to write.
        option: the option that names it: a page or a model card's section.

    Raises:
        SettingError: another file is there, or its folder does not exist.
    """
    target = Path(os.path.realpath(page))
    if (folder := _folder(target)) is not None:
        raise SettingError(
            f"{page} lies in the run folder {folder}, which is not changed",
            expected="a file outside it",
            remedy=f"Choose another `--{option}`",
        )
    if not target.parent.is_dir():
        raise SettingError(
            f"{page} cannot be written: there is no folder {page.parent}", remedy=f"Choose another `--{option}`"
        )
    if os.path.lexists(target) and not _is(target, is_page if option == "output" else is_card):
        kind = "page" if option == "output" else "card"
        raise SettingError(
            f"{page} is {'a folder' if target.is_dir() else f'not a {kind} of unregress'}, and is not overwritten",
            expected=f"a new file, or a {kind} of an audit",
            remedy=f"Choose another `--{option}`",
        )


def _is(target: Path, known: Callable[[Path], bool]) -> bool:
    try:
        return target.is_file() and known(target)
    except OSError:
        return False
