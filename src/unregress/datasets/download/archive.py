"""Unpack archives atomically and safely.

On top of the standard library: files get their names only after everything is unpacked, paths that lead out of the
folder and truncated tar archives are refused, and other files in the folder are kept.  `pooch.Untar` and `pooch.Unzip`
do none of these (`Untar` checks paths only from Python 3.12).
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from unregress.errors import DataError, SettingError


def extract(
    archive: str | Path, folder: str | Path, *, inside: str = "", only: Sequence[str] = (), extras: Sequence[str] = ()
) -> list[str]:
    """Unpack a zip or tar archive, compressed or not; return the sorted names of the unpacked files and folders.

    The archive is unpacked into a hidden folder within `folder`, and its files and folders are renamed when all are
    complete.  Existing files and folders of the same names are replaced; others are kept.

    Args:
        archive: zip, tar, tar.gz, tar.bz2 or tar.xz; recognised by content.
        folder: target folder; created if it does not exist.
        inside: folder within the archive whose contents are unpacked; empty for all of the archive.
        only: names of the files and folders to unpack, which the archive must have; empty for all.
        extras: names to unpack besides `only`, if the archive has them.

    Raises:
        DataError: the file is not an archive, is damaged, has a path that leads out of the folder or lacks a name of
            `only`, or the disk cannot be written.
        SettingError: Python is too old to unpack a tar archive safely.
    """
    source, target = Path(archive), Path(folder)
    # Within the folder, which may be a link to another disk: renaming is atomic on one disk only.
    unfinished = target / f".{source.name}.partial"
    made = not target.exists()
    try:
        _clear(unfinished)
        unfinished.mkdir(parents=True)
        _unpack(source, unfinished, inside, (*only, *extras) if only else ())
        wanted = unfinished / inside
        names = sorted(path.name for path in wanted.iterdir()) if wanted.is_dir() else []
        if missing := [name for name in only if name not in names] or ([] if names else [inside or "file"]):
            raise DataError(
                f"There is no {' and no '.join(missing)} in {source}",
                remedy="Fetch it again; if that does not help, the archive changed at its source: unpack it by hand",
            )
        for name in names:
            _clear(target / name)
            os.replace(wanted / name, target / name)
        return names
    # RuntimeError: members with a password; its subclass NotImplementedError: unknown compressions.
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError, RuntimeError) as error:
        raise DataError(f"{source} cannot be unpacked: {error}", remedy="Delete it and fetch it again") from error
    except OSError as error:
        raise DataError(
            f"{source} cannot be unpacked into {target}: {error.strerror or error}",
            remedy="Free some space or name another folder; if the archive is damaged, delete it and fetch it again",
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if made and target.is_dir() and not any(target.iterdir()):
            target.rmdir()


def _unpack(source: Path, target: Path, inside: str, only: Sequence[str]) -> None:
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as opened:
            zipped = opened.infolist()
            for each in _safe(source, [each.filename for each in zipped]):
                if _wanted(each, inside, only):
                    opened.extract(each, target)
        return
    if not source.is_file() or not tarfile.is_tarfile(source):
        raise DataError(
            f"{source} is not a zip or tar archive",
            remedy="Delete it and fetch it again; if that does not help, open it: it may be an error page",
        )
    if not hasattr(tarfile, "data_filter"):
        raise SettingError("This Python unpacks tar archives without a check", remedy="Update it: 3.11.4 or later does")
    with tarfile.open(source) as packed:
        # List members while unpacking: listing an archive of half a million faces takes minutes.
        packed.extractall(target, members=_members(source, packed, inside, only), filter="data")
        # `tarfile` does not notice that an archive is truncated between two files or in a header.
        if packed.fileobj is not None:
            packed.fileobj.seek(packed.offset)
            if packed.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("it is truncated: its end mark is missing")


def _members(source: Path, packed: tarfile.TarFile, inside: str, only: Sequence[str]) -> Iterator[tarfile.TarInfo]:
    for each in packed:
        for name in _safe(source, [each.name]):
            if _wanted(name, inside, only):
                yield each


def _safe(source: Path, names: list[str]) -> list[str]:
    """The names, after a check that none of them leads out of the folder; `tarfile` checks links."""
    for name in names:
        if re.match(r"[/\\]|[A-Za-z]:", name) or ".." in re.split(r"[/\\]", name):
            raise DataError(
                f"{source} holds {name!r}, which leads out of the folder it is unpacked into",
                remedy="Do not use this archive: nothing was unpacked",
            )
    return names


def _wanted(name: str, inside: str, only: Sequence[str]) -> bool:
    parts = PurePosixPath(name).parts
    under = PurePosixPath(inside).parts
    if parts[:1] == ("__MACOSX",) or parts[: len(under)] != under:  # __MACOSX: metadata of the macOS Finder
        return False
    return not only or parts[len(under) : len(under) + 1] in [(each,) for each in only]


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
