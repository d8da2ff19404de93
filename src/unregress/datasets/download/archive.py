"""Archives, unpacked whole or not at all, and into their folder only."""

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
    """Unpack a zip or tar archive, compressed or not; returns the names that are now in `folder`, sorted.

    It is unpacked into a hidden folder within `folder` and moved out of it when all of it is there, so that a file
    or folder that has its name is whole.  What is there already under the same name is replaced.

    Args:
        archive: zip, tar, tar.gz, tar.bz2 or tar.xz, told by content.
        folder: where to; made if need be.
        inside: folder of the archive whose contents are wanted, rather than all of the archive.
        only: names wanted of these contents, files or folders; empty for all.
        extras: names wanted besides `only`, if the archive has them.

    Raises:
        DataError: it is no archive, damaged, holds a path that leads out of the folder, lacks what is wanted, or the
            disk cannot be written.
        SettingError: Python is too old to unpack a tar archive safely.
    """
    source, target = Path(archive), Path(folder)
    # Within the folder, not beside it: it may be a link to another disk, and only on one disk is moving a single step.
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
                remedy="Fetch it again; if it stays so, the archive was changed at its source: unpack it by hand",
            )
        for name in names:
            _clear(target / name)
            os.replace(wanted / name, target / name)
        return names
    # Members with a password are a RuntimeError, compressions that are not known a NotImplementedError.
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError, RuntimeError) as error:
        raise DataError(f"{source} cannot be unpacked: {error}", remedy="Delete it and fetch it again") from error
    except OSError as error:
        raise DataError(
            f"{source} cannot be unpacked into {target}: {error.strerror or error}",
            remedy="Make room or name another folder; if the archive itself is damaged, delete it and fetch it again",
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
            f"{source} is no zip or tar archive",
            remedy="Delete it and fetch it again; if it stays so, open it: servers send a page that says what is wrong",
        )
    if not hasattr(tarfile, "data_filter"):
        raise SettingError("This Python unpacks tar archives without a check", remedy="Update it: 3.11.4 or later does")
    with tarfile.open(source) as packed:
        # Read as it is unpacked, once: an archive of half a million faces takes minutes to list.
        packed.extractall(target, members=_members(source, packed, inside, only), filter="data")
        # One that is cut off between two files, or in a header, is a whole one to `tarfile`.
        if packed.fileobj is not None:
            packed.fileobj.seek(packed.offset)
            if packed.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("it is cut off, as its end mark is missing")


def _members(source: Path, packed: tarfile.TarFile, inside: str, only: Sequence[str]) -> Iterator[tarfile.TarInfo]:
    for each in packed:
        for name in _safe(source, [each.name]):
            if _wanted(name, inside, only):
                yield each


def _safe(source: Path, names: list[str]) -> list[str]:
    """The names, if none of them leads out of the folder (`tarfile` checks links besides)."""
    for name in names:
        if re.match(r"[/\\]|[A-Za-z]:", name) or ".." in re.split(r"[/\\]", name):
            raise DataError(
                f"{source} holds {name!r}, which leads out of the folder it is unpacked into",
                remedy="Do not use this archive: nothing of it was kept",
            )
    return names


def _wanted(name: str, inside: str, only: Sequence[str]) -> bool:
    parts = PurePosixPath(name).parts
    under = PurePosixPath(inside).parts
    if parts[:1] == ("__MACOSX",) or parts[: len(under)] != under:  # __MACOSX: Finder's notes
        return False
    return not only or parts[len(under) : len(under) + 1] in [(each,) for each in only]


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
