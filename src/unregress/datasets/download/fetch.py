"""Files from the web, whole or not at all: what was cut off is gone on with, what is unpacked appears when it is."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import re
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from unregress.datasets.download.resume import Partial, Version, disk, size
from unregress.errors import DataError, SettingError

CHUNK = 1 << 20
"""Bytes read at a time."""
SHOWN = 250 * CHUNK
"""Bytes between two lines of progress."""
BUSY = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which another try may do."""
CHANGED = "the file was changed at its source"


def download(
    url: str,
    path: str | Path,
    *,
    checksum: str = "",
    say: Callable[[str], None] = lambda line: None,
    tries: int = 4,
    timeout: float = 60.0,
    pause: float = 1.0,
) -> Path:
    """Fetch a file; returns its path.

    It is written to `PATH.partial` and gets its name when it is whole and its checksum right, so a file that has its
    name is not fetched again unless its checksum is another.  A later call goes on where one was cut off if the
    server can (HTTP Range) and its file is still the same (ETag, Last-Modified and length, kept in
    `PATH.partial.json`); otherwise it starts over.

    Args:
        url: http or https.
        path: file to write; its folder is made.
        checksum: `sha256:...` or `md5:...` in hexadecimal digits; empty to check the length only.
        say: where lines of progress go.
        tries: how often to try without getting any further, when a connection is cut off or the server is busy.
        timeout: seconds without a byte after which a connection counts as cut off.
        pause: seconds to wait before the second try, doubled for each that follows.

    Raises:
        DataError: the server refuses, cannot be reached or keeps cutting off, the checksum is another, or the disk
            cannot be written.
        SettingError: the url or the checksum is none of these.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise SettingError(f"The url is {url}", expected="one that begins with http:// or https://")
    if checksum and not re.fullmatch("sha256:[0-9a-fA-F]{64}|md5:[0-9a-fA-F]{32}", checksum):
        raise SettingError(f"The checksum is {checksum}", expected="sha256: or md5: and its hexadecimal digits")
    target = Path(path)
    with disk(target):
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if target.exists() and (not checksum or _digest(target, checksum) == checksum.lower()):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
    partial = Partial(url, target)
    failures, furthest = 0, partial.have
    while (problem := _attempt(partial, timeout, say)) is not None:
        failures = 0 if partial.have > furthest else failures + 1
        furthest = max(furthest, partial.have)
        if failures >= tries:
            raise DataError(
                f"{url} could not be fetched: {problem}, {tries} times without getting any further",
                remedy="Try again later: it goes on from what has come so far, if the server can",
            )
        say(f"{target.name}: {problem}; trying again")
        time.sleep(pause * 2 ** max(0, failures - 1))
    with disk(target):
        if checksum and (found := _digest(partial.path, checksum)) != checksum.lower():
            partial.drop()
            raise DataError(
                f"{url} has the checksum {found}",
                expected=checksum.lower(),
                remedy="Try again; if it stays so, the file was changed at its source: fetch it by hand and look at it",
            )
        os.replace(partial.path, target)
        partial.drop()
    return target


def _attempt(partial: Partial, timeout: float, say: Callable[[str], None]) -> str | None:
    """Fetch what is missing; returns what went wrong where another try may do, None where nothing did."""
    if partial.whole:
        return None
    # A compressed answer has another length.
    headers = {"User-Agent": "unregress", "Accept-Encoding": "identity"}
    version, have = partial.version, partial.have
    if version is not None and have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version.condition}
    try:
        response = urlopen(Request(partial.url, headers=headers), timeout=timeout)
    except HTTPError as error:
        with error:
            if error.code == 416:  # the file is now shorter than what we have of it
                partial.drop()
                return CHANGED
            return _refused(partial.url, error)
    except (OSError, http.client.HTTPException) as error:
        return _unreachable(partial.url, error)
    with response:
        found = _version(partial.url, response)
        if response.status != 206:
            partial.begin(found)
            return _receive(response, partial, found.length, say)
        starts = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if version is None or not starts or not version.fits(found):
            # If-Range was overlooked: what we have is of another file.
            partial.drop()
            return CHANGED
        say(f"{partial.target.name}: going on after {size(have)}")
        return _receive(response, partial, version.length, say)


def _version(url: str, response: http.client.HTTPResponse) -> Version:
    given = response.headers
    length = given.get("Content-Length", "")
    if response.status == 206:
        length = given.get("Content-Range", "").rpartition("/")[2]
    known = int(length) if length.isdecimal() else None
    return Version(url, given.get("ETag", ""), given.get("Last-Modified", ""), known)


def _receive(response: IO[bytes], partial: Partial, length: int | None, say: Callable[[str], None]) -> str | None:
    with disk(partial.target), partial.path.open("ab") as file:
        received = shown = file.tell()
        while True:
            try:
                block = response.read(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                return f"the connection was cut off after {size(received)} ({str(error) or type(error).__name__})"
            if not block:
                break
            file.write(block)
            received += len(block)
            if received - shown >= SHOWN:
                shown = received
                say(f"{partial.target.name}: {size(received)}" + (f" of {size(length)}" if length else ""))
    if length is not None and received > length:
        partial.drop()
        return CHANGED
    if length is not None and received < length:
        return f"the connection was cut off after {size(received)} of {size(length)}"
    return None


def _refused(url: str, error: HTTPError) -> str:
    """The problem, where another try may do."""
    if error.code in BUSY:
        return f"the server answers {error.code} {error.reason}"
    remedy = "Look on the dataset's home page where it is now, and fetch it by hand"
    if error.code in (401, 403):
        remedy = "Look on the dataset's home page whether it asks for a login or consent, and fetch it by hand"
    raise DataError(f"{url} is not given out: the server answers {error.code} {error.reason}", remedy=remedy) from error


def _unreachable(url: str, error: Exception) -> str:
    """The problem, where another try may do."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, socket.gaierror | ConnectionRefusedError | ssl.SSLCertVerificationError):
        raise DataError(
            f"{urlsplit(url).netloc} cannot be reached for {url}: {reason}",
            remedy="Check the connection and the proxy's settings (HTTP_PROXY, HTTPS_PROXY), or fetch the file by hand",
        ) from error
    return f"no answer ({str(reason) or type(reason).__name__})"


def _digest(path: Path, checksum: str) -> str:
    """The file's checksum, of the kind of another."""
    kind = checksum.partition(":")[0].lower()
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"
